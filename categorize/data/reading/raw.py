"""Raw tables: what a reader hands on. Every value is a string, a list of strings or null, whatever the format was.

Ids stay as they are written ("007"), and numbers keep their spelling where the format has one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from categorize.errors import UserError
from categorize.recipe.wording import quote

# Bytes of one cell, several long novels: what is larger is a file that was read wrongly.
LARGEST_CELL = 16 * 2**20
LIST_OF_STRINGS = pa.list_(pa.string())
_BATCH, _BATCH_CHARACTERS = 10_000, 2**24  # rows that are held as Python values
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")

SPLIT_NAMES = ("train", "validation", "test", "unlabeled")
# What published datasets call the splits.
SPLIT_ALIASES = dict.fromkeys(("valid", "val", "dev"), "validation")
SPLIT_ALIASES |= dict.fromkeys(("unlabelled", "unsupervised"), "unlabeled")


@dataclass(frozen=True)
class RawTable:
    """The raw columns of one file or dataset split."""

    table: pa.Table  # columns of type string or list<string>
    name: str  # the file or dataset, as messages name it
    # [rows]; where each row stands in the file, as an editor or a spreadsheet counts: the header of a csv or a sheet is
    # row 1, a JSON line has its line number, other formats count from 1.
    row_numbers: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()  # what the reader did that the user should know

    def __len__(self) -> int:
        return int(self.table.num_rows)


@dataclass(frozen=True)
class Source:
    """Raw tables by split. A source that publishes no splits has one table, under `ALL`."""

    tables: dict[str, RawTable]
    notes: tuple[str, ...] = field(default=())

    ALL = "all"

    @property
    def is_split(self) -> bool:
        """Whether the source came with splits of its own."""
        return self.ALL not in self.tables


Row = TypeVar("Row")


def batches(rows: Iterable[tuple[int, Row, int]]) -> Iterator[tuple[list[int], list[Row]]]:
    """Rows that come as (number, row, characters), some at a time: their numbers, and themselves."""
    return batches_of(([number], [row], size) for number, row, size in rows)


def chunk_rows() -> int:
    """How many rows a parser may hold at a time beside a batch; batches are whole multiples of it."""
    return min(_BATCH, 250)


def batches_of(chunks: Iterable[tuple[list[int], list[Row], int]]) -> Iterator[tuple[list[int], list[Row]]]:
    """As `batches`, of rows that come some at a time: their numbers, themselves, and their characters."""
    numbers: list[int] = []
    held: list[Row] = []
    characters = 0
    for some, rows, size in chunks:
        numbers += some
        held += rows
        characters += size
        if len(held) >= _BATCH or characters >= _BATCH_CHARACTERS:
            yield numbers, held
            numbers, held, characters = [], [], 0
    if held:
        yield numbers, held


@dataclass(frozen=True)
class Block:
    """Some rows of a file as the parser of its format gives them: each value as the format has it, not yet a string.

    Attributes:
        name: the file, or the sheet, as messages name it.
        columns: Python values by column, or typed Arrow columns.
        numbers: where each row stands, see `RawTable`.
        header: where the header stands, of formats that have one.
    """

    name: str
    columns: Mapping[str, Sequence[Any]] | pa.Table
    numbers: Sequence[int] | npt.NDArray[np.int64]
    header: int = 1

    @classmethod
    def of_rows(
        cls, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[int], header: int = 1
    ) -> Block:
        """Rows of cells, one a column; an empty string is null."""
        cells = zip(*rows, strict=True)
        values = {c: [None if v == "" else v for v in column] for c, column in zip(columns, cells, strict=True)}
        return cls(name, values, numbers, header)


class TableBuilder:
    """A raw table from batches of Python values, which are Arrow columns as soon as they are added.

    Lone surrogates (half of a cut emoji, as JSON may carry) become U+FFFD, counted in a note: no UTF-8 can hold them.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._parts: list[dict[str, pa.Array]] = []
        self._numbers: list[npt.NDArray[np.int64]] = []
        self._broken = 0

    def __len__(self) -> int:
        return sum(map(len, self._numbers))

    def add_block(self, block: Block) -> None:
        """Add the rows of a block; a column that other blocks lack is null there."""
        if isinstance(block.columns, pa.Table):
            self._parts.append({name: cast.combine_chunks() for name, cast in _casts(block.columns, self.name).items()})
            self._numbers.append(np.asarray(block.numbers, dtype=np.int64))
        else:
            self.add(block.columns, block.numbers)

    def add(self, columns: Mapping[str, Sequence[Any]], row_numbers: Sequence[int] | npt.NDArray[np.int64]) -> None:
        """Add rows; a column that other batches lack is null there."""
        arrays: dict[str, pa.Array] = {}
        for column, values in columns.items():
            kinds = set(map(type, values))
            if list in kinds:
                lists = [value if isinstance(value, list) or value is None else [value] for value in values]
                texts: list[Any] = [without_nulls(items and [scalar(item) for item in items]) for items in lists]
            else:
                texts = list(values) if kinds <= {str, type(None)} else [scalar(value) for value in values]
            arrays[column], broken = text_array(texts, LIST_OF_STRINGS if list in kinds else pa.string())
            self._broken += broken
        self._parts.append(arrays)
        self._numbers.append(np.asarray(row_numbers, dtype=np.int64))

    def take(self) -> RawTable:
        """The table of the rows that were added since the last call; its notes are on all rows so far."""
        table = self.finish()
        self._parts, self._numbers = [], []
        return table

    def finish(self, notes: Iterable[str] = ()) -> RawTable:
        """The table of all rows. Raises UserError where a cell is larger than any text."""
        names = dict.fromkeys(name for part in self._parts for name in part)
        columns: dict[str, pa.ChunkedArray] = {}
        for name in names:
            is_list = any(name in part and part[name].type == LIST_OF_STRINGS for part in self._parts)
            kind = LIST_OF_STRINGS if is_list else pa.string()
            chunks = [
                as_kind(part[name], kind) if name in part else pa.nulls(len(numbers), kind)
                for part, numbers in zip(self._parts, self._numbers, strict=True)
            ]
            columns[name] = pa.chunked_array(chunks, kind)
        numbers = np.concatenate(self._numbers) if self._numbers else np.empty(0, dtype=np.int64)
        table = pa.table(columns)
        check_cells(table, numbers, self.name)
        if self._broken:
            text = f"{self.name}: replaced half characters (lone surrogates) in {self._broken} cells by U+FFFD"
            notes = [*notes, text]
        return RawTable(table, self.name, numbers, tuple(notes))


