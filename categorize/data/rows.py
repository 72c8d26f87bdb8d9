"""The Arrow schema of rows, and the content key by which two rows are the same text.

A table of rows is what every model reads. `fields` holds the raw columns as strings, so its type differs from source to
source; everything else is fixed.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from categorize.predictions import IntArray

Key = TypeVar("Key")
Value = TypeVar("Value")

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
    joined = "\x1f".join(" ".join(unicodedata.normalize("NFKC", text or "").split()) for text in texts)
    return digest(joined)


def digest(text: str) -> str:
    """BLAKE2b of a text, 32 hex digits; the same on every machine and in every process, unlike `hash`."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def fingerprint(rows: pa.Table) -> str:
    """SHA-256 over the sorted (id, content hash, gold) of rows: equal for the same rows in any order."""
    lines = sorted(
        # None, [] and the label "None" stay apart by their brackets.
        f"{row_id}\x1f{key}\x1f{None if names is None else sorted(names)}\x1f{score!r}\n"
        for row_id, key, names, score in zip(
            *(rows[column].to_pylist() for column in ("id", "content_hash", "gold", "gold_score")), strict=True
        )
    )
    total = hashlib.sha256()
    for line in lines:
        total.update(line.encode("utf-8", "surrogatepass"))
    return total.hexdigest()


def with_columns(rows: pa.Table, columns: Mapping[str, Any]) -> pa.Table:
    """The table with these columns: in the place of one of the same name, else behind the others."""
    return pa.table({**dict(zip(rows.column_names, rows.columns, strict=True)), **columns})


def new_rows(extracted: pa.Table, texts: Sequence[str]) -> pa.Table:
    """Unlabelled rows with `schema`, of `columns.extract` and the prepared texts."""
    n = len(texts)
    columns = {"text": pa.array(texts, pa.string()), "gold": pa.nulls(n, COLUMN_TYPES["gold"])}
    return with_columns(extracted, {**columns, "gold_score": pa.nulls(n, pa.float64())}).select(list(COLUMN_TYPES))


def fields_of(rows: pa.Table) -> pa.StructArray:
    """The raw columns as one array, also where the table is empty."""
    fields = rows["fields"]
    return pa.concat_arrays(fields.chunks) if fields.num_chunks else pa.array([], fields.type)


def struct_of(columns: dict[str, pa.Array], length: int) -> pa.StructArray:
    """Raw columns as the struct array `fields` of `length` rows, even when there are no columns."""
    if not columns:
        return pa.array([{}] * length, pa.struct([]))
    return pa.StructArray.from_arrays(list(columns.values()), fields=[pa.field(name, pa.string()) for name in columns])


def answers(rows: pa.Table) -> list[object]:
    """The gold of each row as a value that compares: the names, or the score; None = unknown."""
    pairs = zip(rows["gold"].to_pylist(), rows["gold_score"].to_pylist(), strict=True)
    return [tuple(names) if names is not None else score for names, score in pairs]


def codes(values: Iterable[str]) -> tuple[list[str], IntArray]:
    """Distinct values in order of first appearance, and the number of each."""
    encoded = pa.array(values, pa.string()).dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)


def grouped(pairs: Iterable[tuple[Key, Value]]) -> dict[Key, list[Value]]:
    """The values of each key, keys in order of first appearance."""
    result: dict[Key, list[Value]] = {}
    for key, value in pairs:
        result.setdefault(key, []).append(value)
    return result
