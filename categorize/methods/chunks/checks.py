"""Keys of a chunks recipe: combinations that cannot work, or would silently do nothing."""

from __future__ import annotations

from categorize.recipe.written import WrittenRecipe

_WITHOUT = {
    "hidden_size": ("mean", "max"),
    "layers": ("mean", "max", "attention", "label_attention"),
}
OF_ENCODER = (
    "adapter",
    "model.name_or_path",
    "model.revision",
    "model.dtype",
    "model.attn_implementation",
    "model.pooling",
    "model.chunk_batch",
)
ADAPTERS = ("lora", "dora", "rslora", "ia3")


def check_chunks(recipe: WrittenRecipe) -> None:
    """Notes what is wrong with the `model` section and with the adapter."""
    kind = recipe.value("model.aggregator.type", "attention")
    for key, types in _WITHOUT.items():
        if kind in types and recipe.holds(f"model.aggregator.{key}"):
            recipe.refuse(f"model.aggregator.{key}", f"does nothing with type: {kind}; remove it")
    if kind in ("label_attention", "logsumexp") and recipe.value("labels.task") == "regression":
        recipe.refuse("model.aggregator.type", f"{kind} is for labels, but labels.task is regression; write attention")
    _check_source(recipe)
    if recipe.holds("model.keep") and not recipe.holds("model.max_chunks"):
        recipe.refuse("model.keep", "does nothing without model.max_chunks; remove it")
    if recipe.holds("training.r_drop"):
        recipe.refuse("training.r_drop", "is not done by model.method chunks, which reads documents; remove it")
    adapter = recipe.value("adapter.type")
    if isinstance(adapter, str) and adapter not in ADAPTERS:
        recipe.refuse("adapter.type", f"{adapter} does not fit model.method chunks; write one of {', '.join(ADAPTERS)}")


def _check_source(recipe: WrittenRecipe) -> None:
    """An encoder or features, and keys of the one that is there."""
    features = recipe.value("model.features")
    if features is None:
        if not recipe.holds("model.name_or_path"):
            recipe.refuse("model", "names no encoder; write name_or_path, or features for fixed ones")
        if recipe.holds("model.svd"):
            recipe.refuse("model.svd", "reduces model.features, which are not there; remove it")
        return
    for key in OF_ENCODER:
        if recipe.holds(key):
            recipe.refuse(key, "is for an encoder that is trained, but model.features are fixed; remove one of them")
    parts = features if isinstance(features, list) else [features]
    ngrams = any(isinstance(one, dict) and one.get("type") == "tfidf" for one in parts)
    if ngrams and not recipe.holds("model.svd"):
        recipe.refuse("model.features", "n-grams are too many for the aggregator; write model.svd, such as 256")
