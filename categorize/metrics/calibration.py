"""Temperature scaling (Guo et al. 2017): one number that makes probabilities as sure as they are right.

Works on probabilities, since these are what `Predictions` holds: softmax(z / T) is softmax(z) to the power 1 / T,
scaled to a sum of 1; for a multi-label task, sigmoid(z / T) with z the log odds.
"""

from __future__ import annotations

import numpy as np

from categorize.predictions import FloatArray

LOWEST, HIGHEST = 0.05, 20.0  # a validation split without one error would drive the temperature to 0
# A sigmoid or softmax in float32 rounds to 0 and 1. A gold label there must cost much, but not everything; towards 1
# float32 has no steps finer than this.
SMALLEST, LARGEST = 1e-12, 1 - 1e-7
# A label that reaches this in no row was not learned: training had none of its rows. No temperature makes it likely,
# and one row of it would move the temperature of all others.
NEVER_GIVEN = 1e-9


def apply_temperature(probabilities: FloatArray, temperature: float, *, multi_label: bool) -> FloatArray:
    """Probabilities [n, labels] at another temperature; NaN stays NaN. At 1 they come back as they are."""
    from scipy.special import expit, softmax

    if temperature == 1.0:
        return probabilities
    if multi_label:
        return np.asarray(expit(log_odds(probabilities) / temperature))
    missing = np.isnan(probabilities)
    with np.errstate(invalid="ignore"):  # of a row that misses all
        scaled = softmax(np.where(missing, -np.inf, _log(probabilities)) / temperature, axis=1)
    return np.where(missing, np.nan, scaled)


def fit_temperature(probabilities: FloatArray, gold: FloatArray, *, multi_label: bool) -> float:
    """The temperature with the least negative log-likelihood of the gold.

    Args:
        probabilities, gold: [n, labels]; cells of NaN probability and rows of NaN gold are left out, as are labels that
            no row is given, and for a single label also rows whose gold label is one of these or was not scored.

    Returns:
        A number between 0.05 and 20; 1 where nothing was scored.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    given = np.asarray((np.nan_to_num(probabilities) > NEVER_GIVEN).any(axis=0))
    if multi_label:
        scored = ~np.isnan(probabilities) & ~np.isnan(gold) & given
        logits, target = log_odds(probabilities[scored]), gold[scored]

        def loss(log_temperature: float) -> float:
            z = logits / np.exp(log_temperature)
            return float(np.mean(np.logaddexp(0.0, z) - target * z))
    else:
        known = ~np.isnan(gold).any(axis=1)
        rows, target = probabilities[known], np.nan_to_num(gold[known]).argmax(axis=1)
        scored = ~np.isnan(rows[np.arange(len(rows)), target]) & given[target]
        rows, target = rows[scored], target[scored]
        missing = np.isnan(rows)
        logits = np.where(missing, -np.inf, _log(np.where(missing, 1.0, rows)))

        def loss(log_temperature: float) -> float:
            z = logits / np.exp(log_temperature)
            return float(np.mean(logsumexp(z, axis=1) - z[np.arange(len(z)), target]))

    if not len(target):
        return 1.0
    # The loss is convex in 1 / T, so that it has one valley and a bounded search finds it.
    bounds = (float(np.log(LOWEST)), float(np.log(HIGHEST)))
    return float(np.exp(minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6}).x))


def _log(probabilities: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.maximum(probabilities, SMALLEST)))


def log_odds(probabilities: FloatArray) -> FloatArray:
    """Log odds of probabilities, those of 0 and 1 kept finite; NaN stays NaN."""
    clipped = np.clip(probabilities, SMALLEST, LARGEST)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))
