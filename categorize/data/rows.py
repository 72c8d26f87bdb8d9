"""The Arrow schema of rows, and the content key by which two rows are the same text.

A table of rows is what every model reads. `fields` holds the raw columns as strings, so its type differs from source to
source; everything else is fixed.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute

from categorize.predictions import IntArray

Key = TypeVar("Key")
Value = TypeVar("Value")
_PART = 20_000  # values that are held as Python has them

COLUMN_TYPES: dict[str, pa.DataType] = {
    "id": pa.string(),
    "document_id": pa.string(),
    "position": pa.int32(),
    "text": pa.string(),
    "fields": pa.struct([]),
    "gold": pa.list_(pa.string()),
    "gold_score": pa.float64(),
    "group": pa.string(),
    "content_hash": pa.string(),
    "weight": pa.float64(),
}


def schema(columns: Sequence[str] = ()) -> pa.Schema:
    """The schema of rows whose raw columns are `columns`: each becomes a string child of `fields`."""
    fields = pa.struct([pa.field(name, pa.string()) for name in columns])
    return pa.schema([pa.field(name, fields if name == "fields" else kind) for name, kind in COLUMN_TYPES.items()])


def content_key(texts: Sequence[str | None]) -> str:
    """Key of a row's raw text columns: 32 hex digits, equal for texts that differ in NFKC form and white space alone.

    Never the label: correcting one must not move a row to another split.
    """
    # No text holds \x1f after split(), which counts it as white space: joined columns stay apart.
    return digest("\x1f".join(map(_plain, texts)))


def _plain(text: str | None) -> str:
    return " ".join(unicodedata.normalize("NFKC", text or "").split())


def content_keys(columns: Sequence[pa.Array]) -> pa.Array:
    """`content_key` of each row of these raw text columns."""
    if len(columns) == 1:
        return mapped(columns[0], lambda text: digest(_plain(text)))
    first, code = coded_rows(columns)
    rows = zip(*(in_parts(column.take(pa.array(first))) for column in columns), strict=True)
    return taken(strings(map(content_key, rows), len(first)), code)


def digest(text: str) -> str:
    """BLAKE2b of a text, 32 hex digits; the same on every machine and in every process, unlike `hash`."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def fingerprint(rows: pa.Table) -> str:
    """SHA-256 over the sorted (id, content hash, gold) of rows: equal for the same rows in any order."""
    # None, [] and the label "None" stay apart by their brackets.
    gold = mapped(rows["gold"], lambda names: f"{None if names is None else sorted(names)}")
    lines = pa.compute.binary_join_element_wise(
        rows["id"], rows["content_hash"], gold, mapped(rows["gold_score"], repr), "\x1f"
    )
    total = hashlib.sha256()
    order = pa.compute.sort_indices(lines)  # by bytes of UTF-8, which is by code points
    for start in range(0, len(order), _PART):
        some = lines.take(order.slice(start, _PART)).to_pylist()
        total.update("".join(f"{line}\n" for line in some).encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def with_columns(rows: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """The table with these columns: in the place of one of the same name, else behind the others."""
    return pa.table({**dict(zip(rows.column_names, rows.columns, strict=True)), **columns})


def new_rows(extracted: pa.Table, texts: Sequence[str] | pa.Array) -> pa.Table:
    """Unlabelled rows with `schema`, of `columns.extract` and the prepared texts."""
    n = len(texts)
    text = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
    columns = {"text": text, "gold": pa.nulls(n, COLUMN_TYPES["gold"])}
    return with_columns(extracted, {**columns, "gold_score": pa.nulls(n, pa.float64())}).select(list(COLUMN_TYPES))


def fields_of(rows: pa.Table) -> pa.StructArray:
    """The raw columns as one array, also where the table is empty."""
    return as_array(rows["fields"])


def as_array(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column as one array, copied only where it is in several parts."""
    if not isinstance(column, pa.ChunkedArray):
        return column
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def struct_of(columns: dict[str, pa.Array], length: int) -> pa.StructArray:
    """Raw columns as the struct array `fields` of `length` rows, even when there are no columns."""
    if not columns:
        return pa.array([{}] * length, pa.struct([]))
    return pa.StructArray.from_arrays(list(columns.values()), fields=[pa.field(name, pa.string()) for name in columns])


def answers(rows: pa.Table) -> list[object]:
    """The gold of each row as a value that compares: the names, or the score; None = unknown."""
    pairs = zip(rows["gold"].to_pylist(), rows["gold_score"].to_pylist(), strict=True)
    return [tuple(names) if names is not None else score for names, score in pairs]


def answer_codes(rows: pa.Table) -> IntArray:
    """`answers` as numbers, int64 [rows]: equal for equal gold; -1 = unknown."""
    (_, names), (_, scores) = coded(rows["gold"]), coded(rows["gold_score"])
    known = rows["gold"].is_valid().to_numpy()
    scored = rows["gold_score"].is_valid().to_numpy()
    return np.where(known, names, np.where(scored, scores + rows.num_rows, -1))


def codes(values: Iterable[str] | pa.Array | pa.ChunkedArray) -> tuple[list[str], IntArray]:
    """Distinct values in order of first appearance, and the number of each."""
    is_column = isinstance(values, pa.Array | pa.ChunkedArray)
    distinct, code = coded(values if is_column else pa.array(values, pa.string()))
    return distinct.to_pylist(), code


def coded(column: pa.Array | pa.ChunkedArray) -> tuple[pa.Array, IntArray]:
    """Distinct values of a column in order of first appearance, null among them, and the number of each row's, int64.

    What has to be done in Python for every value of a column is done for the distinct ones.

    >>> values, code = coded(pa.array([["b", "a"], [], None, ["b", "a"]]))
    >>> values.to_pylist(), code.tolist()
    ([['b', 'a'], [], None], [0, 1, 2, 0])
    """
    keys = column = as_array(column)
    if pa.types.is_dictionary(column.type):  # of whose values some may be of no row
        found = column.indices.to_numpy().astype(np.int64)
        first = np.full(len(column.dictionary), len(found), dtype=np.int64)
        first[found[::-1]] = np.arange(len(found) - 1, -1, -1)
        used = np.flatnonzero(first < len(found))
        order = used[np.argsort(first[used])]
        place = np.empty(len(first), dtype=np.int64)
        place[order] = np.arange(len(order))
        return column.dictionary.take(pa.array(order)), place[found]
    if pa.types.is_list(column.type):  # Arrow encodes no lists: the numbers of their items are their key
        items = pa.array(coded(column.flatten())[1]).cast(pa.string())
        lengths = pa.compute.list_value_length(column).fill_null(0).to_numpy()
        bounds = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
        keys = pa.compute.binary_join(pa.ListArray.from_arrays(bounds, items, mask=column.is_null()), ",")
    encoded = keys.dictionary_encode(null_encoding="encode")
    code = encoded.indices.to_numpy().astype(np.int64)
    if keys is column:
        return encoded.dictionary, code
    return column.take(pa.array(_first_rows(code, len(encoded.dictionary)))), code


def coded_rows(columns: Sequence[pa.Array | pa.ChunkedArray]) -> tuple[IntArray, IntArray]:
    """Of rows of several columns: where each distinct one stands first, in that order, and the number of each row's."""
    values, code = coded(columns[0])
    count = len(values)
    for column in columns[1:]:
        values, other = coded(column)
        _, code = np.unique(code * max(len(values), 1) + other, return_inverse=True)
        code, count = code.ravel().astype(np.int64), int(code.max(initial=-1)) + 1
    first = _first_rows(code, count)
    order = np.argsort(first)
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    return first[order], place[code]


def _first_rows(code: IntArray, count: int) -> IntArray:
    first = np.empty(count, dtype=np.int64)
    first[code[::-1]] = np.arange(len(code) - 1, -1, -1)  # of several that are written, the last stays
    return first


def mapped(column: pa.Array | pa.ChunkedArray, function: Callable[[Any], str | None]) -> pa.Array:
    """A function of every value of a column, called once for each distinct one, as strings."""
    values, code = coded(column)
    return taken(strings(map(function, in_parts(values)), len(values)), code)


def taken(values: pa.Array, code: IntArray) -> pa.Array:
    """The value of each row by its number."""
    return values.take(pa.array(code))


def in_parts(values: pa.Array | pa.ChunkedArray) -> Iterator[Any]:
    """The values of a column as Python has them, few of which are held at a time."""
    for start in range(0, len(values), _PART):
        yield from values.slice(start, _PART).to_pylist()


def strings(values: Iterable[str | None], count: int) -> pa.Array:
    """So many strings as an array, few of which are held as Python has them."""
    source = iter(values)
    parts = [pa.array(islice(source, _PART), pa.string()) for _ in range(0, count, _PART)]
    return pa.concat_arrays(parts) if parts else pa.array([], pa.string())


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """The values of each key, keys in order of first appearance."""
    result: dict[Key, list[Value]] = {}
    for key, value in pairs:
        result.setdefault(key, []).append(value)
    return result
