"""Thresholds for a stated precision: the lowest at which what is given is right so often on validation.

One row more than there were is counted as wrong, as conformal risk control does (Angelopoulos et al. 2024): the
threshold was chosen on the rows that it is judged by, and nine right ones of nine say less of 90% than ninety of
ninety-nine.
"""

from __future__ import annotations

import numpy as np

from categorize.metrics.probabilistic import falling
from categorize.predictions import BoolArray, FloatArray

NEVER = float(np.nextafter(1.0, 2.0))  # a threshold that no probability reaches


def lowest_threshold(scores: FloatArray, right: BoolArray, precision: float) -> float | None:
    """The lowest threshold at which `right rows / (rows + 1)` of the rows at or above it is at least `precision`; None
    where there is none. It lies halfway to the next lower score.

    Args:
        scores, right: [n]; rows of NaN are left out. Equal scores are given together.

    >>> lowest_threshold(np.array([0.9, 0.75, 0.5, 0.25]), np.array([True, True, True, False]), 0.75)
    0.375
    """
    known = ~np.isnan(scores)
    scores, right = scores[known], right[known]
    order, ends = falling(scores)
    enough = np.flatnonzero(np.cumsum(right[order])[ends] >= precision * (ends + 2))  # `ends` counts from 0
    if not len(enough):
        return None
    last = int(ends[enough[-1]])
    own = float(scores[order[last]])
    if last + 1 == len(order):
        return own  # below the lowest score seen nothing is known
    middle = (own + float(scores[order[last + 1]])) / 2
    return middle if middle > scores[order[last + 1]] else own


def lowest_thresholds(
    probabilities: FloatArray, gold: FloatArray, precision: float, *, together: bool = False
) -> list[float]:
    """The threshold of each label for this precision; `NEVER` where no threshold reaches it.

    Args:
        probabilities: [n, labels]; NaN cells are never given.
        gold: indicators [n, labels].
        together: one threshold for all labels, for the precision of all that is given.
    """
    if together:
        found = lowest_threshold(probabilities.ravel(), gold.ravel() > 0, precision)
        return [NEVER if found is None else found] * gold.shape[1]
    each = (lowest_threshold(p, y > 0, precision) for p, y in zip(probabilities.T, gold.T, strict=True))
    return [NEVER if one is None else one for one in each]
