"""Losses of labels, as functions of logits and targets: each cell's or each row's, without weights of rows.

Everything is computed from log-sigmoids and log-softmaxes, so that no logit is too large; a power of a probability has
a floor, below which its gradient is 0 and not NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.recipe.loss_sections import AbsoluteError, Huber, Loss

if TYPE_CHECKING:
    from torch import Tensor

FLOOR = 1e-12


def _power(base: Tensor, exponent: float) -> Tensor | float:
    return base.clamp(min=FLOOR) ** exponent if exponent else 1.0


def softmax_loss(logits: Tensor, targets: Tensor, *, gamma: float = 0.0, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of each row, [rows]; with `gamma` focal loss, -(1 - p)^gamma log p of the row's label.

    Args:
        logits, targets: [rows, labels]; a row's target is 1 at its label.
        smoothing: share of the target that is spread evenly over the labels.

    Lin et al. 2017, "Focal Loss for Dense Object Detection".
    """
    from torch.nn import functional

    log_probabilities = functional.log_softmax(logits, dim=-1)
    hit = -(log_probabilities * targets).sum(dim=-1)
    hit = hit * _power(-(-hit).expm1(), gamma)
    return (1 - smoothing) * hit - smoothing * log_probabilities.mean(dim=-1)


def sigmoid_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_positive: float = 0.0,
    gamma_negative: float = 0.0,
    margin: float = 0.0,
    positive_weight: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Binary loss of each cell, [rows, labels]: cross-entropy, focal loss, or asymmetric loss.

    Of a label that the row has, -(1 - p)^gamma_positive log p; of one that it lacks, -q^gamma_negative log(1 - q) with
    q = max(p - margin, 0).

    Args:
        logits, targets: [rows, labels].
        positive_weight: [labels], of the first term.
        smoothing: share of each target that is spread over both sides.

    Ridnik et al. 2021, "Asymmetric Loss For Multi-Label Classification".
    """
    from torch.nn import functional

    targets = targets * (1 - smoothing) + smoothing / 2
    p = logits.sigmoid()
    if margin:
        shifted = (p - margin).clamp(min=0.0)
        log_none = (-shifted).log1p()
    else:
        shifted, log_none = p, functional.logsigmoid(-logits)
    positive = -functional.logsigmoid(logits) * _power((-logits).sigmoid(), gamma_positive)
    if positive_weight is not None:
        positive = positive * positive_weight
    return targets * positive - (1 - targets) * log_none * _power(shifted, gamma_negative)


def error_loss(errors: Tensor, loss: Loss | None = None) -> Tensor:
    """What errors of scores cost, each by itself: squared, absolute, or by Huber."""
    import torch
    from torch.nn import functional

    if isinstance(loss, Huber):
        return functional.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=loss.delta)
    return errors.abs() if isinstance(loss, AbsoluteError) else errors.square()
