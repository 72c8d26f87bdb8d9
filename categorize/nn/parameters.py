"""How many parameters a model has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """(trained, all) parameters; 4-bit weights are counted as what they stand for."""
    trained = total = 0
    for parameter in model.parameters():
        count = parameter.numel()
        if parameter.__class__.__name__ == "Params4bit":
            count *= 2
        if hasattr(parameter, "ds_numel"):
            count = parameter.ds_numel
        total += count
        trained += count if parameter.requires_grad else 0
    return trained, total
