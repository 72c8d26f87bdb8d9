"""All measures of one run on one split, as the nested, JSON-ready dictionary that `metrics.json` holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics import scores
from categorize.metrics.arrays import Aligned, align, group_names, to_groups
from categorize.metrics.hierarchy import hierarchy_of
from categorize.metrics.probabilistic import probability_scores, risk_at_coverage
from categorize.metrics.progress import flat
from categorize.metrics.two_levels import hierarchical, node_counts
from categorize.predictions import FloatArray, Predictions

INVALID_COLUMN = "(invalid)"
_NAMES_OF = 200


def measure(label_set: LabelSet, gold: FloatArray, predictions: Predictions) -> dict[str, Any]:
    """Measure decided predictions (or scores) against gold.

    Args:
        gold: [n, labels] as `LabelSet.encode` gives it. Rows of NaN have no known gold: left out and counted.
        predictions: n rows in the same order, after `DecisionRule.apply`.

    Returns:
        `task`, `rows` (those with gold: the denominator of every headline figure), `rows_without_gold`, `valid`,
        `invalid`, `valid_rate`; then for a classification `accuracy` (multi-label: of whole label sets, with
        `hamming_loss`), `accuracy_valid_only`, `macro`, `micro`, `weighted` (multi-label: `samples`) each with
        `precision`, `recall`, `f1`; `mcc` and `balanced_accuracy` (multi-label: `samples_jaccard`, `macro_jaccard`);
        `per_class`, `labels_without_support`, `labels_in_macro`, `confusion` (single label), `consistency`
        (multi-label, where labels imply or exclude others: the share of valid rows that keep to it), `groups` and
        `hierarchical_...` (where the set has groups); where there are probabilities what `probabilistic` measures, and
        of one label a row `aurc`; for ordinal also `mae` and `quadratic_weighted_kappa`; for a regression `mae`,
        `rmse`, `r2`, `pearson`, `spearman`, `concordance`. An undefined measure is None and `undefined` says why.
        docs/metrics.md defines each.

    Raises:
        ValueError: see `arrays.align`.

    >>> from categorize.labels import Label
    >>> labels = LabelSet("single_label", (Label("yes"), Label("no")))
    >>> predictions = Predictions(["1", "2", "3", "4"], decided=[["yes"], ["no"], ["no"], []])
    >>> measured = measure(labels, labels.encode([["yes"], ["no"], ["yes"], ["no"]]), predictions)
    >>> measured["rows"], measured["valid"], measured["accuracy"], measured["confusion"]["counts"]
    (4, 3, 0.5, [[1, 1, 0], [0, 1, 1]])
    """
    aligned = align(label_set, gold, predictions)
    rows, valid = len(aligned), int(aligned.valid.sum())
    result: dict[str, Any] = {
        "task": label_set.task,
        "rows": rows,
        "rows_without_gold": int((~aligned.known).sum()),
        "valid": valid,
        "invalid": rows - valid,
        "valid_rate": valid / rows if rows else None,
    }
    if not rows:
        return {**result, "undefined": {"rows": scores.NO_ROWS}}
    if label_set.is_regression:
        measured = scores.regression_scores(aligned.gold, aligned.predicted)
    else:
        measured = _classification(label_set, aligned)
    undefined = measured.pop("undefined")
    return {**result, **measured, "undefined": undefined}


def measure_unseen_texts(
    label_set: LabelSet, gold: FloatArray, predictions: Predictions, train_overlap: Sequence[str | None]
) -> dict[str, Any] | None:
    """The measures of the rows whose text does not stand in train, as flat numbers, with `rows`, `exact` and `near`
    (rows whose text, or nearly the text, does). None where every row is such: then they are the measures themselves.

    Args:
        train_overlap: "exact", "near" or None for each row.
    """
    unseen = [i for i, seen in enumerate(train_overlap) if seen is None]
    if len(unseen) == len(train_overlap):
        return None
    measured = measure(label_set, gold[unseen], predictions.take(unseen))
    counts = {name: sum(seen == name for seen in train_overlap) for name in ("exact", "near")}
    return {"rows": measured["rows"], **counts, **(flat(measured) if measured["rows"] else {})}


def measure_seen_and_unseen(
    label_set: LabelSet, metrics: Mapping[str, Any], gold: FloatArray, predictions: Predictions, unseen: Sequence[str]
) -> dict[str, Any]:
    """The measures of the labels that training had, and of those that it had not, beside their harmonic mean (Xian et
    al. 2017, "Zero-Shot Learning - A Comprehensive Evaluation"): it is low where either is.

    Args:
        metrics: of `measure`, of all rows.
        unseen: names of the labels that training had not.

    Returns:
        `labels`, the unseen ones; `seen`, `unseen` and `harmonic_mean`, each with `macro_f1`, the mean F1 of its labels
        that have a gold row, and for one label a row `accuracy`, of the rows whose gold is one of them. Every row and
        every label competes in each of them. None where there is no such row.
    """
    aligned = align(label_set, gold, predictions)
    is_unseen = np.array([name in set(unseen) for name in label_set.names])
    result: dict[str, Any] = {"labels": list(unseen)}
    for part, wanted in (("seen", False), ("unseen", True)):
        rows = [one for one in metrics.get("per_class", ()) if one["support"] and (one["label"] in unseen) is wanted]
        measured = {"macro_f1": float(np.mean([one["f1"] for one in rows])) if rows else None}
        if not label_set.is_multi_label:
            of_part = is_unseen[aligned.gold] == wanted
            right = aligned.gold[of_part] == aligned.predicted[of_part]
            measured["accuracy"] = float(right.mean()) if len(right) else None
        result[part] = {"rows": sum(one["support"] for one in rows), **measured}
    result["harmonic_mean"] = {
        name: _harmonic_mean(result["seen"][name], result["unseen"][name])
        for name in ("macro_f1", *([] if label_set.is_multi_label else ["accuracy"]))
    }
    return result


def _harmonic_mean(a: float | None, b: float | None) -> float | None:
    if a is None or b is None:
        return None
    return 2 * a * b / (a + b) if a + b else 0.0


def measure_names(label_set: LabelSet, probabilities: bool = True) -> list[str]:
    """Names, in `progress.flat`, of what is measured for a label set: those that four rows or two of each label have.

    Args:
        probabilities: whether the predictor has them.
    """
    if label_set.is_regression:
        scores = np.arange(4.0)
        predictions = Predictions(ids=list("abcd"), score=scores[[0, 2, 1, 3]], decided=[[]] * 4)
        return list(flat(measure(label_set, scores[:, None], predictions)))
    if len(label_set) > _NAMES_OF:  # names are those of some of the labels, one with a group among them
        grouped = [label.name for label in label_set.labels if label.parent is not None]
        label_set = label_set.subset([*label_set.names[:_NAMES_OF], *grouped[:1]])
    gold = np.tile(np.eye(len(label_set)), (2, 1))
    predictions = Predictions(
        ids=[str(row) for row in range(len(gold))],
        probabilities=gold if probabilities else None,
        decided=[[label_set.names[row % len(label_set)]] for row in range(len(gold))],
    )
    return list(flat(measure(label_set, gold, predictions)))


def _classification(label_set: LabelSet, aligned: Aligned) -> dict[str, Any]:
    gold, predicted = aligned.gold, aligned.predicted
    result = scores.classification_scores(gold, predicted, len(label_set))
    undefined = result.pop("undefined")
    result["per_class"] = _name(label_set.names, result["per_class"])
    result["labels_without_support"] = [row["label"] for row in result["per_class"] if not row["support"]]
    if not label_set.is_multi_label:
        counts = result.pop("confusion")
        if counts is not None:
            result["confusion"] = {
                "gold": label_set.names,
                "predicted": [*label_set.names, INVALID_COLUMN],
                "counts": counts,
            }
    if label_set.task == "ordinal":
        ranks = scores.ordinal_scores(gold, predicted, len(label_set))
        undefined |= ranks.pop("undefined")
        result |= ranks
    if aligned.probabilities is not None:
        scored = probability_scores(gold, aligned.probabilities)
        undefined |= scored.pop("undefined")
        result |= scored
        if not label_set.is_multi_label and scored["rows_with_probabilities"]:
            result["aurc"] = float(risk_at_coverage(confidence_of(aligned), gold != predicted).mean())
        for name, found in scores.ranking_scores(gold, aligned.probabilities).items():
            held = ~np.isnan(found)
            result[name] = float(found[held].mean()) if held.any() else None
            undefined |= {} if held.any() else {name: scores.NO_GOLD_LABELS}
    if (tree := hierarchy_of(label_set, gold)) is not None and aligned.valid.any():
        result["consistency"] = float(tree.consistent(predicted[aligned.valid] > 0).mean())
    if label_set.groups:
        names = group_names(label_set)
        group = scores.classification_scores(to_groups(label_set, gold), to_groups(label_set, predicted), len(names))
        undefined |= {f"groups.{name}": why for name, why in group.pop("undefined").items()}
        group.pop("confusion", None)
        group["per_class"] = _name(names, group["per_class"])
        result["groups"] = group
        counts = node_counts(label_set, gold, predicted).sum(axis=0)
        result |= {name: float(value) for name, value in hierarchical(counts).items()}
    return {**result, "undefined": undefined}


def confidence_of(aligned: Aligned) -> FloatArray:
    """The highest probability of each row [n]; NaN of a row without any."""
    assert aligned.probabilities is not None
    confidence = np.nan_to_num(aligned.probabilities, nan=-1.0).max(axis=1)
    return np.where(confidence < 0, np.nan, confidence)


def _name(names: list[str], rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"label": name, **row} for name, row in zip(names, rows, strict=True)]
