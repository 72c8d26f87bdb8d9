"""Nodes against the types of `sections.py`: every unknown, missing and mistyped key, in words, with file and line.

The annotations of the sections decide. Pydantic builds the objects afterwards; its own messages ("Input should be a
valid number, unable to parse string") would name no line and every branch of a union.
"""

from __future__ import annotations

import math
import operator
import types
from collections.abc import Iterable
from collections.abc import Mapping as AbstractMapping
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from categorize.recipe import hints, upstream
from categorize.recipe.nodes import Entry, Mapping, Node, Scalar, Sequence, erased, key_position, to_plain
from categorize.recipe.problems import COMMAND_LINE, Key, Problems
from categorize.recipe.section import UpstreamSection
from categorize.recipe.sections import ADAPTER_CLASSES, AdapterSection
from categorize.recipe.wording import did_you_mean, found, join, similar, way_out

Recipes = tuple[type[BaseModel], ...]  # the class of each kind's recipes
INVALID: Any = object()  # a value that was refused, or deleted
MANY_KEYS = 12

# Keys that the loader takes out before the types are checked; they are known, and documented beside the sections.
LOADER_KEYS: dict[str, dict[str, str]] = {
    "": {"extends": "Path of another recipe, or a list of paths, that this one builds on; relative to this file."},
    "labels": {"schema": "Path of a file with the labels section (relative to this file); keys beside it go on top."},
}


# ---------------------------------------------------------------- annotations
def members(annotation: Any) -> Branches:
    """The branches of a union, each with its constraints; a plain annotation is a union of one."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        constraints = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return [(branch, own + constraints) for branch, own in members(inner)]
    if get_origin(annotation) in (Union, types.UnionType):
        return [branch for part in get_args(annotation) for branch in members(part)]
    return [(annotation, [])]


Branches = list[tuple[Any, list[Any]]]


def branches_of(field: FieldInfo) -> Branches:
    """The branches of a field's annotation, each with its constraints."""
    return [(branch, own + field.metadata) for branch, own in members(field.annotation)]


def filled_class(model: type[UpstreamSection]) -> str:
    """Name of the upstream class that a section fills (adapters choose theirs by `type`)."""
    return str(vars(model)["upstream_class"])


def is_section(annotation: Any) -> bool:
    """Whether the annotation is a class of keys."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def describe(branches: Branches) -> str:
    """What an annotation allows, in words."""
    texts = [text for branch, constraints in branches if (text := _describe_branch(branch, constraints))]
    return join(list(dict.fromkeys(texts)))


def _describe_branch(branch: Any, constraints: Iterable[Any]) -> str:
    if is_section(branch) or origin(branch) is dict or branch is dict:
        return "a mapping"
    if origin(branch) is Literal:
        return f"one of {', '.join(map(str, get_args(branch)))}"
    if origin(branch) is list:
        plain = {str: "texts", int: "whole numbers", float: "numbers"}
        (inner, _), *others = members(get_args(branch)[0])
        return f"a list of {plain[inner]}" if inner in plain and not others else "a list"
    names = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}
    limits = [text for constraint in constraints if (text := _limit(constraint))]
    return f"{names.get(branch, 'another value')} {' and '.join(limits)}".rstrip()


def _limit(constraint: Any) -> str:
    match constraint:
        case annotated_types.Ge(ge=bound):
            return f"of at least {bound:.10g}"
        case annotated_types.Gt(gt=bound):
            return f"above {bound:.10g}"
        case annotated_types.Le(le=bound):
            return f"of at most {bound:.10g}"
        case annotated_types.Lt(lt=bound):
            return f"below {bound:.10g}"
    return ""


def _broken(constraint: Any, value: Any) -> str | None:
    """What a value breaks, in words, or None."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        for name in ("ge", "gt", "le", "lt"):
            if hasattr(constraint, name) and not getattr(operator, name)(value, getattr(constraint, name)):
                return f"expected a number {_limit(constraint)}, found {found(value)}"
    if isinstance(value, (str, list, dict)):
        least, most = getattr(constraint, "min_length", None), getattr(constraint, "max_length", None)
        if least and len(value) < least:
            return "must not be empty" if least == 1 else f"needs at least {least} items, found {len(value)}"
        if most is not None and len(value) > most:
            return f"takes at most {most} items, found {len(value)}"
    return None


