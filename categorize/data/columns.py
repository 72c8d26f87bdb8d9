"""The columns that a recipe names: texts, ids, documents, groups, weights, and the label cells as they are written.

`extract` gives one table a file; tables of several files go on as one, to which each later step adds columns:

| column | what |
|---|---|
| `file`, `row_number` | where the row stands, for messages |
| `id`, `document_id`, `position`, `fields`, `group`, `content_hash`, `weight` | see `rows` |
| `label_text`, `label_list` | the label cell as written: a string, or a list; both null where it is empty |
| `official` | the published split, or `Source.ALL` |
| `values` | raw label values, see `raw_values`; null = nobody has labelled the row |
| `key` | of the unit that stays in one split, see `shares.unit_keys` |
| `silver` | whether the label is a machine's, see `data.silver` |
| `node` | the row's text in `NearTexts`; -1 = not compared |
| `split` | train, validation, test or unlabeled |
| `text`, `gold`, `gold_score` | see `rows` |
| `reason` | why the row is left out of its split; null = it stays |

Nothing here depends on the label set, which may be inferred from the training rows; `gold.read_gold` reads the cells.
"""

from __future__ import annotations

import ast
import json
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from categorize.data.reading.raw import LIST_OF_STRINGS, RawTable, without_nulls
from categorize.data.rows import coded, content_keys, mapped, struct_of
from categorize.errors import UserError
from categorize.labels import spell
from categorize.predictions import IntArray
from categorize.recipe.data_sections import Columns, DataSection
from categorize.recipe.label_sections import LabelDefinition, LabelsSection
from categorize.recipe.wording import LONGEST_QUOTE, first_few, quote, similar

_EXAMPLES = 5  # rows that a message shows

Cell = str | tuple[str, ...] | None  # labels of a row as written: a string, a list (() is an empty one), or None


def row_name(rows: pa.Table, row: int, with_file: bool = False) -> str:
    """A row of an extracted table as messages name it."""
    number, row_id = rows["row_number"][row].as_py(), rows["id"][row].as_py()
    shown = row_id if len(row_id) <= LONGEST_QUOTE else f"{row_id[: LONGEST_QUOTE - 3]}..."
    name = f"row {number}" if row_id.rpartition("-")[2] == str(number) else f"row {number} (id {shown})"
    return f"{rows['file'][row]}: {name}" if with_file else name


def named_columns(columns: Columns) -> dict[str, list[str]]:
    """The columns that a recipe names, by key; an empty list where it names none."""
    label = columns.label_column
    values = {**dict(columns), "label": [] if label is None else [label]}
    return {key: [value] if isinstance(value, str) else value or [] for key, value in values.items()}


def text_columns(columns: Columns) -> list[str]:
    """The text columns as a list."""
    return named_columns(columns)["text"]


# Columns that one published file may lack: they serve training, the cutting of splits, and reading alone.
OPTIONAL = ("keep", "raters", "weight", "group")


def extract(
    raw: RawTable,
    data: DataSection,
    *,
    id_prefix: str = "",
    need_label: bool = True,
    elsewhere: frozenset[str] = frozenset(),
    hashed: bool = True,
) -> pa.Table:
    """The named columns of a raw table, as far as `label_list` of the table above.

    Raises UserError where a column is missing, an id is empty or comes twice, or a weight is not a number.

    Args:
        id_prefix: stands before made ids, so that those of several split files differ.
        need_label: False where the table may have no label, such as a file of unlabelled rows.
        elsewhere: columns that other files of the source have; those of `OPTIONAL` may be missing here.
        hashed: whether `content_hash` is made, which splits need.
    """
    columns, table, size = data.columns, raw.table, len(raw)
    texts = text_columns(columns)
    named = named_columns(columns)
    if not need_label and columns.label_column not in table.column_names:
        del named["label"]
    for key, names in named.items():
        for name in names:
            if key not in OPTIONAL or name not in elsewhere:
                check_column(name, f"data.columns.{key}", raw)
    if data.splits.by_time is not None and need_label:
        check_column(data.splits.by_time, "data.splits.by_time", raw)
    strings = {name: as_strings(table[name]) for name in table.column_names}
    numbers = pa.array(raw.row_numbers).cast(pa.string())
    ids = pa.compute.binary_join_element_wise(id_prefix, numbers, "")
    if columns.id is not None:
        ids = _checked_ids(strings[columns.id], raw)
    documents = ids if columns.document is None else pa.compute.coalesce(trimmed(strings[columns.document]), ids)
    groups = trimmed(strings[columns.group]) if columns.group in strings else pa.nulls(size, pa.string())
    weights = _weights(strings[columns.weight], columns.weight, raw) if columns.weight in strings else np.ones(size)
    label = table[columns.label_column] if named.get("label") else pa.nulls(size, pa.string())
    is_list = pa.types.is_list(label.type)
    return pa.table(
        {
            "file": pa.DictionaryArray.from_arrays(pa.array(np.zeros(size, dtype=np.int32)), pa.array([raw.name])),
            "row_number": raw.row_numbers,
            "id": ids,
            "document_id": documents,
            "position": pa.array(_positions(documents), pa.int32()),
            "fields": struct_of(strings, size),
            "group": groups,
            "content_hash": content_keys([strings[name] for name in texts]) if hashed else pa.nulls(size, pa.string()),
            "weight": weights,
            "label_text": pa.nulls(size, pa.string()) if is_list else label,
            "label_list": label if is_list else pa.nulls(size, LIST_OF_STRINGS),
        }
    )


