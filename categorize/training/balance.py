"""Balanced labels: which rows an epoch trains on, so that rare labels come as often as frequent ones.

Training alone is balanced; no evaluation ever is. The rows of an epoch depend on (seed, epoch), whatever the processes
and the accumulation are, so that an interrupted run goes on with the same ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.predictions import FloatArray, IntArray

EACH: dict[str, Callable[[IntArray], Any]] = {"upsample": np.max, "downsample": np.min, "weighted": np.mean}


@dataclass(frozen=True)
class Balance:
    """How rows of unequal classes are drawn.

    Attributes:
        mode: upsample (every class as often as the most frequent: its rows whole as often as fits, then a random part),
            downsample (a random part of every class, as large as the rarest), weighted (as many rows as there are,
            drawn with replacement, every class with the same chance).
        classes: int64 [rows], from 0; see `classes_of`.
    """

    mode: str
    classes: IntArray

    @property
    def counts(self) -> IntArray:
        """Rows of each class that there is."""
        counts = np.bincount(self.classes)
        return np.asarray(counts[counts > 0], dtype=np.int64)

    @property
    def each(self) -> float:
        """Rows of each class in an epoch; of `weighted`, on average."""
        return float(EACH[self.mode](self.counts))

    @property
    def rows(self) -> int:
        """Rows of an epoch, the same for all epochs."""
        return round(len(self.counts) * self.each)

    def draw(self, rng: np.random.Generator) -> IntArray:
        """Row positions of an epoch, [rows], in random order."""
        if self.mode == "weighted":
            counts = np.bincount(self.classes)
            chance = 1.0 / counts[self.classes]
            drawn = rng.choice(len(self.classes), size=self.rows, p=chance / chance.sum())
            return np.asarray(drawn, dtype=np.int64)
        parts = []
        for number in np.unique(self.classes):
            members = np.flatnonzero(self.classes == number)
            whole, rest = divmod(int(self.each), len(members))
            parts += [members] * whole + [rng.permutation(members)[:rest]]
        return np.asarray(rng.permutation(np.concatenate(parts)), dtype=np.int64)

    def line(self) -> str:
        """What training prints."""
        counts = self.counts
        about = "about " if self.mode == "weighted" else ""
        return (
            f"training.balance: {self.mode}: an epoch has {self.rows:,} rows, {about}{self.each:,.0f} of each of "
            f"{len(counts)} classes that have {counts.min():,} to {counts.max():,}"
        )


def classes_of(label_set: LabelSet, targets: FloatArray) -> IntArray:
    """The class of each row, [rows]: its label; of several, the one that the fewest rows have (ties: the first of the
    set); rows of a multi-label set without a label are a class of their own.

    Args:
        targets: [rows, labels] as `LabelSet.encode` gives them.
    """
    counts = np.asarray(targets.sum(axis=0))
    held = np.where(targets > 0, counts[None, :], np.inf)
    classes = held.argmin(axis=1)
    return np.asarray(np.where(np.isinf(held.min(axis=1)), len(label_set), classes), dtype=np.int64)


def build_balance(mode: str | None, label_set: LabelSet, targets: FloatArray) -> Balance | None:
    """The balance that a recipe asks for; None for none."""
    return None if mode is None else Balance(mode, classes_of(label_set, targets))
