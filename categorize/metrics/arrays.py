"""Gold and predictions as aligned arrays: rows with a known gold only, and one mark each for "no valid prediction".

The marks are the same everywhere in this package: label position -1, an indicator row of -1, a score of NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from categorize.labels import LabelSet
from categorize.predictions import BoolArray, FloatArray, IntArray, Predictions

ROUNDING = 1e-3  # probabilities that were computed in half precision lie so far outside 0 and 1
INVALID = -1  # the position, or indicator value, of a row without a valid prediction


@dataclass(frozen=True)
class Aligned:
    """Rows with a known gold, and what was predicted for them.

    Attributes:
        known: bool [all rows]; which rows of the input have a gold, and so stand in the other arrays.
        gold: label positions [n] (single label, ordinal), indicators [n, labels] (multi-label) or scores [n].
        predicted: the same of the predictions, with the mark of this module where there is no valid prediction.
        valid: bool [n].
        probabilities: [n, labels], NaN where not scored or not valid; None where the predictor has none.
    """

    known: BoolArray
    gold: npt.NDArray[Any]
    predicted: npt.NDArray[Any]
    valid: BoolArray
    probabilities: FloatArray | None

    def __len__(self) -> int:
        """Rows with a known gold."""
        return len(self.valid)


def align(label_set: LabelSet, gold: FloatArray, predictions: Predictions) -> Aligned:
    """Drop the rows without gold and encode what was decided.

    Args:
        gold: [n, labels] as `LabelSet.encode` gives it; a row of NaN is unknown.

    A row counts as valid where the prediction says so and holds an answer: exactly one label for a single-label or
    ordinal task, a finite score for a regression, any number of labels for multi-label.

    Raises:
        ValueError: the lengths differ, nothing was decided yet, a single-label row has no gold label or several, a row
            of gold is unknown in part or infinite, or a probability is not between 0 and 1; the row is named.
        KeyError: a decided label that is not in the set.
    """
    gold = np.asarray(gold, dtype=np.float64)
    if gold.shape != (len(predictions), len(label_set)):
        raise ValueError(
            f"gold is {gold.shape}, expected {(len(predictions), len(label_set))}: rows of predictions, labels"
        )
    known: BoolArray = np.asarray(~np.isnan(gold).any(axis=1))
    unknown: BoolArray = np.asarray(np.isnan(gold).all(axis=1))
    _refuse(np.asarray(known == unknown), predictions, "is NaN in part: a row is known, or NaN throughout", gold)
    _refuse(np.asarray(np.isinf(gold).any(axis=1)), predictions, "is not finite", gold)
    rows = np.flatnonzero(known)
    gold = gold if known.all() else gold[rows]
    valid = predictions.is_valid[rows].astype(bool)
    if label_set.is_regression:
        if predictions.score is None:
            raise ValueError("predictions of a regression have no score")
        score = np.asarray(predictions.score, dtype=np.float64)[rows]
        valid = valid & np.isfinite(score)
        return Aligned(known, gold[:, 0], np.where(valid, score, np.nan), valid, None)
    if predictions.decided is None:
        raise ValueError("predictions hold no decided labels: apply a DecisionRule before measuring")
    decided = [predictions.decided[i] for i in rows.tolist()]
    probabilities = None
    if label_set.is_multi_label:
        indicators = np.zeros(gold.shape, dtype=np.int8)  # thousands of labels are many cells
        for i, names in enumerate(decided):
            indicators[i, [label_set.index[name] for name in names]] = 1
        indicators[~valid] = INVALID
        gold_array, predicted = gold.astype(np.int8), indicators
    else:
        if wrong := int((gold.sum(axis=1) != 1).sum()):
            raise ValueError(f"a {label_set.task} row has exactly one gold label; {wrong} rows have none or several")
        positions = [label_set.index[names[0]] if len(names) == 1 else INVALID for names in decided]
        predicted = np.where(valid, np.array(positions, dtype=np.int64).reshape(-1), INVALID)
        valid = predicted != INVALID
        gold_array = gold.argmax(axis=1).astype(np.int64)
    if predictions.probabilities is not None:
        probabilities = np.asarray(predictions.probabilities, dtype=np.float64)
        outside = (probabilities < -ROUNDING) | (probabilities > 1 + ROUNDING)
        _refuse(np.asarray(outside.any(axis=1)), predictions, "is not between 0 and 1", probabilities, "a probability")
        if not (known.all() and valid.all()):
            probabilities = np.where(valid[:, None], probabilities[rows], np.nan)
    return Aligned(known, gold_array, predicted, valid, probabilities)


def _refuse(rows: BoolArray, predictions: Predictions, why: str, values: FloatArray, what: str = "the gold") -> None:
    if rows.any():
        first = int(rows.argmax())
        raise ValueError(f"row {first} (id {predictions.ids[first]!r}): {what} {why}: {values[first][:10].tolist()}")


def group_names(label_set: LabelSet) -> list[str]:
    """Names of the upper level: the groups in order, then every label that stands in no group by itself."""
    names = [group.name for group in label_set.groups]
    return names + [label.name for label in label_set.labels if label.parent is None and label.name not in names]


def to_groups(label_set: LabelSet, values: IntArray) -> IntArray:
    """Label positions [n] or indicators [n, labels] on the upper level; the mark of an invalid row stays."""
    position = {name: j for j, name in enumerate(group_names(label_set))}
    groups = np.array([position[label.parent or label.name] for label in label_set.labels], dtype=np.int64)
    if values.ndim == 1:
        return np.where(values == INVALID, INVALID, groups[values])
    mapped: IntArray = np.zeros((len(values), len(position)), dtype=values.dtype)
    rows, labels = np.nonzero(values == 1)
    mapped[rows, groups[labels]] = 1
    mapped[(values == INVALID).any(axis=1)] = INVALID
    return mapped
