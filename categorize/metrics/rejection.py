"""Out-of-scope rejection: rows that are too little like the training rows get a label of their own, or none.

How much a row is in scope is its highest probability (Hendrycks & Gimpel 2017), or what a scope scorer says of its text
(`prediction.scope`). The threshold is fitted on validation: to the best F1 of out-of-scope rows where there are some,
else so that a share of the rows in scope is kept; or so that a stated share of the kept rows is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.stated_precision import NEVER, lowest_threshold
from categorize.predictions import BoolArray, FloatArray, Predictions
from categorize.recipe.decision_sections import RejectSection


@dataclass(frozen=True)
class Rejection:
    """Rows whose confidence is under the threshold are rejected.

    Attributes:
        by: what the confidence is: the highest probability (softmax), or a scope score.
        label: that they get; None: they get none, and count as not valid.
    """

    by: Literal["softmax", "similarity", "mahalanobis"]
    threshold: float
    label: str | None = None

    def confidence(self, labels: Sequence[str], probabilities: FloatArray, scope: FloatArray | None) -> FloatArray:
        """How much each row is in scope [n]; the label of rejected rows is no evidence for it. NaN: not known.

        Raises:
            ValueError: rows are judged by their texts, and were not.
        """
        if self.by != "softmax":
            if scope is None:
                raise ValueError(f"rows are rejected by {self.by}, and have no scope score")
            return scope
        in_scope = np.array([name != self.label for name in labels])
        return np.asarray(np.nan_to_num(probabilities[:, in_scope], nan=-np.inf).max(axis=1))


def fit_rejection(
    section: RejectSection,
    labels: Sequence[str],
    probabilities: FloatArray,
    scope: FloatArray | None,
    gold: FloatArray,
) -> Rejection:
    """The rejection of a recipe, its threshold fitted on validation rows unless it is a number.

    Args:
        probabilities: calibrated [n, labels].
        scope: scores of the rows [n], where they are judged by their texts.
        gold: indicators [n, labels].
    """
    rejection = Rejection(section.by, 0.0, section.label)
    if isinstance(section.threshold, float):
        return Rejection(section.by, section.threshold, section.label)
    confidence = rejection.confidence(labels, probabilities, scope)
    if section.accuracy is not None:
        right = np.nan_to_num(probabilities, nan=-1.0).argmax(axis=1) == gold.argmax(axis=1)
        found = lowest_threshold(confidence, right, section.accuracy)
        return Rejection(section.by, _above(section.by, confidence) if found is None else found, section.label)
    outside = np.zeros(len(gold), dtype=bool)
    if section.label is not None:
        outside = gold[:, list(labels).index(section.label)] > 0
    threshold = _best_f1(confidence, outside) if outside.any() else _keeping(confidence[~outside], section.keep)
    return Rejection(section.by, threshold, section.label)


def _above(by: str, confidence: FloatArray) -> float:
    """A threshold that rejects every row."""
    return NEVER if by == "softmax" else float(np.nextafter(np.nanmax(confidence), np.inf))


def _keeping(confidence: FloatArray, share: float) -> float:
    """The highest threshold that keeps this share of the rows."""
    return float(np.quantile(confidence, 1 - share, method="lower"))


def _best_f1(confidence: FloatArray, outside: BoolArray) -> float:
    """The threshold under which rejected rows have the best F1; between two rows, and the lowest among equals."""
    order = np.argsort(confidence, kind="stable")
    sorted_confidence, hits = confidence[order], np.cumsum(outside[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + outside.sum())
    f1[:-1][sorted_confidence[1:] == sorted_confidence[:-1]] = -1.0  # equal rows are rejected together
    at = int(f1.argmax())
    above = sorted_confidence[at + 1] if at + 1 < len(hits) else np.nextafter(sorted_confidence[at], np.inf)
    middle = float((sorted_confidence[at] + above) / 2)
    return middle if middle > sorted_confidence[at] else float(above)


def measure_scope(
    label_set: LabelSet, gold: FloatArray, predictions: Predictions, label: str | None
) -> dict[str, Any] | None:
    """How well rows in scope are told from those out of it; None where the gold has none of these, or no row a
    confidence.

    Args:
        predictions: after a decision rule that rejects.
        label: of the rows out of scope.

    Returns:
        `rows` and `out_of_scope`, how many of each; `auroc`: the chance that a row in scope has a higher confidence
        than one out of it.
    """
    from sklearn.metrics import roc_auc_score

    if label is None or label not in label_set.index or predictions.scope is None:
        return None
    known = ~np.isnan(gold).any(axis=1) & ~np.isnan(predictions.scope)
    outside = gold[known][:, label_set.index[label]] > 0
    if not outside.any() or outside.all():
        return None
    auroc = float(roc_auc_score(~outside, np.maximum(predictions.scope[known], -np.finfo(np.float64).max)))
    return {"rows": int(known.sum()), "out_of_scope": int(outside.sum()), "auroc": auroc}
