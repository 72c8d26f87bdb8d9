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
from categorize.recipe.loss_sections import Repeat

EACH: dict[str, Callable[[IntArray], Any]] = {"upsample": np.max, "downsample": np.min, "weighted": np.mean}


@dataclass(frozen=True)
class Balance:
    """How rows of unequal classes are drawn.

    Attributes:
        mode: upsample (every class as often as the most frequent: its rows whole as often as fits, then a random part),
            downsample (a random part of every class, as large as the rarest), weighted (as many rows as there are,
            drawn with replacement, every class with the same chance), repeat (rows of rare labels come more than once).
        classes: int64 [rows], from 0; see `classes_of`.
        factors: how often each row comes on average, [rows]; of `repeat` alone, see `repeat_factors`.
    """

    mode: str
    classes: IntArray
    factors: FloatArray | None = None

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
        if self.factors is not None:
            return int(np.floor(self.factors).sum()) + round(float((self.factors % 1).sum()))
        return round(len(self.counts) * self.each)

    def draw(self, rng: np.random.Generator) -> IntArray:
        """Row positions of an epoch, [rows], in random order."""
        if self.factors is not None:
            order = rng.permutation(len(self.factors))
            times = np.floor(self.factors[order]).astype(np.int64)
            # Systematic sampling: a row comes once more with the chance of its fraction, and all epochs are as long.
            fractions = (self.factors[order] % 1).cumsum()
            more = round(float(fractions[-1]))
            if more:
                ends = np.floor(fractions * more / fractions[-1] + rng.random()).clip(max=more)
                ends[-1] = more
                times += np.diff(ends, prepend=0).astype(np.int64)
            return np.asarray(rng.permutation(np.repeat(order, times)), dtype=np.int64)
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
        if self.factors is not None:
            often = int((self.factors > 1).sum())
            return (
                f"training.balance: repeat: an epoch has {self.rows:,} rows; {often:,} of {len(self.factors):,} come "
                f"more than once, up to {self.factors.max():.3g} times"
            )
        counts = self.counts
        about = "about " if self.mode == "weighted" else ""
        return (
            f"training.balance: {self.mode}: an epoch has {self.rows:,} rows, {about}{self.each:,.0f} of each of "
            f"{len(counts)} classes that have {counts.min():,} to {counts.max():,}"
        )


def balanced(balance: Balance, weights: FloatArray, seed: int) -> tuple[IntArray, FloatArray]:
    """Positions and weights of the rows that the balance draws, for a method that reads each once. `weighted` draws
    none here: it weighs every row, which is what its draws come to on average."""
    if balance.mode == "weighted":
        counts = np.bincount(balance.classes)
        shares = balance.rows / (len(balance.counts) * counts[balance.classes])
        return np.arange(len(weights)), weights * shares
    drawn = balance.draw(np.random.default_rng((seed, 0)))
    return drawn, weights[drawn]


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


def repeat_factors(targets: FloatArray, threshold: float) -> FloatArray:
    """How often each row comes in an epoch on average, [rows]: for the rarest of its labels max(1, sqrt(threshold /
    share of the rows)), 1 without a label.

    Args:
        targets: [rows, labels] as `LabelSet.encode` gives them.

    Gupta et al. 2019, "LVIS: A Dataset for Large Vocabulary Instance Segmentation".
    """
    share = np.maximum(targets.sum(axis=0), 1) / max(len(targets), 1)
    of_label = np.maximum(1.0, np.sqrt(threshold / share))
    return np.asarray(np.where(targets > 0, of_label, 1.0).max(axis=1, initial=1.0))


def build_balance(choice: str | Repeat | None, label_set: LabelSet, targets: FloatArray) -> Balance | None:
    """The balance that a recipe asks for; None for none."""
    if choice is None:
        return None
    classes = classes_of(label_set, targets)
    if choice == "repeat" or isinstance(choice, Repeat):
        section = choice if isinstance(choice, Repeat) else Repeat(type="repeat")
        return Balance("repeat", classes, repeat_factors(targets, section.threshold))
    return Balance(choice, classes)
