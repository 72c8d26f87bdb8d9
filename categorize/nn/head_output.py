"""What a head gives for a text: how many numbers, how they are learned, and how they become predictions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from categorize.labels import LabelSet
from categorize.nn.losses import (
    corn_loss,
    corn_probabilities,
    cumulative_link_loss,
    cumulative_link_probabilities,
    error_loss,
    sigmoid_loss,
    softmax_loss,
)
from categorize.predictions import BoolArray, FloatArray, IntArray, Predictions, Usage
from categorize.recipe.loss_sections import Asymmetric, Focal, Loss

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Auxiliary:
    """A further score that a regression learns: its name, its weight in the loss beside the first one's 1, and the mean
    and standard deviation by which it is scaled."""

    name: str
    weight: float = 1.0
    mean: float = 0.0
    std: float = 1.0


@dataclass(frozen=True)
class Output(ABC):
    """The outputs of a head for a label set. A task is a subclass and a line in `OUTPUTS`, a
    loss with outputs of its own one in `OF_LOSS`.

    Attributes:
        label_set: what is predicted.
        objective: the loss by the recipe's section; None: the usual one.
        label_smoothing: share of the target spread evenly over labels in training.
        positive_weight: float [labels] for the positive side of a multi-label loss, or None.
        adjustment: float [labels] that is added to the logits in the loss alone, or None.
        mean, std: targets are learned as `(target - mean) / std`.
        auxiliary: further scores of a regression.
    """

    problem_type: ClassVar[str]  # by transformers' name, for the config of the model

    label_set: LabelSet
    objective: Loss | None = None
    label_smoothing: float = 0.0
    positive_weight: tuple[float, ...] | None = None
    adjustment: tuple[float, ...] | None = None
    mean: float = 0.0
    std: float = 1.0
    auxiliary: tuple[Auxiliary, ...] = ()

    @property
    def names(self) -> list[str]:
        """What each output of a text is for: a label, unless a task has others."""
        return self.label_set.names

    @property
    def width(self) -> int:
        """Outputs of a text."""
        return len(self.names)

    def loss(self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted sum of the rows' losses, a float32 scalar.

        Args:
            logits: [rows, width].
            targets: float [rows, labels] as `LabelSet.encode` gives them, scaled by `scaled`.
            weights: float [rows].
        """
        return (self.row_losses(logits.float(), targets) * weights).sum()

    def adjusted(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits with the adjustment."""
        return logits if self.adjustment is None else logits + logits.new_tensor(self.adjustment)

    @abstractmethod
    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Loss of each row [rows], from float32 logits."""

    def scaled(self, targets: FloatArray) -> FloatArray:
        """Targets as they are learned."""
        return (targets - self.mean) / self.std

    def blocks(self, targets: FloatArray) -> list[tuple[IntArray, FloatArray]]:
        """Outputs that answer one question, as their places and what rows have there, [rows, places], for a linear
        model in the head's place: all of them, unless a head asks several."""
        return [(np.arange(self.width), targets)]

    def predictions(self, ids: Sequence[str], logits: FloatArray, usage: Usage | None = None) -> Predictions:
        """Undecided predictions from logits [rows, width]; a row that is not finite is not valid."""
        finite: BoolArray = np.asarray(np.isfinite(logits).all(axis=1))
        return Predictions(ids, valid=finite, usage=usage or Usage(), **self.read(logits))

    @abstractmethod
    def read(self, logits: FloatArray) -> dict[str, Any]:
        """`probabilities` [rows, labels] or `score` [rows] of `Predictions`."""


class SingleLabelOutput(Output):
    """One label a row, by softmax; ordered labels too."""

    problem_type = "single_label_classification"

    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Cross-entropy or its kin. A row's class weight scales its whole loss: torch weighs the smoothed classes one
        by one instead, which pulls predictions towards heavy classes in rows that are not theirs."""
        gamma = self.objective.gamma if isinstance(self.objective, Focal) else 0.0
        return softmax_loss(self.adjusted(logits), targets, gamma=gamma, smoothing=self.label_smoothing)

    def read(self, logits: FloatArray) -> dict[str, Any]:
        """Softmax over labels."""
        from scipy.special import softmax

        return {"probabilities": softmax(logits, axis=1)}


class CornOutput(Output):
    """Ordered labels, by the chance to be above each one given that it is above the one before."""

    problem_type = "multi_label_classification"

    @property
    def names(self) -> list[str]:
        """One for each label but the highest."""
        return [f"above {name}" for name in self.label_set.names[:-1]]

    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Conditional binary cross-entropies, summed."""
        return corn_loss(logits, targets)

    def read(self, logits: FloatArray) -> dict[str, Any]:
        """Products of the conditional probabilities."""
        return {"probabilities": corn_probabilities(logits)}


class CumulativeLinkOutput(Output):
    """Ordered labels, by a position on a line that cut points divide."""

    problem_type = "regression"

    @property
    def names(self) -> list[str]:
        """The position, and a gap for each label between the lowest and the highest."""
        return ["position", *(f"gap of {name}" for name in self.label_set.names[1:-1])]

    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood."""
        return cumulative_link_loss(logits, targets)

    def read(self, logits: FloatArray) -> dict[str, Any]:
        """Differences of the cumulative probabilities."""
        return {"probabilities": cumulative_link_probabilities(logits)}


class MultiLabelOutput(Output):
    """Any labels a row, by a sigmoid each; the loss is the mean over labels."""

    problem_type = "multi_label_classification"

    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy or its kin, mean over labels."""
        import torch

        given: Loss | None = self.objective
        powers: dict[str, Any] = {}
        if isinstance(given, Focal):
            powers = {"gamma_positive": given.gamma, "gamma_negative": given.gamma}
        elif isinstance(given, Asymmetric):
            powers = given.model_dump(exclude={"type"})
        positive = torch.tensor(self.positive_weight, device=logits.device) if self.positive_weight else None
        powers |= {"positive_weight": positive, "smoothing": self.label_smoothing}
        return sigmoid_loss(self.adjusted(logits), targets, **powers).mean(dim=1)

    def read(self, logits: FloatArray) -> dict[str, Any]:
        """A sigmoid for each label."""
        from scipy.special import expit

        return {"probabilities": expit(logits)}


class RegressionOutput(Output):
    """A score, and further ones beside it, learned on standardised targets."""

    problem_type = "regression"

    @property
    def names(self) -> list[str]:
        """The scores."""
        return [*self.label_set.names, *(one.name for one in self.auxiliary)]

    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Squared error or its kin, summed over scores by their weights; a NaN target of a further score is unknown."""
        import torch

        losses = error_loss(torch.where(targets.isnan(), 0.0, logits - targets), self.objective)
        return losses @ losses.new_tensor([1.0, *(one.weight for one in self.auxiliary)])

    def scaled(self, targets: FloatArray) -> FloatArray:
        """Targets as they are learned, [rows, scores]."""
        mean, std = self._scale(targets.shape[1])
        return (targets - mean) / std

    def read(self, logits: FloatArray) -> dict[str, Any]:
        """The scores, in the units of the data."""
        mean, std = self._scale(self.width)
        scores = logits * std + mean
        further = {one.name: scores[:, i] for i, one in enumerate(self.auxiliary, start=1)}
        return {"score": scores[:, 0], "auxiliary": further or None}

    def _scale(self, width: int) -> tuple[FloatArray, FloatArray]:
        scales = [(self.mean, self.std), *((one.mean, one.std) for one in self.auxiliary)]
        return np.array(scales[:width])[:, 0], np.array(scales[:width])[:, 1]


OUTPUTS: dict[str, type[Output]] = {
    "single_label": SingleLabelOutput,
    "ordinal": SingleLabelOutput,
    "multi_label": MultiLabelOutput,
    "regression": RegressionOutput,
}
OF_LOSS: dict[str, type[Output]] = {"corn": CornOutput, "cumulative_link": CumulativeLinkOutput}


def head_output(label_set: LabelSet, *, objective: Loss | None = None, **options: Any) -> Output:
    """The output that the label set's task and the loss ask for; options are `Output`'s attributes.

    >>> from categorize.labels import Label, LabelSet
    >>> output = head_output(LabelSet("single_label", (Label("good"), Label("bad"))))
    >>> output.width, output.problem_type
    (2, 'single_label_classification')
    """
    of_task = OUTPUTS[label_set.task]
    output = of_task if objective is None else OF_LOSS.get(objective.type, of_task)
    return output(label_set, objective=objective, **options)
