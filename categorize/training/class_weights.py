"""Class weights: what each label, or each row of it, counts in the loss."""

from __future__ import annotations

import numpy as np

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.predictions import FloatArray

SHOWN = 20  # weights that the terminal shows


def class_weights(
    choice: str | dict[str, float] | None, label_set: LabelSet, targets: FloatArray, weights: FloatArray | None = None
) -> FloatArray:
    """Weight of each label [labels]: ones, the recipe's own, or `balanced`.

    Balanced is n / (labels * count) for single labels (scikit-learn's rule), and negatives / positives for the
    positive side of each multi-label. A label without a training row has weight 1, and so has one that every row has:
    its weight would be 0, and nothing would be learned about it.

    Args:
        weights: of each row, [n], by which it is counted, so that the segments of a document count as it does.

    Raises:
        UserError: a weight for a label that is not in the set.
    """
    per_label = np.ones(len(label_set))
    if choice is None:
        return per_label
    if isinstance(choice, dict):
        for name, weight in choice.items():
            if name not in label_set.index:
                raise UserError(f"training.class_weights: {name!r} is not in the label set: {label_set.names}")
            per_label[label_set.index[name]] = weight
        return per_label
    amounts = np.ones(len(targets)) if weights is None else weights
    total, counts = amounts.sum(), amounts @ targets
    known = np.where(counts > 0, counts, 1.0)
    balanced = (total - counts) / known if label_set.is_multi_label else total / (len(label_set) * known)
    return np.where((counts > 0) & (balanced > 0), balanced, per_label)


def weights_line(weights: dict[str, float]) -> str:
    """The weights for the terminal, the heaviest labels first; `run.json` holds them all."""
    heaviest = sorted(weights.items(), key=lambda one: -one[1])
    shown = ", ".join(f"{name} {weight:.3g}" for name, weight in heaviest[:SHOWN])
    rest = f", {len(heaviest) - SHOWN} more down to {heaviest[-1][1]:.3g}" if len(heaviest) > SHOWN else ""
    return f"weights of labels in the loss: {shown}{rest}"
