"""TextRank: how much the other sentences of a text speak of what a sentence speaks of (Mihalcea & Tarau 2004,
https://aclanthology.org/W04-3252)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from categorize.predictions import FloatArray

DAMPING = 0.85
TOLERANCE = 1e-10  # change of all ranks together in a step
STEPS = 200
KEPT = 4096  # sentences up to which the graph is kept; of more it is made anew in each step, a part at a time
PART = 1024
_WORD = re.compile(r"([\u2e80-\u9fff\uac00-\ud7ff\U00020000-\U0003ffff]+)|[^\W_\u2e80-\u9fff\uac00-\ud7ff]+")


def textrank(sentences: Sequence[str]) -> FloatArray:
    """The rank of each sentence, float64 [sentences], of sum 1: PageRank on the graph of `similarities`.

    Sentences that share no word with others get the same little. Ranks are rounded, so that equals are equal on every
    machine.

    >>> textrank(["The parcel came late.", "The late parcel was torn.", "It rains."]).round(2).tolist()
    [0.47, 0.47, 0.07]
    """
    n = len(sentences)
    if not n:
        return np.zeros(0)
    bags = _bags(sentences)
    parts = list(_parts(bags)) if n <= KEPT else None
    totals = np.concatenate([np.asarray(part.sum(axis=1)).ravel() for part in parts or _parts(bags)])
    alone = totals == 0
    ranks = np.full(n, 1 / n)
    for _ in range(STEPS):
        shares = np.where(alone, 0.0, ranks / np.where(alone, 1.0, totals))
        given = np.concatenate([part @ shares for part in parts or _parts(bags)])
        new = (1 - DAMPING) / n + DAMPING * (given + ranks[alone].sum() / n)
        change = float(np.abs(new - ranks).sum())
        ranks = new
        if change < TOLERANCE:
            break
    return np.round(ranks * n, 6) / n


def similarities(sentences: Sequence[str]) -> Any:
    """The words that two sentences share, by the logarithms of how many words they have: a scipy array [sentences,
    sentences]. A Chinese, Japanese or Korean word is a pair of neighbouring characters."""
    from scipy.sparse import vstack

    return vstack(list(_parts(_bags(sentences)))).tocsr()


def words(sentence: str) -> set[str]:
    """The distinct words of a sentence.

    >>> sorted(words("The parcel, the PARCEL! 包裹到了"))
    ['parcel', 'the', '到了', '包裹', '裹到']
    """
    found: set[str] = set()
    for match in _WORD.finditer(sentence.casefold()):
        run = match[0]
        found.update([run[i : i + 2] for i in range(len(run) - 1)] if match[1] and len(run) > 1 else [run])
    return found


def _bags(sentences: Sequence[str]) -> Any:
    """Which words each sentence has, a sparse array of ones and zeros [sentences, words]."""
    from scipy.sparse import csr_array

    numbers: dict[str, int] = {}
    columns: list[int] = []
    ends = [0]
    for sentence in sentences:
        columns += sorted(numbers.setdefault(word, len(numbers)) for word in sorted(words(sentence)))
        ends.append(len(columns))
    return csr_array((np.ones(len(columns)), columns, ends), shape=(len(sentences), max(len(numbers), 1)))


def _parts(bags: Any) -> Iterator[Any]:
    """The graph, some rows at a time. Sentences of a single word or none have no neighbours: their logarithm is 0."""
    lengths = np.log(np.maximum(np.diff(bags.indptr), 1))
    for start in range(0, bags.shape[0], PART):
        part = (bags[start : start + PART] @ bags.T).tocoo()
        rows, columns = part.coords
        weight = lengths[rows + start] + lengths[columns]
        kept = (rows + start != columns) & (weight > 0)
        part.data = np.where(kept, part.data / np.where(kept, weight, 1.0), 0.0)
        part = part.tocsr()
        part.eliminate_zeros()
        yield part
