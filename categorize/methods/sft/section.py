"""The `model` section of a causal model that is tuned to answer with labels, and what cannot go with it."""

from __future__ import annotations

from pydantic import Field

from categorize.recipe.section import DType, PositiveInt, Section
from categorize.recipe.sections import SftRecipe
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


def learns_among_labels(recipe: SftRecipe) -> bool:
    """Whether the loss is on the label among the labels, rather than on the answer's tokens."""
    return recipe.training.loss == "label_set" or recipe.prompt.completion == "yes_no"


def check_answers(recipe: WrittenRecipe) -> None:
    """Notes keys that do nothing, or cannot work, with a model that writes its answers."""
    task, completion = recipe.value("labels.task", "single_label"), recipe.value("prompt.completion")
    loss, yes_no = recipe.value("training.loss"), completion == "yes_no"
    several = (task == "multi_label" and not yes_no) or task == "regression"
    among = yes_no or (loss == "label_set" and not several)
    if yes_no and loss == "tokens":
        recipe.refuse("training.loss", "with prompt.completion: yes_no labels are learned by label_set; remove it")
    if yes_no and recipe.value("prompt.shots"):
        recipe.refuse("prompt.shots", "show whole answers, but prompt.completion is yes_no; remove them")
    if loss == "label_set" and several:
        way_out = "set prompt.completion: yes_no" if task == "multi_label" else "remove it"
        recipe.refuse("training.loss", f"label_set learns one label, but labels.task is {task}; {way_out}")
    if recipe.value("training.label_smoothing_factor") and not among:
        recipe.refuse(
            "training.label_smoothing_factor",
            "smooths a head's labels; answers are learned as they are; remove it, or set training.loss: label_set",
        )
    if several and task == "multi_label" and recipe.value("training.class_weights"):
        recipe.refuse("training.class_weights", "a row of several labels has no single one that weighs it; remove it")
    normalized, prior = recipe.value("prediction.length_normalization"), recipe.value("prediction.prior")
    if normalized == "auto" and recipe.holds("prediction.candidates"):
        recipe.refuse(
            "prediction.length_normalization",
            "auto is chosen for one prompt, but with prediction.candidates rows have several; write true or false",
        )
    if prior in ("batch", "auto") and recipe.holds("prediction.candidates"):
        recipe.refuse(
            "prediction.prior",
            f"{prior} is measured of one prompt, but with prediction.candidates rows have several; write contextual",
        )
    mode = recipe.value("prediction.mode")
    if several and mode == "scoring":
        way_out = "write generation, or prompt.completion: yes_no" if task == "multi_label" else "write generation"
        recipe.refuse("prediction.mode", f"scoring chooses one label, but labels.task is {task}; {way_out}")
    elif among and mode == "generation":
        what = "prompt.completion: yes_no" if yes_no else "training.loss: label_set"
        recipe.refuse("prediction.mode", f"with {what} no answer is learned that could be written; write scoring")
    elif several or mode == "generation":
        of_decision = {
            "thresholds": None,
            "fallback": "none",
            "calibration": "none",
            "hierarchy": None,
            "ordinal": "mode",
        }
        for key, nothing in of_decision.items():
            if recipe.holds(f"decision.{key}") and recipe.value(f"decision.{key}") != nothing and task != "regression":
                recipe.refuse(f"decision.{key}", "works on probabilities, which generated answers lack; remove it")
