"""The sections of quantized weights and of adapters: classes of other libraries, by their own keys, and the one kind of
adapter that peft does not have."""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from categorize.recipe.section import PositiveFloat, PositiveInt, UpstreamSection, Variants
from categorize.recipe.upstream import filled

AdapterType = Literal["lora", "dora", "rslora", "ia3", "prefix", "prompt", "p_tuning", "bottleneck"]
ADAPTER_CLASSES: dict[str, str] = {  # of peft
    "lora": "LoraConfig",
    "dora": "LoraConfig",
    "rslora": "LoraConfig",
    "ia3": "IA3Config",
    "prefix": "PrefixTuningConfig",
    "prompt": "PromptTuningConfig",
    "p_tuning": "PromptEncoderConfig",
}


class QuantizationSection(UpstreamSection):
    """`transformers.BitsAndBytesConfig`, by its own keys."""

    recipe_key: ClassVar[str] = "quantization"
    upstream_class: ClassVar[str] = "BitsAndBytesConfig"


class AdapterSection(UpstreamSection):
    """A `peft` config, by that class's own keys."""

    recipe_key: ClassVar[str] = "adapter"

    type: AdapterType = Field(
        description="Kind of adapter; the other keys are those of its peft class, and for bottleneck its own."
    )


class BottleneckSection(AdapterSection):
    """Bottleneck adapters, which read the hidden states behind a module and add to them (`nn.bottleneck`)."""

    model_config = ConfigDict(extra="forbid")
    taken: ClassVar[tuple[str, ...]] = (
        *("reduction", "size", "nonlinearity", "placement", "scaling", "dropout"),
        *("target_modules", "exclude_modules", "modules_to_save"),
    )

    type: Literal["bottleneck"] = AdapterSection.model_fields["type"]  # type: ignore[assignment]
    reduction: Annotated[float, Field(ge=1.0)] = Field(
        16, description="Width of the hidden states divided by that of the bottleneck."
    )
    size: PositiveInt | None = Field(None, description="Width of the bottleneck itself, instead of reduction.")
    nonlinearity: Literal["relu", "gelu", "silu", "tanh"] = Field(
        "gelu", description="Between the way down and the way up."
    )
    placement: Literal["houlsby", "pfeiffer"] = Field(
        "houlsby",
        description="houlsby: behind attention and behind the feed-forward of each layer; pfeiffer: behind the "
        "feed-forward alone.",
    )
    scaling: PositiveFloat = Field(1.0, description="Factor of what is added to the hidden states.")
    dropout: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.0, description="Dropout of what the adapter reads.")
    target_modules: list[str] | str | None = Field(
        None, description="Behind which modules, instead of a placement: names, or a pattern of whole names."
    )
    exclude_modules: list[str] | None = Field(None, description="Modules among them that get none.")
    modules_to_save: list[str] | None = Field(None, description="Modules that are trained and saved whole beside it.")


@cache
def adapters() -> Any:
    """The annotation of a section `adapter` that is checked by the keys of its type."""
    classes: dict[str, type[AdapterSection]] = {}
    for upstream_class in ADAPTER_CLASSES.values():
        kinds = tuple(kind for kind, cls in ADAPTER_CLASSES.items() if cls == upstream_class)
        key = (Literal[kinds], AdapterSection.model_fields["type"])
        classes |= dict.fromkeys(kinds, filled(AdapterSection, upstream_class, type=key))
    return Annotated[AdapterSection, Variants("type", {**classes, "bottleneck": BottleneckSection})]
