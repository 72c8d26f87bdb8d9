"""Predictions that give a published classification report: an integer confusion matrix that rounds to its digits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp

HALF = 0.005  # what is printed to two digits lies so far from it at most


def confusion(
    precision: Sequence[float], recall: Sequence[float], f1: Sequence[float], support: Sequence[int], accuracy: float
) -> np.ndarray:
    """Counts [gold, predicted] whose precision, recall, F1 and support print as these, and accuracy to four digits.

    With whole numbers c[i, j], each bound is linear: precision >= p means c[i, i] - p * sum over j of c[j, i] >= 0.
    """
    n = len(support)
    rows, low, high = [], [], []

    def bound(coefficients: np.ndarray, least: float, most: float) -> None:
        rows.append(coefficients.ravel())
        low.append(least)
        high.append(most)

    for i in range(n):
        own, of_row, of_column = np.zeros((n, n)), np.zeros((n, n)), np.zeros((n, n))
        own[i, i], of_row[i, :], of_column[:, i] = 1, 1, 1
        bound(of_row, support[i], support[i])
        margin = 1e-4  # from where rounding would turn
        for sign, shift in ((1, -HALF + margin), (-1, HALF - margin)):
            bound(sign * (own - (precision[i] + shift) * of_column), 0, np.inf)
            bound(sign * (own - (recall[i] + shift) * of_row), 0, np.inf)
            bound(sign * (2 * own - (f1[i] + shift) * (of_row + of_column)), 0, np.inf)
    right = np.eye(n)
    bound(right, sum(support) * (accuracy - 4e-5), sum(support) * (accuracy + 4e-5))
    found = milp(
        np.zeros(n * n),
        constraints=LinearConstraint(np.array(rows), low, high),
        integrality=np.ones(n * n),
        bounds=Bounds(0, max(support)),
    )
    assert found.success, found.message
    return found.x.reshape(n, n).round().astype(int)


def rows_of(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions of gold and predicted label of every row."""
    cells = [(i, j) for i in range(len(counts)) for j in range(len(counts))]
    gold, predicted = (np.repeat([cell[k] for cell in cells], [counts[c] for c in cells]) for k in (0, 1))
    return gold, predicted
