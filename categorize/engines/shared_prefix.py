"""Keys and values of what all rows begin with, computed once and repeated for the rows of a batch."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from categorize.nn.adapters import is_prompt_learning


def share_prefix(model: Any) -> bool:
    """Whether a shared prefix may be cached: not with adapters that bring a cache or tokens of their own."""
    return not is_prompt_learning(model)


def is_repeatable(cache: Any) -> bool:
    """Whether what a model kept of one row can be repeated for several: state-space models and layers of linear
    attention (Mamba, LFM2, Qwen3.5) keep a state in place of keys and values, and others nothing."""
    layers = getattr(cache, "layers", None) or [None]
    return all(hasattr(layer, "batch_repeat_interleave") for layer in layers)


def behind_prefix(cache: Any, prefix: int, padded: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """Inputs of rows, padded on the right, that stand behind a prefix.

    Padding on the left behind a cached prefix would move the window of models with sliding attention.

    Args:
        cache: of the prefix, one row; it is left as it is.
        prefix: tokens of the prefix.
        padded: `input_ids` and `attention_mask` of the rows.
    """
    import torch

    rows, width = padded["input_ids"].shape
    repeated = copy.deepcopy(cache)
    repeated.batch_repeat_interleave(rows)
    return {
        "input_ids": padded["input_ids"].to(device),
        "attention_mask": torch.nn.functional.pad(padded["attention_mask"], (prefix, 0), value=1).to(device),
        "position_ids": torch.arange(prefix, prefix + width, device=device).expand(rows, -1),
        "past_key_values": repeated,
        "use_cache": True,
    }


def head_shares_prefix(model: Any) -> bool:
    """Whether a sequence classifier is a decoder that reads from left to right and takes cached keys and values."""
    import inspect

    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config()
    return (
        hasattr(base, "score")
        and getattr(config, "is_causal", True) is not False
        and {"past_key_values", "position_ids"} <= set(inspect.signature(base.forward).parameters)
        and share_prefix(model)
    )


def begins_with(ids: Any, prefix: Sequence[int]) -> bool:
    """Whether a text's token ids begin with the prefix and go on behind it."""
    return len(ids) > len(prefix) and list(ids[: len(prefix)]) == list(prefix)
