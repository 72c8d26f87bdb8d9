"""Static embeddings: the mean of a text's token vectors, without a network, by model2vec (Tulkens and van Dongen,
2024); thousands of texts a second on one core."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from categorize.features.featurizer import Vectors
from categorize.features.pretrained import PretrainedFeaturizer
from categorize.nn.tokenizer import loading
from categorize.predictions import BoolArray

FILES = ("config.json", "tokenizer.json", "model.safetensors")


class StaticFeaturizer(PretrainedFeaturizer):
    """A StaticModel of model2vec, or a StaticEmbedding of sentence-transformers."""

    needs = "model2vec"

    @cached_property
    def _folder(self) -> Path:
        """Where the model's files are; those of a Hub model come from there."""
        from huggingface_hub import hf_hub_download

        place = self.section.name_or_path
        if Path(place).is_dir():
            return Path(place)
        with loading(place, "the model"):
            files = [hf_hub_download(place, file, revision=self.section.revision) for file in FILES]
        return Path(files[0]).parent

    def commit(self) -> str:
        """The Hub keeps each commit in a folder of its name."""
        return self._folder.name

    @cached_property
    def _model(self) -> Any:
        from model2vec import StaticModel

        folder = self._folder
        with loading(str(folder), "the model"):
            if (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
                return StaticModel.from_sentence_transformers(str(folder))
            return StaticModel.from_pretrained(str(folder))

    def embed(self, texts: list[str]) -> tuple[Vectors, BoolArray]:
        """Means of token vectors."""
        tokens = self._model.tokenizer.encode_batch(texts, add_special_tokens=False)
        cut = np.array([len(one.ids) > self.section.max_length for one in tokens], dtype=bool)
        found = self._model.encode(texts, max_length=self.section.max_length, use_multiprocessing=False)
        vectors: Vectors = np.asarray(found, dtype=np.float32)
        if self.section.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors, cut
