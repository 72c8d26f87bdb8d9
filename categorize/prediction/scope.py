"""How much texts are like those that a run was trained on, by the embeddings of an encoder.

`similarity`: cosine to the nearest mean of a label's training texts. `mahalanobis`: minus the squared distance to the
nearest of these means under the covariance that the labels share (Lee et al. 2018, "A Simple Unified Framework for
Detecting Out-of-Distribution Samples"; Podolskiy et al. 2021 on intents), shrunk as Ledoit & Wolf 2004 do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from categorize.data.splits import LoadedData
from categorize.features.build import load_featurizer
from categorize.features.encoder import EncoderFeaturizer
from categorize.features.featurizer import Featurizer
from categorize.predictions import FloatArray
from categorize.recipe.decision_sections import PredictionSection, RejectSection
from categorize.recipe.feature_sections import EncoderFeatures
from categorize.runs.folder import Run, RunWriter
from categorize.writing import disk_errors

SCOPE, STATISTICS, FEATURES = "scope.json", "scope.safetensors", "scope_features"
SCOPE_FILES = (SCOPE, STATISTICS, f"{FEATURES}.json")


@dataclass(frozen=True)
class ScopeScorer:
    """Scores texts; higher is more in scope.

    Attributes:
        means: of each label's training texts [labels, features].
        factor: lower Cholesky factor of the shared covariance [features, features]; None where it is not read.
    """

    by: Literal["similarity", "mahalanobis"]
    featurizer: Featurizer
    means: FloatArray
    factor: FloatArray | None = None

    def scores(self, texts: Sequence[str]) -> FloatArray:
        """The score of each text [n]; equal texts are embedded once."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            return np.zeros(0)
        found = self.of_vectors(np.asarray(self.featurizer.transform(distinct), dtype=np.float64))
        place = {text: i for i, text in enumerate(distinct)}
        return found[[place[text] for text in texts]]

    def of_vectors(self, vectors: FloatArray) -> FloatArray:
        """The score of each vector [n, features]."""
        from scipy.linalg import solve_triangular

        if self.factor is None:
            return np.asarray((_unit(vectors) @ _unit(self.means).T).max(axis=1))
        whitened, means = (solve_triangular(self.factor, one.T, lower=True).T for one in (vectors, self.means))
        distance = (whitened**2).sum(axis=1, keepdims=True) - 2 * whitened @ means.T + (means**2).sum(axis=1)
        return np.asarray(-distance.min(axis=1))

    def save(self, writer: RunWriter) -> None:
        """Write it into the run."""
        from safetensors.numpy import save_file

        writer.write_json(SCOPE, {"by": self.by})
        self.featurizer.save(writer, FEATURES)
        tensors = {"means": self.means} | ({} if self.factor is None else {"factor": self.factor})
        with disk_errors(writer.path):
            save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, writer.stage(STATISTICS))


def fit_statistics(
    by: Literal["similarity", "mahalanobis"], featurizer: Featurizer, vectors: FloatArray, classes: Sequence[Any]
) -> ScopeScorer:
    """The scorer of training vectors [n, features], each of a class."""
    from sklearn.covariance import ledoit_wolf

    _, of_row = np.unique(np.asarray(classes), return_inverse=True)
    means = np.stack([vectors[of_row == one].mean(axis=0) for one in range(of_row.max() + 1)])
    if by == "similarity":
        return ScopeScorer(by, featurizer, means)
    covariance, _ = ledoit_wolf(vectors - means[of_row], assume_centered=True)
    return ScopeScorer(by, featurizer, means, np.linalg.cholesky(covariance))


def learn_scope(
    section: RejectSection | None,
    data: LoadedData,
    writer: RunWriter,
    prediction: PredictionSection,
    trust_remote_code: bool = False,
) -> ScopeScorer | None:
    """The scorer of the training texts that are in scope, written into the run; None where rows are not rejected by
    their texts."""
    if section is None or section.by == "softmax":
        return None
    assert section.encoder is not None
    documents = data.input_spec.documents(data.splits.train)
    gold = [names[0] if names else None for names in documents["gold"].to_pylist()]
    wanted = [i for i, name in enumerate(gold) if name is not None and name != section.label]
    texts = documents["text"].take(wanted).to_pylist()
    features = EncoderFeatures(type="encoder", name_or_path=section.encoder)
    featurizer = EncoderFeaturizer(features, prediction, trust_remote_code)
    vectors = np.asarray(featurizer.fit(texts), dtype=np.float64)
    scorer = fit_statistics(section.by, featurizer, vectors, [gold[i] for i in wanted])
    scorer.save(writer)
    return scorer


def load_scope(run: Run, prediction: PredictionSection | None = None, trust: bool = False) -> ScopeScorer | None:
    """The scorer of a run; None where it has none."""
    from safetensors.numpy import load_file

    if not run.has(SCOPE):
        return None
    tensors = load_file(run.path / STATISTICS)
    featurizer = load_featurizer(run, FEATURES, prediction, None, trust)
    return ScopeScorer(run.read_json(SCOPE)["by"], featurizer, tensors["means"], tensors.get("factor"))


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))
