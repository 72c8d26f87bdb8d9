"""Keys of a chunks recipe: combinations that cannot work, or would silently do nothing."""

from __future__ import annotations

from categorize.recipe.written import WrittenRecipe

_WITHOUT = {
    "hidden_size": ("mean", "max"),
    "layers": ("mean", "max", "attention", "label_attention"),
}
ADAPTERS = ("lora", "dora", "rslora", "ia3")


def check_chunks(recipe: WrittenRecipe) -> None:
    """Notes what is wrong with the `model` section and with the adapter."""
    kind = recipe.value("model.aggregator.type", "attention")
    for key, types in _WITHOUT.items():
        if kind in types and recipe.holds(f"model.aggregator.{key}"):
            recipe.refuse(f"model.aggregator.{key}", f"does nothing with type: {kind}; remove it")
    if kind == "label_attention" and recipe.value("labels.task") == "regression":
        recipe.refuse(
            "model.aggregator.type", "label_attention is for labels, but labels.task is regression; write attention"
        )
    if recipe.holds("model.keep") and not recipe.holds("model.max_chunks"):
        recipe.refuse("model.keep", "does nothing without model.max_chunks; remove it")
    adapter = recipe.value("adapter.type")
    if isinstance(adapter, str) and adapter not in ADAPTERS:
        recipe.refuse("adapter.type", f"{adapter} does not fit model.method chunks; write one of {', '.join(ADAPTERS)}")
