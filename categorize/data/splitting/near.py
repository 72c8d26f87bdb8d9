"""Texts that are nearly the same: MinHash candidates, each pair checked by the exact Jaccard similarity.

A text is the set of its character n-grams: pairs where Chinese, Japanese or Korean characters prevail, runs of five
elsewhere; case, white space, punctuation and the Unicode form do not count. Two texts are near if their sets share
`SIMILARITY` of their union (Broder 1997; banding as in Leskovec, Rajaraman and Ullman, chapter 3).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from categorize.data.rows import coded, grouped, in_parts, strings
from categorize.predictions import BoolArray, IntArray

Hashes = npt.NDArray[np.uint64]

SIMILARITY = 0.8
# 16 bands of 5 values find a pair of similarity 0.8 in 99.8% of all cases, one of 0.5 in 40%.
_BANDS, _ROWS = 16, 5
_BITS = np.uint64(48)  # of the hash of an n-gram: the other 16 bits of a number say whose it is
_BLOCK = 2**20  # n-grams that are worked on at once
_LEAST = _BLOCK >> 15  # as how many a text counts at least: a block has fewer than 2^16
# A band that this many texts share (a form letter) is compared with so many neighbours each, not all with all.
_NEIGHBOURS = 50
_CHARACTERS = 10_000  # of a longer text the beginning is compared
_NO_WORD = re.compile(r"[\W_]+")
# Where Chinese, Japanese and Korean characters begin and end.
_WIDE = np.array([0x3040, 0x3100, 0x3400, 0xA000, 0xAC00, 0xD7B0, 0x20000, 0x40000], dtype=np.uint32)
_LONG, _SHORT = 5, 2
_random = np.random.default_rng(42)
_OF_PLACE, _OF_ROW = (_random.integers(2**63, size=n, dtype=np.uint64) * 2 + 1 for n in (_LONG, _ROWS))
_PERMUTATIONS = _random.integers(2**32, size=(_BANDS * _ROWS, 2), dtype=np.uint32) | 1


def normalized(text: str) -> str:
    """What is compared: letters and digits in lower case; all of the text where it has none."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _NO_WORD.sub("", plain)[:_CHARACTERS] or "".join(plain.split())[:_CHARACTERS]


def shingles(text: str) -> frozenset[str]:
    """The n-grams of a normalized text; the text itself where it is shorter than one."""
    wide = np.searchsorted(_WIDE, [ord(character) for character in text], "right") % 2
    n = _SHORT if 2 * wide.sum() > len(text) else _LONG
    return frozenset(text[i : i + n] for i in range(max(len(text) - n + 1, 1)))


@dataclass(frozen=True)
class NearTexts:
    """Which of some texts are nearly the same."""

    node: IntArray  # [texts]; texts with one set of n-grams have one node
    pairs: IntArray  # [pairs, 2]; nodes that are near each other

    @classmethod
    def of(cls, texts: Sequence[str] | pa.Array) -> NearTexts:
        """Compare texts; a pair of similarity 0.8 or more is missed in one of some hundred cases.

        >>> near = NearTexts.of(["The parcel never arrived, I want my money back", "the parcel never arrived; I want my"
        ...     " money back!!", "Thank you"])
        >>> bool(near.node[0] == near.node[1]), near.nodes, near.pairs.tolist()
        (True, 2, [])
        """
        column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.string())
        if not len(column):
            return cls(np.empty(0, dtype=np.int64), np.empty((0, 2), dtype=np.int64))
        plain, of_text = coded(strings(map(normalized, in_parts(column)), len(column)))
        whole, marks = np.empty((2, len(plain)), dtype=np.uint64)
        sizes = np.empty(len(plain), dtype=np.int64)
        bands = np.empty((_BANDS, len(plain)), dtype=np.uint32)
        for block in _blocks(pa.compute.utf8_length(plain).to_numpy()):
            hashes, sizes[block] = _sets(plain.slice(block.start, block.stop - block.start))
            starts = np.cumsum(sizes[block]) - sizes[block]
            whole[block] = np.add.reduceat(_mixed(hashes), starts)
            marks[block] = np.bitwise_or.reduceat(np.uint64(1) << (hashes % np.uint64(64)), starts)
            bands[:, block] = _band_keys(hashes, starts)
        # Equal hashes are equal sets, but for a chance of some in 2^64.
        _, first, node = np.unique(whole, return_index=True, return_inverse=True)
        pairs = _candidates(bands[:, first], sizes[first], marks[first])
        near = np.zeros(len(pairs), dtype=bool)
        at = first[pairs]
        for block in _blocks(sizes[at].sum(axis=1) + _LEAST):  # a pair counts as two texts
            near[block] = _similar(at[block], plain)
        return cls(node.astype(np.int64)[of_text], pairs[near])

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


def _blocks(sizes: IntArray) -> Iterator[slice]:
    """Parts of so many n-grams in all, a few more at the most, one after another."""
    block = np.cumsum(sizes + _LEAST) // _BLOCK
    bounds = [0, *(np.flatnonzero(block[1:] != block[:-1]) + 1).tolist(), len(sizes)]
    return (slice(start, stop) for start, stop in pairwise(bounds) if start < stop)


