"""Dropout before the output layer of a head, whatever the architecture calls it, or whether it has any."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedModel

CONFIG_KEYS = ("classifier_dropout", "classifier_dropout_prob", "seq_classif_dropout", "cls_dropout")


def set_head_dropout(model: PreTrainedModel, rate: float, output_modules: Collection[str]) -> None:
    """Drop this share of what the head reads, in training.

    The dropout modules outside the base get the rate; heads without one (those of decoders) drop the output layer's
    input. The config says so too, for whoever trains the saved model on.

    Args:
        output_modules: names of the output layer, one of which the model has.
    """
    import torch

    for key in CONFIG_KEYS:
        if hasattr(model.config, key):
            setattr(model.config, key, rate)
    inside = f"{model.base_model_prefix}."
    own = [
        module
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Dropout) and not name.startswith(inside)
    ]
    for module in own:
        module.p = rate
    if own:
        return

    def drop(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (torch.nn.functional.dropout(args[0], rate, module.training), *args[1:])

    layer = next(module for name, module in model.named_children() if name in output_modules)
    layer.register_forward_pre_hook(drop)
