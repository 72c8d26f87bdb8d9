"""Cross-validation: every unit is the test split of one fold, with each label in every fold alike.

Within a stratum, units in the order of their seeded hash are cut into equal runs of rows, from a hashed start; units
that would fill much of a fold are dealt out by falling size. A unit's fold does not depend on which fold is asked for.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from categorize.data.rows import codes
from categorize.data.splitting.shares import UNASSIGNED, Units, is_large, known_and_order, seeded_hash
from categorize.predictions import IntArray


def assign_folds(units: Units, folds: int, seed: int, existing: dict[str, int] | None = None) -> IntArray:
    """int64 [units]: the fold in which each unit is test, 0 to folds - 1.

    Folds that earlier runs gave to keys (`existing`) stand; new units fill what the folds lack.
    """
    fold, order_hash = known_and_order(units, existing or {}, seed)
    if not len(fold):
        return fold
    names, stratum = codes(units.strata)
    large = is_large(units.sizes, stratum, len(names), 1 / folds)
    _deal(fold, np.flatnonzero(large), stratum, units.sizes, order_hash, folds)
    for number, name in enumerate(names):
        members = np.flatnonzero((stratum == number) & ~large)
        members = members[np.argsort(order_hash[members], kind="stable")]
        start = seeded_hash(seed, f"fold\x1f{name}") / 2**64 * folds
        if (fold[members] == UNASSIGNED).all():
            sizes = units.sizes[members]
            middle = np.cumsum(sizes) - sizes / 2
            fold[members] = np.floor(middle * folds / sizes.sum() + start).astype(np.int64) % folds
        else:
            _fill(fold, members, units.sizes, folds, int(start))
    return fold


def _deal(
    fold: IntArray, large: IntArray, stratum: IntArray, sizes: IntArray, order_hash: npt.NDArray[np.uint64], folds: int
) -> None:
    """Each fresh large unit, by falling size, to the fold with the fewest rows of large ones of its stratum; of equals,
    to that with the fewest of all. Changes `fold`."""
    held = np.zeros((int(stratum.max()) + 1, folds))
    old = large[fold[large] >= 0]
    np.add.at(held, (stratum[old], fold[old]), sizes[old])
    fresh = large[fold[large] == UNASSIGNED]
    for unit in fresh[np.lexsort((order_hash[fresh], -sizes[fresh]))].tolist():
        fold[unit] = int(np.lexsort((held.sum(axis=0), held[stratum[unit]]))[0])
        held[stratum[unit], fold[unit]] += sizes[unit]


def _fill(fold: IntArray, members: IntArray, sizes: IntArray, folds: int, start: int) -> None:
    """Fresh units of one stratum, in this order, to the fold that lacks the most. Changes `fold`."""
    old = members[fold[members] >= 0]
    held = np.bincount(fold[old], weights=sizes[old], minlength=folds)
    for unit in members[fold[members] == UNASSIGNED].tolist():
        # Equals go round from the stratum's own start, so that rare labels do not all fill fold 0.
        fold[unit] = (int(np.argmin(np.roll(held, -start))) + start) % folds
        held[fold[unit]] += sizes[unit]
