"""The fusion method: finished runs whose calibrated probabilities are joined with weights that validation chose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.fusion.section import FusionModel, check_fusion
from categorize.methods.method import Method

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.prediction.predictor import Predictor
    from categorize.recipe.decision_sections import PredictionSection
    from categorize.recipe.sections import SeqclsRecipe
    from categorize.runs.folder import Run, RunWriter
    from categorize.training.fit_summary import FitOptions, FitSummary


class FusionMethod(Method):
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
        from categorize.methods.fusion.members import open_members
        from categorize.runs.contents import check_stands_alone

        assert isinstance(recipe.model, FusionModel)
        for run in open_members(recipe.model, recipe.labels):
            if recipe.hub is not None:
                check_stands_alone(run)

    def fit(self, recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """Calibrate the members and weigh them, by what they predict of the validation rows."""
        from categorize.methods.fusion.fit import fit

        return fit(recipe, data, writer, options)

    def preview(self, recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
        """The members, and whether their predictions of validation are there."""
        from categorize.methods.fusion.fit import preview

        return preview(recipe, data)

    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """The predictor of a fusion; its members are loaded from where they are."""
        from categorize.methods.fusion.predictor import load

        return load(run, section, base, trust_remote_code)
