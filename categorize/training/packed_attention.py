"""Attention of sequences that stand behind one copy of what they all begin with.

A pack is one row of tokens: the prefix, then the rest of every sequence, whose positions go on from the prefix. Keys
and values are computed once for each token of the pack; a token of a rest reads the prefix and its own sequence. The
result is that of the separate sequences, and so is its gradient. Prefix and rests are two calls of PyTorch's attention:
a mask over the whole pack would cost the square of its length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

IMPLEMENTATION = "categorize_packs"  # its name among the attentions of transformers
LAYOUT = "shared_prefix"  # the argument of the model that says where sequences lie
COMPUTED_BY = ("eager", "sdpa")  # attentions that it stands for
_REFUSED = {"softcap": "caps its scores", "s_aux": "has sinks", "position_bias": "adds a bias of positions"}


def layout(prefix: int, lengths: Sequence[int]) -> dict[str, Any]:
    """Where the sequences of a pack lie, for the argument `LAYOUT` of the model.

    Args:
        prefix: tokens that all sequences begin with.
        lengths: tokens of each sequence behind them, none 0.

    Returns:
        `prefix`; `rests`: int64 [sequences, longest], of each rest where its tokens lie behind the prefix, 0 for
        padding; `flat`: int64 [tokens behind the prefix], where each of them lies in `rests`, flattened. A set that is
        added as `layers` collects the layers that read the pack.
    """
    import torch

    counts = torch.tensor(lengths, dtype=torch.int64)
    steps = torch.arange(int(counts.max()))
    inside = steps < counts[:, None]
    starts = counts.cumsum(0) - counts
    rests = torch.where(inside, starts[:, None] + steps, 0)
    return {"prefix": prefix, "rests": rests, "flat": inside.flatten().nonzero().flatten()}


@contextmanager
def packed_attention(model: Any) -> Iterator[None]:
    """Within it the model takes packs, and nothing else. The backward pass belongs inside too: what is recomputed there
    looks the attention up again."""
    from transformers import AttentionInterface

    AttentionInterface.register(IMPLEMENTATION, attend)
    config = text_config(model)
    before = config._attn_implementation
    config._attn_implementation = IMPLEMENTATION
    try:
        yield
    finally:
        config._attn_implementation = before


def text_config(model: Any) -> Any:
    """The config that the layers of a language model, with an adapter or without, look at."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return base.config.get_text_config()


def attend(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any = None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[Any, None]:
    """What transformers asks of an attention, for a pack [1, heads, tokens, width]; [1, tokens, heads, width].

    Raises:
        NotImplementedError: the attention has sinks, a bias, or caps its scores.
    """
    import torch

    for name, what in _REFUSED.items():
        if others.get(name) is not None:
            raise NotImplementedError(f"its attention {what}")
    place: Mapping[str, Any] = others[LAYOUT]
    place.get("layers", set()).add(module)
    prefix, rests, flat = place["prefix"], place["rests"], place["flat"]
    heads, groups = query.shape[1], query.shape[1] // key.shape[1]
    attention = partial(torch.nn.functional.scaled_dot_product_attention, dropout_p=dropout, scale=scaling)

    def behind(one: Any) -> Any:
        return one[0, :, prefix:][:, rests].transpose(0, 1)  # [sequences, heads, longest, width]

    def with_prefix(one: Any) -> Any:
        return torch.cat([one[:, :, :prefix].expand(len(rests), -1, -1, -1), behind(one)], dim=2)

    # Heads that share keys stand one behind another as further queries, so that no key is repeated. Padding lies behind
    # every token of its sequence: no token reads it.
    sequences, longest = rests.shape
    mask = _mask(longest, prefix + longest, sliding_window, query.device)
    queries = behind(query).reshape(sequences, heads // groups, groups * longest, -1)
    read = attention(queries, with_prefix(key), with_prefix(value), attn_mask=mask.repeat(groups, 1))
    parts = [read.reshape(sequences, heads, longest, -1).transpose(1, 2).flatten(0, 1)[flat]]
    if prefix:
        keys, values = (one[:, :, :prefix].repeat_interleave(groups, dim=1) for one in (key, value))
        plain = sliding_window is None or prefix <= sliding_window
        mask = None if plain else _mask(prefix, prefix, sliding_window, query.device)
        parts.insert(
            0, attention(query[:, :, :prefix], keys, values, attn_mask=mask, is_causal=plain)[0].transpose(0, 1)
        )
    return torch.cat(parts)[None], None


def _mask(queries: int, keys: int, window: int | None, device: Any) -> Any:
    """Which keys each of the last positions reads, bool [queries, keys]."""
    import torch

    positions = torch.arange(keys, device=device)
    at = positions[keys - queries :, None]
    mask = positions <= at
    return mask if window is None else mask & (positions > at - window)
