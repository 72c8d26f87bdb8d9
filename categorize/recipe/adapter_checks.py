"""Keys of adapters and of quantization: combinations that cannot work, or would silently do nothing."""

from __future__ import annotations

from typing import Final

from categorize.recipe.written import WrittenRecipe

# Initialisations of LoRA that need more than the weights.
NEEDS_DATA: Final = {
    "eva": "needs a pass over the training data before the first step, which is not made here; write pissa or olora",
    "corda": "needs a pass over the training data before the first step, which is not made here; write pissa or olora",
    "loftq": "needs whole weights that are then stored quantized, but here the base stays as it was published; "
    "write pissa or olora, or quantize with load_in_4bit",
}


def check_adapter_keys(recipe: WrittenRecipe) -> None:
    """Notes what is wrong with the keys of `adapter`."""
    kind, start = recipe.value("adapter.type"), recipe.value("adapter.init_lora_weights")
    if isinstance(start, str) and start in NEEDS_DATA:
        recipe.refuse("adapter.init_lora_weights", f"{start} {NEEDS_DATA[start]}")
    if recipe.holds("adapter.layers_pattern") and not recipe.holds("adapter.layers_to_transform"):
        recipe.refuse("adapter.layers_pattern", "does nothing without layers_to_transform; remove it")
    if recipe.holds("adapter.layers_to_transform") and not isinstance(recipe.value("adapter.target_modules"), list):
        recipe.refuse(
            "adapter.layers_to_transform",
            "needs adapter.target_modules as a list, such as [q_proj, v_proj]; the default is all linear layers",
        )
    if (
        kind == "prefix"
        and recipe.holds("adapter.encoder_hidden_size")
        and not recipe.true("adapter.prefix_projection")
    ):
        recipe.refuse("adapter.encoder_hidden_size", "does nothing without prefix_projection: true; remove it")
    if kind == "prompt":
        by_text = recipe.value("adapter.prompt_tuning_init") == "TEXT"
        if by_text and not recipe.value("adapter.prompt_tuning_init_text"):
            recipe.refuse(
                "adapter.prompt_tuning_init", "TEXT needs adapter.prompt_tuning_init_text, what to begin with"
            )
        if not by_text and recipe.holds("adapter.prompt_tuning_init_text"):
            recipe.refuse("adapter.prompt_tuning_init_text", "does nothing without prompt_tuning_init: TEXT")
    if kind == "p_tuning" and recipe.value("adapter.encoder_reparameterization_type") != "LSTM":
        for key in ("encoder_num_layers", "encoder_dropout"):
            if recipe.holds(f"adapter.{key}"):
                recipe.refuse(f"adapter.{key}", "does nothing without encoder_reparameterization_type: LSTM; remove it")
    if kind == "bottleneck":
        if recipe.holds("adapter.size") and recipe.holds("adapter.reduction"):
            recipe.refuse("adapter.reduction", "does nothing beside adapter.size; remove one of them")
        if recipe.holds("adapter.target_modules") and recipe.holds("adapter.placement"):
            recipe.refuse("adapter.placement", "does nothing beside adapter.target_modules; remove one of them")


def check_quantization_keys(recipe: WrittenRecipe) -> None:
    """Notes keys of the quantization that is not used."""
    section = recipe.value("quantization")
    four, eight = recipe.true("quantization.load_in_4bit"), recipe.true("quantization.load_in_8bit")
    for key in section if isinstance(section, dict) and four != eight else ():
        if key.startswith("bnb_4bit_") and not four and recipe.holds(f"quantization.{key}"):
            recipe.refuse(f"quantization.{key}", "is for load_in_4bit, but the weights are loaded in 8 bits; remove it")
        if key == "llm_int8_threshold" and not eight:
            recipe.refuse(f"quantization.{key}", "is for load_in_8bit, but the weights are loaded in 4 bits; remove it")
