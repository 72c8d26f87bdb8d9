"""An output layer that is computed for some tokens alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any


def is_plain(model: Any) -> bool:
    """Whether the output layer is a matrix that nothing is wrapped around: no adapter, no hook, not quantized."""
    import torch

    layer = model.get_output_embeddings()
    hooks = (layer._forward_hooks, layer._forward_pre_hooks) if layer is not None else ()
    return type(layer) is torch.nn.Linear and "forward" not in vars(layer) and not any(hooks)


@contextmanager
def only(model: Any, tokens: Sequence[int]) -> Iterator[None]:
    """Within it, the model's logits are those of these tokens, in this order; of a vocabulary of 150,000 a few rows of
    the matrix are read. What a model makes of each logit (a scale, a soft cap) it still does."""
    import torch

    layer = model.get_output_embeddings()
    weight = layer.weight[list(tokens)]
    bias = None if layer.bias is None else layer.bias[list(tokens)]
    layer.forward = lambda hidden: torch.nn.functional.linear(hidden, weight, bias)
    try:
        yield
    finally:
        del layer.forward