def from_columns(
    columns: Mapping[str, Sequence[Any]], name: str, row_numbers: Sequence[int], notes: Iterable[str] = ()
) -> RawTable:
    """A raw table from columns of Python values, see `TableBuilder`."""
    builder = TableBuilder(name)
    builder.add(columns, row_numbers)
    return builder.finish(notes)


def check_cells(table: pa.Table, row_numbers: npt.NDArray[np.int64], name: str) -> None:
    """Raises UserError where a cell is larger than `LARGEST_CELL` bytes: the file is broken, or no table of texts."""
    for column in table.column_names:
        start = 0
        for chunk in table[column].chunks:
            values = chunk.flatten() if pa.types.is_list(chunk.type) else chunk
            sizes = pa.compute.binary_length(values)
            longest = pa.compute.max(sizes).as_py() or 0
            if longest > LARGEST_CELL:
                row = pa.compute.index(sizes, longest).as_py() if values is chunk else 0
                at = f"row {row_numbers[start + row]}" if values is chunk else "a row"
                raise UserError(
                    f"{name}: {at}: column {quote(column)} holds {longest / 1e6:,.0f} MB in one cell, the most is "
                    f"{LARGEST_CELL / 1e6:,.0f} MB; look for a quotation mark that never closes, or cut the text"
                )
            start += len(chunk)


def as_kind(values: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column of single values as one of lists, where another batch holds lists."""
    if values.type == kind:
        return values
    return pa.array([None if value is None else [value] for value in values.to_pylist()], kind)


def scalar(value: Any) -> str | None:
    """A value as a string: true or false, "2" for 2.0, the shortest form of a float, ISO dates, JSON for objects."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if value != value:
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def from_arrow(table: pa.Table, name: str, notes: Iterable[str] = ()) -> RawTable:
    """A raw table from typed Arrow columns. Raises UserError for duplicate column names and for binary columns."""
    check_columns(table.column_names, name)
    arrays = _casts(table, name)
    numbers = np.arange(1, table.num_rows + 1, dtype=np.int64)
    check_cells(pa.table(arrays), numbers, name)
    return RawTable(pa.table(arrays), name, numbers, tuple(notes))


def becomes_list(kind: pa.DataType) -> bool:
    """Whether a typed column becomes one of lists."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _casts(table: pa.Table, name: str) -> dict[str, pa.ChunkedArray]:
    return {column: _cast(table[column], f"{name}: column {quote(column)}") for column in table.column_names}


def _cast(values: pa.ChunkedArray, where: str) -> pa.ChunkedArray:
    kind = values.type
    if pa.types.is_dictionary(kind):
        return _cast(values.cast(kind.value_type), where)
    is_list = becomes_list(kind)
    if is_list and pa.types.is_nested(kind.value_type):
        items = [None if v is None else [scalar(i) for i in v] for v in values.to_pylist()]
        return pa.chunked_array([items], LIST_OF_STRINGS)
    if pa.types.is_nested(kind) and not is_list:
        return pa.chunked_array([[scalar(value) for value in values.to_pylist()]], pa.string())
    try:
        texts = values.cast(LIST_OF_STRINGS if is_list else pa.string())
        return pa.compute.if_else(pa.compute.is_nan(values), None, texts) if pa.types.is_floating(kind) else texts
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{where} of type {kind} cannot be read as text ({reason}); leave it out of the file") from None


def check_columns(names: Sequence[str], source: str) -> None:
    """Raises UserError if two columns have one name."""
    for column, count in Counter(names).items():
        if count > 1:
            raise UserError(f"{source}: two columns are called {quote(column)}; rename one")


def without_nulls(items: Sequence[str | None] | None) -> list[str] | None:
    """A list that says "no label" where it is empty, and nothing (None) where it holds nulls alone."""
    if items is None or (items and all(item is None for item in items)):
        return None
    return [item for item in items if item is not None]


def text_array(values: list[Any], kind: pa.DataType | None = None) -> tuple[pa.Array, int]:
    """Texts, or lists of texts, as an Arrow array; and how many held half a character, which is U+FFFD now."""
    try:
        return pa.array(values, kind or pa.string()), 0
    except UnicodeEncodeError:
        fixed = [_without_surrogates(value) for value in values]
        return pa.array(fixed, kind or pa.string()), sum(a != b for a, b in zip(values, fixed, strict=True))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_surrogates(item) for item in value]
    return _LONE_SURROGATE.sub("\ufffd", value) if isinstance(value, str) else value
