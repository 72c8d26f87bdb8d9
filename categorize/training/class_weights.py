"""What a loss makes of the labels' counts: weights of labels, and what is added to their logits."""

from __future__ import annotations

import numpy as np

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.predictions import FloatArray
from categorize.recipe.loss_sections import EffectiveNumber, LogitAdjustment, Loss

SHOWN = 20  # weights that the terminal shows


def class_weights(
    choice: str | dict[str, float] | EffectiveNumber | None,
    label_set: LabelSet,
    targets: FloatArray,
    weights: FloatArray | None = None,
) -> FloatArray:
    """Weight of each label [labels]: ones, the recipe's own, `balanced`, or by the `effective_number` of its rows.

    Balanced is n / (labels * count) for single labels (scikit-learn's rule), and negatives / positives for the
    positive side of each multi-label. By effective number, n rows count as (1 - beta^n) / (1 - beta), rows that say
    the same again less and less: the weights are the inverses, scaled to a mean of 1 over labels with rows, and
    negatives / positives for multi-label (Cui et al. 2019, "Class-Balanced Loss Based on Effective Number of
    Samples"). A label without a training row has weight 1, and so has one that every row has:
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
    total, counts = _counts(targets, weights)
    held, others = np.where(counts > 0, counts, 1.0), total - counts
    if choice != "balanced":
        beta = (choice if isinstance(choice, EffectiveNumber) else EffectiveNumber(type="effective_number")).beta
        held, others = -np.expm1(held * np.log(beta)), -np.expm1(others * np.log(beta))
    if label_set.is_multi_label:
        found = others / held
    else:
        found = total / (len(label_set) * held) if choice == "balanced" else 1 / held / (1 / held[counts > 0]).mean()
    return np.where((counts > 0) & (found > 0), found, per_label)


def logit_adjustment(
    loss: Loss, label_set: LabelSet, targets: FloatArray, weights: FloatArray | None = None
) -> tuple[float, ...] | None:
    """What is added to the logits in the loss, [labels]; None for a loss that leaves them alone.

    The log of each label's share of the rows, of several labels a row its log odds, times tau. Counted as in
    `class_weights`; a label without a row counts as if it had one, and one of all rows as if it lacked one.

    Menon et al. 2021, "Long-tail learning via logit adjustment"; with tau 1 and one label a row the same as Ren et al.
    2020, "Balanced Meta-Softmax for Long-Tailed Visual Recognition".
    """
    if not loss.corrects_prior:
        return None
    tau = loss.tau if isinstance(loss, LogitAdjustment) else 1.0
    total, counts = _counts(targets, weights)
    least = total / max(len(targets), 1)
    share = np.clip(counts, least, max(total - least, least)) / max(total, least)
    logs = np.log(share) - np.log1p(-share) if label_set.is_multi_label else np.log(share)
    return tuple((tau * logs).tolist())


def _counts(targets: FloatArray, weights: FloatArray | None) -> tuple[float, FloatArray]:
    """Rows in all and of each label [labels], by their weights."""
    amounts = np.ones(len(targets)) if weights is None else weights
    return float(amounts.sum()), amounts @ targets


def weights_line(weights: dict[str, float]) -> str:
    """The weights for the terminal, the heaviest labels first; `run.json` holds them all."""
    heaviest = sorted(weights.items(), key=lambda one: -one[1])
    shown = ", ".join(f"{name} {weight:.3g}" for name, weight in heaviest[:SHOWN])
    rest = f", {len(heaviest) - SHOWN} more down to {heaviest[-1][1]:.3g}" if len(heaviest) > SHOWN else ""
    return f"weights of labels in the loss: {shown}{rest}"
