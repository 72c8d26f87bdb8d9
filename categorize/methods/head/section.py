"""The `model` section of a head, and what cannot go with it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from categorize.recipe.section import DType, Fraction, PositiveInt, Section
from categorize.recipe.written import WrittenRecipe


class HeadKeys(Section):
    """What every head on an encoder or a decoder is told."""

    name_or_path: str = Field(description="Hub id or folder of the model.")
    revision: str | None = Field(None, description="Revision of a Hub model.")
    dtype: DType = Field("auto", description="Weights' type; auto: float32 where they are trained, else the saved one.")
    attn_implementation: str | None = Field(
        None, description="eager, sdpa, flash_attention_2, ...; the model's own by default."
    )
    max_length: PositiveInt = Field(
        128, description="Longest input in tokens, special tokens included; longer ones are cut and counted."
    )
    freeze: bool = Field(False, description="Train the head alone: a linear probe.")
    pooling: Literal["default", "mean", "attention"] = Field(
        "default",
        description="What the head reads. default: the token that the architecture reads; mean: the mean over all "
        "tokens, better for models trained as sentence encoders; attention: the mean weighed by a learned query.",
    )
    is_causal: bool | None = Field(
        None, description="false: a decoder reads in both directions; by default as its architecture does."
    )
    dropout: Fraction | None = Field(
        None, description="Dropout before the output layer, in training; by default the model's own."
    )
    head_init: Literal["random", "probe"] = Field(
        "random",
        description="What a new head begins as. probe: a linear model fitted on what the untrained model makes of the "
        "training rows, so that training bends good features less.",
    )


class HeadModel(HeadKeys):
    """A classification or regression head on an encoder or a decoder."""

    method: Literal["head"] = "head"
    head_init: Literal["random", "probe", "label_tokens"] = Field(  # type: ignore[assignment]
        "random",
        description="What a new head begins as. probe: a linear model fitted on what the untrained model makes of the "
        "training rows, so that training bends good features less. label_tokens: on a decoder that reads a prompt, "
        "each label's row is the mean of the language model's output rows of the tokens that answer with it: it begins "
        "as zero-shot scoring; with prompt.completion: codes those of its code.",
    )


def check_head_init(recipe: WrittenRecipe) -> None:
    """Notes what keeps a head from beginning as a probe, or as the language model's answers."""
    key = "model.head_init"
    if (init := recipe.value(key, "random")) == "random":
        return
    loss = recipe.value("training.loss")
    loss = loss.get("type") if isinstance(loss, dict) else loss
    if loss in ("corn", "cumulative_link"):
        recipe.refuse(key, f"{init} needs an output for each label, which loss {loss} does not have; remove it")
    if init == "probe":
        return
    if (task := recipe.value("labels.task", "single_label")) == "regression":
        recipe.refuse(key, f"label_tokens is for labels, but labels.task is {task}; remove it")
    if not recipe.holds("prompt"):
        recipe.refuse(
            key,
            "label_tokens begins as what the model would answer to a prompt; add the section prompt (prompt: {} "
            "lists the labels), or remove the key",
        )
    if (pooling := recipe.value("model.pooling", "default")) != "default":
        recipe.refuse(key, f"label_tokens reads the prompt's last token, but model.pooling is {pooling}; keep one")
    if recipe.value("model.is_causal") is False:
        recipe.refuse(key, "label_tokens needs a decoder that reads from left to right; remove model.is_causal")