# ---------------------------------------------------------------- where keys are at home
@cache
def homes(recipes: Recipes) -> AbstractMapping[str, tuple[str, ...]]:
    """Key -> the sections that have it, over all kinds of recipes, such as `learning_rate` -> (`training`,)."""
    index: dict[str, dict[str, None]] = {}

    def walk(model: type[BaseModel], prefix: str) -> None:
        for key in LOADER_KEYS.get(prefix, {}):
            index.setdefault(key, {})[prefix] = None
        for name, field in model.model_fields.items():
            index.setdefault(name, {})[prefix] = None
            for branch, _ in members(field.annotation):
                if is_section(branch):
                    walk(branch, f"{prefix}.{name}" if prefix else name)
        if issubclass(model, UpstreamSection):
            classes = set(ADAPTER_CLASSES.values()) if model is AdapterSection else {filled_class(model)}
            for cls in sorted(classes):
                for key in upstream.load_table()[cls]:
                    if not hints.owned(prefix, key):
                        index.setdefault(key, {})[prefix] = None

    for model in recipes:
        walk(model, "")
    return {key: tuple(sections) for key, sections in index.items()}


def explain_unknown(recipes: Recipes, section: str, key: str, own: Iterable[str]) -> str:
    """What was most likely meant by a key that `section` does not have; `own` are the keys that it has."""
    if message := hints.owned(section, key):
        return message
    elsewhere = [home for home in homes(recipes).get(key, ()) if home != section]
    if elsewhere and len(elsewhere) <= 3:
        return f"belongs {join([f'under {home}' if home else 'at the top level' for home in elsewhere])}"
    known = list(own)
    if section and section in homes(recipes).get(key, ()) and key not in known:
        return f"is a key of {section} in another kind of recipe; remove it here"
    if guess := similar(key, known):
        return f"unknown key; did you mean {guess}?"
    if guess := similar(key, homes(recipes), cutoff=0.85):
        return f"unknown key; did you mean {join([f'{home}.{guess}'.lstrip('.') for home in homes(recipes)[guess]])}?"
    listed = f"; keys here: {', '.join(known)}" if len(known) <= MANY_KEYS else "; docs/recipes.md lists the keys"
    return f"unknown key{did_you_mean(key, known) or listed}"


