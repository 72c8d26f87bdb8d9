"""`BitsAndBytesConfig` from a recipe, with defaults that train well and heads that stay whole."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from categorize.recipe.sections import QuantizationSection

if TYPE_CHECKING:
    from transformers import BitsAndBytesConfig

# bitsandbytes skips only the last module by itself; a new head that it quantizes cannot be trained.
HEAD_MODULES = ("classifier", "score", "classification_head", "pooler", "pre_classifier", "head", "lm_head")


def build_quantization(section: QuantizationSection | None, skip: Sequence[str] = ()) -> BitsAndBytesConfig | None:
    """The quantization of the base weights; None where the recipe has none.

    4-bit defaults are NF4, double quantization and bfloat16 compute (QLoRA, arXiv 2305.14314).
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
            "bnb_4bit_compute_dtype": "bfloat16",
        } | values
    for key in ("bnb_4bit_compute_dtype", "bnb_4bit_quant_storage"):
        if isinstance(values.get(key), str):
            values[key] = getattr(torch, values[key])
    values["llm_int8_skip_modules"] = sorted({*HEAD_MODULES, *skip, *values.get("llm_int8_skip_modules", [])})
    return BitsAndBytesConfig(**values)
