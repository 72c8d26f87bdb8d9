"""How good probabilities are: proper scores, calibration, and how well they rank right above wrong.

Rows without a probability are left out, `rows_with_probabilities` says how many stayed. Beside label positions, a label
that was not scored counts as probability 0, and rows are scaled to a sum of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from categorize.predictions import BoolArray, FloatArray, IntArray

CALIBRATION_BINS = 15  # of equal width, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"
ROUNDING = 1e-9
CURVE_LABELS = 200  # up to which areas under curves are measured: each label's takes a sort of all rows
NO_PROBABILITIES = "no row has probabilities"
NO_CONTRAST = "no label has both a row with it and a row without it"
AREAS = ("macro_roc_auc", "micro_roc_auc", "macro_pr_auc", "micro_pr_auc")


@dataclass(frozen=True)
class Scored:
    """The rows that have probabilities.

    Attributes:
        rows: bool [all rows]; which they are.
        truth: bool [n, labels].
        probabilities: [n, labels], 0 where not scored.
        known: bool [n, labels]; what was scored; beside label positions all of it.
        multi_label: whether a row may have several labels, or none.
    """

    rows: BoolArray
    truth: BoolArray
    probabilities: FloatArray
    known: BoolArray
    multi_label: bool

    @property
    def labels(self) -> int:
        """Size of the label set."""
        return len(self.truth.T)

    @property
    def confidence(self) -> FloatArray:
        """Of each row [n] the highest probability."""
        return np.asarray(self.probabilities.max(axis=1), dtype=np.float64)


def scored_rows(gold: IntArray, probabilities: FloatArray) -> Scored:
    """What there is to score.

    Args:
        gold: label positions [n] or indicators [n, labels].
        probabilities: [n, labels], NaN where not scored.
    """
    multi, known, filled = gold.ndim == 2, ~np.isnan(probabilities), np.nan_to_num(probabilities)
    rows: BoolArray = np.asarray(known.any(axis=1) if multi else filled.sum(axis=1) > 0)
    if not rows.all():
        gold, known, filled = gold[rows], known[rows], filled[rows]
    if multi:
        return Scored(rows, gold == 1, filled, known, True)
    truth = gold[:, None] == np.arange(filled.shape[1])
    total = filled.sum(axis=1, keepdims=True)
    scaled = filled / np.where(np.abs(total - 1) < ROUNDING, 1.0, total)  # rounding would part what is equal
    return Scored(rows, truth, scaled, np.ones_like(truth), False)


def probability_scores(gold: IntArray, probabilities: FloatArray) -> dict[str, Any]:
    """Log loss (nats), Brier score, calibration error, areas under ROC and precision-recall curves.

    Args: as for `scored_rows`.

    Returns:
        `log_loss` and `brier`: see `losses`; `expected_calibration_error` of the top label, or of the cells of several
        labels a row; where there are at most 200 labels, `macro_roc_auc` and `macro_pr_auc`, means over the labels that
        have rows with and without them, each against all others, and `micro_...`, of all cells together. The area under
        a precision-recall curve is the average precision.
    """
    scored = scored_rows(gold, probabilities)
    ranked = AREAS if scored.labels <= CURVE_LABELS else ()
    names = ("log_loss", "brier", "expected_calibration_error", *ranked)
    if not scored.rows.any():
        reasons = dict.fromkeys(names, NO_PROBABILITIES)
        return {**dict.fromkeys(names), "rows_with_probabilities": 0, "undefined": reasons}
    result: dict[str, Any] = {name: float(above.sum() / below.sum()) for name, (above, below) in losses(scored).items()}
    result["expected_calibration_error"] = calibration_error(*confidences(scored))
    undefined = {}
    if ranked:
        result |= _areas(scored)
        undefined = {name: NO_CONTRAST for name in AREAS if result[name] is None}
    return {**result, "rows_with_probabilities": int(scored.rows.sum()), "undefined": undefined}


def losses(scored: Scored) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Log loss and Brier score of each row, as sums [n] over what was scored and how much that is [n].

    Of one label a row, minus the log-probability of the gold, and the sum over labels of (probability - truth) squared,
    from 0 to 2 (Brier 1950), halved for two labels as scikit-learn does. Of several, both are means over cells.
    """
    p, truth, known = scored.probabilities, scored.truth, scored.known
    least = np.finfo(np.float64).eps
    if scored.multi_label:
        right = np.maximum(np.where(truth, p, 1 - p), least)
        log, count = np.where(known, -np.log(right), 0.0), known.sum(axis=1).astype(np.float64)
        return {
            "log_loss": (log.sum(axis=1), count),
            "brier": (np.where(known, (p - truth) ** 2, 0).sum(axis=1), count),
        }
    one = np.ones(len(p))
    log = -np.log(np.clip(p[truth], least, 1 - least))
    return {"log_loss": (log, one), "brier": (((p - truth) ** 2).sum(axis=1) / (2 if scored.labels == 2 else 1), one)}


