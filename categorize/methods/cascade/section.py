"""The `model` section of a cascade, and what its recipe cannot hold."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from categorize.recipe.section import Section
from categorize.recipe.written import WrittenRecipe

FEWEST = 2


class CascadeModel(Section):
    """Finished runs one behind the other: each answers the rows that it is sure of, the last one the rest."""

    method: Literal["cascade"]
    members: list[str] = Field(
        min_length=FEWEST,
        description="Finished runs of any method, the cheapest first, trained on the same splits and labels.",
    )
    max_loss: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.005,
        description="How much accuracy may be lost against the last member alone: 0.005 is half a point. All stages "
        "share it.",
    )
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = Field(
        0.95,
        description="How sure it must be from the validation rows that no more is lost; 0.5 takes the loss on them as "
        "it is.",
    )
    copy_members: bool = Field(
        False,
        description="Copy the members into the run's folder, so that it can be moved without them. A push to the Hub "
        "takes them along in any case.",
    )

    @property
    def runs(self) -> list[str]:
        """The folders of the members."""
        return self.members


def check_cascade(recipe: WrittenRecipe) -> None:
    """Notes what cannot go with a cascade."""
    if recipe.lacks_validation:
        recipe.refuse(
            "model.members",
            "thresholds are chosen on validation rows, but data.splits.validation is 0; write the data section of the "
            "members",
        )
    task = recipe.value("labels.task")
    if task in ("regression", "multi_label"):
        sure = "a score has no margin" if task == "regression" else "a row of several labels has no single margin"
        recipe.refuse(
            "model.method",
            f"a cascade is for one label a row, but labels.task is {task}: {sure}; use one run, or method: fusion",
        )
    if recipe.value("decision.calibration") in ("isotonic", "platt"):
        recipe.refuse(
            "decision.calibration",
            "would change what the members answer; each has a temperature in the cascade: remove it",
        )
