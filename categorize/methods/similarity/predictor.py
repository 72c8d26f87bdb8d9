"""Predicts by the cosine of a text's features and each label's; saved as JSON and safetensors, and asked about any
labels."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.features.build import load_featurizer
from categorize.features.featurizer import Featurizer, Matrix
from categorize.labels import LabelSet
from categorize.methods.similarity.section import label_texts
from categorize.nn.head_output import head_output
from categorize.predictions import FloatArray, Predictions, Usage
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import LABEL_SET, Run, RunWriter
from categorize.writing import disk_errors

FEATURES = "features"  # prefix of the featurizer's files
SETTINGS = "similarity.json"
CENTER = "similarity.safetensors"


@dataclass(frozen=True)
class Scaling:
    """From a cosine to log-odds: `scale * (cosine - hubness * hub) + bias`.

    A label's hub is its mean cosine with the training texts: some labels are near to everything (Radovanovic et al.
    2010, "Hubs in Space"). None of the three numbers says which label it is, so that they hold for any.
    """

    scale: float
    hubness: float
    bias: float


class SimilarityPredictor:
    """Cosines of texts and labels.

    Args:
        featurizer: fitted.
        template: of a label's text, as in `SimilarityModel`.
        center: mean of the training texts' unit vectors, float [features].
    """

    unit: Literal["row", "document"] = "row"

    def __init__(
        self, label_set: LabelSet, featurizer: Featurizer, template: str, scaling: Scaling, center: FloatArray
    ) -> None:
        self.label_set, self.featurizer, self.template = label_set, featurizer, template
        self.scaling, self.center = scaling, center
        self.labels = unit(featurizer.transform(label_texts(label_set, template)))
        self.hubs: FloatArray = np.asarray(self.labels @ center, dtype=np.float64).reshape(-1)
        self.tokens: TokenCounter = PlainTokens()
        self.output = head_output(label_set)

    def for_labels(self, label_set: LabelSet) -> SimilarityPredictor:
        """The same features and numbers, for other labels. Raises UserError where they lack a description."""
        return SimilarityPredictor(label_set, self.featurizer, self.template, self.scaling, self.center)

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal texts are computed once."""
        for batch in batches:
            start = time.perf_counter()
            texts, inverse = distinct_inputs(model_inputs(batch, None), None)
            logits = self.logits(unit(self.featurizer.transform(texts)))[inverse]
            usage = Usage(rows=batch.num_rows, seconds=time.perf_counter() - start)
            yield self.output.predictions(batch.column("id").to_pylist(), logits, usage)

    def logits(self, vectors: Matrix) -> FloatArray:
        """Log-odds of each label, float64 [texts, labels], of unit vectors."""
        found = cosines(vectors, self.labels)
        found -= self.scaling.hubness * self.hubs
        found *= self.scaling.scale
        found += self.scaling.bias
        return found

    def save(self, writer: RunWriter) -> None:
        """Write featurizer, template and numbers into the run."""
        from safetensors.numpy import save_file

        self.featurizer.save(writer, FEATURES)
        writer.write_json(SETTINGS, {"template": self.template, **asdict(self.scaling)})
        with disk_errors(writer.path):
            save_file({"center": np.ascontiguousarray(self.center)}, writer.stage(CENTER))


def load(run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> SimilarityPredictor:
    """The predictor of a finished run."""
    from safetensors.numpy import load_file

    settings = run.read_json(SETTINGS)
    featurizer = load_featurizer(run, FEATURES, section, base, trust_remote_code)
    template, center = settings.pop("template"), load_file(run.path / CENTER)["center"]
    return SimilarityPredictor(LabelSet.load(run.path / LABEL_SET), featurizer, template, Scaling(**settings), center)


def unit(matrix: Matrix) -> Matrix:
    """Rows of length 1; a row of zeros stays."""
    from sklearn.preprocessing import normalize

    return normalize(matrix) if matrix.shape[0] else matrix


def cosines(vectors: Matrix, labels: Matrix) -> FloatArray:
    """Float64 [texts, labels]."""
    found: Any = vectors @ labels.T
    return np.asarray(found.toarray() if hasattr(found, "toarray") else found, dtype=np.float64)