def _runs(starts: IntArray, counts: IntArray) -> tuple[IntArray, IntArray]:
    """Runs of places one after another: which run each place is of, and the places."""
    run = np.repeat(np.arange(len(counts)), counts)
    return run, np.arange(len(run)) + (starts - np.cumsum(counts) + counts)[run]


def _sets(texts: pa.Array) -> tuple[Hashes, IntArray]:
    """`shingles` of fewer than 2^16 texts as hashes, set after set and without repeats, and the size of each set."""
    lengths = pa.compute.utf8_length(texts).to_numpy().astype(np.int64)
    starts = np.cumsum(lengths) - lengths
    codes = np.frombuffer(("".join(texts.to_pylist()) + _LONG * "\0").encode("utf-32-le"), dtype=np.uint32)
    wide = np.cumsum(np.searchsorted(_WIDE, codes, "right") % 2)
    wide = np.concatenate([[0], wide])
    n = np.where(2 * (wide[starts + lengths] - wide[starts]) > lengths, _SHORT, _LONG)
    text, at = _runs(starts, np.maximum(lengths - n + 1, 1))
    size = np.minimum(n, lengths)[text]
    hashes = np.zeros(len(text), dtype=np.uint64)
    for place, factor in enumerate(_OF_PLACE):
        hashes += np.where(place < size, codes[at + place] + 1, 0) * factor
    held = np.sort((text.astype(np.uint64) << _BITS) | (_mixed(hashes) >> (np.uint64(64) - _BITS)))
    held = held[np.diff(held, prepend=~held[:1]) != 0]
    return held & ((np.uint64(1) << _BITS) - np.uint64(1)), np.bincount(
        (held >> _BITS).astype(np.int64), minlength=len(texts)
    )


def _mixed(values: Hashes) -> Hashes:
    """Each bit of a number spread over all (the finalizer of MurmurHash3)."""
    half = np.uint64(33)
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        values = (values ^ (values >> half)) * np.uint64(factor)
    return values ^ (values >> half)


def _band_keys(hashes: Hashes, starts: IntArray) -> npt.NDArray[np.uint32]:
    """The least values of some sets under so many permutations, those of each band hashed to one, [bands, sets]."""
    short = hashes.astype(np.uint32)
    keys = np.zeros((_BANDS, len(starts)), dtype=np.uint64)
    for i, (factor, shift) in enumerate(_PERMUTATIONS):
        keys[i // _ROWS] += np.minimum.reduceat(short * factor + shift, starts) * _OF_ROW[i % _ROWS]
    return (keys >> 32).astype(np.uint32)


def _candidates(bands: npt.NDArray[np.uint32], sizes: IntArray, marks: Hashes) -> IntArray:
    """Pairs of sets that agree in a band and may be near by their sizes and marks, [pairs, 2], each once.

    Pairs that agree by chance grow as the square of the texts; marks, a bit for each n-gram, rule most of them out.
    """
    count = bands.shape[1]
    found = np.empty(0, dtype=np.int64)  # first * sets + second
    for keys in bands:
        ordered = np.sort((keys.astype(np.uint64) << 32) | np.arange(count, dtype=np.uint64))
        same = ordered[1:] >> 32 == ordered[:-1] >> 32
        ordered = ordered[np.append(same, False) | np.append(False, same)]
        key, at = ordered >> 32, (ordered % 2**32).astype(np.int64)
        of_band = []
        for step in range(1, _NEIGHBOURS + 1):
            same = np.flatnonzero(key[step:] == key[:-step])
            if not len(same):
                break
            a, b = at[same], at[same + step]
            # A bit that the other lacks is of an n-gram, or of more, that it lacks.
            shared = np.minimum(*(sizes[i] - np.bitwise_count(marks[i] & ~marks[j]) for i, j in ((a, b), (b, a))))
            likely = shared >= SIMILARITY * (sizes[a] + sizes[b] - shared)
            of_band.append(a[likely] * count + b[likely])
        found = np.sort(np.concatenate([found, *of_band]))  # np.unique hashes, ten times as slowly
        found = found[np.diff(found, prepend=-1) != 0]
    return np.stack(np.divmod(found, count), axis=1)


def _similar(pairs: IntArray, texts: pa.Array) -> BoolArray:
    """Whether the sets of each pair share enough of their union, [pairs]."""
    from scipy.sparse import csr_array

    members, places = np.unique(pairs, return_inverse=True)
    hashes, sizes = _sets(texts.take(pa.array(members)))
    values, columns = np.unique(hashes, return_inverse=True)
    bounds = np.concatenate([[0], np.cumsum(sizes)])
    held = csr_array((np.ones(len(columns), dtype=np.int32), columns, bounds), (len(members), len(values)))
    a, b = places.reshape(pairs.shape).T
    shared = np.asarray(held[a].multiply(held[b]).sum(axis=1)).ravel()
    return np.asarray(shared / (sizes[a] + sizes[b] - shared) >= SIMILARITY)
