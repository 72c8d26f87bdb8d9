"""The training rows that are most like a row: what a model could have known about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.analysis.inputs import Inputs
from categorize.data.rows import answers
from categorize.features.build import build_featurizer
from categorize.features.search import build_index, search_others
from categorize.predictions import BoolArray, FloatArray, IntArray

NEIGHBOURS = 5
SEARCHED = 5000  # rows that neighbours are looked up for, the most telling first
TRAINING_ROWS = 100_000  # that are searched; of more, so many drawn at random
SAMPLE = 1000  # training rows that say how far training rows are from each other
FAR = 0.1  # a row is far from all others where fewer of the training rows are
SAME = 0.999  # cosine from which two texts are the same


@dataclass(frozen=True)
class Neighbours:
    """The nearest training rows of some rows.

    Attributes:
        similarity: [rows, k], in falling order; -inf where there are fewer than k training rows.
        position: [rows, k], the positions of these rows in the training table.
        least: a row whose nearest training row is less similar than this has no close one. It is the tenth percentile
            of the similarity between a training row and its nearest other training row.
    """

    similarity: FloatArray
    position: IntArray
    least: float

    @property
    def is_far(self) -> BoolArray:
        """[rows]; no training row is close."""
        return np.asarray(self.similarity[:, 0] < self.least, dtype=bool)


def nearest(inputs: Inputs, rows: IntArray, k: int = NEIGHBOURS) -> Neighbours | None:
    """The k nearest labelled training rows of some rows; None where there are none, or nothing to compare.

    Raises:
        UserError: the model of `evaluation.features` is missing.
    """
    known = np.flatnonzero(~np.isnan(inputs.train_gold).any(axis=1))
    generator = np.random.default_rng(inputs.seed)
    if len(known) > TRAINING_ROWS:
        known = np.sort(generator.choice(known, TRAINING_ROWS, replace=False))
    texts = inputs.train["text"].to_pylist()
    texts = [texts[i] or "" for i in known]
    if len(texts) < 2 or not any(map(str.strip, texts)):
        return None
    featurizer = build_featurizer(inputs.features)
    index = build_index(featurizer.fit(texts))
    keys = inputs.train["content_hash"].take(pa.array(known)).to_pylist()
    queries = featurizer.transform([inputs.texts[i] for i in rows])
    if inputs.split == "train":  # a row is not its own neighbour
        own_keys = inputs.rows["content_hash"].take(pa.array(rows)).to_pylist()
        found, at = search_others(index, queries, k, own_keys, keys)
    else:
        found, at = index.search(queries, k)
    sample = generator.choice(len(texts), min(SAMPLE, len(texts)), replace=False)
    some = [texts[i] for i in sample]
    own, _ = search_others(index, featurizer.transform(some), 1, [keys[i] for i in sample], keys)
    others = own[np.isfinite(own)]  # all texts may be one
    least = float(np.quantile(others, FAR)) if len(others) else 0.0
    return Neighbours(found.astype(np.float64), known[at], least)


def lists_of(inputs: Inputs, found: Neighbours) -> list[list[dict[str, Any]]]:
    """The neighbours of each row as text, label and similarity."""
    texts, labels = inputs.train["text"].to_pylist(), answers(inputs.train)
    return [
        [
            {"text": texts[i], "label": shown(labels[i]), "similarity": round(float(s), 4)}
            for s, i in zip(of_row, at, strict=True)
            if np.isfinite(s) and s > 0
        ]
        for of_row, at in zip(found.similarity.tolist(), found.position.tolist(), strict=True)
    ]


def shown(answer: Any) -> str:
    """A gold as text: `a, b`, a score, or "none" for a row that truly has no label."""
    if isinstance(answer, tuple | list):
        return ", ".join(answer) or "none"
    return "" if answer is None else f"{answer:g}"


def majority(labels: Sequence[frozenset[str]]) -> frozenset[str]:
    """The labels that more than half of the neighbours have.

    >>> majority([frozenset("a"), frozenset("ab"), frozenset("b"), frozenset("a")])
    frozenset({'a'})
    """
    counts = Counter(name for one in labels for name in one)
    return frozenset(name for name, count in counts.items() if 2 * count > len(labels))
