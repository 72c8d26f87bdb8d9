"""Weights of the members, chosen on validation rows so that they hold on others.

A mean's weights are searched on a grid of the simplex. Each fifth of the rows is decided by weights that were chosen
without it; where these decisions are no better than those of equal weights, the weights stay equal; else they are the
mean of the five choices. The cells are calibrated by curves that did not see them (`cross_calibrated`). Stacking is
a logistic regression with a handful of coefficients, shared by all labels and none of them negative (Wolpert 1992;
Breiman 1996); scores are joined by non-negative least squares.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from categorize.labels import LabelSet
from categorize.methods.fusion.combination import Pool, pooled
from categorize.metrics.calibration import SMALLEST, log_odds
from categorize.metrics.curves import CurveKind, Curves
from categorize.metrics.thresholds import DEFAULT, exact
from categorize.predictions import BoolArray, FloatArray, IntArray

FOLDS = 5
MOST_TRIED = 300  # points of the grid


@dataclass(frozen=True)
class Weighed:
    """Weights, and the measure on rows that they were not chosen on, beside that of equal weights."""

    weights: list[float]
    intercept: float = 0.0
    held_out: float | None = None
    equal: float | None = None


def folds_of(gold: FloatArray) -> IntArray:
    """A fold for each row, rows with the same labels dealt out."""
    fold = np.empty(len(gold), dtype=np.int64)
    fold[np.lexsort(gold.T)] = np.arange(len(gold)) % FOLDS
    return fold


def cross_calibrated(label_set: LabelSet, kind: CurveKind, cells: FloatArray, gold: FloatArray) -> FloatArray:
    """Cells [members, n, labels] of each fifth of the rows, by curves that were fitted without it."""
    fold, result = folds_of(gold), cells.copy()
    for member, number in itertools.product(range(len(cells)), range(FOLDS)):
        out = fold == number
        curves = Curves.fit(kind, label_set.names, cells[member][~out], gold[~out])
        if curves is not None:
            held_out = curves.apply(label_set.names, cells[member][out], multi_label=label_set.is_multi_label)
            result[member, out] = held_out
    return result


def search(label_set: LabelSet, pool: Pool, objective: str, cells: FloatArray, gold: FloatArray) -> Weighed:
    """Weights of a mean with the best `objective`.

    Args:
        cells: [members, n, labels], calibrated on other rows.
        gold: indicators [n, labels].
    """
    several, members = label_set.is_multi_label, len(cells)
    equal = [1 / members] * members
    fold = folds_of(gold)
    best: list[tuple[float, Sequence[float]]] = [(-math.inf, equal)] * FOLDS
    for tried in itertools.chain([equal], simplex(members)):
        fused = pooled(pool, cells, tried, several)
        for number in range(FOLDS):
            kept = fold != number
            value = quality(objective, fused[kept], gold[kept], several)
            if value > best[number][0] + 1e-12:
                best[number] = (value, tried)
    decided = np.empty_like(gold)
    for number, (_, chosen) in enumerate(best):
        decided[fold == number] = pooled(pool, cells[:, fold == number], chosen, several)
    of_equal = quality(objective, pooled(pool, cells, equal, several), gold, several)
    held_out = quality(objective, decided, gold, several)
    weights = np.mean([chosen for _, chosen in best], axis=0).tolist() if held_out > of_equal else equal
    return Weighed(weights, 0.0, held_out, of_equal)


def simplex(members: int) -> Iterator[list[float]]:
    """Weights that sum to 1, on the finest of a few grids with at most `MOST_TRIED` points.

    >>> list(simplex(2))[:3]
    [[0.0, 1.0], [0.05, 0.95], [0.1, 0.9]]
    """
    parts = next((n for n in (20, 10, 5, 4, 2) if math.comb(n + members - 1, members - 1) <= MOST_TRIED), 1)
    for cuts in itertools.combinations(range(parts + members - 1), members - 1):
        edges = (-1, *cuts, parts + members - 1)
        yield [(after - before - 1) / parts for before, after in itertools.pairwise(edges)]


def quality(objective: str, probabilities: FloatArray, gold: FloatArray, multi_label: bool) -> float:
    """How good probabilities are, more is better: the log likelihood, or the accuracy or macro-F1 of the most probable
    label; of several labels a row decided at 0.5 and, for macro-F1, at the best threshold of each label."""
    filled = np.nan_to_num(probabilities)
    if objective == "log_loss":
        if multi_label:
            z = log_odds(filled)
            return -float(np.mean(np.logaddexp(0.0, z) - gold * z))
        return float(np.mean(np.log(np.maximum((filled * gold).sum(axis=1), SMALLEST))))
    if multi_label:
        limits = (
            [exact(filled[:, [j]], gold[:, [j]]) for j in range(gold.shape[1])] if objective == "macro_f1" else DEFAULT
        )
        chosen: BoolArray = np.asarray(filled >= np.array(limits))
    else:
        chosen = np.zeros(gold.shape, dtype=bool)
        chosen[np.arange(len(gold)), filled.argmax(axis=1)] = True
    if objective == "accuracy":
        return float((chosen == (gold > 0)).all(axis=1).mean())
    support = gold.sum(axis=0)
    f1 = 2 * (chosen & (gold > 0)).sum(axis=0) / np.maximum(chosen.sum(axis=0) + support, 1)
    return float(f1[support > 0].mean())


def stack(label_set: LabelSet, cells: FloatArray, gold: FloatArray) -> Weighed:
    """Coefficients with the least log loss: of the logarithms (single label: a softmax over the labels) or of the log
    odds (several labels: a sigmoid of each, with an intercept)."""
    from scipy.optimize import minimize
    from scipy.special import expit, logsumexp

    members, several = len(cells), label_set.is_multi_label
    if several:
        there = ~np.isnan(cells).any(axis=0)
        features, target = log_odds(cells[:, there]), gold[there]

        def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
            z = parameters[:-1] @ features + parameters[-1]
            error = (expit(z) - target) / len(target)
            return float(np.mean(np.logaddexp(0.0, z) - target * z)), np.append(features @ error, error.sum())
    else:
        rows = ~np.isnan(cells).any(axis=(0, 2))
        scores, truth = np.log(np.maximum(cells[:, rows], SMALLEST)), gold[rows]

        def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
            z = np.tensordot(parameters[:-1], scores, axes=1)
            total = logsumexp(z, axis=1, keepdims=True)
            error = (np.exp(z - total) - truth) / len(truth)
            value = float(np.mean(total[:, 0] - (z * truth).sum(axis=1)))
            return value, np.append(np.tensordot(scores, error, axes=2), 0.0)

    start = np.append(np.full(members, 1 / members), 0.0)
    bounds = [(0.0, None)] * members + [(None, None)]
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return Weighed(found[:-1].tolist(), float(found[-1]))


def least_squares(cells: FloatArray, gold: FloatArray) -> Weighed:
    """Non-negative coefficients and an intercept with the least squared error (Lawson & Hanson 1974).

    Args:
        cells: scores [members, n, 1]; rows that a member left out are too.
        gold: [n, 1].
    """
    from scipy.optimize import nnls

    rows = ~np.isnan(cells).any(axis=(0, 2))
    scores, target = cells[:, rows, 0].T, gold[rows, 0]
    weights, _ = nnls(scores - scores.mean(axis=0), target - target.mean())
    return Weighed(weights.tolist(), float(target.mean() - scores.mean(axis=0) @ weights))
