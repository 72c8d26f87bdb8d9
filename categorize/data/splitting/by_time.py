"""The split by time: the earliest units train, the latest are the test split.

A unit's time is that of its earliest row, so that a text or group that recurs stands where it first appeared. Units of
one time never straddle a cut: the cut is made at the time that comes closest to the share. Units without a time train.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from categorize.data.splitting.shares import TEST, TRAIN, UNASSIGNED, VALIDATION, Fractions, Units, known_splits
from categorize.errors import UserError
from categorize.predictions import FloatArray, IntArray


@dataclass(frozen=True)
class TimeCut:
    """The first time of validation and of test; infinite where that split does not exist."""

    validation: float
    test: float


def unit_times(of_row: IntArray, times: FloatArray, units: int) -> FloatArray:
    """float64 [units]: the earliest time of each unit's rows; NaN where no row has one."""
    result = np.full(units, np.inf)
    has = (of_row >= 0) & ~np.isnan(times)
    np.minimum.at(result, of_row[has], times[has])
    return np.where(np.isinf(result), np.nan, result)


def assign_by_time(
    units: Units, times: FloatArray, fractions: Fractions, existing: dict[str, int] | None = None
) -> tuple[IntArray, TimeCut]:
    """The split of each unit by the times of `unit_times`, and where it was cut.

    Splits that earlier runs gave to keys (`existing`) stand, and their cut stands for new units. Raises UserError where
    there are too few different times for the splits that are asked for.
    """
    split = known_splits(units.keys, existing or {})
    cut = _known_cut(split, times) if (split >= 0).any() else _cut(units.sizes, times, fractions)
    fresh = np.where(times >= cut.test, TEST, np.where(times >= cut.validation, VALIDATION, TRAIN))
    return np.where(split == UNASSIGNED, fresh, split), cut


def _known_cut(split: IntArray, times: FloatArray) -> TimeCut:
    def first(target: int) -> float:
        found = times[(split == target) & ~np.isnan(times)]
        return float(found.min()) if len(found) else np.inf

    test = first(TEST)
    return TimeCut(min(first(VALIDATION), test), test)


def _cut(sizes: IntArray, times: FloatArray, fractions: Fractions) -> TimeCut:
    total = float(sizes.sum())
    has = ~np.isnan(times)
    distinct, code = np.unique(times[has], return_inverse=True)
    rows = np.bincount(code, weights=sizes[has], minlength=len(distinct))
    wanted = 1 + (fractions.test > 0) + (fractions.validation > 0)
    if total and len(distinct) < wanted:
        raise UserError(
            f"data.splits.by_time: {len(distinct)} different times among {int(total)} labelled rows are too few for "
            f"{wanted} splits; name a finer column, or set data.splits.validation: 0"
        )
    end = len(distinct)
    starts = [np.inf, np.inf]
    for i, share in enumerate((fractions.test, fractions.validation)):
        if share > 0 and total:
            # At least one time stays for each split before this one.
            least = 1 if i or not fractions.validation else 2
            tails = np.cumsum(rows[least:end][::-1])[::-1]
            at = least + int(np.argmin(np.abs(tails - share * total)))
            starts[i], end = float(distinct[at]), at
    return TimeCut(min(starts[1], starts[0]), starts[0])
