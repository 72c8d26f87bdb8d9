"""A recipe as it is written, which checks of combinations read, and what it asks of its method.

Methods are declared elsewhere and handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Mapping as AbstractMapping
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from categorize.errors import UserError
from categorize.recipe.data_sections import format_of_name
from categorize.recipe.nodes import Mapping, Node, get, key_position, to_plain
from categorize.recipe.problems import Problems
from categorize.recipe.section import Section


class RecipeMethod:
    """The part of a method's declaration that decides which recipes it can run.

    Attributes:
        name: value of `model.method`; a kind with one method needs no such key.
        kind: of its recipes, which decides the script.
        section: class of the `model` section; `method: Literal[name]` among its keys, with a default where a section
            without the key is this method's.
        uses: sections beside `model` that the method reads (adapter, prompt, quantization, training), or single keys of
            one (`training.balance`). What it does not read is refused.
        own_outputs: whether its head may have outputs that are not the labels: of the losses of ordered labels, and of
            `training.auxiliary`.
        unit: what it predicts from: each `row` by itself, or a whole `document`.
        joins_segments: whether it reads documents in the segments that `data.segments` cuts, and makes one prediction
            of them by itself; other methods of documents never get them cut.
        engines: values of `prediction.engine` that compute what it predicts; others are refused.
        checks: combinations of keys that cannot work, or would silently do nothing.
    """

    name: ClassVar[str]
    kind: ClassVar[str]
    section: ClassVar[type[Section]]
    uses: ClassVar[tuple[str, ...]] = ()
    own_outputs: ClassVar[bool] = False
    unit: ClassVar[str] = "row"
    joins_segments: ClassVar[bool] = False
    engines: ClassVar[tuple[str, ...]] = ("torch",)
    checks: ClassVar[tuple[Callable[[WrittenRecipe], None], ...]] = ()


Methods = AbstractMapping[str, RecipeMethod]
M = TypeVar("M", bound=RecipeMethod)


def working(methods: AbstractMapping[str, M]) -> list[M]:
    """The methods that can be imported; a broken package is told of where it is named, and in nobody's way else."""
    found = []
    for name in methods:
        with suppress(UserError):
            found.append(methods[name])
    return found


class WrittenRecipe:
    """Reads values of the merged nodes by dotted path, and notes problems at them.

    Attributes:
        environment: variables, for what `accelerate launch` says.
        method: of the recipe, where it has one.
    """

    def __init__(
        self,
        root: Mapping,
        environment: AbstractMapping[str, str],
        problems: Problems,
        method: RecipeMethod | None = None,
    ) -> None:
        self.root = root
        self.environment = environment
        self.problems = problems
        self.method = method

    def node(self, path: str) -> Node | None:
        """The node at a path, or None."""
        return get(self.root, *path.split("."))

    def value(self, path: str, default: Any = None) -> Any:
        """The value at a path as plain data, or the default."""
        node = self.node(path)
        return default if node is None else to_plain(node)

    def holds(self, path: str) -> bool:
        """Whether there is anything but null."""
        return self.value(path) is not None

    def true(self, path: str) -> bool:
        """Whether the value is `true`."""
        return self.value(path) is True

    def refuse(self, path: str, message: str, *more: str) -> None:
        """Notes a problem at the key of a path (`more` are further parts, which may hold dots)."""
        key = (*path.split("."), *more)
        self.problems.add(key_position(self.root, *key) or self.root.position, key, message)

    @property
    def quantized(self) -> str | None:
        """The key that quantizes the weights, or None."""
        return next((p for p in ("quantization.load_in_4bit", "quantization.load_in_8bit") if self.true(p)), None)

    @property
    def label_names(self) -> list[str] | None:
        """Names of the declared labels, without groups that are no labels; None where they come from the data."""
        names = self.value("labels.names")
        if not isinstance(names, list):
            return None
        leaves = list(_leaves(names))
        for rule in ("brings_parent", "parent_alone"):
            chosen = self.value(f"labels.rules.{rule}")
            leaves += self.group_names if chosen is True else map(str, chosen) if isinstance(chosen, list) else ()
        return list(dict.fromkeys(leaves))

    @property
    def undescribed(self) -> list[str] | None:
        """Names of the declared labels that have no description; None where labels come from the data."""
        names = self.value("labels.names")
        return list(_undescribed(names)) if isinstance(names, list) else None

    @property
    def group_names(self) -> list[str]:
        """Names of the declared groups of labels."""
        names = self.value("labels.names")
        groups = [one for one in names if isinstance(one, dict) and "labels" in one] if isinstance(names, list) else []
        return [name for one in groups if isinstance(name := one.get("name"), str)]

    @property
    def lacks_validation(self) -> bool:
        """Whether no row is held out for validation (a Hub dataset may bring its own split)."""
        source, share = self.value("data.source"), self.value("data.splits.validation")
        if share != 0 or isinstance(share, bool):
            return False
        if isinstance(source, dict):
            return source.get("validation") is None
        return bool(self.formats) and not self.formats & {"hub", "dataset"}

    @property
    def formats(self) -> set[str]:
        """Formats of the source as far as the recipe tells them; empty where only a look at the source would."""
        if form := self.value("data.format"):
            return {str(form)}
        source = self.value("data.source")
        paths = source.values() if isinstance(source, dict) else [source]
        forms = {format_of_name(path) if isinstance(path, str) else None for path in paths}
        return set() if None in forms else {form for form in forms if form}


def _leaves(names: list[Any]) -> Iterator[str]:
    for entry in names:
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, dict):
            inner = entry.get("labels")
            if isinstance(inner, list):
                yield from _leaves(inner)
            elif isinstance(entry.get("name"), str):
                yield entry["name"]


def _undescribed(names: list[Any]) -> Iterator[str]:
    for entry in names:
        inner = entry.get("labels") if isinstance(entry, dict) else None
        if isinstance(inner, list):
            yield from _undescribed(inner)
        elif not isinstance(entry, dict) or not entry.get("description"):
            yield str(entry.get("name") if isinstance(entry, dict) else entry)
