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
from categorize.predictions import FloatArray, IntArray

CONFUSION_LABELS = 1000  # up to which a confusion matrix is made: its size is their square
RANKED_LABELS = 20  # up to which it says little whether a label is among the first few: then the first 3 alone
RECALL_DEPTHS, ACCURACY_DEPTHS = (1, 3, 5, 10, 20, 100), (3, 5, 10)
CELLS_AT_ONCE = 4_000_000

NO_ROWS = "no row has a gold label"
NO_VALID = "no valid prediction"
NO_LABELS = "no label occurs in gold or predictions"
NO_GOLD_LABELS = "no label has a gold row"
CONSTANT_PREDICTIONS = "predictions are constant"
CONSTANT_GOLD = "gold is constant"
TWO_ROWS = "fewer than two rows"


def classification_scores(gold: IntArray, predicted: IntArray, labels: int) -> dict[str, Any]:
    """Accuracy, averaged and per-class precision, recall and F1; of one label a row Matthews' correlation, balanced
    accuracy and the confusion matrix, of several the Hamming loss, Jaccard's index and averages over rows (`samples`).

    Args:
        gold, predicted: label positions [n] or indicators [n, labels], n > 0; predicted -1 where not valid.
        labels: size of the label set.

    `macro` averages over the labels that have a gold row: all predictions of the same rows over the same labels. Of
    indicators, an invalid row has no subset right and every cell wrong, and predicts no label in precision, recall and
    F1; a row that truly has no label and is predicted so counts 1 in `samples` (scikit-learn would count it 0, so that
    perfect predictions would fall short of 1).
    """
    from sklearn.metrics import confusion_matrix

    multi = gold.ndim == 2
    valid = (predicted != INVALID).all(axis=1) if multi else predicted != INVALID
    # Counts, not scikit-learn's functions on indicators: these sort every cell of [n, labels] anew for each average.
    if multi:
        chosen = (predicted == 1) & valid[:, None]
        hits = chosen & (gold == 1)
        right = valid & (gold == predicted).all(axis=1)
        by_label, by_row = ([cells.sum(axis=axis) for cells in (hits, gold == 1, chosen)] for axis in (0, 1))
        wrong_cells = float(np.where(valid, (gold != predicted).mean(axis=1), 1.0).mean())
    else:
        right = gold == predicted
        by_label = [np.bincount(values, minlength=labels) for values in (gold[right], gold, predicted[valid])]
    tp, support, count = by_label
    used, supported = np.flatnonzero(support + count), np.flatnonzero(support)
    per_label = _precision_recall_f1(tp, support, count)
    result: dict[str, Any] = {
        "accuracy": float(right.mean()),
        "accuracy_valid_only": float(right[valid].mean()) if valid.any() else None,
        **({"hamming_loss": wrong_cells} if multi else {}),
        "macro": _averages(per_label[supported].mean(axis=0)) if len(supported) else None,
    }
    if multi:
        result["macro_jaccard"] = float(jaccard(tp, support, count)[supported].mean()) if len(supported) else None
    else:
        result["balanced_accuracy"] = float(per_label[supported, 1].mean())
        result["mcc"] = float(matthews_correlation(tp, support, count, len(gold)))
    averages = {
        "micro": _precision_recall_f1(tp.sum(), support.sum(), count.sum()),
        "weighted": support @ per_label / max(int(support.sum()), 1),
    }
    if multi:
        truly_none = valid & (by_row[1] == 0) & (by_row[2] == 0)
        averages["samples"] = _precision_recall_f1(*by_row).mean(axis=0) + truly_none.mean()
        result["samples_jaccard"] = float(jaccard(*by_row).mean() + truly_none.mean()) if len(used) else None
    result |= {name: _averages(average) if len(used) else None for name, average in averages.items()}
    undefined = {} if valid.any() else {"accuracy_valid_only": NO_VALID}
    if not len(used):
        of_rows = ("macro_jaccard", "samples_jaccard") if multi else ()
        undefined |= dict.fromkeys(("macro", *averages, *of_rows), NO_LABELS)
    elif not len(supported):
        undefined |= dict.fromkeys(("macro", "macro_jaccard"), NO_GOLD_LABELS)
    result["labels_in_macro"] = len(supported)
    result["per_class"] = _per_class(per_label, support, count)
    if not multi:
        if labels > CONFUSION_LABELS:
            undefined["confusion"] = f"more than {CONFUSION_LABELS:,} labels"
        positions = np.arange(labels + 1)
        filled = np.where(valid, predicted, labels)
        result["confusion"] = (
            confusion_matrix(gold, filled, labels=positions)[:-1].tolist() if labels <= CONFUSION_LABELS else None
        )
    return {**result, "undefined": undefined}


def _precision_recall_f1(tp: Any, support: Any, count: Any) -> FloatArray:
    """Precision, recall and F1 [..., 3] of counts; 0 / 0 is 0."""
    tp, support, count = (np.asarray(one, dtype=np.float64) for one in (tp, support, count))
    above, below = np.stack([tp, tp, 2 * tp], axis=-1), np.stack([count, support, support + count], axis=-1)
    return np.asarray(np.divide(above, below, out=np.zeros_like(above), where=below > 0), dtype=np.float64)


def jaccard(tp: Any, support: Any, count: Any) -> FloatArray:
    """Jaccard's index of counts: what both have, of what either has; 0 / 0 is 0."""
    tp, either = np.asarray(tp, dtype=np.float64), np.asarray(support + count - tp, dtype=np.float64)
    return np.asarray(np.divide(tp, either, out=np.zeros_like(tp), where=either > 0))