# ---------------------------------------------------------------- the check
class TypeCheck:
    """Checks nodes and gives plain data back; what is wrong goes to `problems`.

    `recipes` are those that a key may be at home in; `partial` is for fragments (a task that recipes extend): keys of
    sections may be missing there.
    """

    def __init__(self, problems: Problems, recipes: Recipes, partial: bool = False) -> None:
        self.problems = problems
        self.recipes = recipes
        self.partial = partial

    def section(self, node: Mapping, model: type[BaseModel], key: Key = ()) -> dict[str, Any]:
        """A mapping against a class of keys."""
        values: dict[str, Any] = {}
        section = ".".join(str(part) for part in key)
        for name, entry in node.entries.items():
            here = (*key, name)
            if name in model.model_fields:
                value = self.value(entry.value, branches_of(model.model_fields[name]), here)
            elif issubclass(model, UpstreamSection):
                value = self._upstream(node, model, section, here)
            else:
                value = INVALID
                own = [*model.model_fields, *LOADER_KEYS.get(section, {})]
                if not _removes_inherited(entry):
                    message = _other_variant(self.recipes, key, name) or explain_unknown(
                        self.recipes, section, name, own
                    )
                    self.problems.add(entry.key, here, message)
            if value is not INVALID:
                values[name] = value
        if not self.partial or any(isinstance(part, int) for part in key):  # items of a list are not merged
            self._missing(node, model, key)
        return values

    def value(self, node: Node, branches: Branches, key: Key) -> Any:
        """A node against the branches of an annotation: plain data, or INVALID."""
        if isinstance(node, Scalar):
            return self._scalar(node, branches, key)
        if isinstance(node, Sequence):
            for branch, constraints in branches:
                if origin(branch) is list:
                    inner = members(get_args(branch)[0])
                    items = [self.value(item, inner, (*key, i)) for i, item in enumerate(node.items)]
                    valid = not any(item is INVALID for item in items)
                    return self._constrained(node, items if valid else INVALID, constraints, key)
            return self._refuse(node, branches, key)
        sections = [branch for branch, _ in branches if is_section(branch)]
        if sections:
            model = self._variant(node, sections, key)
            return INVALID if model is None else self.section(node, model, key)
        for branch, _ in branches:
            if origin(branch) is dict:
                inner = members(get_args(branch)[1])
                values = {name: self.value(entry.value, inner, (*key, name)) for name, entry in node.entries.items()}
                return {name: value for name, value in values.items() if value is not INVALID}
        return self._refuse(node, branches, key)

    def _scalar(self, node: Scalar, branches: Branches, key: Key) -> Any:
        value = node.value
        if value is None:
            if any(branch is type(None) for branch, _ in branches):
                return None
            return INVALID if node.erases and not isinstance(key[-1], int) else self._refuse(node, branches, key)
        for branch, constraints in branches:
            if origin(branch) is Literal and (type(value), value) in [(type(c), c) for c in get_args(branch)]:
                return value
            if isinstance(value, float) and not math.isfinite(value):
                continue  # no key could mean .nan or .inf
            if branch is type(value) or (branch is float and type(value) is int):
                return self._constrained(node, value, constraints, key)
        return self._refuse(node, branches, key)

    def _constrained(self, node: Node, value: Any, constraints: Iterable[Any], key: Key) -> Any:
        if value is INVALID:
            return INVALID
        for constraint in constraints:
            if (wrong := _broken(constraint, value)) is not None:
                self.problems.add(node.position, key, wrong)
                return INVALID
        return value

    def _refuse(self, node: Node, branches: Branches, key: Key) -> Any:
        value = to_plain(node)
        types = [branch for branch, _ in branches]
        vocabulary = {str: "string", int: "int", float: "float", bool: "bool"}
        kinds = {vocabulary.get(branch, "list" if origin(branch) is list else "other") for branch in types}
        choices = [str(choice) for branch in types if origin(branch) is Literal for choice in get_args(branch)]
        message = f"expected {describe(branches)}, found {found(value)}"
        hint = did_you_mean(value, choices) if isinstance(value, str) and choices else ""
        text = node.text if isinstance(node, Scalar) else None
        self.problems.add(node.position, key, message + (hint or way_out(value, kinds, text)))
        return INVALID

    # ------------------------------------------------------------ variants of a section (model.method)
    def _variant(self, node: Mapping, models: list[type[BaseModel]], key: Key) -> type[BaseModel] | None:
        if len(models) == 1:
            return models[0]
        name, choices = discriminator(models)
        entry = node.entries.get(name)
        chosen = to_plain(entry.value) if entry is not None else None
        if chosen is None:
            return next((model for model in models if not model.model_fields[name].is_required()), models[0])
        if isinstance(chosen, str) and chosen in choices:
            return choices[chosen]
        assert entry is not None
        hint = did_you_mean(chosen, choices) if isinstance(chosen, str) else ""
        self.problems.add(
            entry.value.position, (*key, name), f"expected one of {', '.join(choices)}, found {found(chosen)}{hint}"
        )
        return None

    # ------------------------------------------------------------ keys of other libraries' classes
    def _upstream(self, node: Mapping, model: type[UpstreamSection], section: str, key: Key) -> Any:
        name = str(key[-1])
        entry = node.entries[name]
        table = upstream.load_table()
        if model is AdapterSection:
            kind = to_plain(node.entries["type"].value) if "type" in node.entries else None
            cls = ADAPTER_CLASSES.get(kind) if isinstance(kind, str) else None
        else:
            kind, cls = None, filled_class(model)
        message = hints.owned(section, name)
        if message is None and cls is None:
            # Without a valid type no class is known; that is one problem of its own, so only impossible keys are named.
            if any(name in table[known] for known in ADAPTER_CLASSES.values()):
                return INVALID
            message = explain_unknown(self.recipes, section, name, model.model_fields)
        elif message is None and cls is not None and name not in table[cls]:
            own = [*model.model_fields, *(field for field in table[cls] if not hints.owned(section, field))]
            others = (
                [kind for kind, other in ADAPTER_CLASSES.items() if name in table[other]]
                if model is AdapterSection
                else []
            )
            message = (
                f"belongs to adapter.type: {join(others)}; this one is {kind}"
                if others
                else explain_unknown(self.recipes, section, name, own)
            )
        if message is not None or cls is None:
            if not _removes_inherited(entry):
                self.problems.add(entry.key, key, message or "unknown key")
            return INVALID
        field = table[cls][name]
        value = to_plain(entry.value)
        if erased(entry.value) and "null" not in field["types"]:
            return INVALID
        wrong = upstream.complaint(field, value)
        if wrong is None and model is AdapterSection:
            wrong = upstream.out_of_bounds(name, value)
        if wrong is not None:
            self.problems.add(entry.value.position, key, wrong)
            return INVALID
        return value

    # ------------------------------------------------------------ missing keys
    def _missing(self, node: Mapping, model: type[BaseModel], key: Key) -> None:
        variant = "method" if "method" in model.model_fields else "type"
        if any(similar(name, [variant]) for name in node.entries if name not in model.model_fields):
            return  # a misspelt `method` says nothing about which keys are missing
        for name, field in model.model_fields.items():
            entry = node.entries.get(name)
            if not field.is_required() or (entry is not None and not erased(entry.value)):
                continue
            here = (*key, name)
            message = hints.MISSING.get(".".join(map(str, here)))
            if message is None:
                described = field.description or next(
                    (m.__doc__ for m, _ in members(field.annotation) if is_section(m)), None
                )
                message = "is missing" + (f": {described.strip().splitlines()[0]}" if described else "")
            self.problems.add(node.position if key else node.position._replace(line=0), here, message)


