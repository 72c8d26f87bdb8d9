"""Curves to draw, as points: reliability, risk and coverage, ROC, precision and recall."""

from __future__ import annotations

from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.arrays import align
from categorize.metrics.measures import confidence_of
from categorize.metrics.probabilistic import (
    CURVE_LABELS,
    calibration_bins,
    confidences,
    contrasted,
    risk_at_coverage,
    scored_rows,
)
from categorize.predictions import FloatArray, Predictions

POINTS = 200  # of a curve, at most


def curves(label_set: LabelSet, gold: FloatArray, predictions: Predictions) -> dict[str, list[dict[str, Any]]]:
    """The curves of decided predictions with probabilities; empty without.

    Args: as for `measures.measure`.

    Returns:
        `reliability`: bins of `low, high, rows, confidence, accuracy`, those that hold rows, whose weighted gaps are
        the calibration error. `risk_coverage`, of one label a row: `coverage, risk`, the share of wrong rows among the
        most confident ones. `roc`: `false_positive_rate, true_positive_rate`, and `precision_recall`: `recall,
        precision`, of all cells together (micro). Each but the first has at most 200 points.
    """
    aligned = align(label_set, gold, predictions)
    if aligned.probabilities is None or not len(aligned):
        return {}
    scored = scored_rows(aligned.gold, aligned.probabilities)
    if not scored.rows.any():
        return {}
    found: dict[str, list[dict[str, Any]]] = {"reliability": calibration_bins(*confidences(scored))}
    if not label_set.is_multi_label:
        risk = risk_at_coverage(confidence_of(aligned), aligned.gold != aligned.predicted)
        coverage = np.arange(1, len(risk) + 1) / len(risk)
        found["risk_coverage"] = _points(coverage=coverage, risk=risk)
    if scored.labels <= CURVE_LABELS and contrasted(scored):
        from sklearn.metrics import precision_recall_curve, roc_curve

        truth, probabilities = scored.truth.ravel(), scored.probabilities.ravel()
        false_positive, true_positive, _ = roc_curve(truth, probabilities)
        found["roc"] = _points(false_positive_rate=false_positive, true_positive_rate=true_positive)
        precision, recall, _ = precision_recall_curve(truth, probabilities)
        found["precision_recall"] = _points(recall=recall[::-1], precision=precision[::-1])
    return found


def _points(**columns: FloatArray) -> list[dict[str, float]]:
    """The points of a curve; of more than `POINTS`, as many in even steps, the first and the last among them."""
    arrays = list(columns.values())
    count = len(arrays[0])
    at = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(np.int64))
    return [
        dict(zip(columns, map(float, values), strict=True)) for values in zip(*(a[at] for a in arrays), strict=True)
    ]
