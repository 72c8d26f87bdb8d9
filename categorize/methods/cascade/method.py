"""The cascade method: finished runs of which each answers the rows that it is sure of, and the last one the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.cascade.section import CascadeModel, check_cascade
from categorize.methods.method import RoomMethod

if TYPE_CHECKING:
    from categorize.recipe.sections import SeqclsRecipe


class CascadeMethod(RoomMethod):
    """Runs of any method, the cheapest first."""

    name = "cascade"
    kind = "seqcls"
    section = CascadeModel
    unit = "document"
    checks = (check_cascade,)
    files = ("cascade.json",)
    trains = False
    together = False

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where a member is missing, or was made for other labels or splits than another one."""
        from categorize.methods.members import open_members
        from categorize.runs.contents import check_stands_alone

        assert isinstance(recipe.model, CascadeModel)
        for run in open_members(recipe.model.members, recipe.labels):
            if recipe.hub is not None:
                check_stands_alone(run)