def _removes_inherited(entry: Entry) -> bool:
    """Whether the key does no more than delete one of a file below, which may as well be an unknown one."""
    return erased(entry.value) and entry.key.file != COMMAND_LINE


def _other_variant(recipes: Recipes, key: Key, name: str) -> str | None:
    """Says of a key that another `method` of the same section has it."""
    if len(key) != 1:
        return None
    for recipe in recipes:
        field = recipe.model_fields.get(str(key[0]))
        models = [branch for branch, _ in members(field.annotation) if is_section(branch)] if field else []
        if len(models) > 1:
            decider, choices = discriminator(models)
            having = [choice for choice, model in choices.items() if name in model.model_fields]
            if having:
                return f"belongs to {key[0]}.{decider}: {join(having)}"
    return None


def origin(branch: Any) -> Any:
    """`typing.get_origin` with a type that may be compared with any class."""
    return get_origin(branch)


def discriminator(models: list[type[BaseModel]]) -> tuple[str, dict[str, type[BaseModel]]]:
    """The key that tells the variants of a section apart, and the variant for each of its values."""
    for name in models[0].model_fields:
        if all(
            get_origin(model.model_fields[name].annotation) is Literal for model in models if name in model.model_fields
        ):
            return name, {
                str(choice): model for model in models for choice in get_args(model.model_fields[name].annotation)
            }
    raise TypeError(f"variants {models} share no Literal key")


def refuse_powers(node: Node, problems: Problems, key: Key = ()) -> Node:
    """The node without `trust_remote_code` at any depth; each is a problem: power comes from the command line."""
    if isinstance(node, Sequence):
        return Sequence(
            tuple(refuse_powers(item, problems, (*key, i)) for i, item in enumerate(node.items)),
            node.position,
            node.size,
        )
    if not isinstance(node, Mapping):
        return node
    entries = {}
    for name, entry in node.entries.items():
        if name == "trust_remote_code":
            position = key_position(node, name) or node.position
            problems.add(position, (*key, name), "is a command-line flag, never a recipe key; pass --trust-remote-code")
        else:
            entries[name] = type(entry)(refuse_powers(entry.value, problems, (*key, name)), entry.key)
    return Mapping(entries, node.position, node.size)
