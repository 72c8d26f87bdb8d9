"""Baselines that read no text: the majority label, the most frequent label set, the mean score."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.predictions import FloatArray, Predictions


def baseline(label_set: LabelSet, training_gold: FloatArray, ids: Sequence[str]) -> Predictions:
    """The same prediction for every row of `ids`, decided.

    Single label, ordinal: the label with most training rows (the first in label order among equals). Multi-label: the
    set of labels that most training rows have, which may be no label (among equals the one with more labels, then the
    first in label order). Probabilities are the labels' shares of the training rows. Regression: the mean training
    score.

    Args:
        training_gold: [rows, labels] as `LabelSet.encode` gives it; rows of NaN are left out.

    Raises:
        UserError: no training row has a gold label.

    >>> from categorize.labels import Label
    >>> labels = LabelSet("single_label", (Label("yes"), Label("no")))
    >>> baseline(labels, labels.encode([["no"], ["yes"], ["no"]]), ["a", "b"]).decided
    [['no'], ['no']]
    """
    gold = training_gold[~np.isnan(training_gold).any(axis=1)]
    if not len(gold):
        raise UserError(
            "the baseline needs training rows with labels, found none; check data.columns.label and the splits"
        )
    n = len(ids)
    if label_set.is_regression:
        return Predictions(ids=ids, score=np.full(n, gold.mean()), decided=[[] for _ in range(n)])
    shares = gold.mean(axis=0)
    if label_set.is_multi_label:
        combinations, counts = np.unique(gold, axis=0, return_counts=True)
        # np.unique sorts rising, so that among equals the last one holds the earlier labels.
        best = max(range(len(counts)), key=lambda i: (counts[i], combinations[i].sum(), i))
        names = [label_set.names[j] for j in np.flatnonzero(combinations[best])]
    else:
        names = [label_set.names[int(shares.argmax())]]
    return Predictions(ids=ids, probabilities=np.tile(shares, (n, 1)), decided=[list(names) for _ in range(n)])
