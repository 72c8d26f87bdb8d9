"""Featurizers by the `type` of their section, imported when one is asked for; and several side by side."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from categorize.errors import UserError
from categorize.features.featurizer import Featurizer, Matrix
from categorize.recipe.decision_sections import PredictionSection
from categorize.recipe.section import Section
from categorize.runs.folder import Run, RunWriter


def build_featurizer(
    section: Section | list[Section], prediction: PredictionSection | None = None, trust_remote_code: bool = False
) -> Featurizer:
    """The featurizer of a `features` section, not yet fitted; of a list, one that puts their features side by side.

    Args:
        prediction: batch bounds and the type of the computation, where there is a model.

    Raises:
        UserError: the model or a package is missing.

    >>> from categorize.recipe.feature_sections import TfidfFeatures
    >>> build_featurizer(TfidfFeatures(type="tfidf", char_ngrams=[1, 2])).fit(["ab", "b"]).shape
    (2, 3)
    """
    if isinstance(section, list):
        return Concatenated([build_featurizer(one, prediction, trust_remote_code) for one in section])
    kind = featurizer_class(str(section.type))  # type: ignore[attr-defined]
    if section.type == "tfidf":  # type: ignore[attr-defined]
        return kind.build(section)  # type: ignore[no-any-return]
    return kind(section, prediction, trust_remote_code)  # type: ignore[no-any-return]


def load_featurizer(
    run: Run,
    prefix: str,
    prediction: PredictionSection | None = None,
    base: str | None = None,
    trust_remote_code: bool = False,
) -> Featurizer:
    """The featurizer that was saved under a prefix. Raises UserError as `Featurizer.load`."""
    kind = featurizer_class(run.read_json(f"{prefix}.json")["type"])
    return kind.load(run, prefix, prediction, base, trust_remote_code)  # type: ignore[no-any-return]


def featurizer_class(kind: str) -> Any:
    """The class of a `type`."""
    if kind == "tfidf":
        from categorize.features.tfidf import TfidfFeaturizer

        return TfidfFeaturizer
    if kind == "encoder":
        from categorize.features.encoder import EncoderFeaturizer

        return EncoderFeaturizer
    if kind == "sentence_transformers":
        from categorize.features.sentences import SentenceTransformersFeaturizer

        return SentenceTransformersFeaturizer
    if kind == "static":
        from categorize.features.static import StaticFeaturizer

        return StaticFeaturizer
    if kind == "concatenated":
        return Concatenated
    raise UserError(f"features.type: {kind!r} is unknown here; the run was made by a newer version")


class Concatenated:
    """Features of several featurizers side by side: dense where all are, else sparse."""

    def __init__(self, parts: list[Featurizer]) -> None:
        self.parts = parts

    @property
    def name(self) -> str:
        """The names of its parts."""
        return " + ".join(part.name for part in self.parts)

    @property
    def identity(self) -> dict[str, Any]:
        """That of its parts."""
        return {"type": "concatenated", "parts": [part.identity for part in self.parts]}

    def fit(self, texts: list[str]) -> Matrix:
        """Fit each, and give their features [texts, features of all]."""
        return _side_by_side([part.fit(texts) for part in self.parts])

    def transform(self, texts: list[str]) -> Matrix:
        """Features [texts, features of all]."""
        return _side_by_side([part.transform(texts) for part in self.parts])

    def lines(self) -> list[str]:
        """What its parts say."""
        return [line for part in self.parts for line in lines_of(part)]

    def save(self, writer: RunWriter, prefix: str) -> None:
        """Write each under a prefix of its own."""
        writer.write_json(f"{prefix}.json", {"type": "concatenated", "parts": len(self.parts)})
        for i, part in enumerate(self.parts):
            part.save(writer, f"{prefix}.{i}")

    @classmethod
    def load(
        cls, run: Run, prefix: str, prediction: PredictionSection | None, base: str | None, trust_remote_code: bool
    ) -> Self:
        """What was saved; `base` is for its only model. Raises UserError where it has several, and a base is given."""
        names = [f"{prefix}.{i}" for i in range(run.read_json(f"{prefix}.json")["parts"])]
        models = [name for name in names if "name_or_path" in run.read_json(f"{name}.json")]
        if base is not None and len(models) > 1:
            raise UserError(
                f"{run.path}: base is the place of one model, and the run has {len(models)}; put them where they were"
            )
        bases = [base if name in models else None for name in names]
        parts = zip(names, bases, strict=True)
        return cls([load_featurizer(run, name, prediction, own, trust_remote_code) for name, own in parts])


def cut_by(featurizer: Featurizer) -> int:
    """How many texts a featurizer has cut to a model's longest input so far."""
    if isinstance(featurizer, Concatenated):
        return sum(cut_by(part) for part in featurizer.parts)
    return int(getattr(featurizer, "cut", 0))


def lines_of(featurizer: Featurizer) -> list[str]:
    """What a featurizer says of its work."""
    return list(getattr(featurizer, "lines", list)())


def _side_by_side(matrices: list[Matrix]) -> Matrix:
    from scipy.sparse import hstack, issparse

    if any(issparse(one) for one in matrices):
        return hstack(matrices, format="csr")
    return np.concatenate(matrices, axis=1)
