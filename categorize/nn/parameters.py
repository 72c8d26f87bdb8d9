"""How many parameters a model has."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def parameter_counts(model: torch.nn.Module) -> tuple[int, int]:
    """(trained, all) parameters; 4-bit weights are counted as what they stand for."""
    from peft import PeftModel

    trained, total = PeftModel.get_nb_trainable_parameters(model)  # reads any module
    return int(trained), int(total)