def _positions(documents: pa.Array) -> IntArray:
    """How many earlier rows of its document each row has, int64 [rows]."""
    values, code = coded(documents)
    if len(values) == len(code):
        return np.zeros(len(code), dtype=np.int64)
    order = np.argsort(code, kind="stable")
    starts = np.searchsorted(code[order], np.arange(len(values)))
    positions = np.empty(len(code), dtype=np.int64)
    positions[order] = np.arange(len(code)) - starts[code[order]]
    return positions


def trimmed(column: pa.Array) -> pa.Array:
    """Cells without white space around them, which nobody sees in a spreadsheet; null for what is blank."""
    return mapped(column, lambda cell: (cell or "").strip() or None)


def check_column(name: str, key: str, raw: RawTable) -> None:
    """Raises UserError where a raw table lacks a column that the recipe's `key` names; lists those there are."""
    there = raw.table.column_names
    if name in there:
        return
    close = similar(name, there, 0.6)
    hint = f" (did you mean {quote(close)}?)" if close else ""
    shown = first_few([quote(column) for column in there], 20)
    raise UserError(f"{key}: {raw.name} has no column {quote(name)}{hint}; columns: {shown}")


def as_strings(column: pa.ChunkedArray) -> pa.Array:
    """A raw column as strings: a list as JSON."""
    if pa.types.is_list(column.type):
        values = [None if v is None else json.dumps(v, ensure_ascii=False) for v in column.to_pylist()]
        return pa.array(values, pa.string())
    combined = column.combine_chunks()
    return combined.combine_chunks() if isinstance(combined, pa.ChunkedArray) else combined


def _checked_ids(column: pa.Array, raw: RawTable) -> pa.Array:
    """Ids as they are. Raises UserError where one is empty or comes twice."""
    if not column.null_count and len(column.unique()) == len(column) and pa.compute.index(column, "").as_py() < 0:
        return column
    ids: list[str | None] = column.to_pylist()
    first: dict[str, int] = {}
    twice = []
    for number, row_id in zip(raw.row_numbers.tolist(), ids, strict=True):
        if not row_id:
            raise UserError(f"{raw.name}: row {number} has no id; fill it or leave out data.columns.id")
        if (before := first.setdefault(row_id, number)) != number:
            twice.append(f"{quote(row_id)} (rows {before} and {number})")
    more = f" and {len(twice) - _EXAMPLES} more" if len(twice) > _EXAMPLES else ""
    shown = f"{', '.join(twice[:_EXAMPLES])}{more}{rounded(ids)}"
    raise UserError(f"{raw.name}: ids come twice: {shown}; make them unique or leave out data.columns.id")


_ROUNDED = re.compile(r"\d{14,}00|\d\.\d+[eE]\+?\d\d")


def rounded(ids: Iterable[str | None]) -> str:
    """A hint where most ids look like long numbers that a spreadsheet rounded to fifteen digits; else nothing."""
    lost = [_ROUNDED.fullmatch(row_id) is not None for row_id in ids if row_id]
    hint = " (a spreadsheet that takes ids for numbers loses their last digits: keep them as text)"
    return hint if 2 * sum(lost) > len(lost) else ""


