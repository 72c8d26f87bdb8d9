"""The `model` section of k nearest neighbours."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from categorize.recipe.feature_sections import FeatureSection
from categorize.recipe.section import PositiveFloat, PositiveInt, Section


class NeighboursModel(Section):
    """The labels of the most similar training rows, weighed by similarity."""

    method: Literal["neighbours"]
    features: FeatureSection | Annotated[list[FeatureSection], Field(min_length=1)] = Field(
        description="How texts become features; a list puts those of several kinds side by side. Rows are compared by "
        "cosine."
    )
    k: list[PositiveInt] = Field(
        default_factory=lambda: [1, 3, 5, 10, 20, 50],
        min_length=1,
        description="Numbers of neighbours tried on validation.",
    )
    temperature: list[PositiveFloat] = Field(
        default_factory=lambda: [0.02, 0.05, 0.1, 0.3, 1.0],
        min_length=1,
        description="Temperatures tried on validation: a neighbour counts exp(similarity / temperature).",
    )
    search: Literal["exact", "flat", "hnsw", "ivf"] | None = Field(
        None,
        description="exact: by numpy; flat, hnsw, ivf: by faiss (categorize[faiss]). By default exact up to a million "
        "rows, hnsw beyond.",
    )
