"""Whether a run's counts can be used: shares of the labels as it predicts them, beside those of the gold; in rows that
nobody labelled, corrected by those that are labelled (`metrics.corrected`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.analysis.inputs import Inputs, RunOutput
from categorize.analysis.traits import Condition, columns_of
from categorize.labels import LabelSet
from categorize.metrics.corrected import Estimate, ReviewedSample, mean_estimate, wilson
from categorize.predictions import BoolArray, FloatArray, IntArray, Predictions

REVIEWED = 20  # labelled rows of a group without which its counts are not corrected


def counts(inputs: Inputs) -> dict[str, Any] | None:
    """`splits`: for each label its share of the gold in train and in the split. `runs`: for each run `lines` with the
    share of a label that it `predicted` in the split, of the `gold`, and the `difference` with its 95% interval.

    Where rows without a label were predicted, of each run also `all`: for each label its share of these rows and those
    of the split together as `counted` (the predictions alone) and `corrected` (design-based, by the split's gold), with
    intervals; and for the best run `by`: for each raw column and value the same. Of a regression, means in the place
    of shares. The corrections hold where the labelled rows are a random draw from all of them. None without a row and
    for thousands of labels.
    """
    if not len(inputs.known) or inputs.has_many_cells:
        return None
    names, truth = inputs.label_set.names, inputs.truth
    trained = inputs.train_gold[~np.isnan(inputs.train_gold).any(axis=1)]
    shares = {"train": trained, inputs.split: truth} if inputs.split != "train" else {"train": truth}
    splits = [
        {"label": name, **{split: float(gold[:, j].mean()) if len(gold) else None for split, gold in shares.items()}}
        for j, name in enumerate(names)
    ]
    runs = {one.name: _of_run(inputs, one) for one in inputs.runs}
    return {"rows": len(truth), "unlabelled": inputs.unlabelled_rows, "splits": splits, "runs": runs}


def _of_run(inputs: Inputs, run: RunOutput) -> dict[str, Any]:
    names, truth = inputs.label_set.names, inputs.truth
    said = given(inputs.label_set, run.predictions)[inputs.known]
    clusters = clusters_of(inputs.rows)
    found: dict[str, Any] = {
        "lines": [
            {
                "label": name,
                "predicted": float(said[:, j].mean()),
                "gold": float(truth[:, j].mean()),
                **_difference(said[:, j] - truth[:, j], clusters),
            }
            for j, name in enumerate(names)
        ]
    }
    if run.unlabelled is None or inputs.unlabelled is None or not len(run.unlabelled):
        return found
    labels = np.concatenate([said, given(inputs.label_set, run.unlabelled)])
    unknown = np.full((len(run.unlabelled), len(names)), np.nan)
    sample = ReviewedSample(labels, np.concatenate([truth, unknown]), np.zeros(len(labels), dtype=np.int64))
    rows = pa.concat_tables([one.select(["fields", "group"]) for one in (inputs.rows, inputs.unlabelled)])
    clusters = clusters_of(rows)
    found["all"] = _lines(inputs.label_set, sample, np.ones(len(labels), dtype=bool), clusters)
    if run.name == inputs.best:
        found["by"] = _by_column(inputs, sample, columns_of(rows, inputs.columns), clusters)
    return found


def clusters_of(rows: pa.Table) -> IntArray | None:
    """A number for the group of each row, a row without one by itself; None where the data has no groups."""
    groups = rows["group"].to_pylist()
    if not any(groups):
        return None
    numbers: dict[Any, int] = {}
    return np.array([numbers.setdefault(group or (i,), len(numbers)) for i, group in enumerate(groups)], dtype=np.int64)


def given(label_set: LabelSet, predictions: Predictions) -> FloatArray:
    """What was predicted as float [rows, labels]; a row without a valid answer has no label, or the mean score."""
    if label_set.is_regression:
        score = np.asarray(predictions.score, dtype=np.float64)
        valid = predictions.is_valid & np.isfinite(score)
        return np.where(valid, score, score[valid].mean() if valid.any() else 0.0)[:, None]
    decided = [
        names if valid else [] for names, valid in zip(predictions.decided or [], predictions.is_valid, strict=True)
    ]
    return label_set.encode(decided)


def _difference(apart: FloatArray, clusters: IntArray | None) -> dict[str, float | None]:
    """The mean of paired differences with its 95% interval."""
    one = mean_estimate(apart, clusters).to_dict()
    return {"difference": one["value"], "low": one["low"], "high": one["high"]}


def _lines(
    label_set: LabelSet, sample: ReviewedSample, rows: BoolArray, clusters: IntArray | None
) -> list[dict[str, Any]]:
    """Counted and corrected shares of some rows; not corrected where fewer than 20 of them are labelled."""
    labels, enough = sample.labels[rows], int((sample.reviewed & rows).sum()) >= REVIEWED
    corrected = sample.design_based(rows, clusters) if enough else [None] * labels.shape[1]
    lines = []
    for j, (name, one) in enumerate(zip(label_set.names, corrected, strict=True)):
        line: dict[str, Any] = {"label": name, **_named("counted", _counted(label_set, labels[:, j]))}
        lines.append({**line, **_named("corrected", one, clip=not label_set.is_regression)})
    return lines


def _counted(label_set: LabelSet, column: FloatArray) -> Estimate:
    if not label_set.is_regression:
        return wilson(float(column.sum()), len(column))
    return mean_estimate(column)


def _named(name: str, one: Estimate | None, clip: bool = False) -> dict[str, float | None]:
    """The estimate under a name; a share within 0 and 1."""
    values = {"value": None, "low": None, "high": None} if one is None else one.to_dict()
    if clip:
        values = {key: None if value is None else min(max(value, 0.0), 1.0) for key, value in values.items()}
    return {name: values["value"], f"{name}_low": values["low"], f"{name}_high": values["high"]}


def _by_column(
    inputs: Inputs, sample: ReviewedSample, found: Sequence[Condition], clusters: IntArray | None
) -> dict[str, list[dict[str, Any]]]:
    """For each column a line for each value and label."""
    by: dict[str, list[dict[str, Any]]] = {}
    for one in found:
        head = {"value": one.value, "rows": int(one.rows.sum()), "labelled": int((one.rows & sample.reviewed).sum())}
        lines = _lines(inputs.label_set, sample, one.rows, clusters)
        by.setdefault(one.column, []).extend({**head, **line} for line in lines)
    return by
