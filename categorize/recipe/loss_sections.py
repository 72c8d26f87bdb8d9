"""What a recipe says about the training of uneven, ordered or continuous labels: losses, class weights, samplers."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Discriminator, Field, Tag

from categorize.recipe.section import Inside, NonNegativeFloat, PositiveFloat, Section, Variants, names_type


class Loss(Section):
    """A loss of heads.

    Attributes:
        tasks: that it is for.
        smooths: whether `training.label_smoothing_factor` goes with it.
        corrects_prior: whether it evens the labels out by itself, so that weights and samplers would do so again.
    """

    tasks: ClassVar[tuple[str, ...]]
    smooths: ClassVar[bool] = False
    corrects_prior: ClassVar[bool] = False

    type: str


class CrossEntropy(Loss):
    """Cross-entropy; binary cross-entropy, mean over labels, where a row has several."""

    tasks = ("single_label", "ordinal", "multi_label")
    smooths = True

    type: Literal["cross_entropy"] = Field(description="Name of the loss.")


class Focal(Loss):
    """Cross-entropy with less weight on what is right already (Lin et al. 2017)."""

    tasks = CrossEntropy.tasks

    type: Literal["focal"] = Field(description="Name of the loss.")
    gamma: NonNegativeFloat = Field(
        2.0, description="How much less a sure answer counts: (1 - p) to this power; 0: cross-entropy."
    )


class Asymmetric(Loss):
    """Focal loss with another power on each side, and none on negatives below a margin (Ridnik et al. 2021)."""

    tasks = ("multi_label",)

    type: Literal["asymmetric"] = Field(description="Name of the loss.")
    gamma_positive: NonNegativeFloat = Field(1.0, description="Power on labels that the row has.")
    gamma_negative: NonNegativeFloat = Field(4.0, description="Power on labels that the row lacks.")
    margin: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
        0.05, description="Probability below which a label that the row lacks costs nothing."
    )


class LogitAdjustment(Loss):
    """Cross-entropy of logits to which the log of each label's share of the training rows is added (Menon et al. 2021);
    of several labels a row, each label's log odds."""

    tasks = CrossEntropy.tasks
    smooths = True
    corrects_prior = True

    type: Literal["logit_adjustment"] = Field(description="Name of the loss.")
    tau: PositiveFloat = Field(1.0, description="What the logs are multiplied by.")


class BalancedSoftmax(Loss):
    """Softmax weighted by the labels' counts (Ren et al. 2020): `logit_adjustment` with tau 1."""

    tasks = ("single_label", "ordinal")
    smooths = True
    corrects_prior = True

    type: Literal["balanced_softmax"] = Field(description="Name of the loss.")


class SquaredError(Loss):
    """Squared error."""

    tasks = ("regression",)

    type: Literal["mse"] = Field(description="Name of the loss.")


class AbsoluteError(Loss):
    """Absolute error: towards the median, little moved by scores that are far off."""

    tasks = ("regression",)

    type: Literal["mae"] = Field(description="Name of the loss.")


class Huber(Loss):
    """Squared error near the target, absolute error far from it (Huber 1964)."""

    tasks = ("regression",)

    type: Literal["huber"] = Field(description="Name of the loss.")
    delta: PositiveFloat = Field(
        1.0, description="Where the one becomes the other, in standard deviations of the training rows."
    )


class Corn(Loss):
    """Of ordered labels, whether the row is above each one, given that it is above the one before (Shi et al. 2021)."""

    tasks = ("ordinal",)

    type: Literal["corn"] = Field(description="Name of the loss.")


class CumulativeLink(Loss):
    """Of ordered labels, one position on a line and the cut points between them (McCullagh 1980)."""

    tasks = ("ordinal",)

    type: Literal["cumulative_link"] = Field(description="Name of the loss.")


LOSSES: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropy,
    "focal": Focal,
    "asymmetric": Asymmetric,
    "logit_adjustment": LogitAdjustment,
    "balanced_softmax": BalancedSoftmax,
    "corn": Corn,
    "cumulative_link": CumulativeLink,
    "mse": SquaredError,
    "mae": AbsoluteError,
    "huber": Huber,
}
LossName = Literal[
    "cross_entropy",
    "focal",
    "asymmetric",
    "logit_adjustment",
    "balanced_softmax",
    "corn",
    "cumulative_link",
    "mse",
    "mae",
    "huber",
]
assert get_args(LossName) == tuple(LOSSES)
LossChoice = Annotated[Loss, Variants("type", LOSSES)] | LossName


class EffectiveNumber(Section):
    """Weights by the effective number of a label's rows, (1 - beta^n) / (1 - beta) (Cui et al. 2019)."""

    type: Literal["effective_number"] = Field(description="Name of the rule.")
    beta: Inside = Field(
        0.999, description="Towards 0: all labels weigh the same; towards 1: the inverse of their counts."
    )


def _weights_kind(value: Any) -> str:
    return "type=" if names_type(value) else "labels=" if isinstance(value, dict) else "name="


WeightsChoice = Annotated[
    Annotated[EffectiveNumber, Tag("type=")]
    | Annotated[Literal["balanced", "effective_number"], Tag("name=")]
    | Annotated[dict[str, PositiveFloat], Tag("labels=")],
    Discriminator(_weights_kind),
]


class Repeat(Section):
    """Rows of rare labels come more than once an epoch (repeat-factor sampling, Gupta et al. 2019)."""

    type: Literal["repeat"] = Field(description="Name of the sampler.")
    threshold: Inside = Field(
        0.01, description="Share of the rows below which a label is rare: its rows come sqrt(threshold / share) times."
    )


BALANCES: dict[str, type[Section]] = {"repeat": Repeat}
BalanceChoice = Annotated[Repeat, Variants("type", BALANCES)] | Literal["upsample", "downsample", "weighted", "repeat"]


def loss_of(choice: Any, task: str) -> Loss:
    """The loss that a recipe names, alone or in a mapping, or the task's usual one.

    >>> loss_of("focal", "single_label").gamma
    2.0
    """
    name = choice or ("mse" if task == "regression" else "cross_entropy")
    return choice if isinstance(choice, Loss) else LOSSES[name](type=name)
