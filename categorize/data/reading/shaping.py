"""What a recipe makes of the columns of a file while it is read: places inside a column, rows that are read, and labels
that have a column each."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.data.reading.raw import LIST_OF_STRINGS, Block, RawTable, TableBuilder, becomes_list, scalar
from categorize.data.reading.ways_out import WayOut, said
from categorize.errors import UserError
from categorize.recipe.data_sections import LABELS, DataSection, LabelColumns, Range
from categorize.recipe.wording import counted, did_you_mean, first_few, quote

_ALL = "*"  # every item of a list
_YES, _NO = {"1", "true", "yes"}, {"0", "false", "no"}
_NOTHING = {"", "-1"}
_SHOWN = 3  # values that a note names


@dataclass
class Counts:
    """What was met on the way."""

    rows: int = 0
    kept: int = 0
    left_out: dict[str, Counter[str]] = field(default_factory=dict)  # by column, the values
    found: Counter[str] = field(default_factory=Counter)  # rows that have each place
    seen: dict[str, None] = field(default_factory=dict)  # columns
    blank: int = 0  # rows of which some label cells are empty


@dataclass(frozen=True)
class Shaping:
    """See above; `places` are columns that the recipe names and that may be places inside others, by their keys."""

    places: Mapping[str, str]
    where: Mapping[str, Any]
    labels: LabelColumns | None

    @classmethod
    def of(cls, data: DataSection) -> Shaping:
        """That of a recipe's section."""
        return cls(_places(data), data.where, data.columns.label_columns)

    @property
    def is_nothing(self) -> bool:
        """Whether columns stay as they are."""
        return not (self.places or self.where or self.labels)

    def apply(self, blocks: Iterator[Block], name: str, notes: list[str]) -> Iterator[Block]:
        """The blocks of a file, with what is added and without what is left out; `notes` get what was counted.

        Raises:
            UserError: a place is nowhere, a column of `data.where` or of a label is missing, no row is left, or a cell
                of a label's column is not one.
        """
        counts = Counts()
        if self.is_nothing:
            yield from blocks
            return
        for block in blocks:
            shaped = self._kept(self._placed(block, counts), counts)
            if len(shaped.numbers):
                yield self._labelled(shaped, counts)
        self._check(counts, name)
        notes += self._notes(counts, name)

    def table(self, raw: RawTable) -> RawTable:
        """A table that is in memory. Raises UserError as `apply` does."""
        if self.is_nothing:
            return raw
        notes: list[str] = []
        builder = TableBuilder(raw.name)
        for block in self.apply(iter([Block(raw.name, raw.table, raw.row_numbers)]), raw.name, notes):
            builder.add_block(block)
        return builder.finish([*raw.notes, *notes])

    def head(self, columns: pa.Table) -> pa.Table:
        """Typed columns without rows, with what is added."""
        block = self._placed(Block("", columns, range(columns.num_rows)), Counts())
        made = self._labelled(block, Counts()).columns
        assert isinstance(made, pa.Table)
        return made

    # ------------------------------------------------------------ places inside a column
    def _placed(self, block: Block, counts: Counts) -> Block:
        names = block.columns.column_names if isinstance(block.columns, pa.Table) else list(block.columns)
        counts.seen |= dict.fromkeys(names)
        for place in self.places:
            if (found := _column_and_keys(place, names)) is None:
                continue
            column, keys = found
            cells = _values(block, column)
            values = [_walk(cell, keys) for cell in cells]
            counts.found[place] += sum(value is not None for value in values)
            block = _with(block, place, values, _type_at(block, column, keys))
        return block

    # ------------------------------------------------------------ rows
    def _kept(self, block: Block, counts: Counts) -> Block:
        size = len(block.numbers)
        counts.rows += size
        keep = np.ones(size, dtype=bool)
        names = block.columns.column_names if isinstance(block.columns, pa.Table) else block.columns
        for column, wanted in self.where.items():
            cells = list(map(scalar, _values(block, column))) if column in names else [None] * size
            fits = np.array([_fits(cell, wanted) for cell in cells], dtype=bool)
            out = counts.left_out.setdefault(column, Counter())
            out.update(cells[i] or "" for i in np.flatnonzero(keep & ~fits))
            keep &= fits
        counts.kept += int(keep.sum())
        if keep.all():
            return block
        numbers = np.asarray(block.numbers)[keep]
        if isinstance(block.columns, pa.Table):
            return replace(block, columns=block.columns.filter(pa.array(keep)), numbers=numbers)
        columns = {name: list(compress(values, keep)) for name, values in block.columns.items()}
        return replace(block, columns=columns, numbers=numbers.tolist())

    # ------------------------------------------------------------ labels with a column each
    def _labelled(self, block: Block, counts: Counts) -> Block:
        if self.labels is None:
            return block
        names = block.columns.column_names if isinstance(block.columns, pa.Table) else list(block.columns)
        wanted = self.labels.columns or [name for name in names if name not in (self.labels.all_but or ())]
        there = [name for name in wanted if name in names]
        told = [self._told(block, name) for name in there]
        rows: list[list[str] | None] = []
        for cells in zip(*told, strict=True):
            known = any(cell is not None for cell in cells)
            counts.blank += known and None in cells
            rows.append([name for name, cell in zip(there, cells, strict=True) if cell] if known else None)
        return _with(block, LABELS, rows or [None] * len(block.numbers), LIST_OF_STRINGS)

    def _told(self, block: Block, column: str) -> list[bool | None]:
        """Whether each row has the label of a column; None where the cell says nothing."""
        cells = [(scalar(cell) or "").strip().casefold() for cell in _values(block, column)]
        memory = {cell: _is_label(cell, self.labels.threshold if self.labels else None) for cell in set(cells)}
        for number, cell in zip(block.numbers, cells, strict=True):
            if memory[cell] == "neither":
                raise self._neither(block.name, int(number), column, cell)
        return [memory[cell] for cell in cells]  # type: ignore[misc]

    def _neither(self, name: str, number: int, column: str, cell: str) -> UserError:
        what = f"{name}: row {number}: the column {quote(column)} of a label holds {quote(cell)}, "
        is_score = _number(cell) is not None and self.labels is not None and self.labels.threshold is None
        if not is_score or self.labels is None:
            return UserError(f"{what}not 0 or 1; fix it, or leave the column out of data.columns.label")
        of = {"columns": self.labels.columns} if self.labels.columns else {"all_but": self.labels.all_but}
        way = {"columns": {"label": {**of, "threshold": 0.5}}}
        return WayOut(f"{what}not 0 or 1; where cells are scores, set {said(**way)}", way)

    # ------------------------------------------------------------ what there is to say
    def _check(self, counts: Counts, name: str) -> None:
        there = ", ".join(map(repr, counts.seen))
        for place, key in self.places.items():
            found = _column_and_keys(place, list(counts.seen))
            if found is not None and not counts.found[place] and counts.rows:
                raise UserError(f"{key}: {name}: no row has {place!r}, a place inside the column {found[0]!r}")
        labels = (self.labels.columns or []) + (self.labels.all_but or []) if self.labels is not None else []
        for key, named in (("data.where", list(self.where)), ("data.columns.label", labels)):
            for column in named:
                if column not in counts.seen and column not in counts.found:
                    close = did_you_mean(column, counts.seen)
                    raise UserError(f"{key}: {name} has no column {quote(column)}{close}; columns: {there}")
        if not counts.kept:
            raise UserError(f"{name}: data.where leaves no row: {_left_out(counts)}; change it")

    def _notes(self, counts: Counts, name: str) -> list[str]:
        notes = []
        if counts.rows > counts.kept:
            out = f"{counts.rows - counts.kept:,} of {counted(counts.rows, 'row')} are left out"
            notes.append(f"{name}: data.where: {out}: {_left_out(counts)}")
        for place in self.places:
            if place in counts.found and (lacking := counts.rows - counts.found[place]):
                notes.append(f"{name}: {counted(lacking, 'row')} without {place!r}: nothing stands there")
        if counts.blank:
            empty = "with empty cells or -1 among the labels' columns, which count as 0"
            notes.append(f"{name}: {counted(counts.blank, 'row')} {empty}")
        return notes


