"""The `model` section of a causal model that is tuned to answer with labels."""

from __future__ import annotations

from pydantic import Field

from categorize.recipe.section import DType, PositiveInt, Section


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
