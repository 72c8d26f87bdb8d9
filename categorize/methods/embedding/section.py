"""The `model` section of features with a classical estimator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from categorize.recipe.feature_sections import FeatureSection
from categorize.recipe.section import PositiveFloat, PositiveInt, Section


class BoostingSection(Section):
    """Gradient-boosted trees, by xgboost."""

    rounds: PositiveInt = Field(500, description="Most trees an output.")
    patience: PositiveInt = Field(20, description="Stop after so many rounds without a better loss on validation.")
    learning_rate: PositiveFloat = Field(0.1, description="Share of each tree that counts.")
    max_depth: PositiveInt = Field(6, description="Splits from the root to a leaf, at most.")
    subsample: Annotated[float, Field(gt=0.0, le=1.0)] = Field(1.0, description="Share of the rows that a tree sees.")
    colsample: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        1.0, description="Share of the features that a tree sees."
    )
    min_split_loss: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Least gain of a split.")


class EmbeddingModel(Section):
    """Features of texts and a classical estimator."""

    method: Literal["embedding"]
    features: FeatureSection | Annotated[list[FeatureSection], Field(min_length=1)] = Field(
        description="How texts become features; a list puts those of several kinds side by side."
    )
    estimator: Literal["logistic_regression", "linear_svc", "ridge", "xgboost"] | None = Field(
        None,
        description="By default logistic_regression, ridge for a regression. linear_svc gets its probabilities from "
        "sigmoids fitted out of fold.",
    )
    C: list[PositiveFloat] | None = Field(
        None,
        min_length=1,
        description="Inverse strengths of regularisation tried on validation; by default [3, 10, 30], of "
        "linear_svc [0.3, 1, 3].",
    )
    alpha: list[PositiveFloat] = Field(
        default_factory=lambda: [0.1, 0.3, 1.0, 3.0, 10.0],
        min_length=1,
        description="Strengths of ridge tried on validation.",
    )
    boosting: BoostingSection = Field(default_factory=lambda: BoostingSection(), description="Of xgboost.")
