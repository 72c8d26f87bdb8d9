"""Shares of labels in a whole collection, from labels that err and a reviewed random sample of it.

Counting labels that are right 80 to 90% of the time gives intervals that miss the truth (Egami et al. 2023, arXiv
2306.04746). Both estimators here stay unbiased however wrong the labels are, because the sample's chances are known:

* design-based supervised learning: each row counts as its label, plus, in the sample, label error / chance;
* PPI++ (Angelopoulos et al. 2023, arXiv 2311.01453; by strata: Fisch et al. 2024, arXiv 2406.04291): the labels count
  only as far as they narrow the interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from categorize.metrics.arrays import BoolArray, FloatArray, IntArray

Z = 1.959963984540054  # of a 95% interval


@dataclass(frozen=True)
class Estimate:
    """A share or a difference of shares, with its 95% interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, value: float, variance: float) -> Estimate:
        """With the interval of a normal distribution."""
        half = Z * float(np.sqrt(variance))
        return cls(float(value), float(value - half), float(value + half))

    def to_dict(self) -> dict[str, float | None]:
        """Plain data for JSON; None for what no row says anything of."""
        return {name: one if np.isfinite(one) else None for name, one in vars(self).items()}


def wilson(right: float, n: float) -> Estimate:
    """A proportion with Wilson's interval (1927), which holds for few rows and near 0 and 1.

    Args:
        right: how many of `n` are; under weights, the weighted share times the effective size.

    >>> one = wilson(9, 10)
    >>> round(one.low, 3), round(one.high, 3)
    (0.596, 0.982)
    """
    if not n:
        return Estimate(float("nan"), 0.0, 1.0)
    share, spread = right / n, 1 + Z**2 / n
    middle = (share + Z**2 / (2 * n)) / spread
    half = Z / spread * float(np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2)))
    return Estimate(share, max(0.0, middle - half), min(1.0, middle + half))


@dataclass(frozen=True)
class ReviewedSample:
    """Rows of a collection with their labels, and the reviewed ones' true labels.

    Attributes:
        labels: float [rows, labels]; 1 where a row was given the label.
        truth: float [rows, labels]; rows of NaN were not reviewed.
        stratum: int [rows]; sampling was by these, each with one chance.

    A stratum of one reviewed row takes the largest variance that a share can have.

    Raises:
        ValueError: a stratum without a reviewed row, about which nothing can be said; join it to another.
    """

    labels: FloatArray
    truth: FloatArray
    stratum: IntArray

    def __post_init__(self) -> None:
        if unseen := set(self.stratum.tolist()) - set(self.stratum[self.reviewed].tolist()):
            raise ValueError(f"no row of stratum {min(unseen)} was reviewed")

    @property
    def reviewed(self) -> BoolArray:
        """Bool [rows]."""
        return np.asarray(~np.isnan(self.truth).any(axis=1))

    @property
    def chance(self) -> FloatArray:
        """Chance of each row to be reviewed [rows]: the share of its stratum that was."""
        strata = int(self.stratum.max(initial=-1)) + 1
        rows = np.bincount(self.stratum, minlength=strata)
        seen = np.bincount(self.stratum[self.reviewed], minlength=strata)
        return np.asarray((seen / np.maximum(rows, 1))[self.stratum], dtype=np.float64)

    def naive(self, rows: BoolArray | None = None) -> list[Estimate]:
        """Shares as counting the labels gives them: the intervals know nothing of the labels' errors."""
        labels = self.labels if rows is None else self.labels[rows]
        return [wilson(float(column.sum()), len(column)) for column in labels.T]

    def design_based(self, rows: BoolArray | None = None, clusters: IntArray | None = None) -> list[Estimate]:
        """Shares by design-based supervised learning, of all rows or of some (a group).

        Args:
            clusters: number of each row's speaker or video, whose rows are not independent.
        """
        at = np.ones(len(self.labels), dtype=bool) if rows is None else rows
        within = None if clusters is None else clusters[at]
        return [mean_estimate(column, within) for column in self._corrected()[at].T]

    def difference(self, first: BoolArray, second: BoolArray) -> tuple[list[Estimate], list[Estimate]]:
        """Shares of the first rows minus those of the second: corrected (design-based), and as counting gives them."""
        corrected = self._corrected()
        return _differences(corrected[first], corrected[second]), _differences(self.labels[first], self.labels[second])

    def power_tuned(self) -> list[Estimate]:
        """Shares of all rows by PPI++, stratum by stratum."""
        values, variances = np.zeros(self.labels.shape[1]), np.zeros(self.labels.shape[1])
        for one in np.unique(self.stratum):
            at = self.stratum == one
            weight = at.mean()
            seen, rest = at & self.reviewed, at & ~self.reviewed
            for j in range(len(values)):
                value, variance = _ppi(self.truth[seen, j], self.labels[seen, j], self.labels[rest, j])
                values[j] += weight * value
                variances[j] += weight**2 * variance
        return [Estimate.of(value, variance) for value, variance in zip(values, variances, strict=True)]

    def _corrected(self) -> FloatArray:
        """Each row's label, and in the sample the error of it by its chance [rows, labels]."""
        wrong = np.where(self.reviewed[:, None], self.truth - self.labels, 0.0)
        return np.asarray(self.labels + wrong / self.chance[:, None], dtype=np.float64)


def mean_estimate(values: FloatArray, clusters: IntArray | None = None) -> Estimate:
    """The mean of some rows with its 95% interval; robust to rows of one cluster that are alike, where these are given.

    >>> mean_estimate(np.array([0.0, 1.0, 1.0, 0.0])).value
    0.5
    """
    n = len(values)
    units = np.arange(n) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    if (count := int(units.max(initial=-1)) + 1) < 2:
        return _unknown(values)
    of_units = np.bincount(units, weights=values - values.mean())
    return Estimate.of(values.mean(), float((of_units**2).sum()) * count / (count - 1) / n**2)


def _differences(first: FloatArray, second: FloatArray) -> list[Estimate]:
    pairs = zip(first.T, second.T, strict=True)
    return [Estimate.of(a.mean() - b.mean(), a.var(ddof=1) / len(a) + b.var(ddof=1) / len(b)) for a, b in pairs]


def _unknown(values: FloatArray) -> Estimate:
    return Estimate(float(values.mean()) if len(values) else float("nan"), float("-inf"), float("inf"))


def _ppi(truth: FloatArray, labels: FloatArray, rest: FloatArray) -> tuple[float, float]:
    """Mean of one stratum by PPI++, and its variance: of the reviewed rows' truth and labels, and of the other rows'
    labels."""
    n, others = len(truth), len(rest)
    if not others:  # all were reviewed
        return float(truth.mean()), 0.0
    both = np.concatenate([labels, rest])
    spread = float(both.var(ddof=1))
    covariance = float(np.cov(truth, labels, ddof=0)[0, 1]) if n > 1 else 0.0
    power = float(np.clip(covariance / (spread * (1 + n / others)), 0.0, 1.0)) if spread else 0.0
    value = power * rest.mean() + (truth - power * labels).mean()
    left = (truth - power * labels).var() / n if n > 1 else 0.25
    return float(value), float((power * rest).var() / others + left)


def effective_size(weights: Sequence[float] | FloatArray) -> float:
    """How many rows of equal weight say as much (Kish 1965).

    >>> effective_size([1, 1, 1]), round(effective_size([1, 1, 4]), 2)
    (3.0, 2.0)
    """
    given = np.asarray(weights, dtype=np.float64)
    return float(given.sum() ** 2 / (given**2).sum()) if len(given) else 0.0
