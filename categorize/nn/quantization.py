"""`BitsAndBytesConfig` from a recipe, with defaults that train well and heads that stay whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from categorize.nn.precision import compute_type
from categorize.recipe.adapter_sections import QuantizationSection

if TYPE_CHECKING:
    import torch
    from transformers import BitsAndBytesConfig

# bitsandbytes skips only the last module by itself; a new head that it quantizes cannot be trained.
HEAD_MODULES = ("classifier", "score", "classification_head", r".*\bpooler", "pre_classifier", "head", "lm_head")


def build_quantization(section: QuantizationSection | None, skip: Sequence[str] = ()) -> BitsAndBytesConfig | None:
    """The quantization of the base weights; None where the recipe has none.

    4-bit defaults are NF4, double quantization and bfloat16 compute (QLoRA, arXiv 2305.14314), or what this machine
    has in its place.
    """
    if section is None:
        return None
    import torch
    from transformers import BitsAndBytesConfig

    values: dict[str, Any] = section.upstream()
    if values.get("load_in_4bit"):
        values = {
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": compute_type(),
        } | values
    for key in ("bnb_4bit_compute_dtype", "bnb_4bit_quant_storage"):
        if isinstance(values.get(key), str):
            values[key] = getattr(torch, values[key])
    values["llm_int8_skip_modules"] = sorted({*HEAD_MODULES, *skip, *values.get("llm_int8_skip_modules", [])})
    return BitsAndBytesConfig(**values)


def keep_layout(model: torch.nn.Module) -> None:
    """Keep 4-bit weights in the layout that gradients and DoRA read, on a CPU with AVX512-BF16.

    bitsandbytes 0.50 repacks them there in the first forward pass in evaluation mode, for good. Training that goes on
    behind a validation would silently lose the gradients of everything below (or crash, where a layer has a bias), and
    DoRA would take the norms of permuted weights. The packed kernel is faster for a handful of rows alone.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # type: ignore[assignment]


def quantized_within(model: torch.nn.Module, paths: Sequence[str]) -> list[str]:
    """Names of the quantized layers at or below these module paths."""
    return [
        name
        for name, module in model.named_modules()
        if type(module).__module__.startswith("bitsandbytes.")
        and any(name == path or name.startswith(f"{path}.") for path in paths)
    ]
