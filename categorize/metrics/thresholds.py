"""Thresholds with the best F1 on validation: an exact sweep over all that tell apart the probabilities seen.

A threshold t says: the label holds where its probability is at least t. Between two neighbouring probabilities every t
decides alike, so that trying one in each gap tries them all. Among equals the gap nearest to 0.5 wins, and in a gap 0.5
itself where it lies there, else the middle.
"""

from __future__ import annotations

import numpy as np

from categorize.metrics.arrays import BoolArray, FloatArray

DEFAULT = 0.5


def best_per_label(probabilities: FloatArray, gold: FloatArray) -> list[float]:
    """The threshold with the best F1 of each label; 0.5 where a label has no gold row or was never scored.

    Args:
        probabilities: [n, labels]; NaN cells are never predicted, so that their gold counts as missed.
        gold: indicators [n, labels] without NaN.
    """
    thresholds = []
    for j in range(gold.shape[1]):
        p, y = probabilities[:, j], gold[:, j] > 0
        scored = ~np.isnan(p)
        thresholds.append(_best(p[scored], y[scored], int(y.sum())) if y.any() and scored.any() else DEFAULT)
    return thresholds


def best_global(probabilities: FloatArray, gold: FloatArray) -> float:
    """The one threshold for all labels with the best macro-F1, as `measures` defines it.

    Arguments as for `best_per_label`. Lowering the threshold past one cell changes the F1 of that cell's label alone,
    so that one sort and running sums give macro-F1 at every threshold.
    """
    scored = ~np.isnan(probabilities)
    support = gold.sum(axis=0)
    if not scored.any() or not support.any():
        return DEFAULT
    row, label = np.nonzero(scored)
    order = np.argsort(-probabilities[row, label], kind="stable")
    row, label = row[order], label[order]
    p, y = probabilities[row, label], gold[row, label] > 0
    change, first = np.zeros(len(p)), np.zeros(len(p), dtype=bool)
    for j in range(gold.shape[1]):
        at = np.flatnonzero(label == j)
        if len(at):
            f1 = _f1_by_count(y[at], support[j])
            change[at] = np.diff(f1, prepend=0.0)
            first[at[0]] = support[j] == 0  # a label without gold rows enters the average once it is predicted
    macro = np.cumsum(change) / ((support > 0).sum() + np.cumsum(first))
    return _choose(p, macro)


def _best(p: FloatArray, y: BoolArray, support: int) -> float:
    order = np.argsort(-p, kind="stable")
    return _choose(p[order], _f1_by_count(y[order], support))


def _f1_by_count(y: BoolArray, support: float) -> FloatArray:
    """F1 when the first 1, 2, ... n cells are predicted."""
    return np.asarray(2 * np.cumsum(y) / (np.arange(1, len(y) + 1) + support))


def _choose(p: FloatArray, score: FloatArray) -> float:
    """The threshold for the best score; 0.5 where none is better than predicting nothing.

    Args:
        p: probabilities, falling.
        score: what predicting the cells up to each one gives [len(p)]; predicting none gives 0.
    """
    upper = p
    lower = np.append(p[1:], -np.inf)
    # Equal probabilities fall on one side of any threshold: only the last of a tie ends a gap.
    ends = upper > lower
    upper, lower, score = upper[ends], lower[ends], score[ends]
    if score.max() <= 0:
        return DEFAULT
    # Running sums differ in their last digits where the scores are equal.
    best = score >= score.max() - 1e-12
    upper, lower = upper[best], np.maximum(lower[best], 0.0)
    if ((lower < DEFAULT) & (upper >= DEFAULT)).any():
        return DEFAULT
    at = int(np.argmin(np.minimum(np.abs(upper - DEFAULT), np.abs(lower - DEFAULT))))
    middle = float((lower[at] + upper[at]) / 2)
    # Between neighbouring floats the middle rounds down to the lower one, which would be predicted too.
    return middle if middle > lower[at] else float(upper[at])
