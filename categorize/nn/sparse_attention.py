"""Sparse attention that stays what its configuration says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def keep_sparse_attention(model: PreTrainedModel) -> None:
    """Let every batch of a BigBird model choose its attention anew.

    A batch that is too short for block-sparse attention switches the model to full attention for good: what a text is
    given then depends on the batches before it, and long batches take the memory that they were to save. Before each
    pass the model goes back to the attention of its configuration. Other models are left alone.
    """
    base: Any = model.base_model
    if model.config.model_type != "big_bird" or model.config.attention_type != "block_sparse":
        return

    def restore(module: Any, _: Any) -> None:
        module.set_attention_type("block_sparse")

    base.register_forward_pre_hook(restore)
