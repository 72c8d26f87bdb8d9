"""The `model` section of a chunk encoder with an aggregator."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from categorize.recipe.feature_sections import FeatureSection
from categorize.recipe.section import DType, Fraction, PositiveInt, Section

AggregatorType = Literal["attention", "label_attention", "mean", "max", "mlp", "logsumexp", "lstm", "transformer"]


class Aggregator(Section):
    """What makes one vector of the chunk vectors of a document."""

    type: AggregatorType = Field(
        "attention",
        description="attention: a weighted mean, the weights learned; label_attention: one for each label; mean, max; "
        "mlp: the mean of what a small network makes of each chunk; logsumexp: a soft maximum of the chunks' logits, "
        "where one chunk suffices for a label; lstm, transformer: these read the chunks in order.",
    )
    hidden_size: PositiveInt | None = Field(
        None, description="Width of its hidden layers; by default half of the chunk vectors' (transformer: twice)."
    )
    layers: PositiveInt = Field(1, description="Layers of mlp, logsumexp, lstm and transformer.")
    dropout: Fraction = Field(0.1, description="Dropout on chunk vectors and on the document's vector.")


class ChunksModel(Section):
    """An encoder reads a document in chunks, an aggregator joins their vectors, a head decides the document."""

    method: Literal["chunks"]
    name_or_path: str | None = Field(
        None, description="Hub id or folder of the encoder, which is trained too; either this or features."
    )
    features: FeatureSection | Annotated[list[FeatureSection], Field(min_length=1)] | None = Field(
        None,
        description="Fixed features of chunks instead of an encoder: computed once, those of a model kept on the disk, "
        "and the aggregator alone is trained on them. A list puts several side by side.",
    )
    svd: PositiveInt | None = Field(
        None, description="Reduce features to so many by a truncated SVD of the training chunks; n-grams need it."
    )
    revision: str | None = Field(None, description="Revision of a Hub model.")
    dtype: DType = Field("auto", description="Weights' type; auto: float32 where they are trained, else the saved one.")
    attn_implementation: str | None = Field(
        None, description="eager, sdpa, flash_attention_2, ...; the model's own by default."
    )
    max_length: PositiveInt = Field(
        256,
        description="Longest chunk in tokens, special tokens included. What is longer, a whole document too, is cut "
        "into windows of this length; nothing is lost. For features in words and Chinese characters.",
    )
    pooling: Literal["mean", "cls"] = Field(
        "mean", description="A chunk's vector: the mean over its tokens, or its first token's."
    )
    aggregator: Aggregator = Field(
        default_factory=lambda: Aggregator(), description="What makes one vector of the chunk vectors of a document."
    )
    max_chunks: PositiveInt | None = Field(
        None, description="Most chunks of a document; what is left out is counted and shown. null: all."
    )
    keep: Literal["first", "spread"] = Field(
        "first", description="Which chunks of a longer document: the first, or as many evenly spread over it."
    )
    chunk_batch: PositiveInt = Field(
        32,
        description="Chunks that the encoder reads at once. In training each such batch is computed again in the "
        "backward pass where there are several, so that memory grows far less with the length of documents.",
    )
