"""What the columns of a file hold: counted while it is read, in the memory of what differs."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

_VALUES = 2000  # distinct values that are counted one by one
_DISTINCT = 3_000_000  # of which it is still told whether all differ
_OBJECTS = 200  # cells of JSON that are looked into
_PLACES = 40  # in all columns
_DEEPEST = 8
_NUMBER = re.compile(r"[-+]?\d+(\.\d+)?([eE][-+]?\d+)?")
_OBJECT = re.compile(r"\s*(\{\s*\"|\[\s*[\[{\"])")
_WHEN = re.compile(r"\d{4}[-/.年]\d{1,2}[-/.月]\d{1,2}日?([T ].*)?|\d{1,2}:\d{2}(:\d{2})?([.,]\d+)?")


@dataclass
class Profile:
    """One column.

    Attributes:
        filled: cells that hold something.
        is_list: whether cells are lists; then `counts` are of their items.
        counts: of the first 2,000 distinct values.
        characters: of all cells together.
    """

    name: str
    rows: int = 0
    filled: int = 0
    is_list: bool = False
    numbers: int = 0
    times: int = 0
    objects: int = 0
    characters: int = 0
    longest: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    more: bool = False  # distinct values beyond those that are counted
    examples: list[str] = field(default_factory=list)
    _seen: set[int] = field(default_factory=set)

    def add(self, cells: Iterable[Any]) -> None:
        """Count some cells: texts, lists of texts or None."""
        for cell in cells:
            self.rows += 1
            if cell is None or (isinstance(cell, str) and not cell.strip()):
                continue
            self.filled += 1
            self.is_list = self.is_list or isinstance(cell, list)
            for value in cell if isinstance(cell, list) else (cell,):
                if value is not None:
                    self._count(value)

    def _count(self, value: str) -> None:
        self.characters += len(value)
        self.longest = max(self.longest, len(value))
        if len(self._seen) < _DISTINCT:
            self._seen.add(hash(value))
        if value in self.counts or len(self.counts) < _VALUES:
            self.counts[value] += 1
            if self.counts[value] == 1 and len(self.examples) < 3:
                self.examples.append(value)
        else:
            self.more = True
        self.numbers += _NUMBER.fullmatch(value) is not None
        self.times += _WHEN.fullmatch(value) is not None
        self.objects += _OBJECT.match(value) is not None

    @property
    def distinct(self) -> int:
        """How many values differ."""
        return len(self._seen)

    @property
    def mean(self) -> float:
        """Characters of a cell that holds something."""
        return self.characters / max(self.filled, 1)

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value of its own."""
        return not self.is_list and self.filled == self.rows == self.distinct > 1

    @property
    def is_number(self) -> bool:
        """Whether nearly all that it holds are numbers."""
        return self.filled > 0 and not self.is_list and self.numbers >= 0.95 * self.filled

    @property
    def is_time(self) -> bool:
        """Whether nearly all that it holds are dates or times."""
        return self.filled > 0 and self.times >= 0.95 * self.filled

    @property
    def is_nested(self) -> bool:
        """Whether it holds JSON objects, or lists of them."""
        return self.filled > 0 and 2 * self.objects > max(sum(self.counts.values()), 1)


def profiled(tables: Iterable[pa.Table]) -> dict[str, Profile]:
    """The columns of some tables that follow each other; a column that one lacks is empty there."""
    found: dict[str, Profile] = {}
    rows = 0
    for table in tables:
        for name in table.column_names:
            profile = found.setdefault(name, Profile(name, rows))
            profile.add(table[name].to_pylist())
        rows += table.num_rows
        for profile in found.values():
            profile.rows = rows
    return found


def places(profiles: Iterable[Profile]) -> list[str]:
    """Places inside columns of JSON, `data.text`; of a list the first item, or all where these are plain objects."""
    found: dict[str, None] = {}
    for profile in profiles:
        if not profile.is_nested:
            continue
        for value in list(profile.counts)[:_OBJECTS]:
            with suppress(ValueError, RecursionError):
                inner = json.loads(value)
                found |= dict.fromkeys(_leaves(f"{profile.name}.0" if profile.is_list else profile.name, inner))
            if len(found) >= _PLACES:
                break
    return list(found)[:_PLACES]


def _leaves(place: str, value: Any, depth: int = 0) -> list[str]:
    if depth >= _DEEPEST:
        return []
    if isinstance(value, dict):
        return [one for key, inner in value.items() for one in _leaves(f"{place}.{key}", inner, depth + 1)]
    if isinstance(value, list) and value and isinstance(value[0], dict | list):
        return _leaves(f"{place}.0", value[0], depth + 1)
    return [place] if depth else []
