"""Fixed vectors of chunks: features of any kind, reduced where they are many, of one size on average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from categorize.data.segments.tokens import PlainTokens
from categorize.features.build import build_featurizer, load_featurizer
from categorize.features.featurizer import Featurizer, Vectors
from categorize.methods.chunks.section import ChunksModel
from categorize.recipe.decision_sections import PredictionSection
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import Run, RunWriter
from categorize.writing import disk_errors

FEATURES = "features"  # prefix of the featurizer's files
REDUCTION = "reduction.safetensors"


class Words(PlainTokens):
    """Words and Chinese characters, of which a chunk has at most so many."""

    def __init__(self, room: int) -> None:
        self.room: int | None = room


@dataclass
class ChunkFeatures:
    """A featurizer and what makes chunk vectors of its features.

    Attributes:
        components: [size, features] of a truncated SVD, or None.
        scale: by which vectors are divided, so that a number of one is 1 on average over the training chunks.
    """

    featurizer: Featurizer
    components: Vectors | None
    scale: float

    @classmethod
    def fit(cls, recipe: SeqclsRecipe, texts: list[str], trust_remote_code: bool = False) -> tuple[Self, Vectors]:
        """Learn from the training chunks, and give their vectors [texts, size]."""
        section = recipe.model
        assert isinstance(section, ChunksModel) and section.features is not None
        featurizer = build_featurizer(section.features, recipe.prediction, trust_remote_code)  # type: ignore[arg-type]
        features = featurizer.fit(texts)
        components = None
        if section.svd is not None and section.svd < min(features.shape):
            from sklearn.decomposition import TruncatedSVD

            components = TruncatedSVD(section.svd, random_state=recipe.seed).fit(features).components_
            components = components.astype(np.float32)
        made = cls(featurizer, components, 1.0)
        vectors = made.reduced(features)
        made.scale = float(np.sqrt(np.square(vectors).mean())) or 1.0
        return made, vectors / np.float32(made.scale)

    def transform(self, texts: list[str]) -> Vectors:
        """Chunk vectors, float32 [texts, size]."""
        return self.reduced(self.featurizer.transform(texts)) / np.float32(self.scale)

    def reduced(self, features: Any) -> Vectors:
        """Features [texts, features] as a dense array of the size of chunk vectors."""
        if self.components is not None:
            features = features @ self.components.T
        dense = features.toarray() if hasattr(features, "toarray") else features
        return np.asarray(dense, dtype=np.float32)

    def save(self, writer: RunWriter) -> None:
        """Write featurizer and reduction into the run."""
        from safetensors.numpy import save_file

        self.featurizer.save(writer, FEATURES)
        tensors = {"scale": np.array([self.scale])}
        if self.components is not None:
            tensors["components"] = np.ascontiguousarray(self.components)
        with disk_errors(writer.path):
            save_file(tensors, writer.stage(REDUCTION))

    @classmethod
    def load(cls, run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> Self:
        """What `save` wrote."""
        from safetensors.numpy import load_file

        tensors = load_file(run.path / REDUCTION)
        featurizer = load_featurizer(run, FEATURES, section, base, trust_remote_code)
        return cls(featurizer, tensors.get("components"), float(tensors["scale"][0]))
