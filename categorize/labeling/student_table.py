"""What a student says as the table of labels; `probabilities` and `valid` stand behind the usual columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from categorize.data.input_spec import InputSpec
from categorize.data.rows import fields_of
from categorize.labeling.student import Answers
from categorize.labeling.table import ABOUT, label_type, row_columns
from categorize.labels import LabelSet

LABEL = "label"
STUDENT_COLUMNS = ("probabilities", "valid")


def student_table(rows: pa.Table, answers: Answers, label_set: LabelSet, teacher: str) -> pa.Table:
    """The table of labels, see `labeling.table`, with `probabilities` and `valid`; what is not valid has failed."""
    size = rows.num_rows
    valid = answers.valid
    columns = row_columns(rows, (LABEL, *STUDENT_COLUMNS))
    columns["text"] = answers.text
    probabilities = answers.probabilities
    confidence = pa.nulls(size, pa.float64())
    if probabilities is not None and not label_set.is_multi_label:
        confidence = pa.array(np.where(valid, np.nan_to_num(probabilities).max(axis=1), np.nan), from_pandas=True)
    if label_set.is_regression:
        labels = pa.array(answers.score, pa.float64(), from_pandas=True)
    else:
        lists: list[Any] = answers.labels
        if not label_set.is_multi_label:
            lists = [names[0] if names else None for names in lists]
        elif not valid.all():
            lists = [names if good else None for names, good in zip(lists, valid.tolist(), strict=True)]
        labels = pa.array(lists, label_type(label_set))
    good, stages = pa.array(valid), answers.stage
    columns |= {
        LABEL: labels,
        "source": pa.compute.if_else(good, "student", "failed"),
        "reason": pa.compute.if_else(good, pa.scalar(None, pa.string()), "no valid answer"),
        "confidence": confidence,
        "attempts": pa.array(np.ones(size, np.int32)),
        "cost": pa.array(np.zeros(size)),
        "teacher": pa.repeat(teacher, size) if stages is None else [f"{teacher}: {one}" for one in stages],
        "probabilities": _lists(probabilities, size),
        "valid": good,
    }
    return _table(columns, rows, label_set)


def gold_table(rows: pa.Table, input_spec: InputSpec, label_set: LabelSet) -> pa.Table:
    """The table of labels for rows that keep the gold of their document."""
    names = rows["document_id"].to_pylist()
    documents = input_spec.documents(rows)
    where = {name: i for i, name in enumerate(documents["id"].to_pylist())}
    of_row = pa.array([where[name] for name in names], pa.int64())
    columns = row_columns(rows, (LABEL, *STUDENT_COLUMNS))
    columns["text"] = input_spec.texts(fields_of(rows))
    if label_set.is_regression:
        labels = documents["gold_score"].take(of_row)
    else:
        gold = documents["gold"].take(of_row).to_pylist()
        labels = pa.array(gold if label_set.is_multi_label else [one[0] for one in gold], label_type(label_set))
    columns |= {LABEL: labels, "source": pa.array(["gold"] * rows.num_rows)}
    columns |= {"attempts": pa.array([0] * rows.num_rows, pa.int32()), "cost": pa.array([0.0] * rows.num_rows)}
    return _table(columns, rows, label_set)


def _lists(probabilities: Any, size: int) -> pa.Array:
    if probabilities is None:
        return pa.nulls(size, pa.list_(pa.float64()))
    width = probabilities.shape[1]
    offsets = pa.array(np.arange(0, size * width + 1, width, dtype=np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(probabilities, np.float64).reshape(-1)))


def _table(columns: dict[str, Any], rows: pa.Table, label_set: LabelSet) -> pa.Table:
    """All columns in their order, null where nothing is said."""
    own = list(row_columns(rows.slice(0, 0), (LABEL, *STUDENT_COLUMNS)))
    types = {LABEL: label_type(label_set), **{field.name: field.type for field in ABOUT}}
    types |= {"probabilities": pa.list_(pa.float64()), "valid": pa.bool_()}
    table: dict[str, Any] = {name: columns[name] for name in own}
    for name, kind in types.items():
        table[name] = columns[name] if name in columns else pa.nulls(rows.num_rows, kind)
    return pa.table(table)