def _weights(cells: pa.Array, column: str | None, raw: RawTable) -> npt.NDArray[np.float64]:
    values, code = coded(cells)
    weights = np.ones(len(values))
    for i, cell in enumerate(values.to_pylist()):
        value = to_number(cell) if cell and cell.strip() else 1.0
        if value is None or value < 0:
            where = f"{raw.name}: row {raw.row_numbers[int(np.argmax(code == i))]}"
            raise UserError(f"{where}: {column} {quote(cell or '')} is not a weight; use numbers of 0 or more")
        weights[i] = value
    return weights[code]


def to_number(cell: str) -> float | None:
    """A finite number, or None where the cell holds none."""
    try:
        value = float(unicodedata.normalize("NFKC", cell).strip().replace("\u2212", "-"))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# ---------------------------------------------------------------- label cells
def label_cells(rows: pa.Table) -> tuple[list[Cell], IntArray]:
    """The label cells of an extracted table: the distinct ones in order of first appearance, None where there is
    nothing, and the number of each row's."""
    (texts, of_text), (lists, of_list) = coded(rows["label_text"]), coded(rows["label_list"])
    known: list[Cell] = [text if text and text.strip() else None for text in texts.to_pylist()]
    listed = [None if items is None else tuple(items) for items in map(without_nulls, lists.to_pylist())]
    is_list = np.array([items is not None for items in listed], dtype=bool)[of_list]
    code = np.where(is_list, of_list + len(known), of_text)
    # Two spellings may be one cell: null and blanks, a list with and without nulls.
    cells = [*known, *listed]
    used, first = np.unique(code, return_index=True)
    places = dict.fromkeys(cells[i] for i in used[np.argsort(first)].tolist())
    number = {cell: i for i, cell in enumerate(places)}
    return list(places), np.array([number.get(cell, -1) for cell in cells], dtype=np.int64)[code]


def split_cell(cell: str, separator: str) -> tuple[str, ...] | None:
    """Label values of a multi-label cell: a JSON or Python list, or values between separators.

    A full-width separator counts as the plain one. A list may be empty; None says that there is nothing at all.

    >>> split_cell("a；b", ";"), split_cell('["a", 2]', ";"), split_cell("[]", ";"), split_cell(" ", ";")
    (('a', 'b'), ('a', '2'), (), None)
    """
    text = unicodedata.normalize("NFKC", cell).strip()
    if text.startswith("[") and text.endswith("]") and (items := _parse_list(text)) is not None:
        return items
    parts = (part.strip() for part in text.split(unicodedata.normalize("NFKC", separator)))
    return tuple(part for part in parts if part) or None


def _parse_list(text: str) -> tuple[str, ...] | None:
    """The strings and numbers of a list literal; None if it is none: "[NAME]" is a label."""
    items = parse_literal(text)
    if not isinstance(items, list) or not all(isinstance(item, str | int | float) for item in items):
        return None
    return tuple(map(str, items))


def parse_literal(text: str) -> Any:
    """A value as JSON writes it, or Python (pandas, for a column of lists): ['a', 'b']; None where it is neither."""
    with suppress(ValueError, RecursionError):
        return json.JSONDecoder(strict=False, parse_int=str, parse_float=str).decode(text)
    with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
        return ast.literal_eval(text)
    return None


def missing_spellings(labels: LabelsSection) -> set[str]:
    """Spellings that mean "not labelled": `labels.missing`, less those that the section also declares as a label."""

    def words(definition: LabelDefinition | str) -> Iterable[str]:
        if isinstance(definition, str):
            return [definition]
        if definition.labels is None:
            return [definition.name, *definition.aliases]
        return [word for child in definition.labels for word in words(child)]

    definitions = labels.names or [] if labels.task != "regression" else []
    declared = {*labels.codes, *(word for definition in definitions for word in words(definition))}
    return {*map(spell, labels.missing)} - {*map(spell, declared)}


def raw_values(cells: Sequence[Cell], separator: str, missing: set[str]) -> list[tuple[str, ...] | None]:
    """Spelled label values of each cell, without those that mean "not labelled"; None where nobody has labelled it.

    Cells are cut at the separator whatever the task is, so that the values depend on `data` and not on `labels`.
    """
    result: list[tuple[str, ...] | None] = []
    for cell in cells:
        parts = split_cell(cell, separator) if isinstance(cell, str) else cell
        values = tuple(dict.fromkeys(word for word in map(spell, parts or ()) if word not in missing))
        # An empty list, as text too ("[]"), says that the row truly has no label.
        result.append(values if values or parts == () else None)
    return result
