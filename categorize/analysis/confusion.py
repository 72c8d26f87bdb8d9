"""What is taken for what: confusion matrices in hierarchical order, frequent pairs, labels by their errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.analysis.inputs import Inputs, Outcome
from categorize.labels import LabelSet
from categorize.metrics.arrays import INVALID
from categorize.metrics.measures import INVALID_COLUMN
from categorize.metrics.scores import CONFUSION_LABELS
from categorize.predictions import IntArray

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

PAIRS = 50  # of a run that are listed


def hierarchical_order(label_set: LabelSet) -> list[int]:
    """Positions of the labels, those of a group together where the first of them stands.

    >>> from categorize.labels import Group, Label
    >>> labels = [Label("joy", parent="good"), Label("other"), Label("fear", parent="bad")]
    >>> labels.append(Label("love", parent="good"))
    >>> one = LabelSet("single_label", tuple(labels), (Group("bad"), Group("good")))
    >>> [one.names[i] for i in hierarchical_order(one)]
    ['joy', 'love', 'other', 'fear']
    """
    first: dict[str, int] = {}
    for i, label in enumerate(label_set.labels):
        first.setdefault(label.parent or f"\0{i}", i)
    return sorted(range(len(label_set)), key=lambda i: (first[label_set.labels[i].parent or f"\0{i}"], i))


def confusion(inputs: Inputs) -> dict[str, Any] | None:
    """`labels` in hierarchical order with their `groups`, and for each run `counts` [gold, predicted], which has a last
    column of invalid answers, and the most frequent `pairs` (with their shares of the rows of the gold, and of the
    rows with that prediction). Where a row may have several labels there is no matrix: a pair is then a label that is
    missing and a wrong one that was given instead. Returns None for a regression, and where no row has a gold label."""
    label_set = inputs.label_set
    if label_set.is_regression or not len(inputs.known):
        return None
    order = np.array(hierarchical_order(label_set))
    groups = {"groups": [label_set.labels[i].parent for i in order]} if label_set.groups else {}
    runs: dict[str, Any] = {}
    for one in inputs.outcomes:
        runs[one.name] = {"pairs": _pairs(label_set, one)}
        if not label_set.is_multi_label and len(label_set) <= CONFUSION_LABELS:
            counts = confusion_counts(one, len(label_set)).toarray()[np.ix_(order, np.append(order, len(order)))]
            runs[one.name]["counts"] = counts.tolist()
    return {"labels": [label_set.names[i] for i in order], **groups, "runs": runs}


def confusion_counts(outcome: Outcome, labels: int) -> csr_matrix:
    """Counts [labels, labels + 1] in the label set's order, invalid answers last; of several labels a row, how often
    the first is missing where the second was given without being gold."""
    from scipy.sparse import csr_matrix

    gold, said = outcome.aligned.gold, outcome.said
    if gold.ndim == 1:
        ones = np.ones(len(gold), dtype=np.int64)
        return csr_matrix((ones, (gold, np.where(said == INVALID, labels, said))), shape=(labels, labels + 1))
    missing = csr_matrix((gold == 1) & (said != 1)).astype(np.int64)
    extra = csr_matrix(np.column_stack([(gold == 0) & (said == 1), ~outcome.valid])).astype(np.int64)
    return missing.T @ extra


def _tallies(outcome: Outcome, labels: int) -> tuple[IntArray, IntArray, IntArray]:
    """Of each label, the rows that have it, those that were given it, and those that have it and were."""
    gold, said = outcome.aligned.gold, outcome.said
    if gold.ndim == 2:
        return (gold == 1).sum(axis=0), (said == 1).sum(axis=0), ((gold == 1) & (said == 1)).sum(axis=0)
    values = (gold, said[said != INVALID], gold[gold == said])
    support, given, hits = (np.bincount(one, minlength=labels) for one in values)
    return support, given, hits


def _pairs(label_set: LabelSet, outcome: Outcome) -> list[dict[str, Any]]:
    columns = [*label_set.names, INVALID_COLUMN]
    support, given, _ = _tallies(outcome, len(label_set))
    given = np.append(given, (~outcome.valid).sum())
    cells = confusion_counts(outcome, len(label_set)).tocoo()
    wrong = np.flatnonzero(cells.row != cells.col)
    first = wrong[np.lexsort((cells.col[wrong], cells.row[wrong], -cells.data[wrong]))][:PAIRS]
    return [
        {
            "gold": label_set.names[i],
            "predicted": columns[j],
            "rows": int(n),
            "of_gold": _share(n, support[i]),
            "of_predicted": _share(n, given[j]),
        }
        for i, j, n in zip(cells.row[first], cells.col[first], cells.data[first], strict=True)
    ]


def labels_by_error(inputs: Inputs) -> dict[str, list[dict[str, Any]]] | None:
    """For each run a line for each label, most missed and wrongly given rows first: `support`, `missed`, `false`,
    `precision`, `recall`, `f1`, the `training_rows`, and the label that most of the missed rows were given instead."""
    if inputs.label_set.is_regression or not len(inputs.known):
        return None
    trained = np.nan_to_num(inputs.train_gold).sum(axis=0).astype(int)
    return {one.name: _label_lines(inputs.label_set, one, trained) for one in inputs.outcomes}


def _label_lines(label_set: LabelSet, outcome: Outcome, trained: IntArray) -> list[dict[str, Any]]:
    columns = [*label_set.names, INVALID_COLUMN]
    support, given, hits = _tallies(outcome, len(label_set))
    counts = confusion_counts(outcome, len(label_set)).tocsr()
    lines = []
    for j in np.argsort(-(support + given - 2 * hits), kind="stable"):
        line: dict[str, Any] = {
            "label": label_set.names[j],
            "support": int(support[j]),
            "missed": int(support[j] - hits[j]),
            "false": int(given[j] - hits[j]),
            "precision": _share(hits[j], given[j]),
            "recall": _share(hits[j], support[j]),
            "f1": _share(2 * hits[j], support[j] + given[j]),
            "training_rows": int(trained[j]),
        }
        row = counts.getrow(j)
        others = row.indices != j
        if others.any():
            at = int(np.where(others, row.data, 0).argmax())
            line |= {"taken_for": columns[row.indices[at]], "taken": int(row.data[at])}
        lines.append(line)
    return lines


def _share(part: Any, whole: Any) -> float | None:
    return float(part / whole) if whole else None
