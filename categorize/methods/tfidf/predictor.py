"""TF-IDF features and a linear model: predicted with, saved as safetensors and JSON (no pickle), and loaded."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.features.tfidf import TfidfFeaturizer
from categorize.labels import LabelSet
from categorize.prediction.given import predictions_of
from categorize.predictions import Predictions, Usage
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import LABEL_SET, Run, RunWriter
from categorize.training.linear import LinearModel, link_of, linked
from categorize.writing import disk_errors

SETTINGS = "tfidf.json"
VOCABULARY = "vocabulary.json"
WEIGHTS = "model.safetensors"


class TfidfPredictor:
    """A fitted linear model on TF-IDF features.

    Args:
        features: fitted.
        model: a regression has one output, a binary classification two.
    """

    unit: Literal["row", "document"] = "row"

    def __init__(self, label_set: LabelSet, features: TfidfFeaturizer, model: LinearModel) -> None:
        self.label_set, self.features, self.model = label_set, features, model
        self.tokens: TokenCounter = PlainTokens()

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal texts are computed once. Probabilities are a softmax (or sigmoids) of
        the margins: an order, not a calibrated belief; the temperature of the run's decision rule makes them one."""
        for batch in batches:
            start = time.perf_counter()
            texts, inverse = distinct_inputs(model_inputs(batch, None), None)
            margins = self.model.margins(self.features.transform(texts))
            values = linked(margins, link_of(self.label_set))[inverse]
            usage = Usage(rows=batch.num_rows, seconds=time.perf_counter() - start)
            yield predictions_of(self.label_set, batch.column("id").to_pylist(), values, usage)

    def save(self, writer: RunWriter) -> None:
        """Write settings, vocabularies with their weights, and the linear model into the run."""
        from safetensors.numpy import save_file

        settings, vocabularies, tensors = self.features.state()
        writer.write_json(SETTINGS, settings)
        writer.write_json(VOCABULARY, vocabularies)
        tensors["coefficients"] = np.ascontiguousarray(self.model.coefficients)
        tensors["intercepts"] = np.ascontiguousarray(self.model.intercepts)
        with disk_errors(writer.path):
            save_file(tensors, writer.stage(WEIGHTS))


def load(run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> TfidfPredictor:
    """The predictor of a finished run."""
    from safetensors.numpy import load_file

    vocabularies = json.loads((run.path / VOCABULARY).read_text(encoding="utf-8"))
    tensors = load_file(run.path / WEIGHTS)
    features = TfidfFeaturizer.from_state(run.read_json(SETTINGS), vocabularies, tensors)
    model = LinearModel(tensors["coefficients"], tensors["intercepts"])
    return TfidfPredictor(LabelSet.load(run.path / LABEL_SET), features, model)
