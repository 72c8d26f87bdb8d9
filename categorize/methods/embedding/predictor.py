"""Predicts with features and a fitted estimator."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Literal

import pyarrow as pa

from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.features.build import cut_by, load_featurizer
from categorize.features.featurizer import Featurizer
from categorize.labels import LabelSet
from categorize.methods.embedding.estimators import Estimator, load_estimator
from categorize.prediction.given import predictions_of
from categorize.predictions import Predictions, Usage
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import LABEL_SET, Run, RunWriter

FEATURES = "features"  # prefix of the featurizer's files


class EmbeddingPredictor:
    """Features and an estimator.

    Args:
        featurizer: fitted.
        estimator: fitted on its features.
    """

    unit: Literal["row", "document"] = "row"

    def __init__(self, label_set: LabelSet, featurizer: Featurizer, estimator: Estimator) -> None:
        self.label_set, self.featurizer, self.estimator = label_set, featurizer, estimator
        self.tokens: TokenCounter = PlainTokens()

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal texts are computed once."""
        for batch in batches:
            start = time.perf_counter()
            texts, inverse = distinct_inputs(model_inputs(batch, None), None)
            ids = batch.column("id").to_pylist()
            before = cut_by(self.featurizer)
            found = self.estimator.predict(self.featurizer.transform(texts))[inverse]
            cut = cut_by(self.featurizer) - before
            usage = Usage(rows=batch.num_rows, truncated_rows=cut, seconds=time.perf_counter() - start)
            yield predictions_of(self.label_set, ids, found, usage)

    def save(self, writer: RunWriter) -> None:
        """Write featurizer and estimator into the run."""
        self.featurizer.save(writer, FEATURES)
        self.estimator.save(writer)


def load(run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> EmbeddingPredictor:
    """The predictor of a finished run."""
    label_set = LabelSet.load(run.path / LABEL_SET)
    featurizer = load_featurizer(run, FEATURES, section, base, trust_remote_code)
    return EmbeddingPredictor(label_set, featurizer, load_estimator(run))
