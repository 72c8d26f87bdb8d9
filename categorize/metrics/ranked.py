"""Measures of an order in resamples: areas under curves, concordance, and the area under the risk-coverage curve.

Exactly, each takes a pass over all cells (pairs of rows) for every resample. Where that is too much, areas and
concordance are resampled by their linear part, the infinitesimal jackknife (Jaeckel 1972; Efron 1981): one number for
each row says how the measure moves with its weight. Of the ROC area these are the components of DeLong et al. (1988),
and of all cells together those of Obuchowski (1997), for the cells of a row are not independent.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from categorize.metrics.probabilistic import CURVE_LABELS, Scored, contrasted, falling
from categorize.predictions import BoolArray, FloatArray, IntArray

AREA_CELLS = 30_000  # rows times labels up to which areas are resampled exactly
PAIRED_ROWS = 1000  # up to which concordance is: a table of all pairs
CELLS_AT_ONCE = 4_000_000

Areas = Callable[[FloatArray], tuple[FloatArray, FloatArray]]
"""Weights [resamples, rows] -> areas under the ROC and the precision-recall curve [resamples]."""


def is_linear(rows: int, labels: int) -> bool:
    """Whether areas under the curves of so many cells are resampled by their linear part; of no label, concordance."""
    return rows * labels > AREA_CELLS if labels else rows > PAIRED_ROWS


def areas_of(scored: Scored) -> Callable[[FloatArray], dict[str, FloatArray]]:
    """Areas under curves, macro and micro, as functions of the weights of the scored rows; none of long label sets.

    Macro areas of a resample are means over the labels that it has rows with and without.
    """
    labels = contrasted(scored) if scored.labels <= CURVE_LABELS else []
    if not labels:
        return lambda weights: {}
    rows, count = np.arange(len(scored.truth)), scored.labels
    cells = scored.probabilities.ravel(), scored.truth.ravel(), np.repeat(rows, count)
    if is_linear(len(rows), count):
        macro = [_linear(scored.probabilities[:, j], scored.truth[:, j], rows) for j in labels]
        estimates, parts = (np.mean(one, axis=0) for one in zip(*macro, strict=True))
        of_all, parts_of_all = _linear(*cells)
        levels, moves = np.concatenate([estimates, of_all]), np.hstack([parts, parts_of_all])

        def linear(weights: FloatArray) -> dict[str, FloatArray]:
            roc, pr, micro_roc, micro_pr = np.clip(levels + weights @ moves, 0, 1).T
            return {"macro_roc_auc": roc, "macro_pr_auc": pr, "micro_roc_auc": micro_roc, "micro_pr_auc": micro_pr}

        return linear
    of_labels = [_exact(scored.probabilities[:, j], scored.truth[:, j], rows) for j in labels]
    of_cells = _exact(*cells)

    def exact(weights: FloatArray) -> dict[str, FloatArray]:
        each, together = np.array([areas(weights) for areas in of_labels]), of_cells(weights)  # [labels, 2, resamples]
        found, held = {}, ~np.isnan(each)
        for i, name in enumerate(("roc_auc", "pr_auc")):
            labels_held = held[:, i].sum(axis=0)
            mean = np.nansum(each[:, i], axis=0) / np.maximum(labels_held, 1)
            found[f"macro_{name}"] = np.where(labels_held, mean, np.nan)
            found[f"micro_{name}"] = np.where(labels_held, together[i], np.nan)
        return found

    return exact


def _exact(values: FloatArray, truth: BoolArray, owner: IntArray) -> Areas:
    """Both areas of cells, NaN where a resample has none with the label, or none without; equal values are one step.

    Only what stands at or above each cell that has the label is needed: one running sum over all cells, the rest over
    these.

    Args:
        owner: row of each cell.
    """
    order, ends = falling(values)
    positive = np.flatnonzero(truth[order])
    step = np.searchsorted(ends, positive)  # which run of equal values each stands in
    last, before = ends[step], np.where(step > 0, ends[step - 1], -1)
    held, held_before = (np.searchsorted(positive, at, side="right") for at in (last, before))
    of_cells, of_positive = owner[order], owner[order[positive]]

    def areas(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        everything = np.zeros((len(weights), len(order) + 1))
        np.cumsum(weights[:, of_cells], axis=1, out=everything[:, 1:])
        own = weights[:, of_positive]
        hits = np.zeros((len(weights), len(positive) + 1))
        np.cumsum(own, axis=1, out=hits[:, 1:])
        above, of_hits = everything[:, last + 1], hits[:, held]
        misses = above - of_hits + everything[:, before + 1] - hits[:, held_before]  # twice: ties count half
        total = hits[:, -1]
        pairs = total * (everything[:, -1] - total)
        there = pairs > 0
        roc = 1 - (own * misses).sum(axis=1) / 2 / np.where(there, pairs, 1)
        precision = (own * of_hits / np.maximum(above, 1)).sum(axis=1) / np.maximum(total, 1)
        return np.where(there, roc, np.nan), np.where(there, precision, np.nan)

    def in_blocks(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        size = max(1, CELLS_AT_ONCE // max(1, len(order)))
        blocks = [areas(weights[start : start + size]) for start in range(0, len(weights), size)]
        roc, precision_recall = (np.concatenate(one) for one in zip(*blocks, strict=True))
        return roc, precision_recall

    return in_blocks


def _linear(values: FloatArray, truth: BoolArray, owner: IntArray) -> tuple[FloatArray, FloatArray]:
    """Both areas of cells [2], and how each moves with the weight of a row [rows, 2].

    Args: as for `_exact`; some cells have the label, and some have not.
    """
    order, ends = falling(values)
    of_step = np.searchsorted(ends, np.arange(len(order)))
    hits = np.bincount(of_step, weights=truth[order], minlength=len(ends))
    size = np.diff(ends, prepend=-1).astype(np.float64)
    misses = size - hits
    positives, negatives = hits.sum(), misses.sum()
    below = (negatives - np.cumsum(misses) + misses / 2) / negatives  # of a cell with the label
    above = (np.cumsum(hits) - hits / 2) / positives  # of one without
    roc = float(hits @ below / positives)
    count = np.cumsum(size)
    precision = np.cumsum(hits) / count
    average = float(hits @ precision / positives)
    # A cell moves the precision of every cell with the label at or below it.
    gained, lost = (np.cumsum((hits * one / count)[::-1])[::-1] for one in (np.ones_like(count), precision))
    of_true = np.stack([(below - roc) / positives, (precision - average + gained - lost) / positives], axis=1)
    of_false = np.stack([(above - roc) / negatives, -lost / positives], axis=1)
    moves = np.where(truth[order][:, None], of_true[of_step], of_false[of_step])
    rows = int(owner.max()) + 1
    of_rows = np.stack([np.bincount(owner[order], weights=one, minlength=rows) for one in moves.T], axis=1)
    return np.array([roc, average]), np.asarray(of_rows, dtype=np.float64)


def concordance_of(gold: FloatArray, predicted: FloatArray) -> Callable[[FloatArray], FloatArray]:
    """`scores.concordance` [resamples] as a function of weights; NaN where the gold of a resample is constant."""
    if not is_linear(len(gold), 0):
        unequal = gold[:, None] != gold
        ordered = np.sign(gold[:, None] - gold) * np.sign(predicted[:, None] - predicted)
        concordant = np.where(unequal, (1 + ordered) / 2, 0.0)

        def exact(weights: FloatArray) -> FloatArray:
            above, below = (((weights @ one) * weights).sum(axis=1) for one in (concordant, unequal.astype(np.float64)))
            return np.where(below > 0, above / np.maximum(below, 1), np.nan)

        return exact
    # Rows below in both and rows above in both are concordant, ties of the prediction half.
    ranks = [np.unique(one, return_inverse=True)[1] for one in (gold, predicted)]
    both = np.unique(np.stack(ranks), axis=1, return_inverse=True)[1].reshape(-1)
    equal_gold, equal_predicted, equal_both = (np.bincount(one)[one] for one in (*ranks, both))
    falling_ranks = [one.max() - one for one in ranks]
    concordant_with = _below_in_both(*ranks) + _below_in_both(*falling_ranks) + (equal_predicted - equal_both) / 2
    unequal_to = len(gold) - equal_gold
    total = float(unequal_to.sum())
    if not total:
        return lambda weights: np.full(len(weights), np.nan)
    estimate = float(concordant_with.sum()) / total
    moves = 2 * (concordant_with - estimate * unequal_to) / total
    return lambda weights: np.clip(estimate + weights @ moves, 0, 1)


def _below_in_both(first: IntArray, second: IntArray) -> IntArray:
    """Of each row [n], how many rows have a smaller rank in both; by the bits of the second rank, n log n steps.

    >>> _below_in_both(np.array([0, 1, 1, 2]), np.array([0, 3, 1, 2])).tolist()
    [0, 1, 1, 2]
    """
    order = np.lexsort((-second, first))  # those of an equal first rank come with the larger second ones before
    rank = second[order]
    found = np.zeros(len(rank), dtype=np.int64)
    for bit in range(int(rank.max(initial=0)).bit_length()):
        # Rows that share the higher bits: one with this bit is above every earlier one without it.
        by_prefix = np.argsort(rank >> (bit + 1), kind="stable")
        has_bit = (rank[by_prefix] >> bit & 1).astype(bool)
        prefix = rank[by_prefix] >> (bit + 1)
        without = np.cumsum(~has_bit)
        starts = np.flatnonzero(np.diff(prefix, prepend=-1))
        earlier = np.repeat(without[starts] - ~has_bit[starts], np.diff(np.append(starts, len(prefix))))
        found[by_prefix] += np.where(has_bit, without - earlier, 0)
    counts = np.empty_like(found)
    counts[order] = found
    return counts


def risk_of(confidence: FloatArray, wrong: BoolArray) -> Callable[[FloatArray], FloatArray]:
    """The mean of `probabilistic.risk_at_coverage` [resamples] as a function of whole weights."""
    order, ends = falling(confidence)
    starts = np.append(0, ends[:-1] + 1)
    errors = wrong[order].astype(np.float64)

    def values(weights: FloatArray) -> FloatArray:
        sorted_weights = weights[:, order]
        size = np.add.reduceat(sorted_weights, starts, axis=1)
        of_errors = np.add.reduceat(sorted_weights * errors, starts, axis=1)
        kept, missed = np.cumsum(size, axis=1), np.cumsum(of_errors, axis=1)
        harmonic = np.append(0.0, np.cumsum(1 / np.arange(1, int(kept[:, -1].max()) + 1)))
        rate = of_errors / np.maximum(size, 1)
        # The risks of a run of equal confidences, of which each counts as wrong as they are on average, in closed form.
        steps = np.diff(harmonic[kept.astype(np.int64)], axis=1, prepend=0.0)
        risk = of_errors + (missed - of_errors - (kept - size) * rate) * steps
        return np.asarray(risk.sum(axis=1) / kept[:, -1])

    return values
