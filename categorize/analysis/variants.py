"""The rows of a split with changed texts, which every run predicts once more."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from categorize.data.rows import fields_of, struct_of, with_columns
from categorize.predictions import BoolArray, IntArray, Predictions


@dataclass(frozen=True)
class Variant:
    """Some documents of the split with changed texts.

    Attributes:
        kind: `invariance`, where the answer should stay, or `ablation`.
        rows: with `data.rows.schema`; those of a document follow each other, documents in the order of `documents`.
        documents: positions among the split's documents.
    """

    kind: str
    name: str
    rows: pa.Table
    documents: IntArray


def changed_rows(
    kind: str, name: str, rows: pa.Table, documents: pa.Table, columns: Sequence[str], change: Callable[[str], str]
) -> Variant:
    """The documents of which a change changes a text, with it.

    Args:
        rows: of the split.
        documents: those that may be taken, with `document_id`, in the split's order.
        columns: raw columns that are text.
    """
    wanted = rows.filter(pa.compute.is_in(rows["document_id"], value_set=documents["document_id"].combine_chunks()))
    changed, differs = _changed(wanted, columns, change)
    of_rows = np.asarray(wanted["document_id"].to_pylist(), dtype=object)
    touched = set(of_rows[differs].tolist())
    stays = pa.array([one in touched for one in of_rows.tolist()], pa.bool_())
    at = [i for i, one in enumerate(documents["document_id"].to_pylist()) if one in touched]
    return Variant(kind, name, changed.filter(stays), np.array(at, dtype=np.int64))


def joined_documents(rows: pa.Table, documents: pa.Table, column: str) -> pa.Table:
    """The documents as one row each, whose raw text is that of their rows, joined by newlines."""
    texts: dict[str, list[str]] = {}
    for one, text in zip(rows["document_id"].to_pylist(), fields_of(rows).field(column).to_pylist(), strict=True):
        texts.setdefault(one, []).append(text or "")
    whole = ["\n".join(texts[one]) for one in documents["document_id"].to_pylist()]
    return _with_fields(documents, {column: pa.array(whole, pa.string())})


def same_answers(before: Predictions, after: Predictions) -> BoolArray:
    """[rows]; whether two blocks of decided predictions say the same, label for label; a score to a thousandth."""
    if before.score is not None and after.score is not None:
        return np.asarray(np.isclose(before.score, after.score, rtol=0, atol=1e-3, equal_nan=True), dtype=bool)
    pairs = zip(before.decided or [], after.decided or [], before.is_valid, after.is_valid, strict=True)
    return np.array([a_valid == b_valid and (not a_valid or set(a) == set(b)) for a, b, a_valid, b_valid in pairs])


def _changed(rows: pa.Table, columns: Sequence[str], change: Callable[[str], str]) -> tuple[pa.Table, BoolArray]:
    """The rows with changed cells, and which of them differ."""
    fields, differs = fields_of(rows), np.zeros(rows.num_rows, dtype=bool)
    new: dict[str, pa.Array] = {}
    for column in columns:
        before = fields.field(column).to_pylist()
        memory = {cell: change(cell) for cell in set(before) if cell}
        after = [memory.get(cell, cell) if cell else cell for cell in before]
        differs |= np.array([a != b for a, b in zip(before, after, strict=True)], dtype=bool)
        new[column] = pa.array(after, pa.string())
    return _with_fields(rows, new), differs


def _with_fields(rows: pa.Table, new: Mapping[str, pa.Array]) -> pa.Table:
    """The rows with other raw columns. Their `text` is made anew of these by whoever predicts them."""
    fields = fields_of(rows)
    columns = {child.name: fields.field(child.name) for child in fields.type} | dict(new)
    return with_columns(rows, {"fields": struct_of(columns, rows.num_rows)})
