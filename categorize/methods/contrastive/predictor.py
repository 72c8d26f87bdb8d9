"""The predictor of a contrastive run: that of embeddings, with the tuned encoder, which lies in the run."""

from __future__ import annotations

from categorize.labels import LabelSet
from categorize.methods.contrastive.fit import SETTINGS, tuned_featurizer
from categorize.methods.embedding.estimators import load_estimator
from categorize.methods.embedding.predictor import EmbeddingPredictor
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import LABEL_SET, Run


def load(run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> EmbeddingPredictor:
    """The predictor of a finished run."""
    featurizer = tuned_featurizer(str(run.path), run.read_json(SETTINGS)["max_length"], section)
    return EmbeddingPredictor(LabelSet.load(run.path / LABEL_SET), featurizer, load_estimator(run))
