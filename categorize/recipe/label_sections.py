"""The typed section `labels`: what may be predicted, and how the data spells it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from categorize.recipe.section import Section

Task = Literal["single_label", "multi_label", "ordinal", "regression"]


class LabelDefinition(Section):
    """One label, or one group of labels when it has `labels` of its own."""

    name: str = Field(min_length=1, description="Name of the label, as it is predicted.")
    description: str = Field("", description="What the label means; read by teachers and shown in reports.")
    aliases: list[str] = Field(default_factory=list, description="Other spellings that count as this label.")
    labels: list[LabelDefinition | str] | None = Field(None, description="Labels of this group (two levels).")


class RulesSection(Section):
    """What may stand together in a row, and which groups are labels too."""

    brings_parent: bool | list[str] | None = Field(
        None,
        description="Groups whose labels bring the group as a label: [emotions, joy] for joy; in the others it is "
        "left out beside them. true: all groups.",
    )
    parent_alone: bool | list[str] | None = Field(
        None, description="Groups that are a label of their own where none of their labels fits. true: all groups."
    )
    stands_alone: list[str] = Field(
        default_factory=list, description="Labels beside which no other may stand, such as other."
    )

    def allowed(self, task: Task) -> bool:
        """Whether a label set of a task can have such rules: a single label has nothing beside it."""
        several = self.brings_parent is not None or bool(self.stands_alone)
        return task == "multi_label" or (task == "single_label" and not several)


class LabelsSection(Section):
    """The label set: what may be predicted and how the data spells it."""

    task: Task = Field(
        "single_label", description="single_label, multi_label, ordinal (names in rising order) or regression."
    )
    names: list[LabelDefinition | str] | None = Field(
        None,
        description="Labels in order, as names or definitions; without it, those that the rows hold, sorted.",
    )
    codes: dict[str, str] = Field(
        default_factory=dict, description="What the data holds -> label name, such as 0: Positive."
    )
    missing: list[str] = Field(default_factory=lambda: ["", "-1"], description="Cell values that mean: not labelled.")
    unknown: Literal["error", "drop", "other"] = Field(
        "error", description="A label outside the set: stop; treat the row as unlabelled; or use the label `other`."
    )
    other: str = Field("other", description="The label that takes unknown ones under `unknown: other`.")
    rules: RulesSection | None = Field(None, description="What may stand together in a row.")
    held_out: list[str] = Field(
        default_factory=list,
        description="Labels that a training does not know: their rows leave train and validation, and stay in test; "
        "see evaluation.unseen_labels.",
    )
    minimum: float | None = Field(None, description="Lowest score of a regression; gold scores below it are refused.")
    maximum: float | None = Field(None, description="Highest score of a regression; gold scores above it are refused.")
