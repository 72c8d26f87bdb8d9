"""Whether the split is like the training rows: shares of labels (chi-square), length of texts and scores (Kolmogorov
and Smirnov)."""

from __future__ import annotations

from typing import Any

import numpy as np

from categorize.analysis.inputs import Inputs
from categorize.metrics.significance import holm
from categorize.predictions import FloatArray

EXPECTED = 5.0  # rows of a cell that chi-square needs at least; labels with fewer are counted together


def shift(inputs: Inputs) -> dict[str, Any] | None:
    """`classes` (not for a regression): `p_value` of one chi-square test of all (of several labels a row None), and by
    label the shares in train and in the split with `adjusted_p`, the most different first; `length` (and `score` of a
    regression): medians, the distance of the distributions and its `p_value`. None on the training split and where one
    of them has no labelled row."""
    trained = inputs.train_gold[~np.isnan(inputs.train_gold).any(axis=1)]
    if inputs.split == "train" or not len(inputs.known) or not len(trained):
        return None
    texts = [text or "" for text in inputs.train["text"].to_pylist()]
    found: dict[str, Any] = {}
    if inputs.label_set.is_regression:
        found["score"] = distance(trained[:, 0], inputs.truth[:, 0])
    else:
        found["classes"] = _classes(inputs, trained)
    found["length"] = distance(*(np.array([len(text) for text in one], dtype=float) for one in (texts, inputs.texts)))
    return found


def _classes(inputs: Inputs, trained: FloatArray) -> dict[str, Any]:
    from scipy.stats import chi2_contingency

    counts = np.stack([trained.sum(axis=0), inputs.truth.sum(axis=0)])
    rows = np.array([len(trained), len(inputs.truth)])
    p = np.ones(counts.shape[1])
    for j, of_label in enumerate(counts.T):
        if 0 < of_label.sum() < rows.sum():
            p[j] = _one_label(of_label, rows)
    adjusted, shares = holm(p), counts / rows[:, None]
    order = np.lexsort((-np.abs(np.diff(shares, axis=0)[0]), adjusted))
    overall = None
    if not inputs.label_set.is_multi_label:
        table = _pooled(counts, rows)
        overall = float(chi2_contingency(table).pvalue) if table.shape[1] > 1 else None
    by_label = [
        {
            "label": inputs.label_set.names[j],
            "train": int(counts[0, j]),
            "rows": int(counts[1, j]),
            "train_share": float(shares[0, j]),
            "share": float(shares[1, j]),
            "adjusted_p": float(adjusted[j]),
        }
        for j in order
    ]
    return {"p_value": overall, "labels": by_label}


def _one_label(counts: FloatArray, rows: FloatArray) -> float:
    """Whether a label is as frequent in both: chi-square, exact where cells are small."""
    from scipy.stats import chi2_contingency, fisher_exact

    table = np.stack([counts, rows - counts])
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    if expected.min() < EXPECTED:
        return float(fisher_exact(table.astype(np.int64)).pvalue)
    return float(chi2_contingency(table, correction=False).pvalue)


def _pooled(counts: FloatArray, rows: FloatArray) -> FloatArray:
    """The labels of which enough rows are expected, and all others as one."""
    expected = counts.sum(axis=0) * rows.min() / rows.sum()
    enough = expected >= EXPECTED
    table = np.column_stack([counts[:, enough], counts[:, ~enough].sum(axis=1)])
    return table[:, table.sum(axis=0) > 0]


def distance(train: FloatArray, split: FloatArray) -> dict[str, float]:
    """Medians, the largest distance of the distribution functions, and its p-value."""
    from scipy.stats import ks_2samp

    found = ks_2samp(train, split)
    return {
        "train_median": float(np.median(train)),
        "median": float(np.median(split)),
        "distance": float(found.statistic),
        "p_value": float(found.pvalue),
    }
