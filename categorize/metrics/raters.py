"""A model beside several human raters: how much it agrees with each of them, and how much they agree with each other,
which is the ceiling of what a model can be asked for (Snow et al. 2008)."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.agreement import cohen_kappa
from categorize.metrics.scores import is_constant
from categorize.predictions import FloatArray, Predictions

FEWEST = 3  # rows that two must share; two rows correlate perfectly


def measure_raters(label_set: LabelSet, ratings: FloatArray, predictions: Predictions) -> dict[str, Any]:
    """Agreement of the model with the raters, and of the raters among each other.

    Args:
        ratings: [n, raters]; scores, or positions of labels; NaN where a rater gave none.
        predictions: n decided rows in the same order; rows that are not valid agree with nobody and are left out.

    Returns:
        `raters`, how many; `measure`: `pearson` of scores and of ranks, else `cohen_kappa`; `model_rater`, the mean of
        the model's agreement with each rater, and `rater_rater`, that of all pairs of raters, each over the rows that
        both rated. A pair that shares fewer than three rows, or is constant there, is left out; None where none stays.

    >>> from categorize.labels import Label
    >>> ratings = np.array([[1.0, 2.0], [2.0, 2.0], [3.0, 5.0], [4.0, 4.0]])
    >>> predictions = Predictions(list("abcd"), score=np.array([1.0, 2.0, 3.0, 4.0]))
    >>> found = measure_raters(LabelSet("regression", (Label("score"),)), ratings, predictions)
    >>> round(found["model_rater"], 3), round(found["rater_rater"], 3)
    (0.887, 0.775)
    """
    model = _values(label_set, predictions)
    ordered = label_set.is_regression or label_set.task == "ordinal"
    raters = list(ratings.T)
    return {
        "raters": len(raters),
        "measure": "pearson" if ordered else "cohen_kappa",
        "model_rater": _mean([_agreement(model, one, ordered) for one in raters]),
        "rater_rater": _mean([_agreement(*pair, ordered) for pair in combinations(raters, 2)]),
    }


def _values(label_set: LabelSet, predictions: Predictions) -> FloatArray:
    """What was predicted as a rater gives it; NaN where not valid."""
    if label_set.is_regression:
        assert predictions.score is not None
        values = np.asarray(predictions.score, dtype=np.float64)
    else:
        assert predictions.decided is not None
        values = np.array([label_set.index[names[0]] if names else np.nan for names in predictions.decided])
    return np.where(predictions.is_valid & np.isfinite(values), values, np.nan)


def _agreement(first: FloatArray, second: FloatArray, ordered: bool) -> float | None:
    from scipy.stats import pearsonr

    shared = ~np.isnan(first) & ~np.isnan(second)
    first, second = first[shared], second[shared]
    if len(first) < FEWEST:
        return None
    if not ordered:
        return cohen_kappa(first.astype(int).tolist(), second.astype(int).tolist())
    if is_constant(first) or is_constant(second):
        return None
    return float(pearsonr(first, second).statistic)


def _mean(values: list[float | None]) -> float | None:
    found = [one for one in values if one is not None]
    return float(np.mean(found)) if found else None
