"""A recipe file becomes a typed recipe, or one error that lists everything wrong with it, each with file and line."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as AbstractMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError, create_model

from categorize.errors import UserError
from categorize.recipe.compatibility import check_compatibility
from categorize.recipe.extends import NodeLoader
from categorize.recipe.nodes import (
    Mapping,
    expect_mapping,
    get,
    key_position,
    nearest_position,
    to_plain,
    without,
)
from categorize.recipe.overrides import parse_overrides
from categorize.recipe.problems import COMMAND_LINE, Key, Position, Problems, shown
from categorize.recipe.scalars import dump
from categorize.recipe.sections import RECIPE_OF_KIND, SCRIPT_OF_KIND, LabelsSection, Recipe
from categorize.recipe.typecheck import LOADER_KEYS, TypeCheck, refuse_powers
from categorize.recipe.wording import did_you_mean, found, join


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
) -> LoadedRecipe:
    """Read, merge and check a recipe.

    Args:
        path: the YAML file.
        overrides: `key=value` arguments, laid over the file.
        kind: the kind that the calling script runs; None for any.
        environment: environment variables, for what `accelerate launch` says; the process's by default.

    Raises:
        UserError: one line for each thing that is wrong, `file:line: section.key: what is wrong, what was meant`.
    """
    problems = Problems()
    loader = NodeLoader(problems)
    overrides = tuple(overrides)
    root = _merged(loader, Path(path), overrides, problems)
    model = _model(root, kind, str(path), problems)
    values = TypeCheck(problems).section(root, model)
    check_compatibility(root, problems, environment)
    problems.raise_if_any()
    recipe = build(model, values, root, problems)
    sources = (*dict.fromkeys(shown(file) for file in loader.files), *([COMMAND_LINE] if overrides else []))
    text = f"# Resolved from: {', '.join(sources)}\n{dump(values)}"
    return LoadedRecipe(recipe, values, text, sources, root)


def _merged(loader: NodeLoader, path: Path, overrides: tuple[str, ...], problems: Problems) -> Mapping:
    """The file, what it extends, its label schema and the overrides as one mapping."""
    try:
        root = loader.load(path)
        root = loader.lay_over(root, parse_overrides(overrides, problems), "a recipe")
        root = loader.with_label_schema(root)
    except UserError as error:
        # Nothing more can be said about a file that cannot be read; what was found before it is still worth saying.
        raise UserError("\n".join([*problems.lines(), str(error)])) from None
    return expect_mapping(refuse_powers(root, problems), "a recipe")


def _model(root: Mapping, kind: str | None, path: str, problems: Problems) -> type[BaseModel]:
    """The class of the recipe's kind. Under another kind than the script's all else is meaningless."""
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
            return RECIPE_OF_KIND[written]
        script = SCRIPT_OF_KIND[written]
        raise UserError(f"{node.position}: kind: {written} belongs to {script}; run: python {script} {path}")
    mend = did_you_mean(written, RECIPE_OF_KIND) if isinstance(written, str) else ""
    problems.add(node.position, ("kind",), f"expected {kinds}, found {found(written)}{mend}")
    problems.raise_if_any()
    raise AssertionError("unreachable")


def build(model: type[BaseModel], values: dict[str, Any], root: Mapping, problems: Problems) -> Any:
    """The typed recipe. What only pydantic knows (a validator of a section) is told with its line, too."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        for detail in error.errors():
            key = _data_key(detail["loc"], values)
            problems.add(nearest_position(root, key), key, detail["msg"].removeprefix("Value error, "))
        problems.raise_if_any()
        raise


def _data_key(location: tuple[str | int, ...], values: dict[str, Any]) -> Key:
    """Pydantic's location without the tags of union branches, which are no keys of the data."""
    key: list[str | int] = []
    here: Any = values
    for step in location:
        if (isinstance(here, dict) and step in here) or (isinstance(here, list) and isinstance(step, int)):
            here = here[step]  # type: ignore[index]
        else:
            continue
        key.append(step)
    return tuple(key)


# ---------------------------------------------------------------- fragments
def load_fragment(path: str | Path) -> dict[str, Any]:
    """Read and check a part of a recipe: sections without `kind` (a task), or the keys of `labels` alone (a schema).

    Keys may be missing; types, names and values are checked.

    Raises:
        UserError: as `load_recipe`.
    """
    problems = Problems()
    loader = NodeLoader(problems)
    root = _merged(loader, Path(path), (), problems)
    model = LabelsSection if is_label_schema(root) else fragment_model()
    if model is LabelsSection:
        wrapped = TypeCheck(problems, partial=True).section(root, LabelsSection, ("labels",))
    else:
        wrapped = TypeCheck(problems, partial=True).section(root, model)
    problems.raise_if_any()
    return wrapped


def peek_kind(path: str | Path) -> str | None:
    """The kind that a file says, after `extends`, or None for a fragment. Raises UserError where it cannot be read."""
    kind = get(NodeLoader(Problems()).load(Path(path)), "kind")
    return None if kind is None else str(to_plain(kind))


def is_label_schema(root: Mapping) -> bool:
    """Whether the top level holds keys of the `labels` section and none of a recipe."""
    top = {name for model in RECIPE_OF_KIND.values() for name in model.model_fields}
    names = set(without(root, "extends").entries)
    return bool(names & (set(LabelsSection.model_fields) | set(LOADER_KEYS["labels"]))) and not names & top


def fragment_model() -> type[BaseModel]:
    """A class with the sections of every kind."""
    fields: dict[str, Any] = {}
    for model in RECIPE_OF_KIND.values():
        for name, info in model.model_fields.items():
            if name != "kind":
                fields.setdefault(name, (info.annotation, None))
    return create_model("Fragment", **fields)
