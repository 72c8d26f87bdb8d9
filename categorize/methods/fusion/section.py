"""The `model` section of a fusion, and what its recipe cannot hold."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from categorize.recipe.section import PositiveFloat, Section
from categorize.recipe.written import WrittenRecipe

FEWEST = 2


class MemberSection(Section):
    """A run that takes part."""

    run: str = Field(description="Folder of a finished run.")
    weight: PositiveFloat | None = Field(
        None, description="Its weight, beside those of the other members; by default fitted on validation."
    )


class FusionModel(Section):
    """Finished runs whose probabilities (or scores) are joined."""

    method: Literal["fusion"]
    members: list[MemberSection | str] = Field(
        min_length=FEWEST, description="Finished runs of any method, trained on the same splits and labels."
    )
    calibration: Literal["isotonic", "platt", "none"] = Field(
        "isotonic", description="Curves that make the members' probabilities comparable, one a label and member."
    )
    combine: Literal["mean", "log_mean", "stacking"] = Field(
        "mean",
        description="Weighted mean of the probabilities, or of their logarithms (log odds for several labels a row), "
        "or a logistic regression over these, its weights shared by all labels.",
    )
    objective: Literal["log_loss", "accuracy", "macro_f1"] = Field(
        "log_loss", description="What the weights of a mean are chosen for."
    )
    copy_members: bool = Field(
        False,
        description="Copy the members into the run's folder, so that it can be moved without them. A push to the Hub "
        "takes them along in any case.",
    )

    @property
    def member_sections(self) -> list[MemberSection]:
        """The members, each as a section."""
        return [one if isinstance(one, MemberSection) else MemberSection(run=one) for one in self.members]

    @property
    def runs(self) -> list[str]:
        """The folders of the members."""
        return [one.run for one in self.member_sections]


def check_fusion(recipe: WrittenRecipe) -> None:
    """Notes keys that cannot go with a fusion, or would silently do nothing."""
    if recipe.lacks_validation:
        recipe.refuse(
            "model.members",
            "weights are fitted on validation rows, but data.splits.validation is 0; write the members' data section",
        )
    members = recipe.value("model.members")
    given = [isinstance(one, dict) and one.get("weight") is not None for one in members or () if one is not None]
    if any(given) and not all(given):
        recipe.refuse("model.members", "some members have a weight and some have none; give all or none of them one")
    for key in ("combine", "calibration", "objective"):
        if recipe.value("labels.task") == "regression" and recipe.holds(f"model.{key}"):
            recipe.refuse(f"model.{key}", "is for labels, but labels.task is regression; remove it")
    stacked, fixed = recipe.value("model.combine") == "stacking", bool(given) and all(given)
    if stacked and fixed:
        recipe.refuse("model.combine", "stacking fits the weights; remove those of the members, or write mean")
    if recipe.holds("model.objective") and (stacked or fixed):
        recipe.refuse("model.objective", "chooses the weights of a mean, which are given or stacked here; remove it")
