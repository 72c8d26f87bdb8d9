"""Predictions of what an estimator gives, without a head in between."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from categorize.labels import LabelSet
from categorize.predictions import FloatArray, Predictions, Usage


def predictions_of(label_set: LabelSet, ids: Sequence[str], values: FloatArray, usage: Usage) -> Predictions:
    """Undecided predictions from probabilities [rows, labels], or from the scores [rows, 1] of a regression; a row that
    is not finite is not valid."""
    valid = np.asarray(np.isfinite(values).all(axis=1))
    if label_set.is_regression:
        return Predictions(ids, score=values[:, 0], valid=valid, usage=usage)
    # Shares that sum to 1 may do so a little beyond; NaN stays NaN.
    return Predictions(ids, probabilities=np.clip(values, 0.0, 1.0), valid=valid, usage=usage)
