"""Groups dealt out so that every split has the labels in their shares, whatever mix of labels each group holds.

A group stands at a hash of the seed, the split and its key, between 0 and 1. It goes to the split where it stands below
a threshold, which is linear in its mix of labels: one number for each label, found such that the split has its share of
each (the dual of a linear program, smoothed and with a ridge). The few groups nearest their thresholds are then
exchanged until the shares are right. More groups shift the thresholds a little, and only what stands between the old
and the new ones moves: a deal by falling size into the largest deficit is as even, and moves a third of the groups.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from categorize.data.splitting import shares
from categorize.data.splitting.shares import UNASSIGNED, Fractions, Units, known_splits, seeded_hash
from categorize.predictions import BoolArray, FloatArray, IntArray

# How far a label's share in a split may be off before groups are exchanged, and a fold's, whose errors add up.
_OFF, _OFF_FOLD = 0.008, 0.005
_OFF_SIZE = 0.05  # of the split's rows
# Groups whose place is decided by degrees: a share of them, and at least so many; what the thresholds rest on.
_BAND, _FEWEST = 0.02, 8
# What a number of a label may cost: in rows of a typical group, and as a share of the label's rows. More is steadier.
_RIDGE, _RIDGE_SHARE = 0.3, 0.03
_WINDOWS = (16, 32, 64, 128)  # groups nearest their thresholds that may be exchanged
_PAIR_CELLS = 4_000_000  # of all pairs of them, by label
_STEPS = 100
_MOST = 2 / 3  # of the rows of groups that are small enough for a split, the most that it takes


@dataclass(frozen=True)
class _Groups:
    """Groups in the order of their keys."""

    order: IntArray  # [groups]; the number of each in `Units`
    keys: list[str]
    sizes: FloatArray  # [groups]; labelled rows
    counts: Any  # scipy.sparse [groups, labels + 1]; rows with each label, and in the last column all rows

    @classmethod
    def of(cls, units: Units) -> _Groups:
        from scipy.sparse import csr_array

        # By key: not even the rounding of a sum may depend on the order of the rows.
        order = pa.compute.sort_indices(units.keys).to_numpy().astype(np.int64)
        place = np.argsort(order)
        labels = int(units.labels.max()) + 1
        rows = np.concatenate([place[units.of_label], np.arange(len(order))])
        columns = np.concatenate([units.labels, np.full(len(order), labels)])
        values = np.concatenate([units.label_rows, units.sizes[order]]).astype(np.float64)
        counts = csr_array((values, (rows, columns)), shape=(len(order), labels + 1))
        return cls(order, units.keys.take(pa.array(order)).to_pylist(), units.sizes[order].astype(np.float64), counts)

    def sums(self, chosen: BoolArray) -> FloatArray:
        """Rows with each label, and all rows, of the chosen groups."""
        return np.asarray(self.counts[np.flatnonzero(chosen)].sum(axis=0))

    def hashes(self, seed: int, name: str) -> FloatArray:
        return np.array([seeded_hash(seed, f"{name}\x1f{key}") / 2**64 for key in self.keys])


def assign_groups(units: Units, fractions: Fractions, existing: Mapping[str, int] | None = None) -> IntArray:
    """As `shares.assign`: the split of each unit, TRAIN, VALIDATION or TEST, balanced by the labels of all its rows."""
    if not len(units.keys):
        return np.empty(0, dtype=np.int64)
    groups = _Groups.of(units)
    split = known_splits(groups.keys, existing or {})
    total = groups.sums(np.ones(len(split), dtype=bool))
    for target, share in ((shares.TEST, fractions.test), (shares.VALIDATION, fractions.validation)):
        if share:
            hashes = groups.hashes(fractions.seed, shares.NAMES[target])
            split[_taken(groups, share * total, split == target, split == UNASSIGNED, hashes, _OFF)] = target
    split[split == UNASSIGNED] = shares.TRAIN
    return split[np.argsort(groups.order)]


def assign_group_folds(units: Units, folds: int, seed: int, existing: Mapping[str, int] | None = None) -> IntArray:
    """As `folds.assign_folds`: the fold in which each unit is test, balanced by the labels of all its rows."""
    if not len(units.keys):
        return np.empty(0, dtype=np.int64)
    groups = _Groups.of(units)
    fold = known_splits(groups.keys, existing or {})
    for number in range(folds - 1):
        # Of what earlier folds left: what one has too much, all later ones share.
        left = groups.sums((fold >= number) | (fold == UNASSIGNED)) / (folds - number)
        hashes = groups.hashes(seed, f"fold {number}")
        fold[_taken(groups, left, fold == number, fold == UNASSIGNED, hashes, _OFF_FOLD)] = number
    fold[fold == UNASSIGNED] = folds - 1
    return fold[np.argsort(groups.order)]


def _taken(
    groups: _Groups, wanted: FloatArray, held: BoolArray, free: BoolArray, hashes: FloatArray, off: float
) -> IntArray:
    """Which free groups join those that are held, so that together they have the rows that are wanted of each label.

    Of `wanted` [labels + 1], all rows are the last; groups of lower hashes [groups], all below 1, are taken first. The
    share of a label may be `off` by so much.
    """
    lacking = wanted - groups.sums(held)
    # A group of more than twice what is lacking would leave the split further off than without it.
    at = np.flatnonzero(free & (groups.sizes <= 2 * lacking[-1]))
    if not len(at):
        return at
    counts, sizes = groups.counts[at], groups.sizes[at]
    # Where one group holds nearly all rows, the others must serve the splits that are still to come, too.
    lacking = lacking * min(1.0, _MOST * float(sizes.sum()) / lacking[-1])
    distance = _thresholds(counts, sizes, lacking, hashes[at]) - hashes[at]
    chosen = distance > 0
    _exchange(chosen, counts, np.argsort(np.abs(distance), kind="stable"), lacking, wanted, off)
    if not chosen.any() and not held.any():
        # Any group at all, where all are as large as that: an empty split cannot be evaluated.
        chosen[np.argmax(distance)] = True
    return at[chosen]


def _thresholds(counts: Any, sizes: FloatArray, lacking: FloatArray, hashes: FloatArray) -> FloatArray:
    """float64 [groups]: below which hash each is taken.

    Newton's method on the dual of: min sum(size * (hash - share) * taken) subject to the rows that are lacking of each
    label, where `taken` runs from 0 to 1 within a band around the threshold.
    """
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import LinearOperator, cg

    mixes = (diags_array(1 / sizes) @ counts).tocsr()
    band = min(max(_BAND, _FEWEST / len(sizes)), 0.25)
    ridge = _RIDGE * (sizes @ sizes) / sizes.sum() + _RIDGE_SHARE * counts.sum(axis=0)
    start = lacking[-1] / sizes.sum()
    numbers = np.zeros(len(lacking))

    def place(at: FloatArray) -> FloatArray:
        return np.asarray(0.5 + (start + mixes @ at - hashes) / band)

    def objective(at: FloatArray) -> float:
        z = place(at)
        area = band * np.where(z >= 1, z - 0.5, np.clip(z, 0, 1) ** 2 / 2)
        return float(sizes @ area - lacking @ at + ridge @ (at * at) / 2)

    for _ in range(_STEPS):
        z = place(numbers)
        gradient = counts.T @ np.clip(z, 0, 1) - lacking + ridge * numbers
        inside = np.flatnonzero((z > 0) & (z < 1))
        part, weights = mixes[inside], sizes[inside] / band

        def curvature(at: FloatArray, part: Any = part, weights: FloatArray = weights) -> FloatArray:
            return np.asarray(part.T @ (weights * (part @ at)) + ridge * at)

        shape = (len(numbers), len(numbers))
        step, _ = cg(LinearOperator(shape, matvec=curvature, dtype=np.float64), -gradient, rtol=1e-10)
        now, slope, length = objective(numbers), float(gradient @ step), 1.0
        while length > 1e-4 and objective(numbers + length * step) > now + 1e-4 * length * slope:
            length /= 2
        numbers = numbers + length * step
        if float(np.abs(step).max()) < 1e-9:
            break
    return np.asarray(start + mixes @ numbers)


def _exchange(
    chosen: BoolArray, counts: Any, nearest: IntArray, lacking: FloatArray, wanted: FloatArray, off: float
) -> None:
    """Take or give back single groups and pairs, those nearest their thresholds first, until no share is further off
    than it may be. Changes `chosen`."""
    shares = wanted[:-1] / wanted[-1]
    slack = np.append(np.full(len(shares), off * wanted[-1]), _OFF_SIZE * wanted[-1])

    def cost(error: FloatArray) -> FloatArray:
        """Squares of what the labels and the size are further off than they may be, summed over the last axis."""
        labels = error[..., :-1] - shares * error[..., -1:]
        beyond = np.maximum(np.abs(np.concatenate([labels, error[..., -1:]], axis=-1)) - slack, 0) / wanted[-1]
        return np.asarray((beyond**2).sum(axis=-1))

    error = counts[np.flatnonzero(chosen)].sum(axis=0) - lacking
    for window in _WINDOWS:
        at = nearest[: min(window, int((_PAIR_CELLS / len(lacking)) ** 0.5))]
        rows = counts[at].toarray()
        while (now := float(cost(error))) > 0:
            change = np.where(chosen[at], -1.0, 1.0)[:, None] * rows
            # Rounded, so that equals are equal on every machine; the first of them is the nearest.
            alone = np.round(cost(error + change), 12)
            best = [int(np.argmin(alone))]
            if alone[best[0]] > 0:
                pairs = np.round(cost(error + change[:, None] + change[None]), 12)
                np.fill_diagonal(pairs, alone)
                best = list(dict.fromkeys(divmod(int(np.argmin(pairs)), len(at))))
                alone = pairs[best[0], best[-1:]]
            if float(alone.min()) >= now - 1e-12:
                break
            error = error + change[best].sum(axis=0)
            chosen[at[best]] ^= True
        if now <= 0 or len(at) < window:
            return
