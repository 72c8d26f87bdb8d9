"""Rows whose gold is in doubt: confident learning (Northcutt, Jiang and Chuang 2021, "Confident Learning: Estimating
Uncertainty in Dataset Labels", arXiv 1911.00068).

A row counts for the label that its probability is high of, where high means: at least as high as on average among the
rows that have that label. A row that counts for another label than its own is in doubt. The probabilities must be of
rows that no run was trained on, as those of a held-out split are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from categorize.analysis.inputs import Inputs
from categorize.analysis.neighbours import shown
from categorize.labels import LabelSet
from categorize.predictions import BoolArray, FloatArray, IntArray


def label_errors(inputs: Inputs) -> list[dict[str, Any]] | None:
    """Rows in doubt as `id`, `text`, `gold`, `suggested` and `score`, the surest first: how far the mean probability of
    what is suggested lies above that of the gold, at most 1. The mean is over the runs that have probabilities.

    None for a regression, on the split that runs were trained on, where no run has probabilities, and for thousands of
    labels.
    """
    found = [one for one in inputs.outcomes if one.aligned.probabilities is not None]
    if inputs.label_set.is_regression or inputs.split == "train" or not found or not len(inputs.known):
        return None
    if inputs.has_many_cells:
        return None
    probabilities = _mean([one.aligned.probabilities for one in found if one.aligned.probabilities is not None])
    return in_doubt(inputs.label_set, inputs.rows["id"].to_pylist(), inputs.texts, inputs.truth, probabilities)


def in_doubt(
    label_set: LabelSet, ids: Sequence[str], texts: Sequence[str], truth: FloatArray, probabilities: FloatArray
) -> list[dict[str, Any]]:
    """Rows in doubt, as `label_errors` has them.

    Args:
        truth, probabilities: [rows, labels].
    """
    names = label_set.names
    gold = [[names[j] for j in np.flatnonzero(row)] for row in truth]
    if label_set.is_multi_label:
        cells = doubtful_cells(truth > 0, probabilities)
        suggested = [_with(names, one, flipped) for one, flipped in zip(gold, cells > 0, strict=True)]
        scores = cells.max(axis=1, initial=0.0)
    else:
        better, scores = doubtful(truth.argmax(axis=1), probabilities)
        suggested = [[names[j]] for j in better]
    order = np.lexsort((np.arange(len(scores)), -scores))
    return [
        {
            "id": ids[i],
            "text": texts[i],
            "gold": shown(gold[i]),
            "suggested": shown(suggested[i]),
            "score": round(float(scores[i]), 4),
        }
        for i in order
        if scores[i] > 0
    ]


def doubtful(given: IntArray, probabilities: FloatArray) -> tuple[IntArray, FloatArray]:
    """Of single labels, what each row counts for, and by how much its probability exceeds that of the given label; 0
    where it counts for its own label or for none.

    Args:
        given: positions [rows].
        probabilities: [rows, labels].

    >>> p = np.array([[.9, .1], [.8, .2], [.1, .9], [.2, .8], [.9, .1]])
    >>> better, score = doubtful(np.array([0, 0, 1, 1, 1]), p)
    >>> better[4], round(float(score[4]), 2), score[:4].tolist()
    (np.int64(0), 0.8, [0.0, 0.0, 0.0, 0.0])
    """
    rows, labels = probabilities.shape
    counts = np.bincount(given, minlength=labels)
    own = probabilities[np.arange(rows), given]
    sums = np.bincount(given, weights=own, minlength=labels)
    threshold = np.where(counts > 0, sums / np.maximum(counts, 1), np.inf)  # a label without a row is not suggested
    confident = np.where(probabilities >= threshold, probabilities, -1.0)
    better = confident.argmax(axis=1)
    counted = confident.max(axis=1) >= 0
    margin = probabilities[np.arange(rows), better] - own
    return better, np.where(counted & (better != given), np.maximum(margin, 0.0), 0.0)


def doubtful_cells(given: BoolArray, probabilities: FloatArray) -> FloatArray:
    """The same where a row may have several labels: each label is compared with its absence. Returns the margins
    [rows, labels]; 0 means that there is no doubt.

    Args:
        given: bool [rows, labels].
        probabilities: [rows, labels].
    """
    present, absent = given.sum(axis=0), (~given).sum(axis=0)
    with np.errstate(invalid="ignore"):
        if_present = np.where(present, (probabilities * given).sum(axis=0) / np.maximum(present, 1), np.inf)
        if_absent = np.where(absent, ((1 - probabilities) * ~given).sum(axis=0) / np.maximum(absent, 1), np.inf)
    doubt = np.where(given, 1 - probabilities >= if_absent, probabilities >= if_present)
    margin = np.where(given, 1 - 2 * probabilities, 2 * probabilities - 1)
    return np.where(doubt, np.maximum(margin, 0.0), 0.0)


def _mean(of_runs: list[FloatArray]) -> FloatArray:
    """The mean over the runs that scored a cell; 0 where none did."""
    scored = [~np.isnan(one) for one in of_runs]
    total = np.sum([np.nan_to_num(one) for one in of_runs], axis=0)
    return np.asarray(total / np.maximum(np.sum(scored, axis=0), 1), dtype=np.float64)


def _with(names: list[str], gold: list[str], flipped: BoolArray) -> list[str]:
    changed = {names[j] for j in np.flatnonzero(flipped)} ^ set(gold)
    return [name for name in names if name in changed]
