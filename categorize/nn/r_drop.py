"""How far two passes of a head over the same rows are from each other, where dropout alone tells them apart.

Liang et al. 2021, "R-Drop: Regularized Dropout for Neural Networks".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def divergence(problem_type: str, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Mean of both Kullback-Leibler divergences, in nats, of each row [rows]; of several labels a row their mean over
    labels; of scores the squared difference.

    Args:
        problem_type: transformers' name for what the outputs are.
        first, second: logits [rows, width].
    """
    from torch.nn import functional

    first, second = first.float(), second.float()
    if problem_type == "regression":
        return (first - second).square().mean(dim=-1)
    if problem_type == "multi_label_classification":
        # KL(p, q) + KL(q, p) of a yes or no whose log odds are a and b is (p - q) (a - b).
        return 0.5 * ((first.sigmoid() - second.sigmoid()) * (first - second)).mean(dim=-1)
    p, q = functional.log_softmax(first, dim=-1), functional.log_softmax(second, dim=-1)
    return 0.5 * ((p.exp() - q.exp()) * (p - q)).sum(dim=-1)


def has_dropout(model: Any) -> bool:
    """Whether two passes in training differ."""
    import torch

    return any(
        (isinstance(module, torch.nn.Dropout) and module.p > 0)
        or any(isinstance(rate := getattr(module, name, 0.0), float) and rate > 0 for name in _RATES)
        for module in model.modules()
    )


_RATES = ("attention_dropout", "dropout", "dropout_prob")  # of modules that call the function themselves
