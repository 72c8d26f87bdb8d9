"""TF-IDF features and a linear model: predicted with, saved as safetensors and JSON (no pickle), and loaded."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.labels import LabelSet
from categorize.nn.head_output import head_output
from categorize.predictions import FloatArray, Predictions, Usage
from categorize.runs.folder import LABEL_SET, Run, RunWriter
from categorize.writing import disk_errors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

SETTINGS = "tfidf.json"
VOCABULARY = "vocabulary.json"
WEIGHTS = "model.safetensors"

# Scripts that are written without spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Their characters are words: with `\w+` a whole clause would be one, which no second text holds. On Chinese titles
# pairs of characters scored above the words of a segmenter.
WORDS = rf"(?u)[{UNSPACED}]|[^\W{UNSPACED}]+"


@dataclass(frozen=True)
class FeatureSettings:
    """How texts become features: n-gram lengths of characters and of words, lower-cased. The last two defaults are
    what runs were trained with that do not name them."""

    char_ngrams: tuple[int, int] | None
    word_ngrams: tuple[int, int] | None
    min_df: int = 1
    max_features: int | None = None
    char_analyzer: str = "char"
    word_pattern: str = r"(?u)\b\w+\b"


class Features:
    """One or two scikit-learn vectorizers side by side."""

    def __init__(self, settings: FeatureSettings) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.settings = settings
        shared: dict[str, Any] = {"min_df": settings.min_df, "max_features": settings.max_features}
        shared |= {"sublinear_tf": True, "lowercase": True, "dtype": np.float64}
        kinds: dict[str, tuple[tuple[int, int] | None, dict[str, str]]] = {
            "char": (settings.char_ngrams, {"analyzer": settings.char_analyzer}),
            "word": (settings.word_ngrams, {"analyzer": "word", "token_pattern": settings.word_pattern}),
        }
        self.vectorizers = {
            name: TfidfVectorizer(ngram_range=lengths, **own, **shared)
            for name, (lengths, own) in kinds.items()
            if lengths is not None
        }

    def fit_transform(self, texts: list[str]) -> csr_matrix:
        """Learn the vocabulary and give the features [texts, n-grams]."""
        from scipy.sparse import hstack

        return hstack([vectorizer.fit_transform(texts) for vectorizer in self.vectorizers.values()], format="csr")

    def transform(self, texts: list[str]) -> csr_matrix:
        """Features [texts, n-grams]."""
        from scipy.sparse import hstack

        return hstack([vectorizer.transform(texts) for vectorizer in self.vectorizers.values()], format="csr")


class TfidfPredictor:
    """A fitted linear model on TF-IDF features.

    Args:
        features: fitted.
        coefficients: float [outputs, n-grams]; a regression has one output, a binary classification two.
        intercepts: float [outputs].
    """

    unit: Literal["row", "document"] = "row"

    def __init__(
        self, label_set: LabelSet, features: Features, coefficients: FloatArray, intercepts: FloatArray
    ) -> None:
        self.label_set = label_set
        self.features = features
        self.coefficients, self.intercepts = coefficients, intercepts
        self.tokens: TokenCounter = PlainTokens()
        self.output = head_output(label_set)

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal texts are computed once. Probabilities are a softmax (or sigmoids) of
        the margins: an order, not a calibrated belief; the temperature of the run's decision rule makes them one."""
        for batch in batches:
            start = time.perf_counter()
            texts, inverse = distinct_inputs(model_inputs(batch, None), None)
            margins = np.tile(self.intercepts, (len(texts), 1))
            if texts:  # scikit-learn refuses none
                margins += self.features.transform(texts) @ self.coefficients.T
            margins = margins[inverse]
            usage = Usage(rows=batch.num_rows, seconds=time.perf_counter() - start)
            yield self.output.predictions(batch.column("id").to_pylist(), margins, usage)

    def save(self, writer: RunWriter) -> None:
        """Write settings, vocabularies with their weights, and the linear model into the run."""
        from safetensors.numpy import save_file

        writer.write_json(SETTINGS, asdict(self.features.settings))
        vocabularies = {
            name: sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.get)
            for name, vectorizer in self.features.vectorizers.items()
        }
        writer.write_json(VOCABULARY, vocabularies)
        tensors = {
            "coefficients": np.ascontiguousarray(self.coefficients),
            "intercepts": np.ascontiguousarray(self.intercepts),
        }
        tensors |= {f"idf.{name}": vectorizer.idf_ for name, vectorizer in self.features.vectorizers.items()}
        with disk_errors(writer.path):
            save_file(tensors, writer.stage(WEIGHTS))

    @classmethod
    def load(cls, run: Run) -> TfidfPredictor:
        """The predictor of a finished run."""
        from safetensors.numpy import load_file

        values = run.read_json(SETTINGS)
        for key in ("char_ngrams", "word_ngrams"):
            values[key] = tuple(values[key]) if values[key] else None
        features = Features(FeatureSettings(**values))
        vocabularies = json.loads((run.path / VOCABULARY).read_text(encoding="utf-8"))
        tensors = load_file(run.path / WEIGHTS)
        for name, vectorizer in features.vectorizers.items():
            vectorizer.vocabulary = {word: i for i, word in enumerate(vocabularies[name])}
            vectorizer.idf_ = tensors[f"idf.{name}"]
        return cls(LabelSet.load(run.path / LABEL_SET), features, tensors["coefficients"], tensors["intercepts"])
