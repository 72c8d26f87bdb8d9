"""The `model` section of the lexical matcher, and what cannot go with it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from categorize.recipe.section import Section
from categorize.recipe.written import WrittenRecipe


class LexicalModel(Section):
    """Names and aliases of labels, found in the text; with training rows a classifier learns which finds are right."""

    method: Literal["lexical"]
    segmentation: Literal["jieba", "characters"] | None = Field(
        None,
        description="Words of texts without spaces (Chinese): by jieba (extra chinese), or each character; by default "
        "jieba where it is installed.",
    )
    stemming: bool = Field(True, description="Take plural endings off English words (Harman's S-stemmer).")
    coverage: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
        0.5,
        description="How much of a term a sentence must hold to find it, counted by the rarity of its words; 1: all.",
    )
    learn: bool = Field(
        True, description="Learn from training rows which finds are right; false: score by rarity and length alone."
    )


def check_lexical(recipe: WrittenRecipe) -> None:
    """Notes a task without label names."""
    if recipe.value("labels.task") == "regression":
        recipe.refuse("model.method", "lexical finds names of labels, but labels.task is regression; use tfidf or head")
