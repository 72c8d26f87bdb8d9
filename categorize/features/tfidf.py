"""TF-IDF features: one or two scikit-learn vectorizers side by side, saved as JSON and safetensors."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from categorize.errors import UserError
from categorize.recipe.decision_sections import PredictionSection
from categorize.recipe.feature_sections import NgramKeys
from categorize.runs.folder import Run, RunWriter
from categorize.writing import disk_errors

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

# Scripts that are written without spaces between words: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"
    "\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
# Their characters are words: with `\w+` a whole clause would be one, which no second text holds. On Chinese titles
# pairs of characters scored above the words of a segmenter.
WORDS = rf"(?u)[{UNSPACED}]|[^\W{UNSPACED}]+"


@dataclass(frozen=True)
class NgramSettings:
    """How texts become features: n-gram lengths of characters and of words, lower-cased. The last two defaults are
    what runs were trained with that do not name them."""

    char_ngrams: tuple[int, int] | None
    word_ngrams: tuple[int, int] | None
    min_df: int = 1
    max_features: int | None = None
    char_analyzer: str = "char"
    word_pattern: str = r"(?u)\b\w+\b"


class TfidfFeaturizer:
    """One or two scikit-learn vectorizers side by side."""

    name = "tfidf"

    def __init__(self, settings: NgramSettings) -> None:
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

    @classmethod
    def build(cls, section: NgramKeys) -> Self:
        """Unfitted vectorizers of a recipe's keys."""
        if section.char_ngrams is None and section.word_ngrams is None:
            raise UserError("model: char_ngrams and word_ngrams are both null; name the lengths of one")
        char, word = (tuple(lengths) if lengths else None for lengths in (section.char_ngrams, section.word_ngrams))
        analyzer = "char_wb" if word else "char"
        return cls(NgramSettings(char, word, section.min_df, section.max_features, analyzer, WORDS))  # type: ignore[arg-type]

    @property
    def identity(self) -> dict[str, Any]:
        """The settings, and a hash of what was learned."""
        settings, vocabularies, tensors = self.state()
        learned = hashlib.sha256(json.dumps(vocabularies).encode())
        for name in sorted(tensors):
            learned.update(tensors[name].tobytes())
        return {"type": "tfidf", **settings, "learned": learned.hexdigest()}

    def fit(self, texts: list[str]) -> csr_matrix:
        """Learn the vocabulary and give the features [texts, n-grams]. Raises UserError where no n-gram is left."""
        from scipy.sparse import hstack

        try:
            return hstack([vectorizer.fit_transform(texts) for vectorizer in self.vectorizers.values()], format="csr")
        except ValueError as error:
            raise UserError(f"model: no n-gram is left ({error}); lower model.min_df or use char_ngrams") from error

    def transform(self, texts: list[str]) -> csr_matrix:
        """Features [texts, n-grams]."""
        from scipy.sparse import csr_matrix, hstack

        if not texts:  # scikit-learn refuses none
            return csr_matrix((0, sum(len(one.vocabulary_) for one in self.vectorizers.values())))
        return hstack([vectorizer.transform(texts) for vectorizer in self.vectorizers.values()], format="csr")

    # ------------------------------------------------------------ saved
    def state(self) -> tuple[dict[str, Any], dict[str, list[str]], dict[str, Any]]:
        """Settings, n-grams in the order of the columns, and arrays by name."""
        fitted = {name: one for name, one in self.vectorizers.items() if hasattr(one, "vocabulary_")}
        ngrams = {name: sorted(one.vocabulary_, key=one.vocabulary_.get) for name, one in fitted.items()}
        return asdict(self.settings), ngrams, {f"idf.{name}": one.idf_ for name, one in fitted.items()}

    @classmethod
    def from_state(cls, settings: dict[str, Any], vocabularies: dict[str, list[str]], tensors: dict[str, Any]) -> Self:
        """The featurizer of such a state."""
        for key in ("char_ngrams", "word_ngrams"):
            settings[key] = tuple(settings[key]) if settings[key] else None
        features = cls(NgramSettings(**settings))
        for name, vectorizer in features.vectorizers.items():
            vectorizer.vocabulary = {word: i for i, word in enumerate(vocabularies[name])}
            vectorizer.idf_ = tensors[f"idf.{name}"]
        return features

    def save(self, writer: RunWriter, prefix: str) -> None:
        """Write settings, vocabularies and inverse document frequencies."""
        from safetensors.numpy import save_file

        settings, vocabularies, tensors = self.state()
        writer.write_json(f"{prefix}.json", {"type": "tfidf", **settings})
        writer.write_json(f"{prefix}.vocabulary.json", vocabularies)
        with disk_errors(writer.path):
            save_file(tensors, writer.stage(f"{prefix}.safetensors"))

    @classmethod
    def load(
        cls, run: Run, prefix: str, prediction: PredictionSection | None, base: str | None, trust_remote_code: bool
    ) -> Self:
        """What was saved."""
        from safetensors.numpy import load_file

        settings = run.read_json(f"{prefix}.json")
        del settings["type"]
        vocabularies = run.read_json(f"{prefix}.vocabulary.json")
        return cls.from_state(settings, vocabularies, load_file(run.path / f"{prefix}.safetensors"))


def word_lines(section: NgramKeys, texts: list[str]) -> list[str]:
    """What word n-grams are made of where texts hold no spaces between words; nothing for other texts."""
    if section.word_ngrams is None:
        return []
    unspaced = len(re.findall(f"[{UNSPACED}]", "".join(texts)))
    words = len(re.findall(WORDS, "\n".join(texts)))
    if 10 * unspaced < words:
        return []
    line = f"words: {unspaced / words:.0%} are single characters of scripts without spaces (Chinese, Japanese, Thai)"
    if section.word_ngrams[1] == 1 and section.char_ngrams is None:
        line = f"warning: {line}, alone they say little; set model.word_ngrams=[1,2] or model.char_ngrams=[1,3]"
    return [line]
