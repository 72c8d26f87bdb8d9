"""Which rows people see: a random sample by strata, whose chances are kept, since every conclusion hangs on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from categorize.labeling.review.labelled import Vote
from categorize.metrics.arrays import FloatArray, IntArray

UNLABELLED, NONE, REST = "(not labelled)", "(no label)", "(rare labels)"
LEAST = 2  # reviewed rows a stratum, so that its variance can be told


@dataclass(frozen=True)
class Drawn:
    """A sample of rows.

    Attributes:
        rows: their positions [n], in a random order, so that a reviewer who stops early has seen a random part.
        strata: name of each stratum.
        stratum: of every row of the table [rows]; -1 where it could not be drawn.
    """

    rows: IntArray
    strata: list[str]
    stratum: IntArray

    @property
    def chance(self) -> FloatArray:
        """The chance that each drawn row had [n]."""
        at = self.stratum[self.rows]
        all_rows = np.bincount(self.stratum[self.stratum >= 0], minlength=len(self.strata))
        return np.asarray(np.bincount(at, minlength=len(self.strata))[at] / all_rows[at], dtype=np.float64)


def draw(labels: Sequence[Vote], size: int, seed: int, leave_out: Sequence[bool]) -> Drawn:
    """Draw rows by their label, more of rare labels than their share, by the square root of their number.

    A row of several labels belongs to the rarest of them. Strata too small to hold two reviewed rows are one.

    Args:
        leave_out: rows whose label people gave already.

    >>> drawn = draw([("a",)] * 90 + [("b",)] * 10, 20, 0, [False] * 100)
    >>> np.bincount(drawn.stratum[drawn.rows]).tolist(), sorted(set(drawn.chance.round(2).tolist()))
    ([15, 5], [0.17, 0.5])
    """
    counts = Counter(name for vote, out in zip(labels, leave_out, strict=True) if vote and not out for name in vote)

    def name_of(vote: Vote) -> str:
        if vote is None:
            return UNLABELLED
        return min(vote, key=lambda name: (counts[name], name)) if vote else NONE

    names = [None if out else name_of(vote) for vote, out in zip(labels, leave_out, strict=True)]
    sizes = Counter(name for name in names if name is not None)
    most = max(1, size // LEAST)
    kept = [name for name, n in sizes.most_common() if n >= LEAST][: most if len(sizes) <= most else most - 1]
    strata = sorted(kept)
    if any(name not in kept for name in sizes):
        strata.append(REST)
    number = {name: i for i, name in enumerate(strata)}
    stratum = np.array([-1 if one is None else number.get(one, len(strata) - 1) for one in names], dtype=np.int64)
    generator = np.random.default_rng(seed)
    members = [generator.permutation(np.flatnonzero(stratum == i)) for i in range(len(strata))]
    shares = _allocate([len(one) for one in members], min(size, sum(map(len, members))))
    drawn = np.concatenate([one[:n] for one, n in zip(members, shares, strict=True)] or [np.empty(0, np.int64)])
    return Drawn(generator.permutation(drawn.astype(np.int64)), strata, stratum)


def _allocate(sizes: Sequence[int], total: int) -> list[int]:
    """Rows of each stratum: by square roots, at least two, at most all."""
    given = [min(size, LEAST) for size in sizes]
    roots = np.sqrt(np.array(sizes, dtype=float))
    for _ in range(total - sum(given)):  # the one that is furthest below its share gets the next
        want = [root / (n + 1) if n < size else -1.0 for root, n, size in zip(roots, given, sizes, strict=True)]
        given[int(np.argmax(want))] += 1
    return given
