"""Predictions as the table that `predictions/<split>.parquet` holds, one row a document in input order, and as a file
for a spreadsheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.predictions import FloatArray, Predictions

_OFFSETS = 2**31 - 1  # cells that a list column can number


def predictions_table(
    rows: pa.Table,
    predictions: Predictions,
    keep: Sequence[str] = (),
    train_overlap: Sequence[str | None] | None = None,
) -> pa.Table:
    """Columns id, document_id, text, group, gold, gold_score, predicted, score, valid, probabilities, raw,
    seen_in_train, `score of <name>` of auxiliary scores, `stage` of a cascade, and the kept metadata.

    Args:
        rows: documents, as many and in the same order as `predictions`.
        keep: raw columns to carry along.
        train_overlap: of each document, see `likeness_of_documents`; null for all where it is not known.
    """
    n = rows.num_rows
    nothing = [None] * n
    probabilities = predictions.probabilities
    columns = {
        **{name: rows.column(name) for name in ("id", "document_id", "text", "group", "gold", "gold_score")},
        "predicted": pa.array([list(names) for names in predictions.decided or [[]] * n], type=pa.list_(pa.string())),
        "score": pa.array(nothing if predictions.score is None else predictions.score, type=pa.float64()),
        "valid": pa.array(predictions.is_valid, type=pa.bool_()),
        "probabilities": pa.array(nothing, type=pa.list_(pa.float64()))
        if probabilities is None
        else _lists(probabilities),
        "raw": pa.array(nothing if predictions.raw is None else list(predictions.raw), type=pa.string()),
    }
    columns["seen_in_train"] = pa.array(nothing if train_overlap is None else list(train_overlap), type=pa.string())
    columns |= {f"score of {name}": pa.array(one) for name, one in (predictions.auxiliary or {}).items()}
    if predictions.stage is not None:
        columns["stage"] = pa.array(predictions.stage, pa.string())
    fields = rows.column("fields").combine_chunks() if keep else None
    for name in keep:
        columns[name if name not in columns else f"data.{name}"] = fields.field(name)  # type: ignore[union-attr]
    return pa.table(columns)


def likeness_of_documents(rows: pa.Table, likeness: Sequence[str | None]) -> list[str | None]:
    """`Splits.train_overlap` of rows as that of their documents, in the order of `InputSpec.documents`.

    A document counts as seen where all its rows are (a greeting that recurs is not a seen dialogue): exact where all
    stand in train, near where some only nearly do.
    """
    weakest: dict[str, str | None] = {}
    for document, like in zip(rows.column("document_id").to_pylist(), likeness, strict=True):
        before = weakest.get(document, like)
        weakest[document] = None if None in (before, like) else "near" if "near" in (before, like) else "exact"
    return list(weakest.values())


def write_predictions(path: Path, table: pa.Table) -> None:
    """Write Parquet."""
    pq.write_table(table, path, compression="zstd")


def gold_and_predictions(table: pa.Table, label_set: LabelSet) -> tuple[FloatArray, Predictions]:
    """The gold [rows, labels], as `LabelSet.encode` gives it, and the decided predictions of a table of
    `predictions_table`."""
    gold = label_set.encode_rows(table)
    probabilities = None if table["probabilities"].null_count else _array(table["probabilities"], len(label_set))
    score = table["score"].to_numpy() if label_set.is_regression else None
    return gold, Predictions(
        table["id"].to_pylist(), probabilities, score, table["predicted"].to_pylist(), table["valid"].to_numpy()
    )


def _lists(array: FloatArray) -> pa.ChunkedArray:
    """A list column of [rows, labels]: no Python object a cell, of which thousands of labels have too many."""
    rows, labels = array.shape
    chunks = []
    for start in range(0, rows, _OFFSETS // max(labels, 1)):
        part = np.ascontiguousarray(array[start : start + _OFFSETS // max(labels, 1)], dtype=np.float64)
        offsets = np.arange(len(part) + 1, dtype=np.int32) * np.int32(labels)
        chunks.append(pa.ListArray.from_arrays(pa.array(offsets), pa.array(part.reshape(-1))))
    return pa.chunked_array(chunks, type=pa.list_(pa.float64()))


def _array(column: pa.ChunkedArray, labels: int) -> FloatArray:
    """The inverse: [rows, labels]."""
    parts = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    return np.concatenate([np.zeros(0), *parts]).reshape(-1, labels)


def write_spreadsheet(path: str | Path, table: pa.Table, label_set: LabelSet, label_separator: str = ";") -> None:
    """Write predictions as csv or xlsx, by the name: labels as `data.label_separator` reads them back, a column
    `probability: <label>` for each label, no column that is empty in all rows.

    Args:
        table: of `predictions_table`, or a `predictions/<split>.parquet` that was read.
        label_set: of the predictor or the run.

    Raises:
        UserError: another ending, a sheet cannot hold the rows, openpyxl is missing, or the file cannot be written.
    """
    from categorize.data.export.folder import label_cells, write_rows
    from categorize.writing import disk_errors, staging

    path = Path(path)
    if path.suffix not in (".csv", ".xlsx"):
        raise UserError(f"{path}: a spreadsheet is written as .csv or .xlsx; name one of these")
    columns: dict[str, list[Any]] = {}
    for name in table.column_names:
        values = table[name].to_pylist()
        if values and all(value is None for value in values):
            continue
        if name == "probabilities":
            for position, label in enumerate(label_set.names):
                column = [None if row is None else row[position] for row in values]
                columns[f"probability: {label}"] = [
                    "" if value != value or value is None else value for value in column
                ]
        elif name in ("gold", "predicted"):
            if label_set.is_multi_label:
                columns[name] = label_cells(values, label_separator)
            elif any(values):  # a regression decides no label
                columns[name] = [names[0] if names else "" for names in values]
        else:
            columns[name] = [_plain(value) for value in values]
    with disk_errors(path), staging(path.with_name(f".{path.name}.writing")) as folder:
        write_rows(folder / path.name, [*columns], zip(*columns.values(), strict=True), excel=True)
        (folder / path.name).replace(path)


def _plain(value: Any) -> str | float:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, float) else str(value)
