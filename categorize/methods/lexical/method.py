"""The lexical method: names and aliases of labels, found in the text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.lexical.section import LexicalModel, check_lexical
from categorize.methods.method import Method

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.prediction.predictor import Predictor
    from categorize.recipe.decision_sections import PredictionSection
    from categorize.recipe.sections import SeqclsRecipe
    from categorize.runs.folder import Run, RunWriter
    from categorize.training.fit_summary import FitOptions, FitSummary


class LexicalMethod(Method):
    """Label names and aliases in the text, judged by a classifier that knows no label."""

    name = "lexical"
    kind = "seqcls"
    section = LexicalModel
    checks = (check_lexical,)
    files = ("lexical.json", "token_frequencies.json")
    trains = False
    together = False

    def fit(self, recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """Learn which finds are right where rows are labelled, and write the matcher into the run."""
        from categorize.methods.lexical.fit import fit

        return fit(recipe, data, writer)

    def preview(self, recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
        """What would be found in the training rows, and with which terms."""
        from categorize.methods.lexical.fit import preview

        return preview(recipe, data)

    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """The predictor of a run that this method wrote."""
        from categorize.methods.lexical.predictor import LexicalPredictor

        return LexicalPredictor.load(run)
