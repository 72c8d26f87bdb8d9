"""Predictions as the table that `predictions/<split>.parquet` holds: one row a document, in input order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from categorize.predictions import Predictions

if TYPE_CHECKING:
    import pyarrow as pa


def predictions_table(
    rows: pa.Table,
    predictions: Predictions,
    keep: Sequence[str] = (),
    seen_in_train: Sequence[str | None] | None = None,
) -> pa.Table:
    """Columns id, document_id, text, group, gold, gold_score, predicted, score, valid, probabilities, raw,
    seen_in_train, and the kept metadata.

    Args:
        rows: documents, as many and in the same order as `predictions`.
        keep: raw columns to carry along.
        seen_in_train: of each document, see `likeness_of_documents`; null for all where it is not known.
    """
    import pyarrow as pa

    n = rows.num_rows
    nothing = [None] * n
    probabilities = predictions.probabilities
    columns = {
        **{name: rows.column(name) for name in ("id", "document_id", "text", "group", "gold", "gold_score")},
        "predicted": pa.array([list(names) for names in predictions.decided or [[]] * n], type=pa.list_(pa.string())),
        "score": pa.array(nothing if predictions.score is None else predictions.score, type=pa.float64()),
        "valid": pa.array(predictions.is_valid, type=pa.bool_()),
        "probabilities": pa.array(
            nothing if probabilities is None else list(probabilities), type=pa.list_(pa.float64())
        ),
        "raw": pa.array(nothing if predictions.raw is None else list(predictions.raw), type=pa.string()),
    }
    columns["seen_in_train"] = pa.array(nothing if seen_in_train is None else list(seen_in_train), type=pa.string())
    fields = rows.column("fields").combine_chunks() if keep else None
    for name in keep:
        columns[name if name not in columns else f"data.{name}"] = fields.field(name)  # type: ignore[union-attr]
    return pa.table(columns)


def likeness_of_documents(rows: pa.Table, likeness: Sequence[str | None]) -> list[str | None]:
    """`Splits.likeness_to_train` of rows as that of their documents, in the order of `InputSpec.documents`.

    A document counts as seen where all its rows are (a greeting that recurs is no seen dialogue): exact where all
    stand in train, near where some only nearly do.
    """
    weakest: dict[str, str | None] = {}
    for document, like in zip(rows.column("document_id").to_pylist(), likeness, strict=True):
        before = weakest.get(document, like)
        weakest[document] = None if None in (before, like) else "near" if "near" in (before, like) else "exact"
    return list(weakest.values())


def write_predictions(path: Path, table: pa.Table) -> None:
    """Write Parquet."""
    import pyarrow.parquet as pq

    pq.write_table(table, path, compression="zstd")
