"""What a head reads of a text: the mean over its tokens, plain or by a learned query, instead of the one token that its
architecture reads, or that token where transformers would miss it.

Encoders that were trained as sentence encoders hold a text's meaning in that mean, not in the first token (Reimers and
Gurevych, 2019, Sentence-BERT).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


ATTENTION_POOLING = "attention_pooling"  # the module of the learned query, beside the base


def pool_by_mean(model: PreTrainedModel) -> None:
    """Make the model's head read the mean of its base's last hidden states over all tokens but padding.

    The mean takes the place of every position and of the pooled output, so that it does not matter which of them the
    architecture's head reads. A pooler of the base, which was pretrained for the first token, is taken out.

    Raises:
        UserError: an encoder-decoder, whose head reads an end token of the decoder.
    """
    _pool(model, "mean", masked_mean)


def pool_by_attention(model: PreTrainedModel) -> None:
    """As `pool_by_mean`, with the tokens weighed by a softmax of their products with a learned query, which is a new
    module of the model, `attention_pooling`. The query begins as zero: the plain mean.

    Raises:
        UserError: as `pool_by_mean`.
    """
    import torch

    size = model.config.get_text_config().hidden_size
    query = torch.nn.Linear(size, 1, bias=False, device=model.device, dtype=model.dtype)
    torch.nn.init.zeros_(query.weight)
    setattr(model, ATTENTION_POOLING, query)
    # The module is looked up each time: an adapter puts a wrapper in its place.
    _pool(
        model, "attention", lambda hidden, mask: attention_mean(hidden, getattr(model, ATTENTION_POOLING)(hidden), mask)
    )


def _pool(model: PreTrainedModel, name: str, pooled_of: Callable[[Any, Any], Any]) -> None:
    """Let what `pooled_of` makes of hidden states and mask be all that the head can read."""
    if getattr(model.config, "is_encoder_decoder", False):
        raise UserError(
            f"model.pooling: {name}: {model.config.model_type} is an encoder-decoder, whose head reads the decoder; "
            "leave the key out"
        )
    base = model.base_model
    if getattr(base, "pooler", None) is not None:
        base.pooler = None

    def replace_by_pooled(given: dict[str, Any], output: Any) -> Any:
        vector = pooled_of(output.last_hidden_state, given.get("attention_mask"))
        pooled = {"pooler_output": vector} if hasattr(output, "pooler_output") else {}
        everywhere = vector.unsqueeze(1).expand_as(output.last_hidden_state)
        return replace(output, last_hidden_state=everywhere, **pooled)

    _change_output(base, replace_by_pooled)


def pool_last_token(model: PreTrainedModel) -> None:
    """Make a decoder's head read the last token that is not padding where it is given embeddings instead of token ids.

    A learned prompt stands before a text as embeddings. transformers looks for padding among token ids alone and pools
    the last position otherwise, so that predictions would depend on what else is in the batch.
    """
    if not hasattr(model, "score") or getattr(model.config, "is_encoder_decoder", False):
        return

    def move(given: dict[str, Any], output: Any) -> Any:
        import torch

        mask, hidden = given.get("attention_mask"), output.last_hidden_state
        if given.get("inputs_embeds") is None or mask is None or mask.ndim != 2:
            return output
        width = hidden.shape[1]
        places = torch.arange(width, device=mask.device)
        last = (places * (mask[:, -width:] != 0)).argmax(-1).to(hidden.device)
        read = hidden[torch.arange(len(hidden), device=hidden.device), last]
        output.last_hidden_state = torch.cat([hidden[:, :-1], read.unsqueeze(1)], dim=1)
        return output

    _change_output(model.base_model, move)


def _change_output(base: Any, change: Callable[[dict[str, Any], Any], Any]) -> None:
    """Let `change` give the base's output, from its arguments by name and what it gave."""
    names = list(inspect.signature(base.forward).parameters)

    def hook(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        return change({**dict(zip(names, args, strict=False)), **kwargs}, output)

    base.register_forward_hook(hook, with_kwargs=True)


def masked_mean(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the tokens of each row, [rows, tokens, size] -> [rows, size]; summed in float32.

    Args:
        mask: [rows, tokens], 0 where a token is padding; None: there is none.
    """
    if mask is None:
        return hidden.float().mean(1).to(hidden.dtype)
    weight = mask.to(hidden.device).unsqueeze(-1).float()
    return ((hidden.float() * weight).sum(1) / weight.sum(1).clamp(min=1)).to(hidden.dtype)


def attention_mean(hidden: torch.Tensor, scores: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the tokens of each row, weighed by a softmax of their scores, [rows, tokens, size] -> [rows, size].

    Args:
        scores: [rows, tokens, 1].
        mask: as in `masked_mean`; a learned prompt's tokens stand before those of a shorter mask and count.
    """
    import torch

    scores = scores.float()
    if mask is not None:
        padding = torch.nn.functional.pad(mask, (hidden.shape[1] - mask.shape[1], 0), value=1).to(hidden.device) == 0
        scores = scores.masked_fill(padding.unsqueeze(-1), torch.finfo(torch.float32).min)
    return (hidden.float() * scores.softmax(dim=1)).sum(1).to(hidden.dtype)
