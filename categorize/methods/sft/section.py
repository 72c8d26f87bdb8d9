"""The `model` section of a causal model that is tuned to answer with labels, and what cannot go with it."""

from __future__ import annotations

from pydantic import Field

from categorize.recipe.section import DType, PositiveInt, Section
from categorize.recipe.written import WrittenRecipe


class CausalModel(Section):
    """A causal language model that answers with a label."""

    name_or_path: str = Field(description="Hub id or folder of the model.")
    revision: str | None = Field(None, description="Revision of a Hub model.")
    dtype: DType = Field(
        "auto",
        description="Weights' type; auto: float32 where they are trained, else the saved one (float32 on a CPU).",
    )
    attn_implementation: str | None = Field(
        None, description="eager, sdpa, flash_attention_2, ...; the model's own by default."
    )
    max_length: PositiveInt = Field(
        1024,
        description="Longest prompt and answer in tokens; a row's text is shortened and counted, never its answer.",
    )


def check_answers(recipe: WrittenRecipe) -> None:
    """Notes keys that do nothing, or cannot work, with a model that writes its answers."""
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
        for key, nothing in (("thresholds", None), ("fallback", "none"), ("calibration", "none"), ("hierarchy", None)):
            if recipe.holds(f"decision.{key}") and recipe.value(f"decision.{key}") != nothing and task != "regression":
                recipe.refuse(f"decision.{key}", "works on probabilities, which generated answers lack; remove it")
