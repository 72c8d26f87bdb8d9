"""From a recipe and the config of its model to what memory depends on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from categorize.memory.simulation import Plan
from categorize.nn.precision import compute_type
from categorize.recipe.sections import TrainedRecipe


def plan_of(
    recipe: TrainedRecipe, config: Any, values: Mapping[str, Any], *, gpu: bool, mixed: str | None, labels: int = 2
) -> Plan:
    """The plan of a head, or of a causal model that answers.

    Args:
        config: of the model, as transformers has it.
        values: arguments of the trainer by name.
        gpu: whether it is trained on a GPU.
        mixed: type of mixed precision; None: none.
        labels: how many there are.
    """
    section: Any = recipe.model
    adapter, quantization = getattr(recipe, "adapter", None), getattr(recipe, "quantization", None)
    given = {} if quantization is None else quantization.upstream()
    freeze = bool(getattr(section, "freeze", False))
    dtype = section.dtype
    if dtype == "auto":
        saved = str(getattr(config, "dtype", None) or "float32").removeprefix("torch.")
        dtype = saved if gpu and (adapter is not None or quantization is not None or freeze) else "float32"
    if section.attn_implementation is not None:
        config._attn_implementation = section.attn_implementation
    return Plan(
        config=config,
        causal=recipe.kind == "sft",
        labels=labels,
        adapter=adapter,
        bits="4" if given.get("load_in_4bit") else "8" if given.get("load_in_8bit") else None,
        dtype=dtype,
        mixed=mixed,
        compute=str(given.get("bnb_4bit_compute_dtype") or (mixed or "bfloat16" if gpu else compute_type())),
        checkpointing=bool(values.get("activation_checkpointing") or values.get("gradient_checkpointing")),
        optimizer=str(getattr(values["optim"], "value", values["optim"])),
        accumulation=int(values["gradient_accumulation_steps"]),
        freeze=freeze,
        gpu=gpu,
        readings=labels if _asks_about_each(recipe) else 2 if getattr(recipe.training, "r_drop", None) else 1,
    )


def is_countable(config: Any) -> bool:
    """Whether what its layers keep can be counted: what the kernels of linear attention and state-space models keep is
    in none of torch's own operations."""
    text = config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    return "linear_attention" not in kinds and not hasattr(text, "state_size")


def _asks_about_each(recipe: TrainedRecipe) -> bool:
    return recipe.kind == "sft" and getattr(recipe.prompt, "completion", None) == "yes_no"
