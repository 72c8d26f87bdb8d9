"""The contrastive method: a sentence encoder tuned on pairs, and logistic regression on its vectors."""

from __future__ import annotations

from importlib.util import find_spec
from string import Formatter
from typing import TYPE_CHECKING

from categorize.errors import UserError
from categorize.methods.contrastive.section import ContrastiveModel
from categorize.methods.method import Method
from categorize.runs.card import CardFacts

if TYPE_CHECKING:
    from categorize.data.splits import LoadedData
    from categorize.prediction.predictor import Predictor
    from categorize.recipe.decision_sections import PredictionSection
    from categorize.recipe.sections import SeqclsRecipe
    from categorize.recipe.written import WrittenRecipe
    from categorize.runs.folder import Run, RunWriter
    from categorize.training.fit_summary import FitOptions, FitSummary

WORDS = ("name", "description", "aliases")


def pairs_need_labels(recipe: WrittenRecipe) -> None:
    """Scores have no pairs of one label."""
    if recipe.value("labels.task") == "regression":
        recipe.refuse("model.method", "contrastive learns from texts of one label; a regression has none: use head")


def label_words_are_there(recipe: WrittenRecipe) -> None:
    """A template reads what labels have, and each label has what it reads."""
    template = recipe.value("model.label_words")
    if not isinstance(template, str):
        return
    try:
        fields = {name for _, name, _, _ in Formatter().parse(template) if name is not None}
    except ValueError as error:
        recipe.refuse("model.label_words", f"cannot be read: {error}; double a brace that is meant as one")
        return
    if odd := fields - set(WORDS):
        recipe.refuse("model.label_words", f"knows {', '.join(WORDS)}, not {sorted(odd)[0]!r}")
    elif not fields:
        recipe.refuse("model.label_words", "names nothing of a label; write '{name}' or '{name}: {description}'")


class ContrastiveMethod(Method):
    """A sentence encoder tuned on pairs of texts, and logistic regression."""

    name = "contrastive"
    kind = "seqcls"
    section = ContrastiveModel
    uses = ("training.balance", "training.class_weights")
    checks = (pairs_need_labels, label_words_are_there)
    files = ("contrastive.json", "estimator.safetensors", "modules.json", "1_Pooling/config.json")
    together = False
    card = CardFacts("sentence-transformers")

    def check_sources(self, recipe: SeqclsRecipe) -> None:
        """Raises UserError where sentence-transformers is not installed."""
        if find_spec("sentence_transformers") is None:
            raise UserError(
                "model.method: contrastive needs sentence-transformers: pip install 'categorize[embeddings]'"
            )

    def fit(self, recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
        """Tune the encoder on pairs of training texts, and fit the linear model."""
        from categorize.methods.contrastive.fit import fit

        return fit(recipe, data, writer, options)

    def preview(self, recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
        """Pairs, steps and parameters."""
        from categorize.methods.contrastive.fit import preview

        return preview(recipe, data, options)

    def predictor(
        self,
        run: Run,
        section: PredictionSection | None = None,
        base: str | None = None,
        trust_remote_code: bool = False,
    ) -> Predictor:
        """The predictor of a run that this method wrote."""
        from categorize.labels import LabelSet
        from categorize.methods.contrastive.fit import SETTINGS, tuned_featurizer
        from categorize.methods.embedding.estimators import load_estimator
        from categorize.methods.embedding.predictor import EmbeddingPredictor
        from categorize.runs.folder import LABEL_SET

        featurizer = tuned_featurizer(str(run.path), run.read_json(SETTINGS)["max_length"], section)
        return EmbeddingPredictor(LabelSet.load(run.path / LABEL_SET), featurizer, load_estimator(run))