NO_SHAPING = Shaping({}, {}, None)


def _places(data: DataSection) -> dict[str, str]:
    """Columns that a recipe names and that may be places inside others, with the keys that name them."""
    named: list[tuple[str, Any]] = [(f"data.columns.{key}", value) for key, value in data.columns]
    named = [(key, value) for key, value in named if not isinstance(value, LabelColumns)]
    named += [("data.splits.by_time", data.splits.by_time), ("data.where", list(data.where))]
    listed = ((key, [value] if isinstance(value, str) else value or []) for key, value in named)
    return {name: key for key, names in listed for name in names if "." in name}


def _column_and_keys(place: str, columns: Sequence[str]) -> tuple[str, list[str]] | None:
    """The column that a place is in and the way to it; None where it is a column itself, or in none."""
    if place in columns:
        return None
    parts = place.split(".")
    for end in range(len(parts) - 1, 0, -1):
        if (column := ".".join(parts[:end])) in columns:
            return column, parts[end:]
    return None


def _walk(value: Any, keys: Sequence[str]) -> Any:
    """What stands at a place; None where nothing does. Lists in text that is JSON stay text, as their cells are."""
    for i, key in enumerate(keys):
        if isinstance(value, str):
            inner = None
            with suppress(ValueError, RecursionError):
                inner = json.loads(value, parse_int=str, parse_float=str) if value.lstrip()[:1] in ("{", "[") else None
            found = _walk(inner, keys[i:])
            return scalar(found)
        if isinstance(value, list) and key == _ALL:
            found = [_walk(item, keys[i + 1 :]) for item in value]
            flat = [one for item in found for one in (item if isinstance(item, list) else [item])]
            return [one for one in flat if one is not None]
        if isinstance(value, dict):
            value = value.get(key)
        elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def _type_at(block: Block, column: str, keys: Sequence[str]) -> pa.DataType:
    """Text, or a list of texts where typed columns tell of a list."""
    if not isinstance(block.columns, pa.Table):
        return pa.string()
    kind, is_list = block.columns.schema.field(column).type, False
    for key in keys:
        if pa.types.is_struct(kind) and kind.get_field_index(key) >= 0:
            kind = kind.field(key).type
        elif becomes_list(kind):
            kind, is_list = kind.value_type, is_list or key == _ALL
        else:
            return pa.string()
    return LIST_OF_STRINGS if is_list or becomes_list(kind) else pa.string()


