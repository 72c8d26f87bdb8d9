"""The `model` section of TF-IDF features with a linear model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from categorize.recipe.feature_sections import NgramKeys
from categorize.recipe.section import PositiveFloat


class TfidfModel(NgramKeys):
    """TF-IDF features and a linear model."""

    method: Literal["tfidf"]
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
