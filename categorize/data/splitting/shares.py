"""Which row goes to which split: one seed and one `data` section give one split, in every recipe and on every machine.

The unit is the group, the document or the distinct text. A unit's stratum is its rarest raw label. Within a stratum,
units are ordered by a seeded hash and cut at quotas, test first and then validation; units that would fill much of a
quota alone are dealt out by size. Groups hold rows of several labels: module `groups` deals them out by all of these.
docs/data.md tells why. The assignment is stored beside the outputs; keys that it holds stay where they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from categorize.data.columns import to_number
from categorize.data.rows import coded, codes, digest, in_parts, mapped
from categorize.errors import UserError
from categorize.predictions import BoolArray, IntArray

TRAIN, VALIDATION, TEST = 0, 1, 2
NAMES = ("train", "validation", "test")
UNASSIGNED = -1
_COLUMN = (pa.Array, pa.ChunkedArray)

# A unit of more rows than this share of its stratum's quota would put the cut far off: it is dealt out by size instead.
_LARGE_SHARE = 0.1
_FEW_ROWS = 3
_NO_LABEL = "\x00no label"
_NUMBER = "\x00number"


@dataclass(frozen=True)
class Fractions:
    """Shares of the labelled rows and the seed of the cut. Raises UserError where nothing is left for training."""

    test: float
    validation: float
    seed: int

    def __post_init__(self) -> None:
        if self.test + self.validation >= 1:
            both = f"test {self.test} and validation {self.validation}"
            raise UserError(f"data.splits: {both} leave nothing to train on; their sum must be below 1")


@dataclass(frozen=True)
class Units:
    """What is dealt out: distinct keys with the rows that they stand for."""

    keys: pa.Array  # strings, one a unit
    of_row: IntArray  # [rows]; the unit of each row, -1 for a row that nobody has labelled
    sizes: IntArray  # [units]; labelled rows
    strata: list[str]  # stratum of each unit, as a name
    # Each [pairs of a unit and a label]: unit, number of the label, rows with it.
    of_label: IntArray
    labels: IntArray
    label_rows: IntArray

    def take(self, at: IntArray) -> Units:
        """Some of the units, in this order, without their rows."""
        place = np.full(len(self.keys), UNASSIGNED, dtype=np.int64)
        place[at] = np.arange(len(at))
        inside = place[self.of_label] != UNASSIGNED
        return Units(
            self.keys.take(pa.array(at)),
            np.empty(0, dtype=np.int64),
            self.sizes[at],
            [self.strata[i] for i in at],
            place[self.of_label[inside]],
            self.labels[inside],
            self.label_rows[inside],
        )


def unit_keys(
    content_keys: pa.ChunkedArray, documents: pa.Array | None, groups: pa.ChunkedArray | None
) -> pa.ChunkedArray:
    """Key of the unit of each row: the group where there is one, else the document, else the text.

    `documents` and `groups` are None where the recipe names no such column.
    """
    keys = content_keys
    if documents is not None or groups is not None:
        keys = keys.cast(pa.string())
    for name, column in (("document", documents), ("group", groups)):
        if column is not None:
            keys = pa.compute.coalesce(mapped(column, partial(_unit_key, name)), keys)
    return keys


def _unit_key(kind: str, value: str | None) -> str | None:
    return digest(f"{kind}\x1f{value}") if value else None


def stratum_value(value: str) -> str:
    """What a label value counts as: itself, or one stratum for all numbers with decimals, as scores have."""
    number = to_number(value) if value[-1:].isdigit() else None
    return _NUMBER if number is not None and not number.is_integer() else value


def make_units(
    keys: Sequence[str] | pa.ChunkedArray, values: Sequence[Sequence[str] | None] | pa.ChunkedArray
) -> Units:
    """Units of rows with these keys and raw label values (None = unlabelled, such rows belong to no unit).

    The stratum is the value that the fewest units hold; equals are told apart by the value itself.
    """
    lists, of_list = coded(values if isinstance(values, _COLUMN) else pa.array(values, pa.list_(pa.string())))
    of_value_list = [value if value is None else value or [_NO_LABEL] for value in lists.to_pylist()]
    at = np.flatnonzero(np.array([value is not None for value in of_value_list], dtype=bool)[of_list])
    labelled = of_list[at]
    column = keys if isinstance(keys, _COLUMN) else pa.array(keys, pa.string())
    names, unit = coded(column.take(pa.array(at)))
    of_row = np.full(len(of_list), UNASSIGNED, dtype=np.int64)
    of_row[at] = unit
    flat = [value for row in of_value_list for value in row or ()]
    distinct, of_flat = codes(flat)
    strata_of = [stratum_value(value) for value in distinct]
    # The values of each row, as numbers: those of its list.
    lengths = np.array([len(row or ()) for row in of_value_list], dtype=np.int64)
    counts = lengths[labelled]
    starts = np.repeat((np.cumsum(lengths) - lengths)[labelled], counts)
    code = of_flat[starts + np.arange(len(starts)) - np.repeat(np.cumsum(counts) - counts, counts)]
    # Numbered in the order of the values, not of the rows: ties must not depend on file order.
    ordered = sorted(set(strata_of))
    rank = {name: i for i, name in enumerate(ordered)}
    of_pair = np.array([rank[name] for name in strata_of], dtype=np.int64)[code]
    pair = np.repeat(unit, counts) * max(len(ordered), 1) + of_pair
    pairs, label_rows = np.unique(pair, return_counts=True)
    of_unit, of_value = np.divmod(pairs, max(len(ordered), 1))
    rarity = np.bincount(of_value, minlength=len(ordered))
    best = np.lexsort((of_value, rarity[of_value], of_unit))
    first = best[np.unique(of_unit[best], return_index=True)[1]]
    sizes = np.bincount(unit, minlength=len(names)).astype(np.int64)
    strata = [ordered[v] for v in of_value[first]]
    return Units(names, of_row, sizes, strata, of_unit, of_value, label_rows.astype(np.int64))


def seeded_hash(seed: int, text: str) -> int:
    """64 bits of BLAKE2b over seed and text."""
    key = f"{seed}\x1f{text}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(key, digest_size=8).digest(), "big")


def known_splits(keys: Sequence[str] | pa.Array, existing: Mapping[str, int]) -> IntArray:
    """int64 [keys]: what each has already, UNASSIGNED where nothing."""
    if not existing:
        return np.full(len(keys), UNASSIGNED, dtype=np.int64)
    names = in_parts(keys) if isinstance(keys, _COLUMN) else keys
    return np.fromiter((existing.get(key, UNASSIGNED) for key in names), dtype=np.int64, count=len(keys))


def known_and_order(units: Units, existing: Mapping[str, int], seed: int) -> tuple[IntArray, npt.NDArray[np.uint64]]:
    """`known_splits` of units, and the hashes that order them, uint64 [units]."""
    hashes = np.fromiter((seeded_hash(seed, key) for key in in_parts(units.keys)), np.uint64, len(units.keys))
    return known_splits(units.keys, existing), hashes


def assign(units: Units, fractions: Fractions, existing: dict[str, int] | None = None) -> IntArray:
    """The split of each unit: TRAIN, VALIDATION or TEST.

    Splits that earlier runs gave to keys (`existing`) stand; new units fill what the quotas lack.
    """
    split, order_hash = known_and_order(units, existing or {}, fractions.seed)
    if not len(split):
        return split
    names, stratum = codes(units.strata)
    # By the test share alone, so that changing validation cannot change which units are large.
    large = is_large(units.sizes, stratum, len(names), fractions.test or fractions.validation)
    _deal_large(split, large, stratum, names, units.sizes, order_hash, fractions)
    small = np.flatnonzero(~large)
    ordered = small[np.lexsort((order_hash[small], stratum[small]))]
    for target, quota in ((TEST, fractions.test), (VALIDATION, fractions.validation)):
        _cut(split, ordered, stratum, names, units.sizes, target, quota, fractions.seed)
    split[split == UNASSIGNED] = TRAIN
    return split


def _cut(
    split: IntArray,
    ordered: IntArray,
    stratum: IntArray,
    names: list[str],
    sizes: IntArray,
    target: int,
    quota: float,
    seed: int,
) -> None:
    """Give `target` the first unassigned units of each stratum until its quota of rows is full. Changes `split`.

    The quota is rounded by a hash of the stratum, so that many small strata together keep the share.
    """
    remainder = np.array([seeded_hash(seed, f"{NAMES[target]}\x1f{name}") / 2**64 for name in names])
    totals = np.bincount(stratum[ordered], weights=sizes[ordered], minlength=len(names))
    held = ordered[split[ordered] == target]
    held_rows = np.bincount(stratum[held], weights=sizes[held], minlength=len(names))
    lacking = np.floor(totals * quota + remainder) - held_rows
    free = ordered[split[ordered] == UNASSIGNED]
    before = np.cumsum(sizes[free]) - sizes[free]
    found, starts = np.unique(stratum[free], return_index=True)
    offset = np.zeros(len(names))
    offset[found] = before[starts]
    middle = before - offset[stratum[free]] + sizes[free] / 2
    split[free[middle < lacking[stratum[free]]]] = target


def _deal_large(
    split: IntArray,
    large: BoolArray,
    stratum: IntArray,
    names: list[str],
    sizes: IntArray,
    order_hash: npt.NDArray[np.uint64],
    fractions: Fractions,
) -> None:
    """Deal out large units, test against the rest and then validation against train. Changes `split`.

    Stratum by stratum, that of the largest unit first, so that labels keep their shares; by falling size within one
    (see `_two_sides`). What one stratum gave too much or too little counts in the next one.
    """
    members = [np.flatnonzero(large & (stratum == number)) for number in range(len(names))]
    order = sorted((-int(sizes[at].max()), names[number], number) for number, at in enumerate(members) if len(at))
    strata = [
        members[number][np.lexsort((order_hash[members[number]], -sizes[members[number]]))] for *_, number in order
    ]
    for target, share in ((TEST, fractions.test), (VALIDATION, fractions.validation)):
        rows = left = held = other = 0.0
        for at in strata:
            here, size = split[at], sizes[at]
            rows += float(size.sum())
            left += float(size[here != TEST].sum())
            held += float(size[here == target].sum())
            other += float(size[(here == TRAIN) | ((here == VALIDATION) & (target == TEST))].sum())
            fresh, wanted = at[here == UNASSIGNED], rows * share
            rest = rows * (1 - share) if target == TEST else left - wanted
            chosen = _two_sides(sizes[fresh], wanted, rest, held, other)
            split[fresh[chosen]] = target
            if target == VALIDATION:
                split[fresh[~chosen]] = TRAIN
            held += float(sizes[fresh[chosen]].sum())
            other += float(sizes[fresh[~chosen]].sum())


def _two_sides(sizes: IntArray, target_a: float, target_b: float, held_a: float, held_b: float) -> BoolArray:
    """Which of the units, in this order, go to side A.

    A unit goes to the side with the larger relative deficit that has room for half of it, so that large and small units
    alternate; where neither has, to the side with the larger deficit.
    """
    chosen = np.zeros(len(sizes), dtype=bool)
    for i, size in enumerate(sizes.tolist()):
        lacks_a, lacks_b = target_a - held_a, target_b - held_b
        room_a, room_b = target_a > 0 and lacks_a >= size / 2, target_b > 0 and lacks_b >= size / 2
        if target_a <= 0:
            to_a = False
        elif room_a and room_b:
            to_a = lacks_a / target_a > lacks_b / target_b
        else:
            to_a = room_a if room_a != room_b else lacks_a > lacks_b
        chosen[i] = to_a
        held_a, held_b = held_a + size * to_a, held_b + size * (not to_a)
    return chosen


def is_large(sizes: IntArray, stratum: IntArray, strata: int, share: float) -> BoolArray:
    """Bool [units]: units of more than three rows and more than a tenth of their stratum's quota."""
    rows_of_stratum = np.bincount(stratum, weights=sizes, minlength=strata)
    return np.asarray(sizes > np.maximum(_FEW_ROWS, _LARGE_SHARE * share * rows_of_stratum[stratum]))
