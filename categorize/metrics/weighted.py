"""The measures as functions of row weights: many resamples at once, by matrix products.

A bootstrap resample is a weight for every row (how often it was drawn). The measures of `scores` need, besides means
over rows, only counts by label, moments, or mid-ranks, and all of these are linear or cumulative in the weights. With
weights of 1 the values equal those of `scores`; with integer weights, those of `scores` on the repeated rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.arrays import INVALID, Aligned, group_names, to_groups
from categorize.metrics.probabilistic import Scored, contrasted, falling, losses, scored_rows
from categorize.metrics.scores import fill_invalid, jaccard, matthews_correlation, ranking_scores
from categorize.metrics.two_levels import hierarchical, node_counts
from categorize.predictions import BoolArray, FloatArray, IntArray

AREA_LABELS = 20  # up to which areas under curves are resampled: each label's takes a pass over all rows and resamples

Statistic = Callable[[FloatArray], dict[str, FloatArray]]
"""Weights [resamples, n] -> values [resamples] by the names of `progress.flat`; NaN where a measure is undefined."""


def statistic(label_set: LabelSet, aligned: Aligned) -> Statistic:
    """The measures of a task as functions of row weights, named as in `progress.flat`."""
    if label_set.is_regression:
        return _regression(aligned)
    labels = len(label_set)
    parts = [("", _classification(aligned.gold, aligned.predicted, labels))]
    if label_set.task == "ordinal":
        parts.append(("", _ordinal(aligned, labels)))
    if aligned.probabilities is not None:
        if ranked := ranking_scores(aligned.gold, aligned.probabilities):
            parts.append(("", _means(ranked)))
        if (scored := scored_rows(aligned.gold, aligned.probabilities)).rows.any():
            parts.append(("", _probabilistic(scored)))
    if label_set.groups:
        counts = node_counts(label_set, aligned.gold, aligned.predicted)
        parts.append(("", lambda weights: hierarchical(weights @ counts)))
        gold, predicted = to_groups(label_set, aligned.gold), to_groups(label_set, aligned.predicted)
        parts.append(("group_", _classification(gold, predicted, len(group_names(label_set)))))

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        return {prefix + name: value for prefix, part in parts for name, value in part(weights).items()}

    return values


def _classification(gold: IntArray, predicted: IntArray, labels: int) -> Statistic:
    from scipy import sparse

    multi = gold.ndim == 2
    if multi:
        valid = (predicted != INVALID).all(axis=1)
        truth, chosen = gold == 1, (predicted == 1) & valid[:, None]
        cells = [truth & chosen, truth, chosen]
        counted = sparse.vstack([sparse.csr_array(one.T, dtype=np.float64) for one in cells], format="csr")
        true_positives, support, count = (one.sum(axis=1) for one in cells)
        right_none = (valid & (support + count == 0)).astype(np.float64)
        rows = {
            "accuracy": (valid & (truth == chosen).all(axis=1)).astype(np.float64),
            "hamming_loss": np.where(valid, (truth != chosen).mean(axis=1), 1.0),
            "samples_precision": _divide(true_positives, count) + right_none,
            "samples_recall": _divide(true_positives, support) + right_none,
            "samples_f1": _divide(2 * true_positives, support + count) + right_none,
            "samples_jaccard": jaccard(true_positives, support, count) + right_none,
        }
    else:
        # One column of `counted` for each label's hits, gold and predictions; built sparse, since rows x labels can be
        # large.
        right, valid = gold == predicted, predicted != INVALID
        row = np.concatenate([np.flatnonzero(right), np.arange(len(gold)), np.flatnonzero(valid)])
        column = np.concatenate([gold[right], labels + gold, 2 * labels + predicted[valid]])
        counted = sparse.csr_array((np.ones(len(row)), (column, row)), shape=(3 * labels, len(gold)))
        rows = {"accuracy": right.astype(np.float64)}
    means = np.stack(list(rows.values()), axis=1)

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        total = weights.sum(axis=1)
        by_row = (weights @ means) / total[:, None]
        result = dict(zip(rows, by_row.T, strict=True))
        tp, support, count = np.split((counted @ weights.T).T, 3, axis=1)
        used, held = support + count > 0, support > 0
        of_label = {
            "precision": _divide(tp, count),
            "recall": _divide(tp, support),
            "f1": _divide(2 * tp, support + count),
        }
        all_tp, all_support, all_count = tp.sum(axis=1), support.sum(axis=1), count.sum(axis=1)
        result["micro_precision"] = _divide(all_tp, all_count)
        result["micro_recall"] = _divide(all_tp, all_support)
        result["micro_f1"] = _divide(2 * all_tp, all_support + all_count)
        for name, score in of_label.items():
            # Undefined where no label has a gold row, as in `scores`.
            result[f"macro_{name}"] = _divide((score * held).sum(axis=1), held.sum(axis=1), otherwise=np.nan)
            result[f"weighted_{name}"] = _divide((score * support).sum(axis=1), all_support)
        if multi:
            each = jaccard(tp, support, count) * held
            result["macro_jaccard"] = _divide(each.sum(axis=1), held.sum(axis=1), otherwise=np.nan)
        else:
            result["balanced_accuracy"] = result["macro_recall"]
            result["mcc"] = matthews_correlation(tp, support, count, total)
        nothing = ~used.any(axis=1)
        for name in result:
            if name not in ("accuracy", "hamming_loss"):
                result[name] = np.where(nothing, np.nan, result[name])
        return result

    return values


def _means(of_row: dict[str, FloatArray]) -> Statistic:
    """Means over the rows that have a value."""
    return _ratios({name: (np.nan_to_num(one), (~np.isnan(one)).astype(np.float64)) for name, one in of_row.items()})


def _ratios(parts: dict[str, tuple[FloatArray, FloatArray]]) -> Statistic:
    """Sums over rows, divided by other sums."""
    above, below = (np.stack(columns, axis=1) for columns in zip(*parts.values(), strict=True))

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        return dict(zip(parts, _divide(weights @ above, weights @ below, otherwise=np.nan).T, strict=True))

    return values


def _probabilistic(scored: Scored) -> Statistic:
    """Log loss, Brier score, and the areas under curves that are means over labels."""
    sums = _ratios(losses(scored))
    labels = contrasted(scored) if scored.labels <= AREA_LABELS else []
    ranked = [_areas(scored.probabilities[:, j], scored.truth[:, j]) for j in labels]

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        weights = weights[:, scored.rows]
        found = sums(weights)
        if ranked:
            # [resamples, labels]; NaN where a resample lacks rows with the label, or without it.
            roc, precision_recall = np.moveaxis(np.array([areas(weights) for areas in ranked]), 0, 2)
            for name, area in (("roc_auc", roc), ("pr_auc", precision_recall)):
                held = ~np.isnan(area)
                found[f"macro_{name}"] = _divide(np.nansum(area, axis=1), held.sum(axis=1), otherwise=np.nan)
        return found

    return values


def _areas(values: FloatArray, truth: BoolArray) -> Callable[[FloatArray], tuple[FloatArray, FloatArray]]:
    """Areas under the ROC and the precision-recall curve of one label [resamples], as functions of weights; equal
    probabilities are one step.

    Only what stands at or above each row that has the label is needed: one running sum over all rows, the rest over
    these.
    """
    order, ends = falling(values)
    positive = np.flatnonzero(truth[order])
    step = np.searchsorted(ends, positive)  # which run of equal values each stands in
    last, before = ends[step], np.where(step > 0, ends[step - 1], -1)
    held, held_before = (np.searchsorted(positive, at, side="right") for at in (last, before))
    rows = order[positive]

    def areas(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        everything = np.zeros((len(weights), len(order) + 1))
        np.cumsum(weights[:, order], axis=1, out=everything[:, 1:])
        own = weights[:, rows]
        hits = np.zeros((len(weights), len(rows) + 1))
        np.cumsum(own, axis=1, out=hits[:, 1:])
        above, of_hits = everything[:, last + 1], hits[:, held]
        misses = above - of_hits + everything[:, before + 1] - hits[:, held_before]  # twice: ties count half
        total = hits[:, -1]
        pairs = total * (everything[:, -1] - total)
        roc = 1 - _divide((own * misses).sum(axis=1) / 2, pairs, np.nan)
        precision = _divide((own * _divide(of_hits, above)).sum(axis=1), total)
        return roc, np.where(pairs > 0, precision, np.nan)

    return areas


def _ordinal(aligned: Aligned, labels: int) -> Statistic:
    gold = aligned.gold.astype(np.float64)
    furthest = np.where(gold * 2 >= labels - 1, 0, labels - 1)
    predicted = np.where(aligned.valid, aligned.predicted, furthest).astype(np.float64)
    error = gold - predicted
    columns = np.stack([np.abs(error), error**2, gold, predicted, gold**2, predicted**2], axis=1)

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        mae, square, g, p, gg, pp = ((weights @ columns) / weights.sum(axis=1, keepdims=True)).T
        # Kappa with quadratic weights in moments: the disagreement seen over that of independent raters.
        return {"mae": mae, "quadratic_weighted_kappa": 1 - _divide(square, gg + pp - 2 * g * p, otherwise=np.nan)}

    return values


def _regression(aligned: Aligned) -> Statistic:
    # An invalid row is the mean of the gold of the whole split, also in a resample: a row keeps its prediction.
    gold = aligned.gold
    predicted = fill_invalid(gold, aligned.predicted)
    error = gold - predicted
    columns = np.stack([np.abs(error), error**2], axis=1)
    gold_rank, predicted_rank = _mid_ranks(gold), _mid_ranks(predicted)

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        mae, square = ((weights @ columns) / weights.sum(axis=1, keepdims=True)).T
        variance, pearson = _correlation(weights, gold, predicted)
        _, spearman = _correlation(weights, gold_rank(weights), predicted_rank(weights))
        return {
            "mae": mae,
            "rmse": np.sqrt(square),
            "r2": np.where(variance > _tiny(gold), 1 - _divide(square, variance), np.nan),
            "pearson": pearson,
            "spearman": spearman,
        }

    return values


def _mid_ranks(values: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """Ranks [resamples, n] of the values in each resample, ties sharing their mean rank."""
    _, position = np.unique(values, return_inverse=True)
    order = np.argsort(position, kind="stable")
    starts = np.flatnonzero(np.diff(position[order], prepend=-1))

    def ranks(weights: FloatArray) -> FloatArray:
        tied = np.add.reduceat(weights[:, order], starts, axis=1)
        return np.asarray((np.cumsum(tied, axis=1) - tied / 2 + 0.5)[:, position])

    return ranks


def _correlation(weights: FloatArray, x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Variance of x and correlation of x and y in each resample; x and y are [n] or [resamples, n]."""
    total = weights.sum(axis=1)
    # Centred before squaring: moments about zero lose the variance of scores that lie far from it.
    x_centred = x - (np.einsum("rn,n->r" if x.ndim == 1 else "rn,rn->r", weights, x) / total)[:, None]
    y_centred = y - (np.einsum("rn,n->r" if y.ndim == 1 else "rn,rn->r", weights, y) / total)[:, None]
    weighted = weights * x_centred
    xx = np.einsum("rn,rn->r", weighted, x_centred) / total
    xy = np.einsum("rn,rn->r", weighted, y_centred) / total
    yy = np.einsum("rn,rn->r", weights * y_centred, y_centred) / total
    defined = (xx > _tiny(x)) & (yy > _tiny(y))
    return xx, np.where(defined, _divide(xy, np.sqrt(xx * yy)), np.nan)


def _tiny(values: FloatArray) -> float:
    """The variance up to which values are constant but for rounding; as `scores.is_constant` has it for their range."""
    return float(1e-20 * np.max(np.abs(values)) ** 2)


def _divide(a: Any, b: Any, otherwise: float = 0.0) -> FloatArray:
    """a / b, and `otherwise` where b is 0."""
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    result = np.full(np.broadcast_shapes(a.shape, b.shape), otherwise)
    np.divide(a, b, out=result, where=b != 0)
    return result
