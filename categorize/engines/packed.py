"""Faster forward passes on a CPU, by the same modules: weights in the layout and type in which they are multiplied, and
attention among the few tokens of short texts.

torch lays weights out anew in every call; oneDNN keeps them laid out (`torch.ops.mkldnn._linear_pointwise`, which
`torch.compile` uses for frozen weights).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ATTENTION = "categorize_short"
MOST_TOKENS = {"bfloat16": 256, "float32": 15}  # of a text; from about there on torch's own attention is as fast
SAFE = 60.0  # scores within it, up or down, have exponentials that neither overflow nor vanish in either type
WHOLE = 5 * 10**8  # weights above which float32 is left as it is: packed ones stand beside it


def linear_layers(model: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Linear]]:
    """Plain linear layers with float32 weights on the CPU, by name; not subclasses, which quantize or adapt."""
    import torch

    for name, module in model.named_modules():
        if type(module) is torch.nn.Linear and module.weight.dtype == torch.float32 and module.weight.is_cpu:
            yield name, module


def pack(model: torch.nn.Module, dtype: torch.dtype, whole: Iterable[str] = ()) -> None:
    """Multiply by packed weights of a type in every linear layer, in place; `unpack` undoes it. What is saved stays as
    it is.

    Args:
        dtype: bfloat16 is to be called within autocast.
        whole: names of modules that are computed in float32 in any case, such as the head.
    """
    import torch

    unpack(model)
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return
    outputs = set(whole)
    layers = list(linear_layers(model))
    if dtype == torch.float32 and sum(layer.weight.numel() for _, layer in layers) > WHOLE:
        return
    for name, layer in layers:
        own = torch.float32 if outputs & set(name.split(".")) else dtype
        layer.forward = _PackedForward(layer, own)  # type: ignore[method-assign]
    if dtype == torch.bfloat16:
        for norm in _norms(model):
            norm.forward = partial(_bfloat16_norm, norm)  # type: ignore[method-assign]
    _attend_by(model, "sdpa", ATTENTION)


def unpack(model: torch.nn.Module) -> None:
    """Undo `pack`."""
    for _, layer in linear_layers(model):
        if isinstance(layer.__dict__.get("forward"), _PackedForward):
            del layer.forward
    for norm in _norms(model):
        norm.__dict__.pop("forward", None)
    _attend_by(model, ATTENTION, "sdpa")


class _PackedForward:
    """Takes the place of `Linear.forward`."""

    def __init__(self, layer: torch.nn.Linear, dtype: torch.dtype) -> None:
        import torch

        self.dtype = dtype
        with torch.inference_mode():
            self.weight = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach().to(dtype).contiguous())
            self.bias = None if layer.bias is None else layer.bias.detach().to(dtype)

    def __call__(self, input: torch.Tensor) -> torch.Tensor:
        import torch

        rows = input.to(self.dtype).contiguous()
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return result


def _norms(model: torch.nn.Module) -> Iterator[torch.nn.LayerNorm]:
    import torch

    return (module for module in model.modules() if type(module) is torch.nn.LayerNorm)


def _bfloat16_norm(norm: torch.nn.LayerNorm, input: torch.Tensor) -> torch.Tensor:
    """In place of `LayerNorm.forward`: gives the type that products are computed in, where autocast gives float32,
    which each of them turns into bfloat16 again. Sums are float32 within."""
    import torch

    with torch.autocast("cpu", enabled=False):
        half = input.to(torch.bfloat16)
        return torch.nn.functional.layer_norm(half, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


# ---------------------------------------------------------------- attention
def _attend_by(model: Any, before: str, after: str) -> None:
    """Let the parts of a model that attend in one way do so in another."""
    from transformers import AttentionInterface, PreTrainedModel
    from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

    AttentionInterface.register(ATTENTION, short_attention)
    AttentionMaskInterface.register(ATTENTION, sdpa_mask)
    for module in model.modules():
        if isinstance(module, PreTrainedModel) and module.config._attn_implementation == before:
            module.config._attn_implementation = after


def short_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of short texts by two products and a softmax; what is causal, long or of another kind goes to torch's
    own. Takes and gives what transformers' attention functions do.

    torch's own computes each head of each text by itself, and its softmax is slow over a few numbers. Here the largest
    score is taken away from the others only where exponentials could overflow or vanish without it.
    """
    import torch
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    texts, heads, tokens, size = query.shape
    causal = getattr(module, "is_causal", True) if is_causal is None else is_causal
    fast = tokens <= MOST_TOKENS.get(str(query.dtype).removeprefix("torch."), 0)
    plain = not causal and dropout == 0.0 and key.shape == query.shape == value.shape
    plain = plain and (attention_mask is None or attention_mask.dtype == torch.bool)
    plain = plain and query.dtype == value.dtype and all(one is None or one is False for one in more.values())
    if not (fast and plain):
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, dropout, scaling, is_causal, **more
        )
    scale = size**-0.5 if scaling is None else scaling
    queries, keys, values = (one.reshape(texts * heads, tokens, size) for one in (query, key, value))
    scores = torch.baddbmm(queries.new_zeros(1), queries, keys.transpose(1, 2), beta=0, alpha=scale)
    safe = max(map(abs, torch.stack(scores.aminmax()).tolist())) <= SAFE
    if attention_mask is not None:
        of_heads = scores.view(texts, heads, tokens, tokens)
        of_heads.masked_fill_(~attention_mask, torch.finfo(scores.dtype).min)
    if not safe:
        scores.sub_(scores.amax(-1, keepdim=True))
    shares = scores.exp_()
    totals = shares.sum(-1, keepdim=True).clamp_min_(torch.finfo(scores.dtype).tiny)  # padding may see nothing at all
    mixed = torch.bmm(shares, values).div_(totals)
    return mixed.view(texts, heads, tokens, size).transpose(1, 2).contiguous(), None
