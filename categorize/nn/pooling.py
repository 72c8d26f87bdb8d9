"""What a head reads of a text: the mean over its tokens instead of the one token that its architecture reads, or that
token where transformers would miss it.

Encoders that were trained as sentence encoders hold a text's meaning in that mean, not in the first token (Reimers and
Gurevych, 2019, Sentence-BERT).
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def pool_by_mean(model: PreTrainedModel) -> None:
    """Make the model's head read the mean of its base's last hidden states over all tokens but padding.

    The mean takes the place of every position and of the pooled output, so that it does not matter which of them the
    architecture's head reads. A pooler of the base, which was pretrained for the first token, is taken out.

    Raises:
        UserError: an encoder-decoder, whose head reads an end token of the decoder.
    """
    if getattr(model.config, "is_encoder_decoder", False):
        raise UserError(
            f"model.pooling: mean: {model.config.model_type} is an encoder-decoder, whose head reads the decoder; "
            "leave the key out"
        )
    base = model.base_model
    if getattr(base, "pooler", None) is not None:
        base.pooler = None
    names = list(inspect.signature(base.forward).parameters)

    def replace(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        mask = {**dict(zip(names, args, strict=False)), **kwargs}.get("attention_mask")
        hidden = output.last_hidden_state
        mean = masked_mean(hidden, mask)
        values = {
            **dict(output.items()),
            "last_hidden_state": mean.unsqueeze(1).expand_as(hidden),
            "pooler_output": mean,
        }
        fields = inspect.signature(type(output)).parameters
        return type(output)(**{name: value for name, value in values.items() if name in fields})

    base.register_forward_hook(replace, with_kwargs=True)


def pool_last_token(model: PreTrainedModel) -> None:
    """Make a decoder's head read the last token that is not padding where it is given embeddings instead of token ids.

    A learned prompt stands before a text as embeddings. transformers looks for padding among token ids alone and pools
    the last position otherwise, so that predictions would depend on what else is in the batch.
    """
    if not hasattr(model, "score") or getattr(model.config, "is_encoder_decoder", False):
        return
    base = model.base_model
    names = list(inspect.signature(base.forward).parameters)

    def move(module: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> Any:
        import torch

        given = {**dict(zip(names, args, strict=False)), **kwargs}
        mask, hidden = given.get("attention_mask"), output.last_hidden_state
        if given.get("inputs_embeds") is None or mask is None or mask.ndim != 2:
            return output
        width = hidden.shape[1]
        places = torch.arange(width, device=mask.device)
        last = (places * (mask[:, -width:] != 0)).argmax(-1).to(hidden.device)
        read = hidden[torch.arange(len(hidden), device=hidden.device), last]
        output.last_hidden_state = torch.cat([hidden[:, :-1], read.unsqueeze(1)], dim=1)
        return output

    base.register_forward_hook(move, with_kwargs=True)


def masked_mean(hidden: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    """Mean over the tokens of each row, [rows, tokens, size] -> [rows, size]; summed in float32.

    Args:
        mask: [rows, tokens], 0 where a token is padding; None: there is none.
    """
    if mask is None:
        return hidden.float().mean(1).to(hidden.dtype)
    weight = mask.to(hidden.device).unsqueeze(-1).float()
    return ((hidden.float() * weight).sum(1) / weight.sum(1).clamp(min=1)).to(hidden.dtype)
