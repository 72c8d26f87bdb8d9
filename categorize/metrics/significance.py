"""Whether two runs differ on the same rows: p-values of paired tests, and their correction for how many were made."""

from __future__ import annotations

import numpy as np

from categorize.predictions import BoolArray, FloatArray

MCNEMAR, PAIRED_BOOTSTRAP = "McNemar exact", "paired bootstrap"
FEWEST_FOR_A_SPREAD = 20  # resamples


def mcnemar(first: BoolArray, second: BoolArray) -> float:
    """The exact test of McNemar (1947): of the rows that one of two is right about, is each right equally often?

    Args:
        first, second: which rows each is right about [n].

    >>> mcnemar(np.array([True] * 9 + [False]), np.array([False] * 9 + [True]))
    0.021484375
    """
    from scipy.stats import binomtest

    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if not only_first + only_second:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def bootstrap_p_value(differences: FloatArray) -> float | None:
    """Twice the share of resamples in which the difference lies on the other side of 0, the estimate itself counted as
    one of them (Davison & Hinkley 1997, 4.2.3); None where it is undefined in more than half of them.

    Where no resample comes to 0, that share only says how many were drawn, and the correction for many comparisons
    would find no difference however large it is. There the tail is that of a normal distribution with the mean and the
    spread of the resamples (ibid., 5.2).

    Args:
        differences: one run minus the other in each resample of the same rows.

    >>> bootstrap_p_value(np.array([0.1, 0.2, -0.1, 0.3]))
    0.8
    """
    defined = differences[~np.isnan(differences)]
    if 2 * len(defined) < len(differences) or not len(defined):
        return None
    least = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    counted = min(1.0, 2 * (least + 1) / (len(defined) + 1))
    spread = float(defined.std(ddof=1)) if len(defined) >= FEWEST_FOR_A_SPREAD else 0.0
    if least or spread <= 1e-12:
        return counted
    from scipy.stats import norm

    return min(counted, 2 * float(norm.sf(abs(float(defined.mean())) / spread)))


def holm(p: FloatArray) -> FloatArray:
    """p-values of several tests [n], corrected so that all of them together err as seldom as one (Holm 1979).

    >>> holm(np.array([0.01, 0.04, 0.03])).tolist()
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted
