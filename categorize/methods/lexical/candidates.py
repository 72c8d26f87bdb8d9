"""Labels that were found in texts, as candidates with features that say nothing of which label it is.

So a classifier over candidates of the training rows judges labels that no training row has (Medelyan 2009,
"Human-competitive automatic topic indexing"; Annif's MLLM).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from categorize.labels import LabelSet
from categorize.methods.lexical.terms import Find, Terms
from categorize.predictions import FloatArray, IntArray

_MOST_TOKENS = 200_000  # of the training texts whose frequency is kept, the most frequent ones
FEATURES = (
    "tokens of the term", "share found", "rarity among terms", "rarity in texts", "rarest token in texts",
    "is the name", "ambiguity", "adjacent", "count", "first place", "spread", "share of the text",
    "length of the text", "candidates of the text", "shorter than the longest", "less rare than the rarest",
    "parent found", "siblings found",
)  # fmt: skip


@dataclass(frozen=True)
class Frequencies:
    """In how many texts of the training each token stands.

    Attributes:
        texts: how many there were.
        tokens: the most frequent that stand in more than one.
    """

    texts: int = 0
    tokens: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, documents: Sequence[list[list[str]]]) -> Frequencies:
        """Counted over texts as `Segmenter.sentences` gives them."""
        counts = Counter(token for sentences in documents for token in {t for one in sentences for t in one})
        frequent = {token: n for token, n in counts.most_common(_MOST_TOKENS) if n > 1}
        return cls(len(documents), frequent)

    def rarity(self, token: str) -> float:
        """Logarithm of how rare it is; 0 where nothing was counted."""
        return float(np.log((self.texts + 1) / (self.tokens.get(token, 0) + 1)))


@dataclass(frozen=True)
class Candidates:
    """Labels found in a block of texts.

    Attributes:
        rows, labels: int [n]: which text, which label.
        features: float [n, FEATURES].
        scores: float [n], log-odds where nothing was learned.
    """

    rows: IntArray
    labels: IntArray
    features: FloatArray
    scores: FloatArray

    def __len__(self) -> int:
        return len(self.rows)


class CandidateFinder:
    """Finds the labels of a set in texts.

    Args:
        terms: of the label set.
        frequencies: of tokens in the training texts.
    """

    def __init__(self, label_set: LabelSet, terms: Terms, frequencies: Frequencies) -> None:
        self.label_set, self.terms = label_set, terms
        known = terms.terms
        self._among = np.array([term.rarity for term in known], dtype=np.float64)
        rarities = [[frequencies.rarity(token) for token in tokens] for tokens in terms.spelled]
        self._rarity = np.array([sum(one) for one in rarities], dtype=np.float64)
        self._rarest = np.array([max(one) for one in rarities], dtype=np.float64)
        self._width = np.array([len(term.tokens) for term in known], dtype=np.float64)
        self._ambiguity = np.array([len(term.labels) for term in known], dtype=np.float64)
        groups = {group.name: len(label_set) + i for i, group in enumerate(label_set.groups)}
        self._parent = [groups.get(label.parent or "", -1) for label in label_set.labels]

    def find(self, documents: Sequence[list[list[str]]]) -> Candidates:
        """Candidates of texts as `Segmenter.sentences` gives them."""
        rows: list[int] = []
        labels: list[int] = []
        finds: list[Find] = []
        family: list[tuple[bool, int]] = []
        for row, sentences in enumerate(documents):
            found = self.terms.find(sentences)
            if not found:
                continue
            own = [label for label in found if label < len(self.label_set)]
            parents = Counter(self._parent[label] for label in own)
            for label in own:
                parent = self._parent[label]
                rows.append(row)
                labels.append(label)
                finds.append(found[label])
                family.append((parent in found, parents[parent] - 1 if parent >= 0 else 0))
        return self._described(np.array(rows, dtype=np.int64), np.array(labels, dtype=np.int64), finds, family)

    def _described(
        self, rows: IntArray, labels: IntArray, finds: list[Find], family: list[tuple[bool, int]]
    ) -> Candidates:
        columns = [(f.term, f.is_name, f.share, f.adjacent, f.count, f.first, f.last, f.length) for f in finds]
        table = np.array(columns, dtype=np.float64).reshape(-1, 8)
        term, (is_name, share, adjacent, count, first, last, length) = table[:, 0].astype(np.int64), table[:, 1:].T
        width, among = self._width[term], self._among[term] * share
        many = np.bincount(rows, minlength=1)[rows] if len(rows) else np.zeros(0)
        relative = among / np.log(len(self.terms.terms) + 1.0)  # alike in small and large sets of labels
        longest, rarest = _most(rows, width), _most(rows, relative)
        parent, siblings = np.array(family, dtype=np.float64).reshape(-1, 2).T
        features = [
            width, share, relative, self._rarity[term], self._rarest[term], is_name,
            np.log(self._ambiguity[term]), adjacent, np.log(count), first / np.maximum(length, 1),
            (last - first) / np.maximum(length, 1), width * count / np.maximum(length, 1), np.log1p(length),
            np.log1p(many), longest - width, rarest - relative, parent, np.log1p(siblings),
        ]  # fmt: skip
        # Among as many labels as there are, a token that only one has is worth their number: even odds and a bit more.
        scores = 1.0 + among - np.log(len(self.label_set)) - np.log(self._ambiguity[term])
        scores += 0.5 * (np.log(count) + is_name + parent) - (1 - adjacent) - 3 * (1 - share)
        return Candidates(rows, labels, np.stack(features, axis=1).reshape(-1, len(FEATURES)), scores)


def _most(rows: IntArray, values: FloatArray) -> FloatArray:
    """For each candidate the largest value in its text."""
    largest = np.full(int(rows.max()) + 1 if len(rows) else 0, -np.inf)
    np.maximum.at(largest, rows, values)
    return largest[rows]
