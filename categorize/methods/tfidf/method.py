"""The TF-IDF method: a linear model on n-gram features, by scikit-learn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from categorize.methods.method import Method
from categorize.methods.tfidf.section import TfidfModel

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.labels import LabelSet
    from categorize.prediction.predictor import Predictor
    from categorize.recipe.decision_sections import PredictionSection
    from categorize.recipe.sections import SeqclsRecipe, TrainedRecipe
    from categorize.runs.folder import Run, RunWriter
    from categorize.training.fit_summary import FitOptions, FitSummary


class TfidfMethod(Method):
    """TF-IDF and LinearSVC, logistic regression or ridge."""

    name = "tfidf"
    kind = "seqcls"
    section = TfidfModel
    uses = ("training.balance", "training.class_weights")
    files = ("tfidf.json", "vocabulary.json")
    together = False

    def fit(self, recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """Fit the vocabulary and the linear model on the training rows; ridge's strength is chosen on validation."""
        from categorize.methods.tfidf.fit import fit

        return fit(recipe, data, writer)

    def preview(self, recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
        """How many features the training rows have."""
        from categorize.methods.tfidf.fit import preview

        return preview(recipe, data)

    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """The predictor of a run that this method wrote."""
        from categorize.methods.tfidf.predictor import TfidfPredictor

        return TfidfPredictor.load(run)

    def gives_margins(self, recipe: TrainedRecipe, label_set: LabelSet) -> bool:
        """Those of LinearSVC, or of one binary model a label where a row has one label."""
        from categorize.methods.tfidf.fit import estimator

        assert isinstance(recipe.model, TfidfModel)
        return not label_set.is_multi_label or estimator(recipe.model, label_set) == "linear_svc"
