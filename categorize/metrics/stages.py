"""What each stage of a cascade answered, and how well."""

from __future__ import annotations

from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.corrected import wilson
from categorize.predictions import FloatArray, Predictions


def measure_stages(label_set: LabelSet, gold: FloatArray, predictions: Predictions) -> dict[str, Any] | None:
    """Of each stage by its name: the rows with gold that it answered, their share, and its accuracy on them with
    Wilson's interval; None where the predictions are not of a cascade.

    Args:
        gold: indicators [n, labels]; rows of NaN are left out.
        predictions: decided.

    >>> from categorize.labels import Label
    >>> labels = LabelSet("single_label", (Label("yes"), Label("no")))
    >>> found = Predictions(["a", "b"], decided=[["yes"], ["no"]], stage=["cheap", "costly"])
    >>> measured = measure_stages(labels, labels.encode([["yes"], ["yes"]]), found)
    >>> [(name, one["rows"], one["coverage"], one["accuracy"]) for name, one in measured.items()]
    [('cheap', 1, 0.5, 1.0), ('costly', 1, 0.5, 0.0)]
    """
    if predictions.stage is None or predictions.decided is None:
        return None
    known = ~np.isnan(gold).any(axis=1)
    right = (label_set.encode(predictions.decided) == gold).all(axis=1) & predictions.is_valid
    stage = np.array(predictions.stage, dtype=object)
    result = {}
    for name in dict.fromkeys(predictions.stage):
        own = known & (stage == name)
        rows = int(own.sum())
        if not rows:
            continue
        accuracy = wilson(float(right[own].sum()), rows)
        result[name] = {
            "rows": rows,
            "coverage": rows / int(known.sum()),
            "accuracy": accuracy.value,
            "accuracy_low": accuracy.low,
            "accuracy_high": accuracy.high,
        }
    return result
