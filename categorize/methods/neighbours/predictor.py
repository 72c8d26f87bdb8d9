"""Predicts by the labelled rows that are most similar to a text, and names them."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.features.build import cut_by, load_featurizer
from categorize.features.featurizer import Featurizer
from categorize.features.search import Found, Index, load_index
from categorize.labels import LabelSet
from categorize.prediction.given import predictions_of
from categorize.predictions import FloatArray, Predictions, Usage
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import LABEL_SET, Run, RunWriter
from categorize.writing import disk_errors

SETTINGS = "neighbours.json"
TENSORS = "neighbours.safetensors"
FEATURES = "features"  # prefix of the featurizer's files


@dataclass(frozen=True)
class Neighbour:
    """A labelled row near a text: its id, its similarity (cosine), and its labels, or its score."""

    id: str
    similarity: float
    labels: tuple[str, ...] = ()
    score: float | None = None


class NeighboursPredictor:
    """Labelled rows that vote.

    Args:
        featurizer: fitted.
        index: of the rows' features.
        ids: of the rows.
        targets: a sparse matrix [rows, labels], of a regression [rows, 1].
        weights: of the rows, [rows].
        k, temperature: how many vote, and how much more the nearest count.
    """

    unit: Literal["row", "document"] = "row"

    def __init__(
        self,
        label_set: LabelSet,
        featurizer: Featurizer,
        index: Index,
        ids: Sequence[str],
        targets: Any,
        weights: FloatArray,
        k: int,
        temperature: float,
    ) -> None:
        self.label_set, self.featurizer, self.index, self.ids = label_set, featurizer, index, ids
        self.targets, self.weights, self.k, self.temperature = targets, weights, k, temperature
        self.tokens: TokenCounter = PlainTokens()

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal texts are looked up once."""
        for batch in batches:
            start = time.perf_counter()
            texts, inverse = distinct_inputs(model_inputs(batch, None), None)
            before = cut_by(self.featurizer)
            found = self.index.search(self.featurizer.transform(texts), self.k)
            cut = cut_by(self.featurizer) - before
            values = votes(found, self.targets, self.weights, self.temperature)[inverse]
            usage = Usage(rows=batch.num_rows, truncated_rows=cut, seconds=time.perf_counter() - start)
            yield predictions_of(self.label_set, batch.column("id").to_pylist(), values, usage)

    def neighbours(self, texts: Sequence[str], k: int | None = None) -> list[list[Neighbour]]:
        """The rows that vote on each text, the nearest first; as many as vote, or k. Texts are taken as they are,
        without the run's preparation."""
        similarities, positions = self.index.search(self.featurizer.transform(list(texts)), k or self.k)
        return [
            [self._named(float(one), int(row)) for one, row in zip(*found, strict=True) if np.isfinite(one)]
            for found in zip(similarities, positions, strict=True)
        ]

    def _named(self, similarity: float, row: int) -> Neighbour:
        held = self.targets[row]
        if self.label_set.is_regression:
            return Neighbour(self.ids[row], similarity, score=float(held.sum()))
        return Neighbour(self.ids[row], similarity, tuple(self.label_set.names[i] for i in sorted(held.indices)))

    def save(self, writer: RunWriter) -> None:
        """Write featurizer, index, and the ids, targets and weights of the rows into the run."""
        from safetensors.numpy import save_file

        settings = {"k": self.k, "temperature": self.temperature, "ids": list(self.ids)}
        writer.write_json(SETTINGS, settings)
        self.featurizer.save(writer, FEATURES)
        arrays = {f"targets.{name}": getattr(self.targets, name) for name in ("data", "indices", "indptr")}
        tensors = {**self.index.tensors(), **arrays, "weights": self.weights}
        with disk_errors(writer.path):
            save_file({name: np.ascontiguousarray(one) for name, one in tensors.items()}, writer.stage(TENSORS))


def load(run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> NeighboursPredictor:
    """The predictor of a finished run."""
    from safetensors.numpy import load_file
    from scipy.sparse import csr_matrix

    label_set, settings = LabelSet.load(run.path / LABEL_SET), run.read_json(SETTINGS)
    tensors = load_file(run.path / TENSORS)
    arrays = tuple(tensors[f"targets.{name}"] for name in ("data", "indices", "indptr"))
    targets = csr_matrix(arrays, shape=(len(settings["ids"]), len(label_set)))
    featurizer = load_featurizer(run, FEATURES, section, base, trust_remote_code)
    return NeighboursPredictor(
        label_set,
        featurizer,
        load_index(tensors),
        settings["ids"],
        targets,
        tensors["weights"],
        settings["k"],
        settings["temperature"],
    )


def votes(found: Found, targets: Any, weights: FloatArray, temperature: float) -> FloatArray:
    """Shares of each label among the neighbours (or their mean score), each weighed by exp(similarity / temperature)
    and its row's weight; [queries, labels]. NaN where there is no neighbour.

    Args:
        found: similarities and positions [queries, k].
        targets: a sparse matrix [rows, labels].
    """
    from scipy.sparse import csr_matrix

    similarities, positions = found
    nearest = np.maximum(similarities.max(axis=1, initial=-np.inf, keepdims=True), -2.0)
    counted = np.exp((similarities.astype(np.float64) - nearest) / temperature) * weights[positions]
    total = counted.sum(axis=1, keepdims=True)
    shares = np.divide(counted, total, out=np.zeros_like(counted), where=total > 0)
    ends = np.arange(len(shares) + 1) * shares.shape[1]
    voting = csr_matrix((shares.ravel(), positions.ravel(), ends), shape=(len(shares), targets.shape[0]))
    values: FloatArray = (voting @ targets).toarray()
    values[total[:, 0] <= 0] = np.nan
    return values
