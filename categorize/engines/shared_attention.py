"""Attention of many rows to one copy of the keys and values of what they all begin with.

A cache is made for one row, or repeated for each. Here the queries of all rows meet the one copy in one matrix product,
and each row's own keys in another; a softmax over both joins them, as "Hydragen" (Juravsky et al. 2024,
arXiv:2402.05099) does for generation.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

NAME = "categorize_shared_prefix"
MOST_SCORES = 2**24  # attention scores that are held at once, unless those of one head are more


def before(
    key: torch.Tensor, cached: tuple[torch.Tensor, torch.Tensor], seen: torch.Tensor | None = None
) -> torch.Tensor:
    """Keys of rows that know what stands before them all.

    Args:
        key: [rows, heads, tokens, width].
        cached: keys and values of the prefix, [1, heads, prefix, width] each.
        seen: bool [rows, tokens, tokens], which tokens of its row each one sees, if not those before it.
    """
    key.categorize_prefix = cached  # type: ignore[attr-defined]
    key.categorize_seen = seen  # type: ignore[attr-defined]
    return key


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor,
    scaling: float | None = None,
    softcap: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers' `AttentionInterface` asks for it, [rows, tokens, heads, width].

    Args:
        query: [rows, heads, tokens, width]; a key's head may serve several of them.
        key, value: of the rows alone; `before` says what stands before them.
        attention_mask: bool [rows, 1, tokens, prefix + tokens].
    """
    import torch

    shared_key, shared_value = (one[0].to(value.dtype) for one in key.categorize_prefix)  # type: ignore[attr-defined]
    rows, heads, tokens, width = query.shape
    groups, prefix = shared_key.shape[0], shared_key.shape[1]
    times, out = heads // groups, value.shape[-1]
    seen, own_seen = attention_mask[..., :prefix], attention_mask[..., prefix:]
    if (branches := key.categorize_seen) is not None:  # type: ignore[attr-defined]
        own_seen = branches[:, None]
    hidden = None if bool(seen.all()) else ~seen  # a sliding window may begin behind the first tokens
    result = value.new_empty(rows, groups, times, tokens, out)
    with torch.autocast(query.device.type, enabled=False):
        query = (query * (width**-0.5 if scaling is None else scaling)).to(value.dtype)
        query = query.view(rows, groups, times, tokens, width)
        step = max(1, MOST_SCORES // (rows * times * tokens * (prefix + tokens)))
        for start in range(0, groups, step):
            part = slice(start, start + step)
            asked = query[:, part].transpose(0, 1)  # [groups, rows, times, tokens, width]
            shape = asked.shape[:-1]
            first = torch.matmul(asked.flatten(1, 3), shared_key[part].transpose(1, 2)).view(*shape, prefix)
            own_key = key[:, part].to(value.dtype).transpose(0, 1)
            own = torch.matmul(asked.flatten(2, 3), own_key.transpose(2, 3)).view(*shape, tokens)
            scores = torch.cat([first, own], dim=-1)
            if softcap is not None:
                scores = softcap * torch.tanh(scores / softcap)
            least = torch.finfo(scores.dtype).min
            scores[..., prefix:].masked_fill_(~own_seen, least)
            if hidden is not None:
                scores[..., :prefix].masked_fill_(hidden, least)
            weights = torch.softmax(scores, dim=-1)
            found = torch.matmul(weights[..., :prefix].flatten(1, 3), shared_value[part]).view(*shape, out)
            own_value = value[:, part].transpose(0, 1)
            found += torch.matmul(weights[..., prefix:].flatten(2, 3), own_value).view(*shape, out)
            result[:, part] = found.transpose(0, 1)
    return result.view(rows, heads, tokens, out).transpose(1, 2).contiguous(), None


@contextmanager
def attending(model: Any) -> Iterator[None]:
    """Within it, the layers of a transformers model attend by `attend`; within another of the same model, too. It holds
    for all threads.

    Raises:
        ValueError: the model's attention cannot be replaced.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import sdpa_mask

    if model.config._attn_implementation == NAME:
        yield
        return

    def mask(*args: Any, **kwargs: Any) -> Any:
        return sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False})

    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, mask)
    usual = {id(one.config): (one.config, one.config._attn_implementation) for one in _models(model)}
    model.set_attn_implementation(NAME)
    try:
        if model.config._attn_implementation != NAME:
            raise ValueError("the attention of this model cannot be replaced")
        yield
    finally:
        for config, implementation in usual.values():
            config._attn_implementation_internal = implementation


def _models(model: Any) -> Iterator[Any]:
    from transformers import PreTrainedModel

    return (one for one in model.modules() if isinstance(one, PreTrainedModel))
