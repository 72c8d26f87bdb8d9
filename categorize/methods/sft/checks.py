"""Keys that do nothing, or cannot work, with a model that writes its answers."""

from __future__ import annotations

from categorize.recipe.written import WrittenRecipe


def check_answers(recipe: WrittenRecipe) -> None:
    """Notes them."""
    if recipe.value("training.label_smoothing_factor"):
        recipe.refuse(
            "training.label_smoothing_factor",
            "smooths a head's labels; answers are learned as they are; remove it",
        )
    task = recipe.value("labels.task", "single_label")
    if task == "multi_label" and recipe.value("training.class_weights"):
        recipe.refuse("training.class_weights", "a row of several labels has no single one that weighs it; remove it")
    several = task in ("multi_label", "regression")
    if several and recipe.value("prediction.mode") == "scoring":
        recipe.refuse("prediction.mode", f"scoring chooses one label, but labels.task is {task}; write generation")
    elif several or recipe.value("prediction.mode") == "generation":
        for key, nothing in (("thresholds", None), ("fallback", "none"), ("calibration", "none")):
            if recipe.holds(f"decision.{key}") and recipe.value(f"decision.{key}") != nothing and task != "regression":
                recipe.refuse(f"decision.{key}", "works on probabilities, which generated answers lack; remove it")
