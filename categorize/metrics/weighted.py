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
from categorize.metrics.hierarchy import hierarchy_of
from categorize.metrics.measures import confidence_of
from categorize.metrics.probabilistic import Scored, calibration_gaps, losses, scored_rows
from categorize.metrics.ranked import areas_of, concordance_of, risk_of
from categorize.metrics.scores import fill_invalid, jaccard, matthews_correlation, ranking_scores
from categorize.metrics.two_levels import hierarchical, node_counts
from categorize.predictions import FloatArray, IntArray

CALIBRATION, CALIBRATION_NOISE = "expected_calibration_error", "(calibration noise)"

Statistic = Callable[[FloatArray], dict[str, FloatArray]]
"""Weights [resamples, n] -> values [resamples] by the names of `progress.flat`; NaN where a measure is undefined."""


def statistic(label_set: LabelSet, aligned: Aligned) -> Statistic:
    """The measures of a task as functions of row weights, named as in `progress.flat`."""
    if label_set.is_regression:
        return _also_valid_only(aligned, _regression)
    labels = len(label_set)
    parts = [("", _classification(aligned.gold, aligned.predicted, labels))]
    if label_set.task == "ordinal":
        parts.append(("", _also_valid_only(aligned, lambda rows: _ordinal(rows, labels))))
    if aligned.probabilities is not None:
        if ranked := ranking_scores(aligned.gold, aligned.probabilities):
            parts.append(("", _means(ranked)))
        if (scored := scored_rows(aligned.gold, aligned.probabilities)).rows.any():
            parts.append(("", _probabilistic(scored)))
            if not label_set.is_multi_label:
                parts.append(("", _risk(aligned, scored)))
    if (tree := hierarchy_of(label_set, aligned.gold)) is not None:
        consistent = aligned.valid & tree.consistent(aligned.predicted > 0)
        parts.append(("", _ratios({"consistency": (consistent.astype(np.float64), aligned.valid.astype(np.float64))})))
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
    valid_rows = valid.astype(np.float64)

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        total = weights.sum(axis=1)
        by_row = (weights @ means) / total[:, None]
        result = dict(zip(rows, by_row.T, strict=True))
        # A row that is right is valid.
        result["accuracy_valid_only"] = _divide(weights @ means[:, 0], weights @ valid_rows, otherwise=np.nan)
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
            if name not in ("accuracy", "accuracy_valid_only", "hamming_loss"):
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
    """Log loss, Brier score, calibration error, and areas under curves."""
    sums, areas = _ratios(losses(scored)), areas_of(scored)
    gaps = calibration_gaps(scored)  # [scored rows, bins]
    cells = scored.known.sum(axis=1) if scored.multi_label else np.ones(len(gaps))
    gap = gaps.sum(axis=0)

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        weights = weights[:, scored.rows]
        total = weights @ cells
        drawn = weights @ gaps
        return {
            **sums(weights),
            CALIBRATION: _divide(np.abs(drawn).sum(axis=1), total, otherwise=np.nan),
            # What would be measured if every bin were calibrated: resamples about the gaps of all rows.
            CALIBRATION_NOISE: _divide(np.abs(drawn - gap).sum(axis=1), total, otherwise=np.nan),
            **areas(weights),
        }

    return values


def _risk(aligned: Aligned, scored: Scored) -> Statistic:
    """The area under the risk-coverage curve; undefined in a resample without any probability."""
    risk = risk_of(confidence_of(aligned), aligned.gold != aligned.predicted)
    return lambda weights: {"aurc": np.where(weights @ scored.rows > 0, risk(weights), np.nan)}


def _also_valid_only(aligned: Aligned, part: Callable[[Aligned], Statistic]) -> Statistic:
    """Measures of all rows, and the same of the valid ones alone."""
    valid, whole = aligned.valid, part(aligned)
    if not valid.any():
        return whole
    gold, predicted = aligned.gold[valid], aligned.predicted[valid]
    only = whole if valid.all() else part(Aligned(aligned.known, gold, predicted, valid[valid], None))

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        found = whole(weights)
        of_valid = found if valid.all() else only(weights[:, valid])
        return found | {f"{name}_valid_only": value for name, value in of_valid.items()}

    return values


def _ordinal(aligned: Aligned, labels: int) -> Statistic:
    gold = aligned.gold.astype(np.float64)
    furthest = np.where(gold * 2 >= labels - 1, 0, labels - 1)
    predicted = np.where(aligned.valid, aligned.predicted, furthest).astype(np.float64)
    error = gold - predicted
    columns = np.stack([np.abs(error), error**2, gold, predicted, gold**2, predicted**2], axis=1)

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        mae, square, g, p, gg, pp = _divide(weights @ columns, weights.sum(axis=1, keepdims=True), np.nan).T
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
    concordance = concordance_of(gold, predicted)

    def values(weights: FloatArray) -> dict[str, FloatArray]:
        mae, square = _divide(weights @ columns, weights.sum(axis=1, keepdims=True), np.nan).T
        variance, pearson = _correlation(weights, gold, predicted)
        _, spearman = _correlation(weights, gold_rank(weights), predicted_rank(weights))
        return {
            "mae": mae,
            "rmse": np.sqrt(square),
            "r2": np.where(variance > _tiny(gold), 1 - _divide(square, variance), np.nan),
            "pearson": pearson,
            "spearman": spearman,
            "concordance": np.where(variance > _tiny(gold), concordance(weights), np.nan),
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
    total = np.maximum(weights.sum(axis=1), 1)
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
