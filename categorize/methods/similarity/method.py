"""The similarity method: texts and labels compared by their features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.method import Method
from categorize.methods.similarity.section import SimilarityModel, check_similarity

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.prediction.predictor import Predictor
    from categorize.recipe.decision_sections import PredictionSection
    from categorize.recipe.sections import SeqclsRecipe
    from categorize.runs.folder import Run, RunWriter
    from categorize.training.fit_summary import FitOptions, FitSummary


class SimilarityMethod(Method):
    """Cosines of texts and label descriptions."""

    name = "similarity"
    kind = "seqcls"
    section = SimilarityModel
    checks = (check_similarity,)
    files = ("similarity.json", "features.json", "features.vocabulary.json")
    trains = False
    together = False

    def fit(self, recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """Make features of labels and texts, fit three numbers where rows are labelled, and write the run."""
        from categorize.methods.similarity.fit import fit

        return fit(recipe, data, writer, options)

    def preview(self, recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
        """Labels as texts."""
        from categorize.methods.similarity.fit import preview

        return preview(recipe, data)

    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """The predictor of a run that this method wrote."""
        from categorize.methods.similarity.predictor import SimilarityPredictor

        return SimilarityPredictor.load(run, section, base, trust_remote_code)
