"""Bottleneck adapters (Houlsby et al. 2019, https://arxiv.org/abs/1902.00751), as a method of peft, which has none.

Importing the module makes them known to peft: adapters are put on models, saved, loaded and trained by it as those of
its own kinds are. Behind a module that gives hidden states `h` [..., width], the model goes on with

    h + scaling * up(nonlinearity(down(dropout(h))))

where `down` leads to a narrow layer and `up` back. `up` begins as zeros, so that a new adapter changes nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftConfig
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer
from torch import nn
from transformers.activations import ACT2FN

KIND = "BOTTLENECK"
PREFIX = "bottleneck_"
# What a layer adds to its residual stream, by the last parts of its name: behind the dropout where a module holds it.
ATTENTION = (
    r"attention\.output\.dropout|attention\.out_lin|attn\.out_drop|self_attn\.o(ut)?_proj|encoder_attn\.out_proj|"
    r"layer\.\d+\.(SelfAttention|EncDecAttention)\.o"
)
FEED_FORWARD = r"output\.dropout|ffn|mlp|fc2|layer\.\d+\.DenseReluDense"
LAYER = r"(?:.*\.)?(?:layers?|block)\.\d+"


@dataclass
class BottleneckConfig(PeftConfig):  # type: ignore[misc]
    """Configuration of bottleneck adapters.

    Attributes:
        reduction: the width of the hidden states divided by the width of the bottleneck.
        size: the width of the bottleneck itself, instead.
        nonlinearity: between `down` and `up`, by its name in transformers.
        placement: `houlsby`, behind attention and behind the feed-forward of each layer, or `pfeiffer`, behind the
            feed-forward alone.
        scaling: factor of what is added.
        dropout: of what the adapter reads.
        target_modules: behind which modules, instead of a placement: names, or a pattern of whole names.
        exclude_modules: modules among them that get none.
        modules_to_save: modules that are trained whole.
    """

    reduction: float = 16
    size: int | None = None
    nonlinearity: str = "gelu"
    placement: str = "houlsby"
    scaling: float = 1.0
    dropout: float = 0.0
    target_modules: list[str] | str | None = None
    exclude_modules: list[str] | str | None = None
    modules_to_save: list[str] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = KIND


class BottleneckLayer(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A module with adapters behind it.

    Args:
        width: of the hidden states that it gives.
    """

    adapter_layer_names = (f"{PREFIX}down", f"{PREFIX}up")
    set_adapter: Any  # of peft, which has no types
    active_adapters: Any
    disable_adapters: Any

    def __init__(self, base_layer: nn.Module, width: int) -> None:
        super().__init__()
        self.base_layer, self.width = base_layer, width
        self.bottleneck_down, self.bottleneck_up = nn.ModuleDict(), nn.ModuleDict()
        self.configs: dict[str, BottleneckConfig] = {}
        self.merged_adapters: list[str] = []

    def add(self, name: str, config: BottleneckConfig, device: torch.device) -> None:
        """Put one more adapter behind the module. `up` begins as zeros."""
        size = config.size or max(1, round(self.width / config.reduction))
        self.configs[name] = config
        self.bottleneck_down[name] = nn.Linear(self.width, size, device=device)
        self.bottleneck_up[name] = up = nn.Linear(size, self.width, device=device)
        nn.init.zeros_(up.weight)
        nn.init.zeros_(up.bias)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def forward(self, *inputs: Any, **options: Any) -> torch.Tensor:
        """What the module gives, and what the active adapters make of it."""
        base_layer: Any = self.base_layer
        hidden: torch.Tensor = base_layer(*inputs, **options)
        for name in () if self.disable_adapters else self.active_adapters:
            if name in self.configs:
                hidden = hidden + self._added(name, hidden)
        return hidden

    def _added(self, name: str, hidden: torch.Tensor) -> torch.Tensor:
        config, down, up = self.configs[name], self.bottleneck_down[name], self.bottleneck_up[name]
        assert isinstance(down, nn.Linear)
        read = nn.functional.dropout(hidden.to(down.weight.dtype), config.dropout, self.training)
        added: torch.Tensor = up(ACT2FN[config.nonlinearity](down(read)))
        return (config.scaling * added).to(hidden.dtype)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Raises ValueError: no weights do what it does."""
        raise ValueError("a bottleneck adapter is not linear, so that no weights of the base could do what it does")


class BottleneckModel(BaseTuner):  # type: ignore[misc]
    """A model with bottleneck adapters, as peft makes it."""

    prefix = PREFIX
    tuner_layer_cls = BottleneckLayer
    target_module_mapping: dict[str, list[str]] = {}  # noqa: RUF012  peft's

    def _pre_injection_hook(self, model: nn.Module, config: BottleneckConfig, adapter_name: str) -> None:
        if config.target_modules is None:
            config.target_modules = places(model, config.placement)

    def _create_and_replace(
        self, config: BottleneckConfig, name: str, target: nn.Module, target_name: str, parent: nn.Module, **_: Any
    ) -> None:
        layer = target
        if not isinstance(layer, BottleneckLayer):
            width = getattr(target, "out_features", None) or self.model.config.get_text_config().hidden_size
            layer = BottleneckLayer(target, width)
            setattr(parent, target_name, layer)
        layer.add(name, config, next(self.model.parameters()).device)

    def _replace_module(self, parent: nn.Module, name: str, new: nn.Module, old: nn.Module) -> None:
        """When an adapter is taken off. peft's own looks for weights, and a dropout has none."""
        setattr(parent, name, new)


def places(model: nn.Module, placement: str) -> str:
    """A pattern of the names of the modules that get an adapter.

    Raises:
        ValueError: the layers of the model are not built as those that are known here.
    """
    feed_forward = f"{LAYER}\\.(?:{FEED_FORWARD})"
    attention = f"{LAYER}\\.(?:.*\\.)?(?:{ATTENTION})"
    names = [name for name, _ in model.named_modules()]
    found = [{_layer(name) for name in names if re.fullmatch(one, name)} for one in (attention, feed_forward)]
    if not found[1] or found[0] != found[1]:
        raise ValueError("its attention and feed-forward are not known by name")
    return feed_forward if placement == "pfeiffer" else f"{attention}|{feed_forward}"


def _layer(name: str) -> str:
    """The layer that a module is in, the outermost of those that its name holds."""
    found = re.match(r"(?:.*?\.)??(?:layers?|block)\.\d+", name)
    return found.group() if found else name


def register() -> None:
    """Make the kind known to peft. `peft.utils.register_peft_method` takes only names that an enumeration of its own
    holds; its tables take any."""
    tables: list[tuple[dict[Any, Any], Any]] = [
        (PEFT_TYPE_TO_CONFIG_MAPPING, BottleneckConfig),
        (PEFT_TYPE_TO_TUNER_MAPPING, BottleneckModel),
        (PEFT_TYPE_TO_PREFIX_MAPPING, PREFIX),
    ]
    for table, entry in tables:
        table[KIND] = entry


register()
