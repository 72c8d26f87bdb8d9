"""Which label each output of a checkpoint's head stands for, and the head's rows put in the order of a label set."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.labels import LabelSet

if TYPE_CHECKING:
    import torch

GENERIC = re.compile(r"LABEL_\d+")
SHOWN = 12


@dataclass(frozen=True)
class Outputs:
    """The outputs of a checkpoint's head beside the labels that are wanted of it.

    Attributes:
        names: what the checkpoint's config calls them, in order.
        wanted: names of the labels, in order.
        held: whether the checkpoint holds an output layer, of whatever size.
        order: which output each label is; None where the names do not say.
        by_position: whether the names say nothing (LABEL_0, LABEL_1, ...), so that order alone can tell.
    """

    names: list[str]
    wanted: list[str]
    held: bool
    order: list[int] | None
    by_position: bool

    @property
    def fit(self) -> bool:
        """Whether the outputs can be read as the labels."""
        return self.order is not None or self.by_position

    @property
    def note(self) -> str | None:
        """What a reader must know of it; None where there is nothing to tell."""
        if not self.held or self.order == list(range(len(self.wanted))):
            return None
        if self.order is not None:
            return f"the head's rows follow their labels: it had the order {listed(self.names)}"
        if self.by_position:
            pairs = [f"{name} is {label}" for name, label in zip(self.names, self.wanted, strict=True)]
            return f"the head's outputs have no names and are read in the order of the labels: {listed(pairs)}"
        return f"new output layer: the head's outputs are {listed(self.names)}, the labels {listed(self.wanted)}"


def listed(names: Sequence[str]) -> str:
    """Names in a row; of many, the first and how many there are."""
    return ", ".join(names[:SHOWN]) + (f", ... ({len(names)})" if len(names) > SHOWN else "")


def config_names(config: Any) -> list[str]:
    """What a model's config calls its outputs, in order."""
    names = config.id2label or {}
    return [str(names[key]) for key in sorted(names, key=int)]


def are_generic(names: Sequence[str]) -> bool:
    """Whether the names are those that a config gives where nobody named the outputs."""
    return all(GENERIC.fullmatch(name) for name in names)


def follow_labels(
    model: Any, names: list[str], label_set: LabelSet, missing: Collection[str], own: list[str] | None = None
) -> Outputs:
    """Put the rows of a loaded output layer in the order of the label set, by the names that its checkpoint has.

    Rows whose names are other labels are made anew: they would be read as what they never meant. Rows without names
    stay as they are.

    Args:
        names: of the outputs, from the checkpoint's own config.
        missing: parameters that the checkpoint did not hold.
        own: what the outputs are where they are not the labels: rows of other names are made anew.

    Raises:
        UserError: the rows stand in another order, and no output layer can be found.
    """
    wanted = own or label_set.names
    layer, path = output_layer(model, len(wanted))
    held = layer is not None and f"{path}.weight" not in missing
    same_count = len(names) == len(wanted)
    if own:
        order, by_position = (list(range(len(own))) if names == own else None), False
    else:
        order = [0] if label_set.is_regression and same_count else label_set.positions(names)
        by_position = order is None and same_count and are_generic(names)
    outputs = Outputs(names, wanted, held, order, by_position)
    if order == list(range(len(wanted))) or outputs.by_position:
        return outputs
    if layer is None and not are_generic(names):
        raise UserError(
            f"{model.config.name_or_path}: its outputs are {listed(names)}, and the layer that gives them was not "
            f"found; write labels.names in that order"
        )
    if not held or layer is None:
        return outputs
    if order is not None:
        layer.weight.data = layer.weight.data[order].clone()
        if layer.bias is not None:
            layer.bias.data = layer.bias.data[order].clone()
        return outputs
    layer.weight.data.normal_(0.0, float(getattr(model.config.get_text_config(), "initializer_range", None) or 0.02))
    if layer.bias is not None:
        layer.bias.data.zero_()
    return outputs


def output_layer(model: Any, count: int) -> tuple[torch.nn.Linear | None, str]:
    """The last linear layer outside the base model, which gives `count` outputs, and its path; None where there is
    none."""
    import torch

    inside = f"{model.base_model_prefix}."
    found = [
        (module, name)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module.out_features == count and not name.startswith(inside)
    ]
    return found[-1] if found else (None, "")