def _values(block: Block, column: str) -> list[Any]:
    if isinstance(block.columns, pa.Table):
        return list(block.columns[column].to_pylist())
    return list(block.columns[column])


def _with(block: Block, name: str, values: list[Any], kind: pa.DataType) -> Block:
    """The block with one more column."""
    if not isinstance(block.columns, pa.Table):
        return replace(block, columns={**block.columns, name: values})
    cells: list[Any]
    if kind == LIST_OF_STRINGS:
        cells = [None if v is None else [scalar(one) for one in (v if isinstance(v, list) else [v])] for v in values]
    else:
        cells = [scalar(value) for value in values]
    return replace(block, columns=block.columns.append_column(name, pa.array(cells, kind)))


def _fits(cell: str | None, wanted: Any) -> bool:
    if isinstance(wanted, Range):
        number = _number(cell)
        low, high = wanted.min, wanted.max
        return number is not None and (low is None or number >= low) and (high is None or number <= high)
    if isinstance(wanted, list):
        return any(_fits(cell, one) for one in wanted)
    if wanted is None or wanted == "":
        return not (cell or "").strip()
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return _number(cell) == float(wanted)
    return (cell or "").strip() == scalar(wanted)


def _number(cell: str | None) -> float | None:
    try:
        return float(cell or "")
    except ValueError:
        return None


def _is_label(cell: str, threshold: float | None) -> bool | str | None:
    """Whether a cell says that a row has a label; None: it says nothing, "neither": it cannot be read."""
    if threshold is not None and cell != "":
        number = _number(cell)
        return "neither" if number is None else number >= threshold
    plain = cell.removesuffix(".0")
    return None if plain in _NOTHING else plain in _YES if plain in _YES | _NO else "neither"


def _left_out(counts: Counts) -> str:
    told = []
    for column, values in counts.left_out.items():
        if values:
            shown = [f"{quote(value) if value else 'empty'} {n:,}" for value, n in values.most_common(_SHOWN)]
            told.append(f"{column}: {', '.join(shown)}" + (", ..." if len(values) > _SHOWN else ""))
    return first_few(told)
