"""Texts that are nearly the same: MinHash candidates (by rensa), each pair checked by the exact Jaccard similarity.

A text is the set of its character n-grams: pairs where Chinese, Japanese or Korean characters prevail, runs of five
elsewhere; case, white space, punctuation and the Unicode form do not count. Two texts are near if their sets share
`SIMILARITY` of their union (Broder 1997; banding as in Leskovec, Rajaraman and Ullman, chapter 3).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from categorize.data.rows import grouped
from categorize.predictions import BoolArray, FloatArray, IntArray

SIMILARITY = 0.8
# 16 bands of 5 values find a pair of similarity 0.8 in 99.8% of all cases, one of 0.5 in 40%.
_BANDS, _ROWS = 16, 5
_SEED = 42
_CHUNK = 1000  # texts whose digests are held as Python has them
_HASHED = 10_000  # rows of values that are hashed at once
_PAIRS = 100_000  # that are compared at once
# A band that this many texts share (a form letter) is compared with so many neighbours each, not all with all.
_NEIGHBOURS = 50
_CHARACTERS = 10_000  # of a longer text the beginning is compared
_NO_WORD = re.compile(r"[\W_]+")
_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff]")


def normalized(text: str) -> str:
    """What is compared: letters and digits in lower case; all of the text where it has none."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _NO_WORD.sub("", plain)[:_CHARACTERS] or "".join(plain.split())[:_CHARACTERS]


def shingles(text: str) -> frozenset[str]:
    """The n-grams of a normalized text; the text itself where it is shorter than one."""
    return frozenset(_runs(text))


def _runs(text: str) -> list[str]:
    n = 2 if not text.isascii() and 2 * len(_WIDE.findall(text)) > len(text) else 5
    return [text[i : i + n] for i in range(max(len(text) - n + 1, 1))]


@dataclass(frozen=True)
class NearTexts:
    """Which of some texts are nearly the same."""

    node: IntArray  # [texts]; texts with one set of n-grams have one node
    pairs: IntArray  # [pairs, 2]; nodes that are near each other

    @classmethod
    def of(cls, texts: Sequence[str]) -> NearTexts:
        """Compare texts; a pair of similarity 0.8 or more is missed in one of some hundred cases.

        >>> near = NearTexts.of(["The parcel never arrived, I want my money back", "the parcel never arrived; I want my"
        ...     " money back!!", "Thank you"])
        >>> near.node.tolist(), near.pairs.tolist()
        ([0, 0, 1], [])
        """
        plain = [normalized(text) for text in texts]
        distinct = {text: i for i, text in enumerate(dict.fromkeys(plain))}
        of_text = np.fromiter((distinct[text] for text in plain), dtype=np.int64, count=len(plain))
        names = list(distinct)
        if not names:
            return cls(of_text, np.empty((0, 2), dtype=np.int64))
        digests = _digests(names)
        # Equal digests are equal sets, but for a chance of some in 2^64.
        _, first, node = np.unique(_hash_rows(digests), return_index=True, return_inverse=True)
        pairs = _candidates(digests[first])
        near = [np.empty((0, 2), dtype=np.int64)]
        for start in range(0, len(pairs), _PAIRS):
            block = pairs[start : start + _PAIRS]
            near.append(block[_similarities(block, lambda i: shingles(names[first[i]])) >= SIMILARITY])
        return cls(node.ravel().astype(np.int64)[of_text], np.concatenate(near))

    @property
    def nodes(self) -> int:
        """How many different sets of n-grams there are."""
        return int(self.node.max(initial=-1)) + 1

    def reached(self, members: BoolArray) -> BoolArray:
        """Bool [nodes]: which are members or near one, of members bool [nodes]."""
        result = members.copy()
        for a, b in ((0, 1), (1, 0)):
            result[self.pairs[members[self.pairs[:, a]], b]] = True
        return result

    def components_of_nodes(self, members: BoolArray | None = None) -> IntArray:
        """int64 [nodes]: nodes that are near each other, directly or by others between them, have one number.

        Args:
            members: bool [nodes]; the others join nothing. By default all are.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        pairs = self.pairs if members is None else self.pairs[members[self.pairs].all(axis=1)]
        graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(self.nodes, self.nodes))
        return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)

    def neighbours(self) -> dict[int, list[int]]:
        """Node -> the nodes near it, itself left out."""
        return grouped(np.concatenate([self.pairs, self.pairs[:, ::-1]]).tolist())


def _similarities(pairs: IntArray, shingles_of: Callable[[int], frozenset[str]]) -> FloatArray:
    """Jaccard similarity of the sets of each pair, [pairs]; form letters make millions of pairs."""
    from scipy.sparse import csr_array

    members, places = np.unique(pairs, return_inverse=True)
    a, b = places.reshape(pairs.shape).T
    sets = [np.fromiter(map(hash, shingles_of(int(i))), dtype=np.int64) for i in members]
    sizes = np.array([len(one) for one in sets], dtype=np.int64)
    values, columns = np.unique(np.concatenate(sets), return_inverse=True)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    held = csr_array((np.ones(len(columns), dtype=np.int32), columns.ravel(), bounds), (len(members), len(values)))
    shared = np.asarray(held[a].multiply(held[b]).sum(axis=1)).ravel()
    return np.asarray(shared / (sizes[a] + sizes[b] - shared))


def _digests(texts: Sequence[str]) -> npt.NDArray[np.uint32]:
    """MinHash digests [texts, bands * rows]."""
    from rensa import RMinHash

    parts = []
    for start in range(0, len(texts), _CHUNK):
        sets = [_runs(text) for text in texts[start : start + _CHUNK]]  # repeats do not matter
        matrix = RMinHash.digest_matrix_from_token_sets(sets, _BANDS * _ROWS, _SEED)
        values = chain.from_iterable(matrix.to_rows())
        parts.append(np.fromiter(values, dtype=np.uint32, count=len(sets) * _BANDS * _ROWS).reshape(len(sets), -1))
    return np.concatenate(parts)


def _hash_rows(values: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint64]:
    """64 bits for each row: the upper halves of two multilinear hashes. They sort much faster than the rows."""
    multipliers = np.random.default_rng(_SEED).integers(1, 2**63, size=(2, values.shape[1]), dtype=np.uint64)
    mask, result = np.uint64(0xFFFFFFFF00000000), np.empty(len(values), dtype=np.uint64)
    for start in range(0, len(values), _HASHED):
        wide = values[start : start + _HASHED].astype(np.uint64)
        first, second = (wide @ row for row in multipliers)
        result[start : start + _HASHED] = (first & mask) | (second >> np.uint64(32))
    return result


def _candidates(digests: npt.NDArray[np.uint32]) -> IntArray:
    """Pairs of rows that agree in a whole band, [pairs, 2], each once."""
    found = [np.empty(0, dtype=np.int64)]  # first * rows + second
    for band in range(_BANDS):
        keys = _hash_rows(digests[:, band * _ROWS : (band + 1) * _ROWS])
        _, code, count = np.unique(keys, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(count[code] > 1)
        order = shared[np.argsort(code[shared], kind="stable")]
        codes = code[order]
        of_band = []
        for step in range(1, min(_NEIGHBOURS, int(count.max())) + 1):
            same = codes[step:] == codes[:-step]
            if not same.any():
                break
            of_band.append(order[:-step][same] * len(digests) + order[step:][same])
        if of_band:
            found.append(np.unique(np.concatenate(of_band)))
    keys = np.unique(np.concatenate(found))
    return np.stack([keys // max(len(digests), 1), keys % max(len(digests), 1)], axis=1)
