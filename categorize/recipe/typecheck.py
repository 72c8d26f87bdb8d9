"""Nodes against the types of `sections.py`: every unknown, missing and mistyped key, in words, with file and line.

Pydantic finds what is wrong, in every branch of a union and without lines; here that becomes one problem a key, at the
place where it was written, with what the annotation allows and what was meant.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable
from collections.abc import Mapping as AbstractMapping
from functools import cache
from typing import Annotated, Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from categorize.recipe import hints
from categorize.recipe.nodes import Entry, Mapping, Scalar, entries, erased, get, nearest_position, to_plain
from categorize.recipe.problems import COMMAND_LINE, Key, Problems
from categorize.recipe.section import UpstreamSection, Variants, names_type
from categorize.recipe.wording import did_you_mean, found, join, similar, way_out

Recipes = tuple[type[BaseModel], ...]  # the class of each kind's recipes
Branches = list[tuple[Any, list[Any]]]  # of a union, each with its metadata; a plain annotation is a union of one
M = TypeVar("M", bound=BaseModel)
MANY_KEYS = 12
LIMITS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}

# Keys that the loader takes out before the types are checked; they are known, and documented beside the sections.
LOADER_KEYS: dict[str, dict[str, str]] = {
    "": {"extends": "Path of another recipe, or a list of paths, that this one builds on; relative to this file."},
    "labels": {"schema": "Path of a file with the labels section (relative to this file); keys beside it go on top."},
    "prompt": {"file": "Path of a text file with the instruction (relative to this file), instead of system."},
}


# ---------------------------------------------------------------- annotations
def members(annotation: Any) -> Branches:
    """The branches of an annotation."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        own = [part for item in metadata for part in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return [(branch, more + own) for branch, more in members(inner)]
    if get_origin(annotation) in (Union, types.UnionType):
        return [branch for part in get_args(annotation) for branch in members(part)]
    return [(annotation, [])]


def branches_of(field: FieldInfo) -> Branches:
    """The branches of a field's annotation."""
    return [(branch, metadata + field.metadata) for branch, metadata in members(field.annotation)]


