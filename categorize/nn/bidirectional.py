"""A decoder that reads a text in both directions: every token sees all others, not only those before it.

BehnamGhader et al. 2024, "LLM2Vec"; Li et al. 2023, "Label Supervised LLaMA Finetuning", who take the mask off for
classification.
"""

from __future__ import annotations

from typing import Any

from categorize.errors import UserError


def read_both_ways(model: Any) -> None:
    """Take the causal mask off; padding stays masked. The config was told before the model was made (`is_causal`).

    Raises:
        UserError: the architecture goes on reading from left to right.
    """
    for module in model.modules():
        if hasattr(module, "is_causal"):
            module.is_causal = False
    if not all(sees_later_tokens(model, padding) for padding in (0, 2)):
        kind = f"{model.config.model_type} with attn_implementation {model.config._attn_implementation}"
        raise UserError(
            f"model.is_causal: {kind} reads from left to right whatever its config says; remove the key, or use Llama, "
            "Qwen2, Qwen3 or Mistral with sdpa or eager"
        )


def sees_later_tokens(model: Any, padding: int = 0) -> bool:
    """Whether the first token's hidden state depends on the second token.

    Args:
        padding: tokens behind them.
    """
    import torch

    base, trains = model.base_model, model.training
    ids = torch.tensor([[5, 6, *[0] * padding], [5, 7, *[0] * padding]], device=model.device)
    mask = torch.tensor([[1, 1, *[0] * padding]] * 2, device=model.device)
    base.eval()
    with torch.no_grad():
        first, second = base(input_ids=ids, attention_mask=mask).last_hidden_state[:, 0].float()
    model.train(trains)
    return not torch.equal(first, second)
