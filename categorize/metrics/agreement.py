"""Agreement of raters beyond chance, and one label from several votes: raters are teachers, repeats or people.

Votes are int [rows, raters], positions of values from 0; -1 where a rater gave none.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from categorize.metrics.arrays import FloatArray, IntArray

NO_VOTE = -1
ROUNDS, TOLERANCE = 200, 1e-7  # of expectation maximization
SMOOTHING = 0.01  # votes that every cell of a rater's table begins with: no rater is certain


def cohen_kappa(first: Sequence[int], second: Sequence[int]) -> float | None:
    """Agreement of two raters beyond chance (Cohen 1960), over the rows that both rated; None where that is undefined:
    no row, or one value alone.

    >>> cohen_kappa([0, 0, 1, 1], [0, 0, 1, 0])
    0.5
    """
    from sklearn.metrics import cohen_kappa_score

    pairs = np.array([first, second])
    pairs = pairs[:, (pairs != NO_VOTE).all(axis=0)]
    if len(np.unique(pairs)) < 2:
        return None
    return float(cohen_kappa_score(*pairs))


def fleiss_kappa(votes: IntArray, values: int) -> float | None:
    """Agreement of several raters beyond chance (Fleiss 1971), over the rows that all rated; None where undefined.

    >>> fleiss_kappa(np.array([[0, 0, 0], [1, 1, 1], [0, 1, 1]]), 2)
    0.55
    """
    rated = votes[(votes != NO_VOTE).all(axis=1)]
    counts = np.stack([(rated == value).sum(axis=1) for value in range(values)], axis=1)
    raters = votes.shape[1]
    expected = float(((counts.sum(axis=0) / max(counts.sum(), 1)) ** 2).sum())
    if not len(rated) or raters < 2 or expected == 1.0:
        return None
    observed = float(((counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))).mean())
    return round((observed - expected) / (1 - expected), 12)


def krippendorff_alpha(
    rows: Sequence[Sequence[Hashable]], distance: Callable[[Any, Any], float] | None = None
) -> float | None:
    """Krippendorff's alpha: 1 - observed disagreement / that expected by chance. Takes any number of ratings a row.

    Args:
        rows: of each row the ratings that there are; rows with fewer than two say nothing of agreement.
        distance: of two values, 0 to 1; by default 0 where they are equal and 1 else.

    Returns:
        None where there is nothing to compare, or all ratings are equal.

    >>> krippendorff_alpha([["a", "a"], ["b", "b"], ["a", "b"]])
    0.444444444444
    """
    paired = [row for row in rows if len(row) > 1]
    values = {value: i for i, value in enumerate(dict.fromkeys(value for row in paired for value in row))}
    if len(values) < 2:
        return None
    apart = np.array([[(distance or _differ)(a, b) for b in values] for a in values], dtype=float)
    counts = np.zeros((len(paired), len(values)))
    for i, row in enumerate(paired):
        for value in row:
            counts[i, values[value]] += 1
    sizes, totals = counts.sum(axis=1), counts.sum(axis=0)
    n = totals.sum()
    observed = float((np.einsum("ij,jk,ik->i", counts, apart, counts) / (sizes - 1)).sum() / n)
    expected = float(totals @ apart @ totals / (n * (n - 1)))
    return round(1 - observed / expected, 12) if expected else None


def _differ(a: Hashable, b: Hashable) -> float:
    return float(a != b)


def masi_distance(a: frozenset[Any], b: frozenset[Any]) -> float:
    """Distance of two sets of labels (Passonneau 2006): Jaccard's, less forgiving where neither holds the other.

    >>> masi_distance(frozenset("ab"), frozenset("ab")), masi_distance(frozenset("ab"), frozenset("c"))
    (0.0, 1.0)
    """
    if a == b:
        return 0.0
    both, either = len(a & b), len(a | b)
    monotone = 2 / 3 if a <= b or b <= a else 1 / 3 if both else 0.0
    return 1 - both / either * monotone


@dataclass(frozen=True)
class Consensus:
    """What several votes amount to.

    Attributes:
        probabilities: of the values [rows, values]; rows without a vote hold NaN.
        accuracy: estimated chance of each rater to be right [raters]; None where votes were only counted.
    """

    probabilities: FloatArray
    accuracy: FloatArray | None = None

    @property
    def value(self) -> IntArray:
        """The most probable value of each row [rows], the first of equal ones; -1 without a vote."""
        known = ~np.isnan(self.probabilities[:, 0])
        return np.where(known, np.nan_to_num(self.probabilities).argmax(axis=1), NO_VOTE)

    @property
    def confidence(self) -> FloatArray:
        """Its probability [rows]; NaN without a vote."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)


def majority(votes: IntArray, values: int) -> Consensus:
    """Shares of the votes.

    >>> majority(np.array([[0, 0, 1]]), 2).confidence.round(2)
    array([0.67])
    """
    counts = np.stack([(votes == value).sum(axis=1) for value in range(values)], axis=1).astype(float)
    with np.errstate(invalid="ignore"):
        return Consensus(counts / counts.sum(axis=1, keepdims=True))


def dawid_skene(votes: IntArray, values: int) -> Consensus:
    """The probability of each value given all votes, where raters err each in their own way (Dawid & Skene 1979), by
    expectation maximization from the majority's shares.

    >>> votes = np.array([[0, 0, 1], [1, 1, 0], [0, 0, 0], [1, 1, 1]] * 5)  # the third is wrong half of the time
    >>> dawid_skene(votes, 2).value[:2].tolist(), dawid_skene(votes, 2).accuracy.round(1).tolist()
    ([0, 1], [1.0, 1.0, 0.5])
    """
    from scipy.special import softmax

    # Few patterns of votes are distinct, however many rows there are.
    patterns, row, times = np.unique(votes, axis=0, return_inverse=True, return_counts=True)
    probabilities = majority(patterns, values).probabilities
    rated = np.flatnonzero(~np.isnan(probabilities[:, 0]))
    truth, times = probabilities[rated], times[rated, None].astype(float)
    given = (patterns[rated][:, :, None] == np.arange(values)).astype(float)  # patterns x raters x values
    share, tables = np.zeros(values), np.zeros((votes.shape[1], values, values))
    for _ in range(ROUNDS):
        share = ((truth * times).sum(axis=0) + SMOOTHING) / (times.sum() + SMOOTHING * values)
        tables = np.einsum("nk,nrv->rkv", truth * times, given) + SMOOTHING
        tables /= tables.sum(axis=2, keepdims=True)
        log = np.log(share) + np.einsum("nrv,rkv->nk", given, np.log(tables))
        before, truth = truth, softmax(log, axis=1)
        if not len(truth) or np.abs(truth - before).max() < TOLERANCE:
            break
    probabilities[rated] = truth
    return Consensus(probabilities[row.reshape(-1)], np.einsum("k,rkk->r", share, tables))