def is_section(annotation: Any) -> bool:
    """Whether the annotation is a class of keys."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def origin(branch: Any) -> Any:
    """`typing.get_origin` with a type that may be compared with any class."""
    return get_origin(branch)


def variants_of(branches: Branches) -> Variants | None:
    """What tells the variants of a section apart, or None where it has none."""
    return next((item for _, metadata in branches for item in metadata if isinstance(item, Variants)), None)


def sections_of(branches: Branches) -> list[type[BaseModel]]:
    """The classes of keys that may stand here: those of a section's variants, or the section's own."""
    variants = variants_of(branches)
    classes = variants.classes.values() if variants else [branch for branch, _ in branches if is_section(branch)]
    return list(dict.fromkeys(classes))


def section_at(branches: Branches, value: Any) -> type[BaseModel] | None:
    """The class of keys that checks a value, or None where none does."""
    variants = variants_of(branches)
    if any(origin(branch) is dict for branch, _ in branches) and not names_type(value):
        return None  # a mapping of names that the user gives
    return variants.of(value) if variants else next(iter(sections_of(branches)), None)


def _inside(branches: Branches, value: Any, part: str | int) -> Branches:
    """What may stand at a key, or an item, of a value; nothing where there is no such key."""
    if isinstance(value, dict) and (section := section_at(branches, value)) is not None:
        return branches_of(section.model_fields[str(part)]) if part in section.model_fields else []
    kind = dict if isinstance(value, dict) else list
    return next((members(get_args(branch)[-1]) for branch, _ in branches if origin(branch) is kind), [])


def describe(branches: Branches) -> str:
    """What an annotation allows, in words."""
    kinds = {branch for branch, _ in branches}
    implied: set[Any] = {int} if float in kinds else set()
    if any(origin(branch) is Literal for branch in kinds):
        implied.add(str)  # further texts are described by a choice: pissa_niter_[number of iters]
    texts = [_describe_branch(branch, metadata) for branch, metadata in branches if branch not in implied]
    return join(list(dict.fromkeys(texts)))


def _describe_branch(branch: Any, metadata: Iterable[Any]) -> str:
    if is_section(branch) or origin(branch) is dict:
        return "a mapping"
    if origin(branch) is Literal:
        return f"one of {', '.join(map(str, get_args(branch)))}"
    if origin(branch) is list:
        plain = {str: "texts", int: "whole numbers", float: "numbers"}
        (inner, _), *others = members(get_args(branch)[0])
        return f"a list of {plain[inner]}" if inner in plain and not others else "a list"
    names = {str: "a text", bool: "true or false", int: "a whole number", float: "a number", type(None): "null"}
    limits = [_limit(name, getattr(item, name)) for item in metadata for name in LIMITS if hasattr(item, name)]
    return f"{names.get(branch, 'another value')} {' and '.join(limits)}".rstrip()


def _limit(name: str, bound: float) -> str:
    return f"{LIMITS[name]} {bound:.10g}"


# ---------------------------------------------------------------- where keys are at home
@cache
def homes(recipes: Recipes) -> AbstractMapping[str, tuple[str, ...]]:
    """Key -> the sections that have it, over all kinds of recipes, such as `learning_rate` -> (`training`,)."""
    index: dict[str, dict[str, None]] = {}

    def walk(model: type[BaseModel], prefix: str) -> None:
        for key in (*LOADER_KEYS.get(prefix, {}), *model.model_fields):
            index.setdefault(key, {})[prefix] = None
        for name, field in model.model_fields.items():
            for section in sections_of(branches_of(field)):
                walk(section, f"{prefix}.{name}".lstrip("."))

    for model in recipes:
        walk(model, "")
    return {key: tuple(sections) for key, sections in index.items()}


def explain_unknown(
    recipes: Recipes, section: str, key: str, own: Iterable[str], near: Callable[[str], bool] = lambda home: True
) -> str:
    """What was most likely meant by a key that `section` does not have; `own` are the keys that it has, and `near` says
    which sections this recipe can have as it is."""
    if message := hints.owned(section, key):
        return message
    known = list(own)
    if guess := similar(key, known, cutoff=0.85):
        return f"unknown key; did you mean {guess}?"
    elsewhere = [home for home in homes(recipes).get(key, ()) if home != section]
    elsewhere = [home for home in elsewhere if near(home)] or elsewhere
    elsewhere = [home for home in elsewhere if "." not in home] or elsewhere  # sections before what is inside of them
    if elsewhere and len(elsewhere) <= 3:
        return f"belongs {join([f'under {home}' if home else 'at the top level' for home in elsewhere])}"
    if section and section in homes(recipes).get(key, ()) and key not in known:
        return f"is a key of {section} in another kind of recipe; remove it here"
    if guess := similar(key, known):
        return f"unknown key; did you mean {guess}?"
    if guess := similar(key, homes(recipes), cutoff=0.85):
        return f"unknown key; did you mean {join([f'{home}.{guess}'.lstrip('.') for home in homes(recipes)[guess]])}?"
    listed = f"; keys here: {', '.join(known)}" if len(known) <= MANY_KEYS else "; docs/recipes.md lists the keys"
    return f"unknown key{did_you_mean(key, known) or listed}"


# ---------------------------------------------------------------- the check
def validated(
    root: Mapping, model: type[M], problems: Problems, recipes: Recipes, partial: bool = False
) -> tuple[M | None, dict[str, Any]]:
    """The typed object, None where anything is wrong, and the plain data that it was made from.

    Args:
        problems: takes what is wrong.
        recipes: that a key may be at home in.
        partial: for fragments (a task that recipes extend): keys of sections may be missing there.
    """
    return _Check(root, model, problems, recipes, partial).run()


class _Check(Generic[M]):
    def __init__(self, root: Mapping, model: type[M], problems: Problems, recipes: Recipes, partial: bool) -> None:
        self.root, self.model, self.problems, self.recipes, self.partial = root, model, problems, recipes, partial
        self.values: dict[str, Any] = to_plain(root, deleted=True)

    def run(self) -> tuple[M | None, dict[str, Any]]:
        for key, entry in entries(self.root):
            if key[-1] == "trust_remote_code":
                self.problems.add(entry.key, key, hints.RENAMED["trust_remote_code"])
            if erased(entry.value):
                self.delete(key, entry)
        try:
            return self.model.model_validate(self.values), self.values
        except ValidationError as error:
            details: dict[Key, list[Any]] = {}
            for one in error.errors(include_url=False):
                details.setdefault(_key(one, self.values), []).append(one)
        around = {key[:i] for key in details for i in range(len(key))}
        for key, of_branches in details.items():
            # A value fits no branch of a union, or one of them but for a bound, or for what stands inside.
            detail: Any = next((one for one in of_branches if not _is_misfit(one)), None)
            if detail is None and key not in around:
                self.refuse(key)
            elif detail is not None and detail["type"] == "missing":
                self.miss(key)
            elif detail is not None and detail["type"] == "extra_forbidden":
                self.problems.add(nearest_position(self.root, key), key, self.explain(key))
            elif detail is not None:
                self.bound(key, detail)
        return None, self.values

    def walk(self, key: Iterable[str | int]) -> tuple[Branches, Any]:
        """What may stand at a key, and what does."""
        branches: Branches = [(self.model, [])]
        value: Any = self.values
        for part in key:
            branches, value = _inside(branches, value, part), value[part]
        return branches, value

    def delete(self, key: Key, entry: Entry) -> None:
        """A null deletes what was inherited, which may as well be an unknown key, but where the key may be null."""
        branches, holder = self.walk(key[:-1])
        allowed = _inside(branches, holder, key[-1])
        unknown = not allowed and section_at(branches, holder) is not None
        if not any(branch is type(None) for branch, _ in allowed) and (not unknown or entry.key.file != COMMAND_LINE):
            del holder[key[-1]]

    def refuse(self, key: Key) -> None:
        """A value that no branch takes."""
        branches, value = self.walk(key)
        node = get(self.root, *key)
        assert node is not None
        vocabulary = {str: "string", int: "int", float: "float", bool: "bool"}
        choices = [str(choice) for branch, _ in branches if origin(branch) is Literal for choice in get_args(branch)]
        kinds = {vocabulary.get(branch, "list" if origin(branch) is list else "") for branch, _ in branches}
        kinds = kinds - {"list"} if choices else kinds
        if "no" in choices:
            kinds.add("string")  # false may stand for it
        hint = did_you_mean(value, choices) if isinstance(value, str) and choices else ""
        hint = hint or way_out(value, kinds, node.text if isinstance(node, Scalar) else None)
        section = section_at(*self.walk(key[:1]))
        item = ""
        if isinstance(last := key[-1], int) and section is not None and issubclass(section, UpstreamSection):
            key, item = key[:-1], f"item {last + 1}: "
        self.problems.add(node.position, key, f"{item}expected {describe(branches)}, found {found(value)}{hint}")

    def bound(self, key: Key, detail: Any) -> None:
        """A value of the right type that is out of bounds, or that a validator refuses."""
        context, value = detail["ctx"], detail["input"]
        if error := context.get("error"):
            self.problems.add(nearest_position(self.root, key), key, str(error))
            return
        node = get(self.root, *key)
        assert node is not None
        least, most = context.get("min_length"), context.get("max_length")
        if least or most:
            wrong = f"needs at least {least} items" if least else f"takes at most {most} items"
            message = "must not be empty" if least == 1 else f"{wrong}, found {len(value)}"
        else:
            name = next(name for name in LIMITS if name in context)
            message = f"expected a number {_limit(name, context[name])}, found {found(value)}"
        self.problems.add(node.position, key, message)

    def miss(self, key: Key) -> None:
        """A required key that is not there."""
        *path, name = key
        branches, holder = self.walk(path)
        section = section_at(branches, holder)
        node = get(self.root, *path)
        assert section is not None and node is not None
        if self.partial and not any(isinstance(part, int) for part in path):  # items of a list are not merged
            return
        variant = "method" if "method" in section.model_fields else "type"
        if any(similar(other, [variant]) for other in holder if other not in section.model_fields):
            return  # a misspelt `method` says nothing about which keys are missing
        field = section.model_fields[str(name)]
        told = field.description or next((cls.__doc__ for cls in sections_of(branches_of(field)) if cls.__doc__), None)
        message = "is missing" + (f": {told.strip().splitlines()[0]}" if told else "")
        position = node.position if path else node.position._replace(line=0)
        self.problems.add(position, key, hints.MISSING.get(".".join(map(str, key)), message))

    def explain(self, key: Key) -> str:
        """What was most likely meant by an unknown key."""
        *path, name = key
        branches, holder = self.walk(path)
        section = section_at(branches, holder)
        assert section is not None
        place = ".".join(map(str, path))
        if not hints.owned(place, str(name)):
            fields = [recipe.model_fields[place] for recipe in self.recipes if place in recipe.model_fields]
            for of_place in (branches, *map(branches_of, fields)):
                variants = variants_of(of_place)
                having = [one for one, cls in variants.classes.items() if name in cls.model_fields] if variants else []
                if variants and having and name != variants.key:
                    this = f"; this one is {holder[variants.key]}" if holder.get(variants.key) else ""
                    return f"belongs to {place}.{variants.key}: {join(having)}{this}"
        own = [*section.model_fields, *LOADER_KEYS.get(place, {})]
        return explain_unknown(self.recipes, place, str(name), own, lambda home: self.can_have(home, str(name)))

    def can_have(self, home: str, name: str) -> bool:
        """Whether a section that this recipe can have, with the methods and types that it names, has such a key."""
        branches: Branches = [(self.model, [])]
        value: Any = self.values
        for part in home.split(".") if home else ():
            branches = _inside(branches, value, part)
            inner = value.get(part) if isinstance(value, dict) else None
            value = inner if isinstance(inner, dict) else {}
        section = section_at(branches, value)
        return section is not None and name in section.model_fields


def _key(detail: Any, values: Any) -> Key:
    """Pydantic's location without the tags of union branches, which are not keys of the data."""
    key: list[str | int] = []
    for step in detail["loc"]:
        if values is detail["input"]:
            break
        if (isinstance(values, dict) and step in values) or (isinstance(values, list) and isinstance(step, int)):
            values = values[step]
            key.append(step)
    return (*key, detail["loc"][-1]) if detail["type"] == "missing" else tuple(key)


def _is_misfit(detail: Any) -> bool:
    """Whether the value is of another type, or another choice."""
    bounded = {*LIMITS, "min_length", "max_length", "error"} & set(detail.get("ctx", ()))
    return not bounded and detail["type"] not in ("missing", "extra_forbidden")
