"""A model beside several human raters: how much it agrees with each of them, and how much they agree with each other,
which is the ceiling of what a model can be asked for (Snow et al. 2008)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.agreement import cohen_kappa
from categorize.metrics.scores import is_constant
from categorize.predictions import FloatArray, Predictions

FEWEST = 3  # rows that two must share; two rows correlate perfectly
Weighted = Callable[[FloatArray], FloatArray]


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


def rater_statistic(
    label_set: LabelSet, ratings: FloatArray, predictions: Predictions
) -> Callable[[FloatArray], dict[str, FloatArray]]:
    """`model_rater` and `rater_rater` [resamples] as functions of row weights [resamples, n]; NaN where undefined.

    Args: as for `measure_raters`.
    """
    model = _values(label_set, predictions)
    ordered = label_set.is_regression or label_set.task == "ordinal"
    raters, agreement = list(ratings.T), _weighted_pearson if ordered else _weighted_kappa
    pairs = {
        "model_rater": [agreement(model, one) for one in raters],
        "rater_rater": [agreement(*pair) for pair in combinations(raters, 2)],
    }

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        found = {}
        for name, of_pairs in pairs.items():
            each = np.array([of_pair(weights) for of_pair in of_pairs]).reshape(-1, len(weights))
            defined = (~np.isnan(each)).sum(axis=0)
            found[name] = np.where(defined, np.nansum(each, axis=0) / np.maximum(defined, 1), np.nan)
        return found

    return values


def _weighted_pearson(first: FloatArray, second: FloatArray) -> Weighted:
    """Pearson's r of the rows that both rated, by their moments about the means of all rows."""
    shared = ~np.isnan(first) & ~np.isnan(second)
    if not shared.any():
        return lambda weights: np.full(len(weights), np.nan)
    x, y = (one[shared] - one[shared].mean() for one in (first, second))
    columns = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)
    # The variance up to which values are constant but for rounding.
    least = [1e-14 * float(np.abs(one).max()) ** 2 for one in (x, y)]

    def values(weights: FloatArray) -> FloatArray:
        rows, *sums = (weights[:, shared] @ columns).T
        mx, my, xx, xy, yy = (one / np.maximum(rows, 1) for one in sums)
        of_x, of_y = xx - mx**2, yy - my**2
        defined = (rows >= FEWEST) & (of_x > least[0]) & (of_y > least[1])
        return np.where(defined, (xy - mx * my) / np.sqrt(np.where(defined, of_x * of_y, 1.0)), np.nan)

    return values


def _weighted_kappa(first: FloatArray, second: FloatArray) -> Weighted:
    """Cohen's kappa of the rows that both rated."""
    shared = ~np.isnan(first) & ~np.isnan(second)
    codes = np.unique(np.concatenate([first[shared], second[shared]]), return_inverse=True)[1].reshape(2, -1)
    of_first, of_second = (np.eye(codes.max(initial=0) + 1)[one] for one in codes)
    equal = (codes[0] == codes[1]).astype(np.float64)

    def values(weights: FloatArray) -> FloatArray:
        weights = weights[:, shared]
        rows = weights.sum(axis=1)
        by_chance = ((weights @ of_first) * (weights @ of_second)).sum(axis=1)
        # One value alone is that of every row of both.
        defined = (rows >= FEWEST) & (by_chance < rows**2)
        above = (weights @ equal) * rows - by_chance
        return np.where(defined, above / np.where(defined, rows**2 - by_chance, 1.0), np.nan)

    return values


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
