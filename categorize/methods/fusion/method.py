"""The fusion method: finished runs whose calibrated probabilities are joined with weights that validation chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.fusion.section import FusionModel, check_fusion
from categorize.methods.method import RoomMethod

if TYPE_CHECKING:
    from categorize.recipe.sections import SeqclsRecipe


class FusionMethod(RoomMethod):
    """Runs of any method as one."""

    name = "fusion"
    kind = "seqcls"
    section = FusionModel
    unit = "document"
    checks = (check_fusion,)
    files = ("fusion.json",)
    trains = False
    together = False

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where a member is missing, or was made for other labels or splits than another one."""
        from categorize.methods.members import open_members
        from categorize.runs.contents import check_stands_alone

        assert isinstance(recipe.model, FusionModel)
        for run in open_members(recipe.model.runs, recipe.labels):
            if recipe.hub is not None:
                check_stands_alone(run)
