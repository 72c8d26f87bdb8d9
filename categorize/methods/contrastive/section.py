"""The `model` section of a sentence encoder that is tuned on pairs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from categorize.recipe.section import Fraction, PositiveFloat, PositiveInt, Section


class ContrastiveModel(Section):
    """A sentence encoder, tuned on pairs of texts, and logistic regression."""

    method: Literal["contrastive"]
    name_or_path: str = Field(description="Hub id or folder of a sentence-transformers model, or of any encoder.")
    revision: str | None = Field(None, description="Revision of a Hub model.")
    max_length: PositiveInt | None = Field(None, description="Longest input in tokens; the model's own by default.")
    pairs: PositiveInt = Field(
        20, description="Pairs drawn for each text with another of its label, and as many with one of another label."
    )
    epochs: PositiveInt = Field(1, description="Passes over the pairs.")
    batch_size: PositiveInt = Field(16, description="Pairs in a step.")
    learning_rate: PositiveFloat = Field(2e-5, description="Highest learning rate; it rises, then falls to 0.")
    warmup: Fraction = Field(0.1, description="Share of the steps in which it rises.")
    label_words: str | None = Field(
        None,
        description="Template of a text for each label, of {name}, {description} and {aliases}, that stands beside the "
        "label's rows, such as '{name}: {description}'.",
    )
    C: Annotated[list[PositiveFloat], Field(min_length=1)] = Field(
        default_factory=lambda: [1.0, 10.0],
        description="Inverse strengths of the logistic regression, chosen on validation.",
    )
