"""The `model` section of a head."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from categorize.recipe.section import DType, Fraction, PositiveInt, Section


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


class HeadModel(HeadKeys):
    """A classification or regression head on an encoder or a decoder."""

    method: Literal["head"] = "head"
