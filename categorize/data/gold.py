"""Label cells become gold: what a label set makes of the cells, and what was counted on the way."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import pyarrow as pa

from categorize.data.columns import Cell, label_cells, row_name, split_cell, to_number
from categorize.data.label_hints import joined_by, separator_way
from categorize.data.reading.raw import LIST_OF_STRINGS
from categorize.data.rows import grouped, taken
from categorize.errors import UserError
from categorize.label_rules import RuleBroken
from categorize.labels import Label, LabelSet, UnknownLabel, spell
from categorize.predictions import IntArray
from categorize.recipe.scalars import flow
from categorize.recipe.wording import counted, quote, similar

_EXAMPLES = 5  # rows or values that a message shows
_SET_SHOWN = 20  # labels of the set that a message shows
_WITH_ROWS = 10  # labels outside the set that are shown with their rows; the others have their counts
_LONGEST = 3000  # characters of a list of labels outside the set
_GUESSED = 200  # labels outside the set for which a label of the set is looked for


@dataclass
class Gold:
    """Labels of rows, read with a label set, and what was counted on the way."""

    labels: pa.Array  # list<string>; label names in label-set order; null = unknown, [] = truly no label
    scores: pa.Array  # double; numbers of a regression; null = unknown
    missing: Counter[str] = field(default_factory=Counter)  # rows without a label, by what the cell holds
    unknown: Counter[str] = field(default_factory=Counter)  # rows with a label outside the set, by that label
    dropped: int = 0  # rows that became unlabelled for it


def read_gold(rows: pa.Table, label_set: LabelSet, separator: str) -> Gold:
    """Read the label cells of an extracted table with a label set; `separator` cuts the cells of a multi-label one.

    Raises UserError, in one line for all files, for a label outside the set under `labels.unknown: error`, several
    labels in a single-label cell, and a score that is not a number or out of bounds.
    """
    gold, faults = (_read_scores if label_set.is_regression else _read_labels)(rows, label_set, separator)
    if faults:
        raise UserError("; ".join(faults))
    return gold


def _read_labels(rows: pa.Table, label_set: LabelSet, separator: str) -> tuple[Gold, list[str]]:
    gold = Gold(pa.nulls(0), pa.nulls(rows.num_rows, pa.float64()))
    # Each of these has the numbers of cells.
    refused: dict[str, list[int]] = {}  # label outside the set
    several: list[int] = []
    broken: dict[str, list[int]] = {}  # rule that is broken
    cells, code = label_cells(rows)
    counts = np.bincount(code, minlength=len(cells)).tolist()
    of_cell: list[list[str] | None] = []
    for number, (cell, count) in enumerate(zip(cells, counts, strict=True)):
        if cell is None:
            of_cell.append(None)
            gold.missing[""] += count
            continue
        names, unknown = _resolve(cell, label_set, separator)
        gold.unknown.update(dict.fromkeys(unknown, count))
        if label_set.rules.unknown == "error":
            for value in unknown:
                refused.setdefault(value, []).append(number)
        if unknown and label_set.rules.unknown != "other":
            gold.dropped += count
            names = None
        elif names is None:
            gold.missing[_shown(cell)] += count
        elif not label_set.is_multi_label and len(names) != 1:
            several.append(number)
        elif label_set.row_rules:
            try:
                names = label_set.settle(names)
            except RuleBroken as error:
                broken.setdefault(str(error), []).append(number)
        of_cell.append(names)
    gold.labels = taken(pa.array(of_cell, LIST_OF_STRINGS), code)
    by_value = {value: _rows_of(numbers, code) for value, numbers in refused.items()}
    faults = [_unknown_message(by_value, rows, label_set, separator)] if refused else []
    for file, at in _by_file(rows, _rows_of(several, code)).items():
        faults.append(
            f"{file}: {len(at)} rows have several labels or an empty list, first {row_name(rows, at[0])}: "
            f"{quote(_shown(cells[code[at[0]]]))}; write labels.task: multi_label"
        )
    for rule, numbers in broken.items():
        for file, at in _by_file(rows, _rows_of(numbers, code)).items():
            faults.append(
                f"{file}: {counted(len(at), 'row')} against labels.rules ({rule.removeprefix('rule: ')}), first "
                f"{row_name(rows, at[0])}: {quote(_shown(cells[code[at[0]]]))}; correct them or change labels.rules"
            )
    return gold, faults


def _rows_of(numbers: Sequence[int], code: IntArray) -> list[int]:
    """The rows, in order, whose cells have these numbers."""
    return np.flatnonzero(np.isin(code, numbers)).tolist()


def _by_file(rows: pa.Table, at: Sequence[int]) -> dict[str, list[int]]:
    """Rows by their file, in order."""
    return grouped(zip(rows["file"].take(pa.array(at, pa.int64())).to_pylist(), at, strict=True))


def _shown(cell: Cell) -> str:
    return cell if isinstance(cell, str) else ", ".join(cell or ())


def _resolve(
    cell: str | tuple[str, ...], label_set: LabelSet, separator: str
) -> tuple[list[str] | None, tuple[str, ...]]:
    """Label names of a cell in label-set order (None: not labelled), and its values outside the set."""
    parts = split_cell(cell, separator) if isinstance(cell, str) and label_set.is_multi_label else cell
    if parts is None:
        return None, ()
    values = list(dict.fromkeys([parts] if isinstance(parts, str) else parts))
    unknown = tuple(value for value in values if not label_set.knows(value))
    names = set()
    for value in values:
        with suppress(UnknownLabel):
            names.add(label_set.resolve(value))
    known = [name for name in names if name is not None]
    return sorted(known, key=label_set.index.__getitem__) if known or not values else None, unknown


def _unknown_message(unknown: dict[str, list[int]], rows: pa.Table, label_set: LabelSet, separator: str) -> str:
    """All labels outside the set with their counts, the commonest with their rows, and what to paste for spellings."""
    files = list(_by_file(rows, [row for at in unknown.values() for row in at]))
    by_count = sorted(unknown.items(), key=lambda item: (-len(item[1]), item[0]))
    meant: dict[str, list[str]] = {}  # label -> spellings outside the set
    parts: list[str] = []
    for number, (value, at) in enumerate(by_count):
        guess = similar(value, label_set.names, 0.6) if number < _GUESSED else None
        if guess is not None:
            meant.setdefault(guess, []).append(value)
        if number >= _WITH_ROWS:
            parts.append(f"{quote(value)} {len(at):,}")
            continue
        where = set(rows["split"].take(pa.array(at)).to_pylist()) if "split" in rows.column_names else set()
        only = f", in {' and '.join(sorted(where))} only" if where and "train" not in where else ""
        hint = f", did you mean {quote(guess)}?" if guess else ""
        first = ", ".join(row_name(rows, row) + f" of {rows['file'][row]}" * (len(files) > 1) for row in at[:3])
        etc = ", ..." if len(at) > 3 else ""
        parts.append(f"{quote(value)} ({counted(len(at), 'row')}: {first}{etc}{only}{hint})")
    listed, left = _cut(parts)
    more = f"; and {left:,} more of {len(unknown):,} in all" if left else ""
    names = ", ".join(label_set.names[:_SET_SHOWN]) + (", ..." if len(label_set) > _SET_SHOWN else "")
    paste = ""
    if meant:
        definitions = [
            _definition(label, meant.get(label.name, [])) if label.name in meant else label.name
            for label in label_set.labels
            if label.name in meant or (len(label_set) <= _SET_SHOWN and not label_set.groups)
        ]
        shown, left = _cut([flow(one) if isinstance(one, dict) else flow([one])[1:-1] for one in definitions])
        whole = len(definitions) == len(label_set) and not left
        inside = ", ".join(shown)
        place = f"labels.names: [{inside}]" if whole else f"into labels.names, in place of these labels: {inside}"
        paste = f"; where they are other spellings, paste {place}"
    if (joint := joined_by(unknown, label_set.knows, separator)) is not None:
        paste += f"; they hold labels of the set: set {separator_way(joint, label_set.task, separator)}"
    return (
        f"{', '.join(files)}: labels outside the set: {'; '.join(listed)}{more}; the set: {names}{paste}; "
        "else add them to labels.names, codes or missing, or set labels.unknown: drop | other"
    )


def _cut(parts: Sequence[str]) -> tuple[list[str], int]:
    """The parts that fit into a message, and how many do not."""
    fits = [total <= _LONGEST for total in accumulate(len(part) + 2 for part in parts)]
    count = max(sum(fits), 1)
    return list(parts[:count]), len(parts) - count


def _definition(label: Label, spellings: Sequence[str]) -> dict[str, object]:
    """A label as a recipe defines it, with more spellings."""
    described = {"description": label.description} if label.description else {}
    return {"name": label.name, **described, "aliases": [*label.aliases, *spellings]}


def _read_scores(rows: pa.Table, label_set: LabelSet, separator: str) -> tuple[Gold, list[str]]:
    rules = label_set.rules
    missing = {"", *map(spell, rules.missing)}
    lowest = -math.inf if rules.minimum is None else rules.minimum
    highest = math.inf if rules.maximum is None else rules.maximum
    wrong: list[int] = []  # numbers of cells
    outside: list[int] = []
    cells, code = label_cells(rows)
    texts = list(map(_shown, cells))
    counts = np.bincount(code, minlength=len(cells)).tolist()
    scores: list[float | None] = []
    gold = Gold(pa.nulls(rows.num_rows, LIST_OF_STRINGS), pa.nulls(0))
    for number, (text, count) in enumerate(zip(texts, counts, strict=True)):
        is_missing = not text or spell(text) in missing
        value = None if is_missing else to_number(text)
        scores.append(value)
        if is_missing:
            gold.missing[text] += count
        elif value is None:
            wrong.append(number)
        elif not lowest <= value <= highest:
            outside.append(number)
    gold.scores = taken(pa.array(scores, pa.float64()), code)
    bounds = f"a score outside {rules.minimum}..{rules.maximum}"
    faults = []
    for numbers, problem, way_out in (
        (wrong, "no number", "fix them or list what they hold under labels.missing"),
        (outside, bounds, "fix them or change labels.minimum and labels.maximum"),
    ):
        for file, of_file in _by_file(rows, _rows_of(numbers, code)).items():
            first = ", ".join(f"{row_name(rows, row)}: {quote(texts[code[row]])}" for row in of_file[:_EXAMPLES])
            hold = "rows hold" if len(of_file) > 1 else "row holds"
            faults.append(f"{file}: {len(of_file)} {hold} {problem}: {first}; {way_out}")
    return gold, faults
