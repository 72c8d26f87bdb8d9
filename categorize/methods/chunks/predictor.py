"""Predicts documents from their chunks: distinct chunks are read once, in batches that a token budget bounds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import TokenCounter
from categorize.engines.encoder import TorchEncoder
from categorize.engines.engine import Engine
from categorize.labels import LabelSet
from categorize.methods.chunks.documents import DocumentChunks, document_chunks
from categorize.methods.chunks.features import ChunkFeatures
from categorize.methods.chunks.model import CHUNKS, Chunks, ChunkSettings, load_trained_chunks
from categorize.nn.tokenizer import TokenizedTexts, tokenize
from categorize.predictions import FloatArray, IntArray, Predictions, Usage
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import LABEL_SET, Run

DOCUMENTS_AT_ONCE = 64


class ChunksPredictor:
    """A chunk encoder with its aggregator.

    Args:
        chunks: network, tokenizer and settings.
        label_set: labels in the order of the network's outputs.
        section: batch bounds and the type of the computation.
        features: make the chunk vectors of a network that has no encoder.
    """

    unit: Literal["row", "document"] = "document"

    def __init__(
        self,
        chunks: Chunks,
        label_set: LabelSet,
        section: PredictionSection | None = None,
        features: ChunkFeatures | None = None,
    ) -> None:
        self.chunks, self.label_set = chunks, label_set
        self.section = section or PredictionSection()
        self.features = features
        self.tokens: TokenCounter = chunks.counter
        self.output = chunks.output(label_set)
        self.engine: Engine[TokenizedTexts] | None = None
        if features is None:
            self.engine = TorchEncoder(chunks.network.reader(), chunks.network.config.hidden_size, self.section)

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of the documents of each record batch; equal chunks are read once."""
        for batch in batches:
            start = time.perf_counter()
            documents = self.documents(pa.table(batch))
            vectors, tokens = self.vectors(documents)
            logits = np.zeros((len(documents.ids), self.output.width))
            for at, part, document in grouped_chunks(documents):
                logits[at] = self.run(self.chunks.network.documents, vectors[part], document)
            usage = Usage(
                rows=len(documents.ids),
                tokens=tokens,
                truncated_rows=int(np.count_nonzero(documents.left_out)),
                seconds=time.perf_counter() - start,
            )
            yield self.output.predictions(documents.ids, logits, usage)

    def documents(self, rows: pa.Table) -> DocumentChunks:
        """The chunks of whole documents."""
        settings = self.chunks.settings
        return document_chunks(rows, self.tokens, settings.max_chunks, settings.keep)

    def vectors(self, documents: DocumentChunks) -> tuple[FloatArray, int]:
        """Vectors [texts, size] of the distinct chunks, and how many tokens they took an encoder."""
        if self.engine is None or self.chunks.tokenizer is None:
            assert self.features is not None
            return self.features.transform(documents.texts).astype(np.float64), 0
        tokens = tokenize(self.chunks.tokenizer, documents.texts, self.chunks.settings.max_length)
        return self.engine.outputs(tokens), int(tokens.lengths.sum())

    def run(self, function: Any, vectors: FloatArray, document: IntArray) -> FloatArray:
        """What a method of the network makes of chunk vectors and their documents."""
        import torch

        classifier = self.chunks.network.classifier.weight
        with torch.inference_mode():
            given = torch.from_numpy(vectors).to(classifier.device, classifier.dtype)
            result = function(given, torch.from_numpy(document).to(classifier.device))
        return np.asarray(result.double().cpu().numpy())


def grouped_chunks(documents: DocumentChunks) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
    """Documents with like numbers of chunks together: their positions, those of their chunks in a row, and the document
    of each chunk, from 0."""
    counts = np.array([len(chunks) for chunks in documents.chunks], dtype=np.int64)
    order = np.argsort(counts, kind="stable")
    for start in range(0, len(order), DOCUMENTS_AT_ONCE):
        at = order[start : start + DOCUMENTS_AT_ONCE]
        part = np.concatenate([documents.chunks[i] for i in at])
        yield at, part, np.repeat(np.arange(len(at)), counts[at])


def load(run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> ChunksPredictor:
    """The predictor of a finished run."""
    label_set, settings = LabelSet.load(run.path / LABEL_SET), ChunkSettings(**run.read_json(CHUNKS))
    chunks = load_trained_chunks(str(run.weights), label_set, settings, base, trust_remote_code)
    features = ChunkFeatures.load(run, section, base, trust_remote_code) if settings.features else None
    return ChunksPredictor(chunks, label_set, section, features)
