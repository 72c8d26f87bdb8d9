"""The stages of a cascade as `cascade.json` holds them, and how sure each must be of the rows that it answers.

Thresholds are lowered step by step from that by which a stage answers nothing, and stay before the first step whose
loss may be too large: a fixed sequence of tests, so that trying many thresholds needs no correction (Angelopoulos et
al. 2021, "Learn then Test"). The loss is a difference of two proportions on the same rows, bounded by the adjusted
Wald interval of Bonett & Price (2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import ClassVar

import numpy as np

from categorize.metrics.calibration import apply_temperature
from categorize.metrics.stated_precision import NEVER
from categorize.predictions import BoolArray, FloatArray
from categorize.settings import Settings

STEPS = 200  # thresholds that are tried of a stage


@dataclass(frozen=True)
class Stage:
    """A run of a cascade.

    Attributes:
        name: of the run, as predictions name it.
        path: of its folder, from the folder of the cascade.
        fingerprint: of its manifest.
        temperature: makes its probabilities as sure as they are right on validation.
        threshold: a row whose margin is at least this is answered; 0 of the last stage, more than 1 where it never is.
    """

    name: str
    path: str
    fingerprint: str
    temperature: float
    threshold: float

    def calibrated(self, cells: FloatArray) -> FloatArray:
        """Its probabilities [n, labels] at its temperature."""
        return apply_temperature(cells, self.temperature, multi_label=False)


@dataclass(frozen=True)
class Cascade(Settings):
    """Stages in the order in which rows pass through them."""

    file_name: ClassVar[str] = "cascade.json"
    title: ClassVar[str] = "a cascade"

    stages: tuple[Stage, ...]


def margins(probabilities: FloatArray) -> FloatArray:
    """How far the most probable label is before the next one, [n] of [n, labels]; -1 where nothing was scored.

    >>> margins(np.array([[0.7, 0.2, 0.1], [np.nan, np.nan, np.nan]])).round(3).tolist()
    [0.5, -1.0]
    """
    two = np.sort(np.nan_to_num(probabilities), axis=1)[:, -2:]
    return np.where(np.isnan(probabilities).all(axis=1), -1.0, two[:, 1] - two[:, 0])


def loss_bound(lost: int, gained: int, rows: int, confidence: float) -> float:
    """Upper bound of the share of rows that are lost more than gained.

    Args:
        lost: rows that the reference has right and the other wrong; gained: the other way round.
        rows: all of them.
        confidence: one-sided; 0.5 gives the middle of the interval.

    >>> round(loss_bound(0, 0, 1000, 0.95), 4), loss_bound(30, 10, 1000, 0.95) > 0.02
    (0.0023, True)
    """
    if confidence == 0.5:
        return (lost - gained) / rows
    worse, better = (lost + 1) / (rows + 2), (gained + 1) / (rows + 2)
    difference = worse - better
    return float(difference + NormalDist().inv_cdf(confidence) * np.sqrt((worse + better - difference**2) / (rows + 2)))


def choose(
    margin: FloatArray, right: BoolArray, reference: BoolArray, rows: int, max_loss: float, confidence: float
) -> float:
    """The lowest threshold at which a stage loses no more than it may; `NEVER` where there is none.

    Args:
        margin: [n] of the rows that reach the stage.
        right: bool [n], whether its answer is; reference: whether that of the last stage is.
        rows: of validation, of which those are a part and of which the loss is a share.
    """
    order = np.argsort(-margin, kind="stable")
    margin, lost = margin[order], np.cumsum((reference & ~right)[order])
    gained = np.cumsum((right & ~reference)[order])
    found = NEVER
    for at in np.unique(np.linspace(0, len(margin) - 1, STEPS).astype(np.int64)):
        last = int(np.searchsorted(-margin, -margin[at], side="right")) - 1  # rows of one margin go together
        if margin[at] < 0 or loss_bound(int(lost[last]), int(gained[last]), rows, confidence) > max_loss:
            break
        found = float(margin[at])
    return found