def confidences(scored: Scored) -> tuple[FloatArray, BoolArray]:
    """What calibration is measured on: the top probabilities and whether these labels are right [n], or of several
    labels a row all scored cells and whether the label holds."""
    if scored.multi_label:
        return scored.probabilities[scored.known], scored.truth[scored.known]
    top = scored.probabilities.argmax(axis=1)
    return scored.confidence, scored.truth[np.arange(len(top)), top]


def calibration_gaps(scored: Scored) -> FloatArray:
    """[rows, bins]: what each row adds to the gap of a bin between the share that is right and the mean confidence. The
    calibration error is the sum of the gaps' sizes over bins, divided by the rows (cells)."""
    if scored.multi_label:
        row, confidence, right = np.nonzero(scored.known)[0], *confidences(scored)
    else:
        row, (confidence, right) = np.arange(len(scored.truth)), confidences(scored)
    bins = _bins(confidence)
    sums = np.bincount(row * CALIBRATION_BINS + bins, right - confidence, len(scored.truth) * CALIBRATION_BINS)
    return np.asarray(sums.reshape(-1, CALIBRATION_BINS))


def _bins(confidence: FloatArray) -> IntArray:
    return np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)


def calibration_bins(confidence: FloatArray, right: BoolArray) -> list[dict[str, Any]]:
    """The reliability curve: 15 bins of equal width, those that hold rows, with `low`, `high`, `rows`, the mean
    `confidence` and the share that is right (`accuracy`)."""
    bins = _bins(confidence)
    rows = np.bincount(bins, minlength=CALIBRATION_BINS)
    sums = (np.bincount(bins, weights=values, minlength=CALIBRATION_BINS) for values in (confidence, right))
    return [
        {
            "low": i / CALIBRATION_BINS,
            "high": (i + 1) / CALIBRATION_BINS,
            "rows": int(held),
            "confidence": float(sure / held),
            "accuracy": float(hits / held),
        }
        for i, (held, sure, hits) in enumerate(zip(rows, *sums, strict=True))
        if held
    ]


def calibration_error(confidence: FloatArray, right: BoolArray) -> float:
    """Expected calibration error: |share right - mean confidence| in 15 equal bins, weighted by their rows."""
    gaps = [one["rows"] * abs(one["accuracy"] - one["confidence"]) for one in calibration_bins(confidence, right)]
    return float(sum(gaps) / len(confidence))


def risk_at_coverage(confidence: FloatArray, wrong: BoolArray) -> FloatArray:
    """The share of wrong rows among the k most confident ones, for k from 1 to n [n]; its mean is the area under the
    risk-coverage curve (Geifman & El-Yaniv 2017). Rows of one confidence are kept together: each counts as wrong as
    they are on average.

    Args:
        confidence: [n]; NaN stands behind all others.

    >>> risk_at_coverage(np.array([0.9, 0.8, 0.8, 0.1]), np.array([False, True, False, True])).tolist()
    [0.0, 0.25, 0.3333333333333333, 0.5]
    """
    order, ends = falling(confidence)
    sizes = np.diff(ends, prepend=-1)
    errors = np.diff(np.cumsum(wrong[order])[ends], prepend=0) / sizes
    return np.asarray(np.cumsum(np.repeat(errors, sizes)) / np.arange(1, len(order) + 1))


def falling(values: FloatArray) -> tuple[IntArray, IntArray]:
    """The order of falling values, and the places in it where a run of equal ones ends; NaN comes last."""
    filled = np.where(np.isnan(values), -np.inf, values)
    order = np.argsort(-filled, kind="stable")
    at = filled[order]
    return order, np.flatnonzero(np.append(at[1:] != at[:-1], True)) if len(at) else np.zeros(0, dtype=np.int64)


def contrasted(scored: Scored) -> list[int]:
    """Positions of the labels that have both rows with them and rows without."""
    held = scored.truth.sum(axis=0)
    return [int(j) for j in np.flatnonzero((held > 0) & (held < len(scored.truth)))]


def _areas(scored: Scored) -> dict[str, float | None]:
    from sklearn.metrics import average_precision_score, roc_auc_score

    labels = contrasted(scored)
    if not labels:
        return dict.fromkeys(AREAS)
    found: dict[str, float | None] = {}
    for name, area in (("roc_auc", roc_auc_score), ("pr_auc", average_precision_score)):
        each = [area(scored.truth[:, j], scored.probabilities[:, j]) for j in labels]
        found[f"macro_{name}"] = float(np.mean(each))
        found[f"micro_{name}"] = float(area(scored.truth.ravel(), scored.probabilities.ravel()))
    return found
