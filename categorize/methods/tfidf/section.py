"""The `model` section of TF-IDF features with a linear model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from categorize.recipe.section import PositiveFloat, PositiveInt, Section


def _rising(values: list[int]) -> list[int]:
    if values[0] > values[1]:
        raise ValueError(f"the shortest comes first: [{values[1]}, {values[0]}]")
    return values


NgramRange = Annotated[list[PositiveInt], Field(min_length=2, max_length=2), AfterValidator(_rising)]


class TfidfModel(Section):
    """TF-IDF features and a linear model."""

    method: Literal["tfidf"]
    char_ngrams: NgramRange | None = Field(
        default_factory=lambda: [1, 3], description="Lengths of character n-grams; null for none."
    )
    word_ngrams: NgramRange | None = Field(
        None,
        description="Lengths of word n-grams; null for none. A Chinese, Japanese or Thai character counts as a word.",
    )
    min_df: PositiveInt = Field(1, description="Leave out n-grams that fewer rows hold.")
    max_features: PositiveInt | None = Field(None, description="Keep the most frequent n-grams only.")
    estimator: Literal["linear_svc", "logistic_regression"] | None = Field(
        None, description="By default linear_svc, logistic_regression for multi-label; a regression uses ridge."
    )
    C: PositiveFloat | None = Field(
        None, description="Inverse strength of regularisation; by default 0.5 for linear_svc, 5 else."
    )
    alpha: list[PositiveFloat] = Field(
        default_factory=lambda: [0.1, 0.3, 1.0, 3.0, 10.0],
        min_length=1,
        description="Strengths of ridge tried on validation.",
    )
