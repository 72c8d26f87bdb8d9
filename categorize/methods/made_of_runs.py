"""A method whose runs are made of finished runs: a fusion, a cascade."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from categorize.methods.method import RoomMethod, refuse_engine
from categorize.recipe.decision_sections import ENGINES

if TYPE_CHECKING:
    from categorize.recipe.sections import SeqclsRecipe
    from categorize.runs.folder import Run


class MethodOfRuns(RoomMethod):
    """Its `model` section has the folders of the members as `runs`. An engine is for those members that it computes, so
    that there has to be one."""

    kind = "seqcls"
    unit = "document"
    engines = ENGINES
    trains = False
    together = False

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where a member is missing, or was made for other labels or splits than another one; or where
        the engine computes none of them."""
        from categorize.methods.members import open_members
        from categorize.runs.contents import check_stands_alone

        runs = open_members(recipe.model.runs, recipe.labels)  # type: ignore[attr-defined]
        refuse_engine(recipe.prediction, _engines(runs), f"any of the members of {recipe.name}")
        for run in runs:
            if recipe.hub is not None:
                check_stands_alone(run)

    def engines_of(self, run: Run) -> tuple[str, ...]:
        """Those of any member."""
        from categorize.runs.contents import find_members

        return _engines(find_members(run, run.manifest["members"]).values())


def _engines(runs: Iterable[Run]) -> tuple[str, ...]:
    from categorize.methods.registry import METHODS

    known = {name for run in runs for name in METHODS.of_run(run).engines_of(run)}
    return tuple(name for name in ENGINES if name in known)
