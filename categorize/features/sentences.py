"""Vectors of a sentence-transformers model with all its modules (pooling, dense layers, normalisation) and prompts, by
that library."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from categorize.features.encoder import EncoderFeaturizer
from categorize.features.featurizer import Vectors
from categorize.nn.console import quiet_libraries
from categorize.nn.tokenizer import loading
from categorize.predictions import BoolArray


class SentenceTransformersFeaturizer(EncoderFeaturizer):
    """A model of the sentence-transformers library."""

    needs = "sentence_transformers"

    @cached_property
    def _model(self) -> Any:
        from sentence_transformers import SentenceTransformer

        quiet_libraries()
        section = self.section
        with loading(section.name_or_path, "the model"):
            model = SentenceTransformer(
                section.name_or_path,
                revision=section.revision,
                trust_remote_code=self.trust_remote_code,
                truncate_dim=section.truncate_dim,
            )
        if section.max_length is not None:
            model.max_seq_length = section.max_length
        return model

    def embed(self, texts: list[str]) -> tuple[Vectors, BoolArray]:
        """What the library gives."""
        from categorize.engines.batching import autocast

        prompt, longest = self.section.prompt, self._model.max_seq_length
        ids = self._model.tokenizer(texts, truncation=False, verbose=False)["input_ids"]
        cut = np.array([longest is not None and len(one) > longest for one in ids], dtype=bool)
        named = prompt is not None and prompt in (self._model.prompts or {})
        with autocast(self.prediction.dtype, self._model, self._model.device):
            vectors = self._model.encode(
                texts,
                batch_size=self.prediction.most_rows,
                prompt_name=prompt if named else None,
                prompt=None if named else prompt,
                normalize_embeddings=self.section.normalize,
                show_progress_bar=False,
            )
        return np.asarray(vectors, dtype=np.float32), cut
