"""A recipe file becomes a typed recipe, or one error that lists everything wrong with it, each with file and line."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, create_model

from categorize.errors import UserError
from categorize.recipe.compatibility import check_compatibility
from categorize.recipe.extends import NodeLoader
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.nodes import Entry, Mapping, expect_mapping, get, key_position, to_plain, without
from categorize.recipe.overrides import parse_overrides
from categorize.recipe.problems import COMMAND_LINE, Position, Problems, shown
from categorize.recipe.scalars import dump
from categorize.recipe.section import Section
from categorize.recipe.sections import RECIPE_OF_KIND, SCRIPT_OF_KIND, Recipe, implied_method, recipe_classes
from categorize.recipe.typecheck import LOADER_KEYS, validated
from categorize.recipe.wording import did_you_mean, found, join
from categorize.recipe.written import Methods, RecipeMethod, working


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe that was read and checked.

    recipe: the typed sections.
    resolved: what was written, after `extends`, label schema and overrides, without defaults.
    text: `resolved` as YAML; it is a recipe by itself and gives the same `recipe`.
    sources: the files it was made from, the recipe itself first, and "command line" last where there were overrides.
    """

    recipe: Recipe
    resolved: dict[str, Any]
    text: str
    sources: tuple[str, ...]
    root: Mapping = field(repr=False)

    def where(self, path: str) -> str:
        """`file:line` of a key by its dotted path; the recipe's own file where the key was left out."""
        return str(key_position(self.root, *path.split(".")) or self.sources[0])


def load_recipe(
    path: str | Path,
    overrides: Iterable[str] = (),
    kind: str | None = None,
    environment: AbstractMapping[str, str] | None = None,
    *,
    methods: Methods,
) -> LoadedRecipe:
    """Read, merge and check a recipe.

    Args:
        path: the YAML file.
        overrides: `key=value` arguments, laid over the file.
        kind: the kind that the calling script runs; None for any.
        environment: environment variables, for what `accelerate launch` says; the process's by default.
        methods: that there are, by name: their `model` sections and checks.

    Raises:
        UserError: one line for each thing that is wrong, `file:line: section.key: what is wrong, what was meant`.
    """
    problems = Problems()
    implied = implied_method(methods)
    loader = NodeLoader(problems, implied=implied)
    overrides = tuple(overrides)
    root = _merged(loader, Path(path), overrides, problems)
    classes = recipe_classes(methods)
    own = _kind(root, kind, str(path), problems)
    model, method = classes[own], _method(root, own, implied, methods)
    recipe, values = validated(root, model, problems, tuple(classes.values()))
    check_compatibility(root, problems, method, environment)
    problems.raise_if_any()
    sources = (*dict.fromkeys(shown(file) for file in loader.files), *([COMMAND_LINE] if overrides else []))
    text = f"# Resolved from: {', '.join(sources)}\n{dump(values)}"
    return LoadedRecipe(cast(Recipe, recipe), values, text, sources, root)


def _merged(loader: NodeLoader, path: Path, overrides: tuple[str, ...], problems: Problems) -> Mapping:
    """The file, what it extends, its label schema and the overrides as one mapping."""
    try:
        root = loader.load(path)
        root = loader.lay_over(root, loader.with_instruction(parse_overrides(overrides, problems)), "a recipe")
        root = loader.with_label_schema(root)
    except UserError as error:
        # Nothing more can be said about a file that cannot be read; what was found before it is still worth saying.
        raise UserError("\n".join([*problems.lines(), str(error)])) from None
    return expect_mapping(root, "a recipe")


def _kind(root: Mapping, kind: str | None, path: str, problems: Problems) -> str:
    """The recipe's kind. Under another kind than the script's all else is meaningless."""
    node = get(root, "kind")
    file = Position(root.position.file)
    kinds = join(list(RECIPE_OF_KIND))
    if node is None:
        problems.add(file, ("kind",), f"is missing; write kind: {kind or kinds}")
        problems.raise_if_any()
    assert node is not None
    written = to_plain(node)
    if isinstance(written, str) and written in RECIPE_OF_KIND:
        if kind is None or written == kind:
            return written
        script = SCRIPT_OF_KIND[written]
        raise UserError(f"{node.position}: kind: {written} belongs to {script}; run: python {script} {path}")
    hint = did_you_mean(written, RECIPE_OF_KIND) if isinstance(written, str) else ""
    problems.add(node.position, ("kind",), f"expected {kinds}, found {found(written)}{hint}")
    problems.raise_if_any()
    raise AssertionError("unreachable")


def _method(root: Mapping, kind: str, implied: str | None, methods: Methods) -> RecipeMethod | None:
    """The method of a recipe of this kind: the named one, the implied one, or the only one of the kind; None where it
    names one that there is not, and where the kind has no methods. Raises UserError where it cannot be imported."""
    node = get(root, "model", "method")
    named = None if node is None else to_plain(node)
    if isinstance(named, str) and named in methods:
        return methods[named] if methods[named].kind == kind else None
    of_kind = {one.name: one for one in working(methods) if one.kind == kind}
    return None if named is not None else of_kind.get(implied or "", next(iter(of_kind.values()), None))


# ---------------------------------------------------------------- fragments
def load_fragment(path: str | Path, methods: Methods) -> dict[str, Any]:
    """Read and check a part of a recipe: sections without `kind` (a task), or the keys of `labels` alone (a schema).

    Keys may be missing; types, names and values are checked.

    Raises:
        UserError: as `load_recipe`.
    """
    problems = Problems()
    recipes = tuple(recipe_classes(methods).values())
    loader = NodeLoader(problems, implied=implied_method(methods))
    root = _merged(loader, Path(path), (), problems)
    schema = is_label_schema(root)
    if schema:
        root = Mapping({"labels": Entry(root, root.position)}, root.position)
    _, values = validated(root, fragment_model(recipes), problems, recipes, partial=True)
    problems.raise_if_any()
    return values["labels"] if schema else values


def peek_kind(path: str | Path) -> str | None:
    """The kind that a file says, after `extends`, or None for a fragment. Raises UserError where it cannot be read."""
    kind = get(NodeLoader(Problems()).load(Path(path)), "kind")
    return None if kind is None else str(to_plain(kind))


def is_label_schema(root: Mapping) -> bool:
    """Whether the top level holds keys of the `labels` section and none of a recipe."""
    top = {name for model in RECIPE_OF_KIND.values() for name in model.model_fields}
    names = set(without(root, "extends").entries)
    return bool(names & (set(LabelsSection.model_fields) | set(LOADER_KEYS["labels"]))) and not names & top


def fragment_model(recipes: Iterable[type[BaseModel]]) -> type[BaseModel]:
    """A class with the sections of every kind."""
    fields: dict[str, Any] = {}
    for model in recipes:
        for name, info in model.model_fields.items():
            if name != "kind":
                fields.setdefault(name, (info.annotation, info))
    return create_model("Fragment", __base__=Section, **fields)
