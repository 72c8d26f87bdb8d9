"""The typed section `training`: our own keys beside those of the class of another library."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from categorize.recipe.loss_sections import BalanceChoice, LossChoice, WeightsChoice
from categorize.recipe.section import (
    PositiveFloat,
    PositiveInt,
    Section,
    UpstreamSection,
)


class EarlyStopping(Section):
    """Stop when the validation measure has not improved for a while."""

    patience: PositiveInt = Field(3, description="Evaluations without improvement before training stops.")
    threshold: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Smallest change that counts as improvement.")


class StepsSection(UpstreamSection):
    """What every trainer of ours adds to the upstream arguments."""

    recipe_key: ClassVar[str] = "training"

    balance: BalanceChoice | None = Field(
        None,
        description="Balance the labels of each training epoch: repeat rows up to the most frequent label, draw as "
        "many as the rarest has, draw rows with a chance that evens the labels out, or repeat rows of rare labels.",
    )
    length_grouping: bool = Field(True, description="Batches of rows of like length; less padding, same rows an epoch.")
    resume: Literal["auto", "never"] = Field("never", description="auto: continue an interrupted run without --resume.")
    keep_checkpoints: bool = Field(
        False, description="Keep the checkpoints in the finished run; each can be evaluated as the run at that step."
    )


class TrainingSection(StepsSection):
    """`transformers.TrainingArguments`, by its own keys, and these of our own."""

    upstream_class: ClassVar[str] = "TrainingArguments"

    early_stopping: EarlyStopping | None = Field(None, description="Early stopping on training.metric_for_best_model.")
    class_weights: WeightsChoice | None = Field(
        None,
        description="Weight of each label in the loss; balanced: n / (labels * count), or negatives / positives "
        "of each label for multi-label; effective_number: the same of counts that saturate.",
    )
    loss: LossChoice | None = Field(
        None,
        description="Loss of the head, by name or as a mapping with `type`; by default cross_entropy, mse for a "
        "regression.",
    )
    auxiliary: dict[str, PositiveFloat] | None = Field(
        None,
        description="Columns of further scores that a regression learns beside its own, each with its weight in the "
        "loss: {arousal: 0.5}.",
    )
    r_drop: PositiveFloat | None = Field(
        None,
        description="R-Drop: every batch is read twice, and the divergence of both readings, which dropout alone tells "
        "apart, joins the loss with this weight, such as 1; needs dropout, and twice the time.",
    )


class SftTrainingSection(StepsSection):
    """`trl.SFTConfig`, by its own keys, and these of our own."""

    upstream_class: ClassVar[str] = "SFTConfig"

    early_stopping: EarlyStopping | None = Field(
        None, description="Early stopping on training.metric_for_best_model, measured by scoring the labels."
    )
    class_weights: WeightsChoice | None = Field(
        None,
        description="Weight of each label's rows in the loss; balanced: n / (labels * count); effective_number: the "
        "same of counts that saturate. For multi-label with prompt.completion: yes_no, of a label's yes.",
    )
    loss: Literal["tokens", "label_set"] | None = Field(
        None,
        description="tokens: cross-entropy of the answer's tokens over the vocabulary; label_set: that of the label "
        "among the labels, as predicting by scoring reads it. By default tokens, and label_set with yes_no.",
    )
    shared_prefix: Literal["auto"] | bool = Field(
        "auto",
        description="Compute what all rows of a batch begin with (the instruction) once a batch and not once a row, "
        "with the same loss and gradient; auto: where it pays and the model can.",
    )
