"""What a model needs before FSDP2 shards it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


def prepare_for_fsdp(model: PreTrainedModel) -> None:
    """Mend what FSDP2 stumbles over; does nothing in a start without FSDP."""
    if os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true":
        leave_embeddings_to_fsdp(model)
        leave_out_quantization_state(model)


def leave_embeddings_to_fsdp(model: PreTrainedModel) -> None:
    """Take modules that hold the input embeddings off the list of those that are sharded as one.

    accelerate 1.15 shards the modules of that list and then the input embeddings by themselves; where one of the list
    holds them (`BertEmbeddings`) the second sharding fails, and no BERT trains under FSDP2.
    """
    whole = set(model._no_split_modules or ())
    embeddings = model.get_input_embeddings()
    for module in model.modules():
        if type(module).__name__ in whole and module is not embeddings and embeddings in module.modules():
            whole.discard(type(module).__name__)
    model._no_split_modules = whole


def leave_out_quantization_state(model: PreTrainedModel) -> None:
    """Keep the quantization state of frozen 4-bit weights out of checkpoints.

    It goes into FSDP2's checkpoint of an adapter although the weights themselves do not, and loading that checkpoint
    fails on it (torch 2.13): neither resuming nor the best checkpoint at the end would work.
    """

    def drop(module: torch.nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
        for key in [key for key in state if key.startswith(f"{prefix}weight.")]:
            del state[key]

    for module in model.modules():
        if type(module).__name__ == "Linear4bit":
            module.register_state_dict_post_hook(drop)
