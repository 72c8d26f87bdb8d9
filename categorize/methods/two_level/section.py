"""The `model` section of two heads on one model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from categorize.methods.head.section import HeadKeys
from categorize.recipe.section import Fraction, PositiveFloat
from categorize.recipe.written import WrittenRecipe


class TwoLevelModel(HeadKeys):
    """A head for the groups of labels (main categories) and one for the labels in them, on one model."""

    method: Literal["two_level"]
    main_weight: PositiveFloat = Field(1.0, description="What the loss of the main categories counts in the sum.")
    sub_weight: PositiveFloat = Field(1.0, description="What the loss of the subcategories counts in the sum.")
    dropout: Fraction | None = Field(0.3, description="Dropout before both heads, in training; null: the model's own.")


def check_two_levels(recipe: WrittenRecipe) -> None:
    """Notes labels that have one level alone."""
    task = recipe.value("labels.task", "single_label")
    if task not in ("single_label", "multi_label"):
        recipe.refuse("model.method", f"two_level is for labels in groups, but labels.task is {task}; write head")
    elif not recipe.group_names:
        recipe.refuse(
            "model.method",
            "two_level needs labels in groups, but labels.names has no group; write groups as {name: ..., labels: "
            "[...]}, or write head",
        )
