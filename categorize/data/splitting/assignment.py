"""Which split each row goes to: as published, by shares, by time or by folds, with what there is to say about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute

from categorize.data.columns import row_name, trimmed
from categorize.data.reading.raw import Source
from categorize.data.rows import as_array, coded, coded_rows, codes, fields_of
from categorize.data.splitting.by_time import assign_by_time, unit_times
from categorize.data.splitting.folds import assign_folds
from categorize.data.splitting.groups import assign_group_folds, assign_groups
from categorize.data.splitting.near import NearTexts
from categorize.data.splitting.shares import (
    NAMES,
    TEST,
    TRAIN,
    UNASSIGNED,
    VALIDATION,
    Fractions,
    Units,
    assign,
    known_splits,
    make_units,
)
from categorize.data.splitting.times import parse_date, read_times, shown
from categorize.errors import UserError
from categorize.predictions import FloatArray, IntArray
from categorize.recipe.data_sections import DataSection
from categorize.recipe.wording import counted, join

UNLABELED = len(NAMES)
_FEW = 20  # validation rows under which a warning says what they cost
_FAR_OFF = 0.5  # a held-out split this much smaller or larger than its share is worth a warning


@dataclass
class Assigned:
    """The split of each row, and what the report should say about it."""

    splits: IntArray  # [rows]; number of the split as in `shares.NAMES`, UNLABELED for a row that nobody has labelled
    # Keys and the number of the split of each (of its fold, with folds), to be stored; empty where all are published.
    keys: pa.Array = field(default_factory=lambda: pa.array([], pa.string()))
    numbers: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def assign_rows(rows: pa.Table, data: DataSection, known: Mapping[str, int], near: NearTexts | None) -> Assigned:
    """The split of each row. Official splits stay as published; one that is not given is cut from train.

    Silver rows have no part in the cut, so that they move no gold row: they stand where their unit does, in train where
    that has no gold row and was never held out.

    The rows have the columns as far as `node` (see `columns`); `known` is the stored assignment, key -> split or fold;
    `near` is needed for `near_duplicates: group`. Raises UserError where the source publishes the test split that folds
    are to make, a group or too few times leave a split empty, or a time cannot be read.
    """
    settings = data.splits
    fields = fields_of(rows)
    times = None
    if settings.by_time is not None:
        cells = fields.field(settings.by_time).to_pylist()
        times = read_times(cells, lambda row: row_name(rows, row, with_file=True), "data.splits.by_time")
    names, of_name = codes(rows["official"])
    given, labelled, silver = set(names), rows["values"].is_valid().to_numpy(), rows["silver"].to_numpy()
    # Rows of a source that publishes no splits count as those of train, from which splits are cut.
    numbers = {Source.ALL: TRAIN, "unlabeled": UNLABELED} | {name: i for i, name in enumerate(NAMES)}
    splits = np.where(labelled, np.array([numbers[name] for name in names], dtype=np.int64)[of_name], UNLABELED)
    if settings.folds is not None and "test" in given:
        way_out = "give the rows as one file, or remove folds"
        raise UserError(f"data.splits.folds: the source publishes a test split; {way_out}")
    fractions = Fractions(
        0.0 if "test" in given else settings.test if settings.folds is None else 1 / settings.folds,
        0.0 if "validation" in given else settings.validation,
        settings.seed,
    )
    idle = _without_effect(given, fractions, data)
    if fractions.test == 0.0 and fractions.validation == 0.0:
        return Assigned(splits, warnings=idle)
    joined = near if settings.near_duplicates == "group" else None
    to_cut = splits == TRAIN
    pool = np.flatnonzero(to_cut & ~silver)
    keys = rows["key"].take(pa.array(pool))
    own = keys if joined is None else _joined(rows, joined).take(pa.array(pool))
    units = make_units(own, rows["values"].take(pa.array(pool)))
    first, _ = coded_rows([keys])
    distinct = as_array(keys.take(pa.array(first))).cast(pa.string())
    stored = known_splits(distinct, known)
    # A unit of joined texts stands where its first stored text stands.
    existing: dict[str, int] = {}
    at = pa.array(first[stored != UNASSIGNED])
    for key, unit in sorted(zip(keys.take(at).to_pylist(), own.take(at).to_pylist(), strict=True)):
        existing.setdefault(unit, known[key])
    result = Assigned(splits, warnings=idle)
    if settings.folds is not None:
        code, of_unit = _by_folds(units, fractions, data, settings.folds, existing, result)
    elif times is not None:
        dates = any(parse_date(cell) is not None for cell in cells if cell)
        of_unit = code = _by_time(units, times[pool], dates, fractions, existing, result, data)
    else:
        of_unit = code = (assign if data.columns.group is None else assign_groups)(units, fractions, existing)
    result.keys, result.numbers = distinct, np.where(stored == UNASSIGNED, code[units.of_row[first]], stored)
    splits[pool] = of_unit[units.of_row]
    if joined is not None and known:
        for i, key in zip(pool.tolist(), keys.to_pylist(), strict=True):
            if key in known:
                splits[i] = _split_of(known[key], settings.folds, settings.fold, int(splits[i]))
    at = np.flatnonzero(to_cut & silver)
    if len(at):
        machine_labelled = dict(zip(at.tolist(), rows["key"].take(pa.array(at)).to_pylist(), strict=True))
        _place_silver(machine_labelled, dict(zip(keys.to_pylist(), pool.tolist(), strict=True)), known, data, result)
    if settings.by_time is None:
        named = data.columns.group or data.columns.document
        groups = trimmed(fields.field(named).take(pa.array(pool))).to_pylist() if named is not None else None
        _check_shares(units, of_unit, fractions, groups, joined is not None, data, result)
    _check_validation(np.bincount(splits[pool], minlength=len(NAMES)), fractions, result)
    return result


def _place_silver(
    rows: Mapping[int, str], gold: Mapping[str, int], known: Mapping[str, int], data: DataSection, result: Assigned
) -> None:
    """Silver rows stand where a gold row of their key does, else where the key was before, else in train.

    That is stored, so that a row that people correct later stays in train: models were trained on it.

    Args:
        rows: row -> its key.
        gold: key -> a gold row of it.
    """
    settings = data.splits
    more: dict[str, int] = {}
    for row, key in rows.items():
        if key in gold:
            result.splits[row] = result.splits[gold[key]]
            continue
        before = known.get(key)
        split = TRAIN if before is None else _split_of(before, settings.folds, settings.fold, TRAIN)
        result.splits[row] = split
        if settings.folds is None:
            more[key] = split
    result.keys = pa.concat_arrays([result.keys, pa.array(more, pa.string())])
    result.numbers = np.append(result.numbers, list(more.values())).astype(np.int64)
    if rows and not gold:
        result.warnings.append(
            "no row has a label by people (data.silver): nothing is held out; give data.source.test, or label some "
            "rows, see run_label.py --review"
        )


def _joined(rows: pa.Table, near: NearTexts) -> pa.DictionaryArray:
    """The key of each row, [rows]: the first among those of its near duplicates, with which it must stay."""
    node = rows["node"].to_numpy()
    at = np.flatnonzero((node >= 0) & ~rows["silver"].to_numpy())
    members = np.zeros(near.nodes, dtype=bool)
    members[node[at]] = True
    keys, code = coded(rows["key"])
    component = near.nodes + np.arange(len(keys))  # of a key that was not compared: its own
    component[code[at]] = near.components_of_nodes(members)[node[at]]
    order = pa.compute.sort_indices(keys).to_numpy()
    _, first, place = np.unique(component[order], return_index=True, return_inverse=True)
    of_key = np.empty(len(keys), dtype=np.int64)
    of_key[order] = order[first[place]]
    return pa.DictionaryArray.from_arrays(pa.array(of_key[code]), keys)


def _without_effect(given: set[str], fractions: Fractions, data: DataSection) -> list[str]:
    """Keys that are written and do nothing for this source, because it publishes the splits that they are for."""
    settings = data.splits
    written = {key: value for key, value in settings if key in settings.model_fields_set and value}
    result = [
        f"data.splits.{name}: {written[name]} has no effect: the source publishes a {name} split, which is kept; give "
        "the rows as one file to cut it anew"
        for name in ("test", "validation")
        if name in written and name in given
    ]
    if settings.folds is not None and "test" in settings.model_fields_set:
        result.append(f"data.splits.test: {settings.test} has no effect beside folds: each fold is a test split")
    if fractions.test == 0.0 and fractions.validation == 0.0:
        keys = [f"data.splits.{key}" for key in ("seed", "file", "by_time") if key in written]
        if settings.near_duplicates == "group":
            keys.append("data.splits.near_duplicates: group")
        if keys:
            have = "have" if len(keys) > 1 else "has"
            result.append(f"{join(keys, 'and')} {have} no effect: no split is cut from this source")
    return result


def _check_validation(rows: IntArray, fractions: Fractions, result: Assigned) -> None:
    """Warn where validation is cut from so few rows that it costs more than it tells."""
    held, left = int(rows[VALIDATION]), int(rows[TRAIN])
    if fractions.validation and 0 < held < _FEW:
        result.warnings.append(
            f"validation has {counted(held, 'row')}, taken from the {held + left:,} of train: a measure on it moves by "
            f"{100 / held:.0f} points with a single row, and training has {left:,}; to train on all of them set "
            "data.splits.validation: 0 (no early stopping, best checkpoint or tuned thresholds then)"
        )


def _split_of(stored: int, folds: int | None, fold: int, split: int) -> int:
    """The split of a stored key that joined a unit of another one: its own stays."""
    if folds is None:
        return stored
    return TEST if stored == fold else split if split != TEST else TRAIN


def _by_folds(
    units: Units, fractions: Fractions, data: DataSection, folds: int, existing: dict[str, int], result: Assigned
) -> tuple[IntArray, IntArray]:
    """The fold of each unit, and its split in this fold; validation is cut from what is not test."""
    if len(units.keys) < folds:
        whole = f"{len(units.keys)} units (groups, documents or distinct texts) that stay whole"
        way_out = "choose fewer folds, or a finer data.columns.group"
        raise UserError(f"data.splits.folds: {folds} folds, but the labelled rows are {whole}; {way_out}")
    grouped, fold = data.columns.group is not None, data.splits.fold
    of_fold = (assign_group_folds if grouped else assign_folds)(units, folds, fractions.seed, existing)
    split = np.where(of_fold == fold, TEST, TRAIN)
    rest = np.flatnonzero(split == TRAIN)
    inner = replace(fractions, test=0.0, validation=min(fractions.validation / (1 - 1 / folds), 0.999))
    split[rest] = (assign_groups if grouped else assign)(units.take(rest), inner)
    result.notes.append(f"fold {fold} of {folds} (from 0) is the test split")
    return of_fold, split


def _by_time(
    units: Units,
    times: FloatArray,
    dates: bool,
    fractions: Fractions,
    existing: dict[str, int],
    result: Assigned,
    data: DataSection,
) -> IntArray:
    """The split of each unit, with the cut, ties, missing and recurring rows told."""
    unit_time = unit_times(units.of_row, times, len(units.keys))
    split, cut = assign_by_time(units, unit_time, fractions, existing)
    column = data.splits.by_time
    parts = [
        f"{name} from {shown(start, dates)}"
        for name, start in (("validation", cut.validation), ("test", cut.test))
        if np.isfinite(start) and not (name == "validation" and start == cut.test)
    ]
    result.notes.append(f"split by time ({column}): train first, {', '.join(parts) or 'nothing held out'}")
    labelled = units.of_row >= 0
    of_row = split[units.of_row[labelled]]
    row_times = times[labelled]
    if missing := int(np.isnan(row_times).sum()):
        result.notes.append(f"{missing} labelled rows have no {column}; a unit without any is in train")
    # A unit that recurs stands where it first appeared.
    late = ((of_row == TRAIN) & (row_times >= cut.validation)) | ((of_row == VALIDATION) & (row_times >= cut.test))
    if late.any():
        why = "their text, document or group appeared earlier, and units stay whole"
        result.notes.append(f"{int(late.sum())} rows are later than their split: {why}")
    for target, said in _far_off(units, split, {TEST: fractions.test, VALIDATION: fractions.validation}):
        start = cut.test if target == TEST else cut.validation
        tied = f"{int((row_times == start).sum())} rows share the time {shown(start, dates)}"
        result.warnings.append(f"{said}: {tied}, and rows of one time stay together")
    return split


def _far_off(units: Units, split: IntArray, shares: dict[int, float]) -> Iterator[tuple[int, str]]:
    """The splits whose rows are far off their share, with how far."""
    total = int(units.sizes.sum())
    for target, share in shares.items():
        rows = int(units.sizes[split == target].sum())
        if share and abs(rows - share * total) > max(_FAR_OFF * share * total, 1):
            yield target, f"the {NAMES[target]} split has {rows / total:.0%} of the labelled rows, not {share:.0%}"


def _check_shares(
    units: Units,
    split: IntArray,
    fractions: Fractions,
    groups: Sequence[str | None] | None,
    joined: bool,
    data: DataSection,
    result: Assigned,
) -> None:
    """Refuse groups that leave a split empty; warn of those that put one far off its share."""
    total = int(units.sizes.sum())
    if not total or (groups is None and not joined):
        return
    largest = int(np.argmax(units.sizes))
    share = units.sizes[largest] / total
    if groups is None:
        key, name = "data.splits.near_duplicates", "the largest set of near duplicates"
    else:
        key = "data.columns.group" if data.columns.group is not None else "data.columns.document"
        cell = next((g for g, unit in zip(groups, units.of_row.tolist(), strict=True) if unit == largest and g), None)
        name = f"{cell[:40]!r}" if cell else "one text"
    held = f"{name} holds {int(units.sizes[largest])} of {total} labelled rows ({share:.0%})"
    left = 1 - fractions.test - fractions.validation
    shares = {TEST: fractions.test, VALIDATION: fractions.validation, TRAIN: left}
    for target, quota in shares.items():
        if quota * total >= 1 and not (split == target).any():
            raise UserError(
                f"{key}: {held}, and {len(units.keys)} units stay whole: the {NAMES[target]} split "
                f"({quota:.0%}) is empty; name a finer column, change data.splits, or give the splits as files"
            )
    far_off = _far_off(units, split, shares)
    result.warnings.extend(f"{said}: units stay whole, and {held}" for _, said in far_off)
