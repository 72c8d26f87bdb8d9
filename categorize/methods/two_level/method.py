"""The two-level method: one head for main categories and one for subcategories, trained together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from categorize.methods.head.method import HeadMethod
from categorize.methods.two_level.section import TwoLevelModel, check_two_levels

if TYPE_CHECKING:
    from categorize.methods.head.model import HeadKind
    from categorize.methods.head.section import HeadKeys
    from categorize.prediction.external import ExternalModel


class TwoLevelMethod(HeadMethod):
    """Two heads on one model. Their outputs are one linear layer, so that a run is a sequence classifier like that of
    any head: adapters, quantization, prompts, merging and the Hub come with it."""

    name = "two_level"
    section = TwoLevelModel
    files = ("two_level.json", "prompt.json")
    checks = (check_two_levels,)

    def kind_of_head(self, section: HeadKeys | None = None) -> HeadKind:
        """Two losses in training; one set of probabilities in prediction."""
        from categorize.methods.head.model import HeadKind
        from categorize.methods.two_level.output import TwoLevelOutput

        if not isinstance(section, TwoLevelModel):
            return HeadKind(self.files[0], TwoLevelOutput)
        weighted = partial(TwoLevelOutput, main_weight=section.main_weight, sub_weight=section.sub_weight)
        return HeadKind(self.files[0], weighted)

    def reads(self, model: ExternalModel) -> bool:
        """None: a model that is not a run has no two levels to tell."""
        return False
