"""Predictions as the table that `predictions/<split>.parquet` holds: one row a document, in input order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from categorize.predictions import Predictions

if TYPE_CHECKING:
    import pyarrow as pa


def predictions_table(rows: pa.Table, predictions: Predictions, keep: Sequence[str] = ()) -> pa.Table:
    """Columns id, document_id, text, group, gold, gold_score, predicted, score, valid, probabilities, raw, and the
    kept metadata.

    Args:
        rows: documents, as many and in the same order as `predictions`.
        keep: raw columns to carry along.
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
    fields = rows.column("fields").combine_chunks() if keep else None
    for name in keep:
        columns[name if name not in columns else f"data.{name}"] = fields.field(name)  # type: ignore[union-attr]
    return pa.table(columns)


def write_predictions(path: Path, table: pa.Table) -> None:
    """Write Parquet."""
    import pyarrow.parquet as pq

    pq.write_table(table, path, compression="zstd")
