"""The measures themselves, over scikit-learn and scipy: arrays in, plain numbers out.

Both routes to a number, `measures.measure` and the `evaluate` modules, call these functions. A measure that is not
defined is None, with its reason under `undefined`; nothing warns and nothing is NaN.

An invalid prediction (position -1, indicator row of -1, score NaN) counts as wrong in every figure except those that
end in `_valid_only`; docs/metrics.md says how for each.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from categorize.metrics.arrays import INVALID
from categorize.predictions import BoolArray, FloatArray, IntArray

CALIBRATION_BINS = 15  # of equal width, as in Guo et al. 2017, "On Calibration of Modern Neural Networks"

NO_ROWS = "no row has a gold label"
NO_VALID = "no valid prediction"
NO_LABELS = "no label occurs in gold or predictions"
NO_GOLD_LABELS = "no label has a gold row"
CONSTANT_PREDICTIONS = "predictions are constant"
CONSTANT_GOLD = "gold is constant"
TWO_ROWS = "fewer than two rows"


def classification_scores(gold: IntArray, predicted: IntArray, labels: int) -> dict[str, Any]:
    """Accuracy, averaged and per-class precision, recall and F1; of one label a row the confusion matrix, of several
    the Hamming loss and averages over rows (`samples`).

    Args:
        gold, predicted: label positions [n] or indicators [n, labels], n > 0; predicted -1 where not valid.
        labels: size of the label set.

    `macro` averages over the labels that have a gold row: all predictions of the same rows over the same labels. Of
    indicators, an invalid row has no subset right and every cell wrong, and predicts no label in precision, recall and
    F1; a row that truly has no label and is predicted so counts 1 in `samples` (scikit-learn would count it 0, so that
    perfect predictions would fall short of 1).
    """
    from sklearn.metrics import accuracy_score, confusion_matrix, hamming_loss, precision_recall_fscore_support

    multi = gold.ndim == 2
    valid = (predicted != INVALID).all(axis=1) if multi else predicted != INVALID
    wrong_if_invalid = np.where(valid[:, None], predicted, 1 - gold) if multi else predicted
    chosen = np.where(valid[:, None], predicted, 0) if multi else predicted
    if multi:
        support, count = gold.sum(axis=0), chosen.sum(axis=0)
    else:
        support, count = np.bincount(gold, minlength=labels), np.bincount(predicted[valid], minlength=labels)
    used, supported = np.flatnonzero(support + count), np.flatnonzero(support)

    def score(average: str | None, at: IntArray) -> Any:
        return precision_recall_fscore_support(gold, chosen, labels=at, average=average, zero_division=0.0)

    undefined = {} if valid.any() else {"accuracy_valid_only": NO_VALID}
    result: dict[str, Any] = {
        "accuracy": float(accuracy_score(gold, wrong_if_invalid)),
        "accuracy_valid_only": float(accuracy_score(gold[valid], predicted[valid])) if valid.any() else None,
        **({"hamming_loss": float(hamming_loss(gold, wrong_if_invalid))} if multi else {}),
        "macro": _averages(score("macro", supported)) if len(supported) else None,
    }
    averages = ("micro", "weighted", "samples") if multi else ("micro", "weighted")
    result |= {average: _averages(score(average, used)) if len(used) else None for average in averages}
    if not len(used):
        undefined |= dict.fromkeys(("macro", *averages), NO_LABELS)
    elif not len(supported):
        undefined["macro"] = NO_GOLD_LABELS
    if multi and len(used):
        truly_none = float((valid & (gold.sum(axis=1) == 0) & (chosen.sum(axis=1) == 0)).mean())
        result["samples"] = {name: value + truly_none for name, value in result["samples"].items()}
    result["labels_in_macro"] = len(supported)
    result["per_class"] = _per_class(score(None, np.arange(labels)), support, count)
    if not multi:
        positions = np.arange(labels + 1)
        result["confusion"] = confusion_matrix(gold, np.where(valid, predicted, labels), labels=positions)[:-1].tolist()
    return {**result, "undefined": undefined}


def ordinal_scores(gold: IntArray, predicted: IntArray, labels: int) -> dict[str, Any]:
    """Mean absolute error on ranks and quadratic weighted kappa (Cohen 1968).

    Args:
        gold, predicted: ranks [n], n > 0; predicted -1 where not valid, which counts as the rank furthest from the
        gold.
        labels: number of ranks.
    """
    valid = predicted != INVALID
    furthest = np.where(gold * 2 >= labels - 1, 0, labels - 1)
    scores = _rank_scores(gold, np.where(valid, predicted, furthest), labels)
    return _with_valid_only(scores, _rank_scores(gold[valid], predicted[valid], labels))


def _with_valid_only(scores: dict[str, Any], only: dict[str, Any]) -> dict[str, Any]:
    """Measures with those of the valid rows beside them."""
    undefined = {**scores.pop("undefined"), **{f"{k}_valid_only": why for k, why in only.pop("undefined").items()}}
    return {**scores, **{f"{k}_valid_only": value for k, value in only.items()}, "undefined": undefined}


def _rank_scores(gold: IntArray, predicted: IntArray, labels: int) -> dict[str, Any]:
    from sklearn.metrics import cohen_kappa_score, mean_absolute_error

    if not len(gold):
        names = ("mae", "quadratic_weighted_kappa")
        return {**dict.fromkeys(names), "undefined": dict.fromkeys(names, NO_VALID)}
    mae = float(mean_absolute_error(gold, predicted))
    if len(np.unique(np.concatenate([gold, predicted]))) == 1:
        reason = {"quadratic_weighted_kappa": "gold and predictions hold one and the same rank"}
        return {"mae": mae, "quadratic_weighted_kappa": None, "undefined": reason}
    kappa = float(cohen_kappa_score(gold, predicted, labels=np.arange(labels), weights="quadratic"))
    return {"mae": mae, "quadratic_weighted_kappa": kappa, "undefined": {}}


def regression_scores(gold: FloatArray, predicted: FloatArray) -> dict[str, Any]:
    """MAE, RMSE, R2, Pearson's r and Spearman's rho.

    Args:
        gold: scores [n], n > 0.
        predicted: scores [n]; NaN where not valid, which counts as the mean of the gold: an answer that knows nothing.
    """
    valid = ~np.isnan(predicted)
    scores = _score_scores(gold, fill_invalid(gold, predicted))
    only = _score_scores(gold[valid], predicted[valid])
    if not valid.any():
        scores["undefined"] |= dict.fromkeys(("pearson", "spearman"), NO_VALID)
    return _with_valid_only(scores, only)


def fill_invalid(gold: FloatArray, predicted: FloatArray) -> FloatArray:
    """Predicted scores with the mean of the gold where there is none."""
    return np.where(np.isnan(predicted), gold.mean(), predicted)


def is_constant(values: FloatArray) -> bool:
    """Whether all values are one, up to the rounding of their computation."""
    return len(values) == 0 or float(np.ptp(values)) <= 1e-10 * float(np.abs(values).max())


def _score_scores(gold: FloatArray, predicted: FloatArray) -> dict[str, Any]:
    from scipy.stats import pearsonr, spearmanr
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    names = ("mae", "rmse", "r2", "pearson", "spearman")
    if not len(gold):
        return {**dict.fromkeys(names), "undefined": dict.fromkeys(names, NO_VALID)}
    undefined = {}
    if len(gold) < 2:
        undefined = dict.fromkeys(("r2", "pearson", "spearman"), TWO_ROWS)
    elif is_constant(gold):
        undefined = dict.fromkeys(("r2", "pearson", "spearman"), CONSTANT_GOLD)
    elif is_constant(predicted):
        undefined = dict.fromkeys(("pearson", "spearman"), CONSTANT_PREDICTIONS)
    return {
        "mae": float(mean_absolute_error(gold, predicted)),
        "rmse": float(root_mean_squared_error(gold, predicted)),
        "r2": None if "r2" in undefined else float(r2_score(gold, predicted)),
        "pearson": None if "pearson" in undefined else float(pearsonr(gold, predicted).statistic),
        "spearman": None if "spearman" in undefined else float(spearmanr(gold, predicted).statistic),
        "undefined": undefined,
    }


def calibration_scores(gold: IntArray, probabilities: FloatArray) -> dict[str, Any]:
    """Log loss (nats) over what was scored: rows of label positions [n], or cells of indicators [n, labels], each a
    binary loss; of positions, also the expected calibration error of the top label.

    Args:
        probabilities: [n, labels], NaN where not scored; beside label positions that counts as probability 0, a row
            without any is left out and rows are scaled to a sum of 1.
    """
    from sklearn.metrics import log_loss

    scored, filled = ~np.isnan(probabilities), np.nan_to_num(probabilities)
    rows = scored.any(axis=1) if gold.ndim == 2 else filled.sum(axis=1) > 0
    names = ("log_loss",) if gold.ndim == 2 else ("log_loss", "expected_calibration_error")
    if not rows.any():
        reasons = dict.fromkeys(names, "no row has probabilities")
        return {**dict.fromkeys(names), "rows_with_probabilities": 0, "undefined": reasons}
    if gold.ndim == 2:
        values = [float(log_loss(gold[scored], probabilities[scored], labels=[0, 1]))]
    else:
        gold, filled = gold[rows], filled[rows] / filled[rows].sum(axis=1, keepdims=True)
        values = [
            float(log_loss(gold, filled, labels=np.arange(filled.shape[1]))),
            calibration_error(filled.max(axis=1), filled.argmax(axis=1) == gold),
        ]
    return {**dict(zip(names, values, strict=True)), "rows_with_probabilities": int(rows.sum()), "undefined": {}}


def calibration_error(confidence: FloatArray, right: BoolArray) -> float:
    """Expected calibration error: |share right - mean confidence| in 15 equal bins, weighted by their rows."""
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(np.int64), CALIBRATION_BINS - 1)
    gap = np.bincount(bins, weights=right.astype(np.float64) - confidence, minlength=CALIBRATION_BINS)
    return float(np.abs(gap).sum() / len(confidence))


def _averages(scores: Any) -> dict[str, float]:
    precision, recall, f1, _ = scores
    return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}


def _per_class(scores: Any, support: IntArray, predicted: IntArray) -> list[dict[str, Any]]:
    rows = zip(*scores, support.tolist(), predicted.tolist(), strict=True)
    return [{**_averages(row[:4]), "support": row[4], "predicted": row[5]} for row in rows]
