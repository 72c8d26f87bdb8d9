"""Which chunks of a document its prediction rests on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from categorize.errors import UserError
from categorize.methods.chunks.predictor import ChunksPredictor, grouped_chunks
from categorize.prediction.predictor import TrainedPredictor
from categorize.predictions import FloatArray


@dataclass(frozen=True)
class ChunkWeights:
    """The chunks of a document in its order.

    Attributes:
        texts: of the chunks.
        weights: [chunks], or [chunks, labels] with `label_attention`; each column sums to 1.
    """

    texts: list[str]
    weights: FloatArray


def chunk_weights(predictor: TrainedPredictor, text: str) -> ChunkWeights:
    """The chunks of a text, prepared as the run prepares it, and the share that each has in the document's vector.

    Weights tell what the classifier was given, not why it decided (Jain and Wallace, 2019).

        from categorize import load_predictor
        from categorize.methods.chunks.explain import chunk_weights

        found = chunk_weights(load_predictor("outputs/transcript_chunks"), transcript)
        for weight, chunk in sorted(zip(found.weights, found.texts), reverse=True)[:3]:
            print(f"{weight:.2f} {chunk}")

    Raises:
        UserError: the run is of another method, or its aggregator does not weigh chunks.
    """
    inner = predictor.inner
    if not isinstance(inner, ChunksPredictor):
        raise UserError(f"{predictor.name}: is not a run of model.method chunks, which alone weighs chunks")
    network = inner.chunks.network
    if not hasattr(network.aggregator, "weights"):
        raise UserError(
            f"{predictor.name}: its aggregator does not weigh chunks; train one with model.aggregator.type: attention"
        )
    rows = predictor.input_spec.expand(predictor.input_spec.rows_from_texts([text]), inner.tokens)
    documents = inner.documents(rows)
    vectors, _ = inner.vectors(documents)
    ((_, part, document),) = grouped_chunks(documents)
    weights = inner.run(network.weights, vectors[part], document)[0]
    return ChunkWeights([documents.texts[i] for i in part], np.ascontiguousarray(weights.T))
