"""What two heads give for a text: a weighted sum of two losses to learn by, and probabilities of the labels."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.methods.two_level.levels import Levels
from categorize.nn.head_output import OUTPUTS, Output
from categorize.predictions import FloatArray, IntArray

if TYPE_CHECKING:
    import torch

NEUTRAL = {"positive_weight": 1.0, "adjustment": 0.0}  # of a main category that is no label, for the options by label


@dataclass(frozen=True)
class TwoLevelOutput(Output):
    """Outputs [mains | subs] of one linear layer, which two heads on the same features are.

    Several labels a row: `main_weight` times the loss over main categories plus `sub_weight` times that over
    subcategories, each a mean over its outputs; a row has a main category where it has any label of it. A label is at
    most as probable as its main category.

    One label a row: the same sum of the loss over main categories and of that over the subcategories within the row's
    main category, so that with weights of 1 it is the negative log-likelihood of the label, P(main) P(sub | main).

    Attributes:
        main_weight, sub_weight: what each loss counts.
    """

    problem_type = "multi_label_classification"

    main_weight: float = 1.0
    sub_weight: float = 1.0

    @cached_property
    def levels(self) -> Levels:
        """Which output is what."""
        return Levels(self.label_set)

    @property
    def names(self) -> list[str]:
        """Those of both heads."""
        return self.levels.outputs

    def row_losses(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """The weighted sum of both heads' losses."""
        levels, several = self.levels, self.label_set.is_multi_label
        mains, subs = len(levels.mains), np.flatnonzero(levels.sub >= 0)
        of_main = (targets @ targets.new_tensor(levels.membership)).clamp(max=1)
        main = self._level(self._labels_of_mains)
        if self.adjustment and not several:
            main = replace(main, adjustment=self._adjustment_of_mains())
        loss = self.main_weight * main.row_losses(logits[:, :mains], of_main)
        for labels in [subs] if several and len(subs) else levels.families if not several else []:
            given = targets[:, labels]
            of_sub = self._level(labels).row_losses(logits[:, levels.sub[labels]], given)
            loss = loss + self.sub_weight * (of_sub if several else of_sub * given.sum(dim=1))
        return loss

    def blocks(self, targets: FloatArray) -> list[tuple[IntArray, FloatArray]]:
        """Main categories, and the subcategories: of all where a row may have several, else of each main category."""
        levels, several = self.levels, self.label_set.is_multi_label
        subs = [np.flatnonzero(levels.sub >= 0)] if several else levels.families
        of_main = np.minimum(targets @ levels.membership, 1)
        mains = (np.arange(len(levels.mains)), of_main)
        return [mains, *((levels.sub[labels], targets[:, labels]) for labels in subs if len(labels))]

    @cached_property
    def _labels_of_mains(self) -> IntArray:
        """The label that each main category is, [mains]; -1 where it is none."""
        found = np.full(len(self.levels.mains), -1)
        own = np.flatnonzero(self.levels.sub < 0)
        found[self.levels.main[own]] = own
        return found

    def _adjustment_of_mains(self) -> tuple[float, ...]:
        """tau log share of each main category, from those of its labels, of which a row has one."""
        from scipy.special import logsumexp

        tau, of_label = getattr(self.objective, "tau", 1.0), np.array(self.adjustment)
        mains = range(len(self.levels.mains))
        return tuple(float(tau * logsumexp(of_label[self.levels.main == main] / tau)) for main in mains)

    def _level(self, labels: IntArray) -> Output:
        """The output of some labels, or of main categories that are none (-1), as one head gives it."""
        options = {one.name: getattr(self, one.name) for one in fields(Output)}
        for name, neutral in NEUTRAL.items():
            if values := options[name]:
                options[name] = tuple(values[label] if label >= 0 else neutral for label in labels)
        return OUTPUTS[self.label_set.task](**options)

    def read(self, logits: FloatArray) -> dict[str, Any]:
        """Probabilities of the labels [rows, labels]."""
        from scipy.special import expit, log_softmax

        levels = self.levels
        is_sub, main = levels.sub >= 0, logits[:, : len(levels.mains)]
        if self.label_set.is_multi_label:
            probabilities = expit(main)[:, levels.main]
            own = expit(logits[:, levels.sub[is_sub]])
            probabilities[:, is_sub] = np.minimum(probabilities[:, is_sub], own)
            return {"probabilities": probabilities}
        log_probabilities = log_softmax(main, axis=1)[:, levels.main]
        for labels in levels.families:
            log_probabilities[:, labels] += log_softmax(logits[:, levels.sub[labels]], axis=1)
        return {"probabilities": np.exp(log_probabilities)}
