"""How the probabilities (or scores) of several members become one, as `fusion.json` holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.calibration import SMALLEST, log_odds
from categorize.metrics.curves import Curves
from categorize.predictions import FloatArray
from categorize.settings import Settings

LEAST = 1e-9  # of a weight: a member of weight 0 counts where no other one says anything
Pool = Literal["mean", "log_mean", "stacking", "scores"]


@dataclass(frozen=True)
class Member:
    """A run that takes part.

    Attributes:
        path: of its folder, from the folder of the fusion.
        fingerprint: of its manifest.
        weight: of a mean; of stacking and of scores, a coefficient.
        curves: make its probabilities comparable with the others'.
    """

    path: str
    fingerprint: str
    weight: float
    curves: Curves | None = None


@dataclass(frozen=True)
class Fusion(Settings):
    """Members and the rule that joins them; `intercept` stands beside the coefficients of stacking and of scores."""

    file_name: ClassVar[str] = "fusion.json"
    title: ClassVar[str] = "a fusion"

    pool: Pool
    members: tuple[Member, ...]
    intercept: float = 0.0

    def fuse(self, label_set: LabelSet, cells: FloatArray) -> FloatArray:
        """Joined probabilities, or scores, [n, labels] of those of the members [members, n, labels]."""
        several = label_set.is_multi_label
        calibrated = np.stack(
            [
                cells[k] if one.curves is None else one.curves.apply(label_set.names, cells[k], multi_label=several)
                for k, one in enumerate(self.members)
            ]
        )
        return pooled(self.pool, calibrated, [one.weight for one in self.members], several, self.intercept)


def pooled(
    pool: Pool, cells: FloatArray, weights: Sequence[float], multi_label: bool, intercept: float = 0.0
) -> FloatArray:
    """[n, labels] of cells [members, n, labels].

    A cell of NaN is left to the other members, whose weights then stand for all; NaN where none of them has one.
    Probabilities of one label a row are scaled to a sum of 1.
    """
    from scipy.special import expit, softmax

    logarithms = pool in ("log_mean", "stacking")
    if logarithms:
        cells = log_odds(cells) if multi_label else np.log(np.maximum(cells, SMALLEST))
    weight = np.maximum(np.asarray(weights, dtype=np.float64), LEAST)[:, None, None]
    there = ~np.isnan(cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        joined = (weight * np.where(there, cells, 0.0)).sum(axis=0) / (weight * there).sum(axis=0)
        if pool in ("stacking", "scores"):
            joined = joined * weight.sum() + intercept
        if pool == "scores" or multi_label:
            return np.asarray(expit(joined) if logarithms else joined)
        if logarithms:
            return np.where(np.isnan(joined), np.nan, softmax(np.nan_to_num(joined, nan=-np.inf), axis=1))
        return np.asarray(joined / np.nansum(joined, axis=1, keepdims=True))
