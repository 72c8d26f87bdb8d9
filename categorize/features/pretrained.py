"""What featurizers with a pretrained model share: the model read again rather than copied into the run, its
fingerprint, and the vectors that are kept."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from categorize.connection import check_model
from categorize.errors import UserError
from categorize.features.cache import EmbeddingCache, cache_folder
from categorize.features.featurizer import Vectors
from categorize.nn.tokenizer import loading
from categorize.predictions import BoolArray
from categorize.processes import print0
from categorize.recipe.decision_sections import PredictionSection
from categorize.recipe.feature_sections import FEATURES, EmbeddingKeys
from categorize.runs.contents import encoder_inside
from categorize.runs.fingerprint import folder_fingerprint
from categorize.runs.folder import Run, RunWriter
from categorize.runs.hub import is_hub_model

TEXTS_AT_ONCE = 4096  # between two writes to the disk
SPEAKS_EVERY = 10.0  # seconds
CAME_WITH_THE_RUN = "inside"  # instead of a fingerprint: no other model can stand there
PLACE = ("name_or_path", "revision", "cache", "cache_dir")  # keys that shape no vector


class PretrainedFeaturizer(ABC):
    """A pretrained model that gives every text a vector. It is loaded when the first vector is computed, so not at all
    where every text has a kept one.

    Args:
        section: of the recipe.
        prediction: batch bounds and the type of the computation.
        trained: fingerprint of the model in training; None: this is the training.

    Raises:
        UserError: the folder or the package is missing.
    """

    needs: ClassVar[str | None] = None  # package of the extra `embeddings`

    def __init__(
        self,
        section: Any,
        prediction: PredictionSection | None = None,
        trust_remote_code: bool = False,
        trained: str | None = None,
    ) -> None:
        assert isinstance(section, EmbeddingKeys)
        self.section: Any = section
        self.prediction = prediction or PredictionSection()
        self.trust_remote_code = trust_remote_code
        self.trained = trained
        self.kept = self.computed = self.cut = 0
        if self.needs is not None and find_spec(self.needs) is None:
            package = self.needs.replace("_", "-")
            raise UserError(f"features.type: {section.type} needs {package}: pip install 'categorize[embeddings]'")  # type: ignore[attr-defined]
        if is_hub_model(section.name_or_path):
            check_model(section.name_or_path, section.revision)
        else:
            with loading(section.name_or_path, "the model"):
                if not Path(section.name_or_path).is_dir():
                    raise OSError("no such folder")

    # ------------------------------------------------------------ of each kind
    @abstractmethod
    def embed(self, texts: list[str]) -> tuple[Vectors, BoolArray]:
        """Vectors computed by the model, [texts, features], and which texts were cut, [texts]."""

    @abstractmethod
    def commit(self) -> str:
        """What tells the weights of a model of the Hub: its commit."""

    # ------------------------------------------------------------ what makes a vector
    @property
    def name(self) -> str:
        """The model's."""
        return Path(self.section.name_or_path).name

    @cached_property
    def fingerprint(self) -> str:
        """Of the model as it is now. Raises UserError where it is another than in training."""
        place = self.section.name_or_path
        folder = Path(place)
        now = folder_fingerprint(folder) if folder.is_dir() else self.commit()
        # A copy of a Hub model in a folder has another kind of fingerprint, which tells nothing.
        if self.trained is not None and len(self.trained) == len(now) and self.trained != now:
            raise UserError(
                f"{place}: holds another model than the one that the run was trained with; put that one back, or say "
                f"where it is (evaluation.runs: base, or --base)"
            )
        return now

    @property
    def identity(self) -> dict[str, Any]:
        """Everything that shapes a vector."""
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
        dtype = f"auto on {device}" if self.prediction.dtype == "auto" else self.prediction.dtype
        keys = self.section.model_dump(exclude=set(PLACE))
        return {**keys, "model": self.fingerprint, "dtype": dtype}

    # ------------------------------------------------------------ vectors
    def fit(self, texts: list[str]) -> Vectors:
        """Nothing is learned."""
        return self.transform(texts)

    def transform(self, texts: list[str]) -> Vectors:
        """Vectors [texts, features]: kept ones, and those of other texts computed, and kept in training."""
        distinct = list(dict.fromkeys(texts))
        start, computed = time.perf_counter(), self.computed
        said = start
        blocks = []
        for begin in range(0, len(distinct), TEXTS_AT_ONCE):
            blocks.append(self._block(distinct[begin : begin + TEXTS_AT_ONCE]))
            now = time.perf_counter()
            if now - said > SPEAKS_EVERY:
                speed, said = (self.computed - computed) / (now - start), now
                print0(f"  {begin + len(blocks[-1]):,} of {len(distinct):,} texts ({speed:,.0f} computed a second)")
        if not blocks:
            return np.zeros((0, self.width), dtype=np.float32)
        position = {text: i for i, text in enumerate(distinct)}
        vectors = np.concatenate(blocks)
        return vectors if len(distinct) == len(texts) else vectors[[position[text] for text in texts]]

    def _block(self, texts: list[str]) -> Vectors:
        found = self._cache.find(texts) if self._cache is not None else {}
        missing = [text for text in texts if text not in found]
        self.kept += len(found)
        self.computed += len(missing)
        if missing:
            vectors, cut = self.embed(missing)
            vectors = np.ascontiguousarray(vectors, dtype=np.float32)
            if self._cache is not None and self.trained is None and (trouble := self._cache.add(missing, vectors, cut)):
                print0(f"warning: {trouble}")
            found |= dict(zip(missing, zip(vectors, cut, strict=True), strict=True))
        self.cut += sum(bool(found[text][1]) for text in texts)
        return np.stack([found[text][0] for text in texts])

    @cached_property
    def _cache(self) -> EmbeddingCache | None:
        if not self.section.cache:
            return None
        return EmbeddingCache(cache_folder(self.section.cache_dir), self.identity)

    @cached_property
    def width(self) -> int:
        """Numbers of a vector."""
        return int(self.embed(["a"])[0].shape[1])

    def lines(self) -> list[str]:
        """How many vectors were computed and kept from before, for the terminal."""
        cut = f"; {self.cut:,} cut to the longest input" if self.cut else ""
        return [f"embeddings ({self.name}): {self.computed:,} texts computed, {self.kept:,} kept from before{cut}"]

    # ------------------------------------------------------------ saved
    def save(self, writer: RunWriter, prefix: str) -> None:
        """Write the section, and the fingerprint of the model."""
        writer.write_json(f"{prefix}.json", {**self.section.model_dump(), "fingerprint": self.fingerprint})

    @classmethod
    def load(
        cls, run: Run, prefix: str, prediction: PredictionSection | None, base: str | None, trust_remote_code: bool
    ) -> Self:
        """What was saved; it keeps no further vectors."""
        values = run.read_json(f"{prefix}.json")
        trained = values.pop("fingerprint")
        section = FEATURES[values["type"]](**values)
        if base is None and (inside := encoder_inside(run, {**values, "fingerprint": trained})) is not None:
            base, trained = str(inside), CAME_WITH_THE_RUN
        if base is not None:
            section = section.model_copy(update={"name_or_path": base, "revision": None})
        return cls(section, prediction, trust_remote_code, trained)
