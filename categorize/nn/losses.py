"""Losses of labels, as functions of logits and targets: each cell's or each row's, without weights of rows.

Everything is computed from log-sigmoids and log-softmaxes, so that no logit is too large; a power of a probability has
a floor, below which its gradient is 0 and not NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from categorize.predictions import FloatArray
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


def corn_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Loss of each row of ordered labels, [rows]: the sum of the binary cross-entropies of "above label k, given above
    label k - 1", of those that the row has an answer to. That is the negative log of the probability that
    `corn_probabilities` gives its label.

    Args:
        logits: [rows, labels - 1].
        targets: [rows, labels], 1 at the row's label.

    Shi et al. 2021, "Deep Neural Networks for Rank-Consistent Ordinal Regression Based On Conditional Probabilities".
    """
    from torch.nn import functional

    above = targets[:, 1:].flip(-1).cumsum(-1).flip(-1)
    asked = functional.pad(above[:, :-1], (1, 0), value=1.0)
    answers = above * functional.logsigmoid(logits) + (1 - above) * functional.logsigmoid(-logits)
    return -(asked * answers).sum(-1)


def corn_probabilities(logits: FloatArray) -> FloatArray:
    """Probabilities [rows, labels]: of each label, to be above all before it and not above it."""
    from scipy.special import expit

    ones = np.ones((len(logits), 1))
    return np.asarray(np.hstack([ones, expit(logits).cumprod(axis=1)]) * np.hstack([expit(-logits), ones]))


def cumulative_link_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Loss of each row of ordered labels, [rows]: the negative log of the probability that
    `cumulative_link_probabilities` gives its label.

    Args:
        logits: [rows, labels - 1], the first the row's position, the others the gaps between cut points.
        targets: [rows, labels], 1 at the row's label.
    """
    from torch.nn import functional

    above = logits[:, :1] - functional.pad(functional.softplus(logits[:, 1:]).cumsum(-1), (1, 0))
    edges = functional.pad(functional.logsigmoid(above), (1, 0)) + functional.pad(functional.logsigmoid(-above), (0, 1))
    # s(a) - s(b) = s(a) s(-b) (1 - exp(b - a)), and a - b = softplus(g) makes the last factor s(g).
    return -(targets * (edges + functional.pad(functional.logsigmoid(logits[:, 1:]), (1, 1)))).sum(-1)


def cumulative_link_probabilities(logits: FloatArray) -> FloatArray:
    """Probabilities [rows, labels] of cumulative logits: above label k with sigmoid(position - cut k). The cuts begin
    at 0 and rise by the softplus of the gaps, so that they are ordered whatever the model gives. McCullagh's model
    (1980, "Regression Models for Ordinal Data") has the same gaps for all rows; here they are outputs as the position
    is, for the head of a model holds no parameters beside its outputs.
    """
    from scipy.special import expit

    gaps = logits[:, 1:]
    above = logits[:, :1] - np.hstack([np.zeros((len(logits), 1)), np.logaddexp(0, gaps).cumsum(axis=1)])
    ones = np.ones((len(logits), 1))
    inner = np.hstack([ones, expit(gaps), ones])
    return np.asarray(np.hstack([ones, expit(above)]) * np.hstack([expit(-above), ones]) * inner)


def error_loss(errors: Tensor, loss: Loss | None = None) -> Tensor:
    """What errors of scores cost, each by itself: squared, absolute, or by Huber."""
    import torch
    from torch.nn import functional

    if isinstance(loss, Huber):
        return functional.huber_loss(errors, torch.zeros_like(errors), reduction="none", delta=loss.delta)
    return errors.abs() if isinstance(loss, AbsoluteError) else errors.square()