def matthews_correlation(tp: FloatArray, support: FloatArray, count: FloatArray, rows: Any) -> FloatArray:
    """Matthews' correlation of any number of labels (Gorodkin 2004) from counts by label [..., labels]; 0 where gold or
    predictions are constant. Rows that predict no label are those of one more prediction, which is never right."""
    rows = np.asarray(rows, dtype=np.float64)
    tp, support, count = (np.asarray(one, dtype=np.float64) for one in (tp, support, count))
    invalid = rows - count.sum(axis=-1)
    of_both = tp.sum(axis=-1) * rows - (support * count).sum(axis=-1)
    of_gold = rows**2 - (support**2).sum(axis=-1)
    of_predicted = rows**2 - (count**2).sum(axis=-1) - invalid**2
    below = np.sqrt(of_gold * of_predicted)
    return np.asarray(np.divide(of_both, below, out=np.zeros_like(of_both), where=below > 0))


def ranking_scores(gold: IntArray, probabilities: FloatArray) -> dict[str, FloatArray]:
    """For each row, the share of its gold labels among its k most probable ones: `recall_at_k`; of one label a row,
    whether it is among them: `top_k_accuracy`. Of label sets of up to 20, for k = 3 alone.

    Args:
        gold: label positions [n] or indicators [n, labels].
        probabilities: [n, labels]; what was not scored (NaN) stands behind all that was, and equal ones in label order.

    Returns:
        [n] by name; NaN for a row that truly has no label.
    """
    labels = probabilities.shape[1]
    multi = gold.ndim == 2
    depths = [k for k in (RECALL_DEPTHS if multi else ACCURACY_DEPTHS) if k < labels]
    depths = depths if labels > RANKED_LABELS else [k for k in depths if k == 3]
    if not depths:
        return {}
    rows, columns = np.nonzero(gold == 1) if multi else (np.arange(len(gold)), gold)
    rank = np.empty(len(rows), dtype=np.int64)
    for start in range(0, len(rows), step := max(1, CELLS_AT_ONCE // labels)):
        at = slice(start, start + step)
        of_row, own = probabilities[rows[at]], probabilities[rows[at], columns[at]][:, None]
        before = (of_row > own) | ((of_row == own) & (np.arange(labels) < columns[at][:, None]))
        rank[at] = np.where(np.isnan(own[:, 0]), labels, before.sum(axis=1))
    held = np.bincount(rows, minlength=len(gold))
    name = "recall_at_{}" if multi else "top_{}_accuracy"
    found = {}
    for k in depths:
        hits = np.bincount(rows[rank < k], minlength=len(gold))
        found[name.format(k)] = np.divide(hits, held, out=np.full(len(gold), np.nan), where=held > 0)
    return found


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
    """MAE, RMSE, R2, Pearson's r, Spearman's rho and the concordance index.

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

    names = ("mae", "rmse", "r2", "pearson", "spearman", "concordance")
    if not len(gold):
        return {**dict.fromkeys(names), "undefined": dict.fromkeys(names, NO_VALID)}
    undefined = {}
    if len(gold) < 2:
        undefined = dict.fromkeys(names[2:], TWO_ROWS)
    elif is_constant(gold):
        undefined = dict.fromkeys(names[2:], CONSTANT_GOLD)
    elif is_constant(predicted):
        undefined = dict.fromkeys(("pearson", "spearman"), CONSTANT_PREDICTIONS)
    return {
        "mae": float(mean_absolute_error(gold, predicted)),
        "rmse": float(root_mean_squared_error(gold, predicted)),
        "r2": None if "r2" in undefined else float(r2_score(gold, predicted)),
        "pearson": None if "pearson" in undefined else float(pearsonr(gold, predicted).statistic),
        "spearman": None if "spearman" in undefined else float(spearmanr(gold, predicted).statistic),
        "concordance": None if "concordance" in undefined else concordance(gold, predicted),
        "undefined": undefined,
    }


def concordance(gold: FloatArray, predicted: FloatArray) -> float:
    """Of the pairs of rows with unequal gold, the share that the predictions put in the same order; equal predictions
    count half (Harrell et al. 1982). 0.5 is chance.

    >>> concordance(np.array([1.0, 2.0, 3.0]), np.array([5.0, 5.0, 9.0]))
    0.8333333333333333
    """
    from scipy.stats import kendalltau

    def tied(values: FloatArray) -> float:
        times = np.unique(values, return_counts=True)[1].astype(np.float64)
        return float((times * (times - 1) / 2).sum())

    pairs = len(gold) * (len(gold) - 1) / 2
    unequal, apart = pairs - tied(gold), pairs - tied(predicted)
    if not apart:
        return 0.5
    # Kendall's tau-b is the surplus of concordant pairs over sqrt(unequal * apart): what is left is its numerator.
    return float(0.5 + kendalltau(gold, predicted).statistic * np.sqrt(apart / unequal) / 2)


def _averages(scores: FloatArray) -> dict[str, float]:
    return {name: float(value) for name, value in zip(("precision", "recall", "f1"), scores, strict=True)}


def _per_class(scores: FloatArray, support: IntArray, predicted: IntArray) -> list[dict[str, Any]]:
    rows = zip(scores, support.tolist(), predicted.tolist(), strict=True)
    return [{**_averages(row), "support": held, "predicted": given} for row, held, given in rows]
