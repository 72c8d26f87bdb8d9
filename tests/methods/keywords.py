"""A method as another package would bring it: one module, no line of the project changed."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import Field

from categorize.methods.method import Method
from categorize.recipe.section import PositiveInt, Section
from categorize.recipe.written import WrittenRecipe


class KeywordModel(Section):
    """The label that most training rows with the first known word have."""

    method: Literal["keywords"]
    min_count: PositiveInt = Field(1, description="Training rows that a word must be in.")
    fallback: str | None = Field(None, description="Label of rows without a known word; the most frequent by default.")


def check_fallback(recipe: WrittenRecipe) -> None:
    """Notes a fallback that is not a label."""
    names, fallback = recipe.label_names, recipe.value("model.fallback")
    if names is not None and fallback is not None and fallback not in names:
        recipe.refuse("model.fallback", f"{fallback!r} is not one of labels.names: {', '.join(names)}")


class KeywordMethod(Method):
    """Counts words."""

    name = "keywords"
    kind = "seqcls"
    section = KeywordModel
    checks = (check_fallback,)
    files = ("keywords.json",)
    together = False

    def fit(self, recipe: Any, data: Any, writer: Any, options: Any) -> Any:
        """Count."""
        from categorize.training.fit_summary import FitSummary

        start = time.perf_counter()
        rows = data.splits.train
        labels = [names[0] for names in rows.column("gold").to_pylist()]
        words: dict[str, Counter[str]] = {}
        for text, label in zip(rows.column("text").to_pylist(), labels, strict=True):
            for word in text.split():
                words.setdefault(word, Counter())[label] += 1
        kept = {
            word: seen.most_common(1)[0][0] for word, seen in words.items() if seen.total() >= recipe.model.min_count
        }
        fallback = recipe.model.fallback or Counter(labels).most_common(1)[0][0]
        writer.write_json("keywords.json", {"words": kept, "fallback": fallback})
        return FitSummary(len(kept), len(kept), time.perf_counter() - start, len(labels), details={"words": len(kept)})

    def preview(self, recipe: Any, data: Any, options: Any) -> list[str]:
        """How many rows there are to count in."""
        return [f"words of {data.splits.train.num_rows} rows would be counted"]

    def predictor(self, run: Any, section: Any = None, base: Any = None, trust_remote_code: bool = False) -> Any:
        """What was counted."""
        from categorize.labels import LabelSet

        return KeywordPredictor(LabelSet.load(run.path / "label_set.json"), **run.read_json("keywords.json"))


class KeywordPredictor:
    """Looks words up."""

    def __init__(self, label_set: Any, words: dict[str, str], fallback: str) -> None:
        from categorize.data.segments.tokens import PlainTokens

        self.label_set, self.words, self.fallback = label_set, words, fallback
        self.tokens, self.unit = PlainTokens(), "row"

    def predict(self, batches: Iterable[Any]) -> Iterator[Any]:
        """All on one label."""
        import numpy as np

        from categorize.predictions import Predictions, Usage

        for batch in batches:
            texts = batch.column("text").to_pylist()
            found = [next((self.words[w] for w in text.split() if w in self.words), self.fallback) for text in texts]
            probabilities = np.eye(len(self.label_set))[[self.label_set.index[label] for label in found]]
            yield Predictions(batch.column("id").to_pylist(), probabilities, usage=Usage(rows=len(texts)))
