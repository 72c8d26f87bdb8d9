"""Calibration by curves: what a probability has meant on validation, label by label where it has enough rows.

`isotonic` is a rising step curve (Zadrozny & Elkan 2002, fitted by pool-adjacent-violators as scikit-learn does),
`platt` a sigmoid of the log odds (Platt 1999). Each label is calibrated against all others; one with too few rows takes
a curve that is fitted on the cells of all labels, as Annif's PAV backend leaves rare subjects to another rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from categorize.metrics.calibration import log_odds
from categorize.predictions import FloatArray

CurveKind = Literal["isotonic", "platt"]
ENOUGH = 50  # rows that have a label, and rows that have not, for a curve of its own
# How much of the probability itself stays in an isotonic curve: on a step labels would be equal that were not, and
# a step at 0 would be infinitely sure.
SLOPE = 1e-6


@dataclass(frozen=True)
class Isotonic:
    """A rising curve: straight between its knots (x, y), level outside them."""

    x: tuple[float, ...]
    y: tuple[float, ...]

    def __call__(self, probabilities: FloatArray) -> FloatArray:
        """Calibrated probabilities; NaN stays NaN."""
        level = np.interp(probabilities, self.x, self.y)
        return np.asarray((1 - SLOPE) * level + SLOPE * probabilities)


@dataclass(frozen=True)
class Sigmoid:
    """`sigmoid(slope * log odds + intercept)`."""

    slope: float
    intercept: float

    def __call__(self, probabilities: FloatArray) -> FloatArray:
        """Calibrated probabilities; NaN stays NaN."""
        from scipy.special import expit

        return np.asarray(expit(self.slope * log_odds(probabilities) + self.intercept))


Curve = Isotonic | Sigmoid


@dataclass(frozen=True)
class Curves:
    """The curves of a label set.

    Attributes:
        shared: for the labels without one of their own, those beyond training among them.
        of_label: by name, of the labels with at least `ENOUGH` rows, and as many without it.
    """

    shared: Curve
    of_label: dict[str, Curve] = field(default_factory=dict)

    @classmethod
    def fit(cls, kind: CurveKind, names: Sequence[str], probabilities: FloatArray, gold: FloatArray) -> Curves | None:
        """The curves of validation rows; None where nothing was scored, or every cell has the same gold.

        Args:
            names: of the labels.
            probabilities, gold: [n, labels]; cells of NaN are left out.
        """
        scored = ~np.isnan(probabilities) & ~np.isnan(gold)
        held = scored & (gold > 0)
        if not held.any() or held.sum() == scored.sum():
            return None
        draw = fit_isotonic if kind == "isotonic" else fit_sigmoid
        enough = np.minimum(held.sum(axis=0), scored.sum(axis=0) - held.sum(axis=0)) >= ENOUGH
        own = {
            names[j]: draw(probabilities[scored[:, j], j], gold[scored[:, j], j])
            for j in np.flatnonzero(enough).tolist()
        }
        return cls(draw(probabilities[scored], gold[scored]), own)

    def apply(self, names: Sequence[str], probabilities: FloatArray, *, multi_label: bool) -> FloatArray:
        """Calibrated probabilities [n, labels]; of one label a row they are scaled to a sum of 1. NaN stays NaN."""
        calibrated = self.shared(probabilities)
        for j, name in enumerate(names):
            if name in self.of_label:
                calibrated[:, j] = self.of_label[name](probabilities[:, j])
        if multi_label:
            return calibrated
        total = np.nansum(calibrated, axis=1, keepdims=True)
        return np.where(total > 0, calibrated / np.where(total > 0, total, 1.0), probabilities)


def fit_isotonic(probabilities: FloatArray, gold: FloatArray) -> Isotonic:
    """The rising curve with the least squared error.

    Args:
        probabilities, gold: [n], n > 0; gold 0 or 1.
    """
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip").fit(probabilities, gold)
    return Isotonic(tuple(fitted.X_thresholds_.tolist()), tuple(fitted.y_thresholds_.tolist()))


def fit_sigmoid(probabilities: FloatArray, gold: FloatArray) -> Sigmoid:
    """The sigmoid with the least log loss against Platt's targets, which are a little inside 0 and 1, so that a
    separable label does not make it infinitely steep. Arguments as for `fit_isotonic`."""
    from scipy.optimize import minimize
    from scipy.special import expit

    logits, positive = log_odds(probabilities), gold > 0
    count = int(positive.sum())
    target = np.where(positive, (count + 1) / (count + 2), 1 / (len(gold) - count + 2))

    def loss(parameters: FloatArray) -> tuple[float, FloatArray]:
        z = parameters[0] * logits + parameters[1]
        error = expit(z) - target
        return float(np.mean(np.logaddexp(0.0, z) - target * z)), np.array([np.mean(error * logits), np.mean(error)])

    slope, intercept = minimize(loss, np.array([1.0, 0.0]), jac=True, method="BFGS").x.tolist()
    return Sigmoid(slope, intercept)
