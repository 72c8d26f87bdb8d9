"""Label cells become gold: what a label set makes of the cells, and what was counted on the way."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
import pyarrow as pa

from categorize.data.columns import Cell, Extracted, split_cell, to_number
from categorize.data.rows import schema
from categorize.errors import UserError
from categorize.labels import Label, LabelSet, UnknownLabel, spell
from categorize.recipe.scalars import flow
from categorize.recipe.wording import counted

_EXAMPLES = 5  # rows or values that a message shows
_SET_SHOWN = 20  # labels of the set that a message shows
_WITH_ROWS = 10  # labels outside the set that are shown with their rows; the others have their counts
_LONGEST = 3000  # characters of a list of labels outside the set
_GUESSED = 200  # labels outside the set for which a label of the set is looked for


@dataclass
class Gold:
    """Labels of rows, read with a label set, and what was counted on the way.

    Attributes:
        labels: label names in label-set order; None = unknown, [] = truly no label.
        scores: numbers of a regression; None = unknown.
        missing: rows without a label, by what the cell holds ("" for an empty one).
        unknown: rows with a label outside the set, by that label.
        dropped: rows that became unlabelled for it.
    """

    labels: list[list[str] | None] = field(default_factory=list)
    scores: list[float | None] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    dropped: int = 0


@dataclass
class Faults:
    """What cannot be read, over all files of a source, so that it is told at once.

    Attributes:
        unknown: label outside the set -> file, row and split ("" where none is known) of each time that it stands.
        others: the rest, one message each.
    """

    unknown: dict[str, list[tuple[str, str, str]]] = field(default_factory=dict)
    others: list[str] = field(default_factory=list)

    def raise_if_any(self, label_set: LabelSet) -> None:
        """Raises UserError, one line, where something was found."""
        found = [_unknown_message(self.unknown, label_set)] if self.unknown else []
        if found or self.others:
            raise UserError("; ".join([*found, *self.others]))


def read_gold(
    rows: Extracted,
    label_set: LabelSet,
    separator: str,
    splits: Sequence[str] | None = None,
    faults: Faults | None = None,
) -> Gold:
    """Read the label cells with a label set; `separator` cuts the cells of a multi-label one.

    `splits` (one name a row) serves messages alone. With `faults`, what cannot be read is added there.

    Raises:
        UserError: without `faults`: a label outside the set under `labels.unknown: error`; several labels in a
            single-label cell; a score that is not a number, or out of bounds.
    """
    found = faults if faults is not None else Faults()
    if label_set.is_regression:
        gold = _read_scores(rows, label_set, found)
    else:
        gold = _read_labels(rows, label_set, separator, splits, found)
    if faults is None:
        found.raise_if_any(label_set)
    return gold


def _read_labels(
    rows: Extracted, label_set: LabelSet, separator: str, splits: Sequence[str] | None, faults: Faults
) -> Gold:
    gold = Gold(scores=[None] * len(rows))
    memory: dict[str | tuple[str, ...], tuple[list[str] | None, tuple[str, ...]]] = {}
    several: list[int] = []
    for row, cell in enumerate(rows.cells):
        if cell is None:
            gold.labels.append(None)
            gold.missing[""] += 1
            continue
        if cell not in memory:
            memory[cell] = _resolve(cell, label_set, separator)
        names, unknown = memory[cell]
        for value in unknown:
            gold.unknown[value] += 1
            if label_set.rules.unknown == "error":
                place = (rows.name, rows.where(row), splits[row] if splits else "")
                faults.unknown.setdefault(value, []).append(place)
        if unknown and label_set.rules.unknown != "other":
            gold.dropped += 1
            names = None
        elif names is None:
            gold.missing[_shown(cell)] += 1
        elif not label_set.is_multi_label and len(names) != 1:
            several.append(row)
        gold.labels.append(names)
    if several:
        row = several[0]
        faults.others.append(
            f"{rows.name}: {len(several)} rows have several labels or an empty list, first {rows.where(row)}: "
            f"{_shown(rows.cells[row])!r}; write labels.task: multi_label"
        )
    return gold


def _shown(cell: Cell) -> str:
    return cell if isinstance(cell, str) else ", ".join(cell or ())


def _resolve(
    cell: str | tuple[str, ...], label_set: LabelSet, separator: str
) -> tuple[list[str] | None, tuple[str, ...]]:
    """Label names of a cell in label-set order (None: not labelled), and its values outside the set."""
    if isinstance(cell, str):
        parts = split_cell(cell, separator) if label_set.is_multi_label else (cell,)
        if parts is None:
            return None, ()
        cell = parts
    names: set[str] = set()
    unknown: list[str] = []
    for value in dict.fromkeys(cell):
        if not label_set.knows(value):
            unknown.append(value)
        try:
            name = label_set.resolve(value)
        except UnknownLabel:
            continue
        if name is not None:
            names.add(name)
    if not names and cell:
        return None, tuple(unknown)
    return sorted(names, key=label_set.index.__getitem__), tuple(unknown)


def _unknown_message(unknown: dict[str, list[tuple[str, str, str]]], label_set: LabelSet) -> str:
    """All labels outside the set with their counts, the commonest with their rows, and what to paste for spellings."""
    files = list(dict.fromkeys(file for places in unknown.values() for file, *_ in places))
    several_files = len(files) > 1
    by_count = sorted(unknown.items(), key=lambda item: (-len(item[1]), item[0]))
    meant: dict[str, list[str]] = {}
    parts: list[str] = []
    for number, (value, places) in enumerate(by_count):
        guess = _meant(value, label_set.names) if number < _GUESSED else None
        if guess is not None:
            meant.setdefault(guess, []).append(value)
        if number >= _WITH_ROWS:
            parts.append(f"{value!r} {len(places):,}")
            continue
        where = {split for *_, split in places if split}
        only = f", in {' and '.join(sorted(where))} only" if where and "train" not in where else ""
        hint = f", did you mean {guess!r}?" if guess else ""
        first = ", ".join(f"{row} of {file}" if several_files else row for file, row, _ in places[:3])
        etc = ", ..." if len(places) > 3 else ""
        parts.append(f"{value!r} ({counted(len(places), 'row')}: {first}{etc}{only}{hint})")
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
    return (
        f"{', '.join(files)}: labels outside the set: {'; '.join(listed)}{more}; the set: {names}{paste}; "
        "else add them to labels.names, codes or missing, or set labels.unknown: drop | other"
    )


def _cut(parts: Sequence[str]) -> tuple[list[str], int]:
    """The parts that fit into a message, and how many do not."""
    fits = [total <= _LONGEST for total in accumulate(len(part) + 2 for part in parts)]
    count = max(sum(fits), 1)
    return list(parts[:count]), len(parts) - count


def _meant(value: str, names: Sequence[str]) -> str | None:
    """The label that was probably meant, or None."""
    folded = {name.casefold(): name for name in reversed(names)}
    close = difflib.get_close_matches(value.casefold(), folded, n=1)
    return folded[close[0]] if close else None


def _definition(label: Label, spellings: Sequence[str]) -> dict[str, object]:
    """A label as a recipe defines it, with more spellings."""
    described = {"description": label.description} if label.description else {}
    return {"name": label.name, **described, "aliases": [*label.aliases, *spellings]}


def _read_scores(rows: Extracted, label_set: LabelSet, faults: Faults) -> Gold:
    rules = label_set.rules
    missing = {spell(word) for word in rules.missing}
    gold = Gold(labels=[None] * len(rows))
    wrong: list[int] = []
    outside: list[int] = []
    for row, cell in enumerate(rows.cells):
        text = _shown(cell)
        if spell(text) in missing or not text:
            gold.missing[text] += 1
            gold.scores.append(None)
            continue
        value = to_number(text)
        gold.scores.append(value)
        if value is None:
            wrong.append(row)
        elif (rules.minimum is not None and value < rules.minimum) or (
            rules.maximum is not None and value > rules.maximum
        ):
            outside.append(row)
    for at, problem, way_out in (
        (wrong, "no number", "fix them or list what they hold under labels.missing"),
        (
            outside,
            f"a score outside {rules.minimum}..{rules.maximum}",
            "fix them or change labels.minimum and labels.maximum",
        ),
    ):
        if at:
            first = ", ".join(f"{rows.where(row)}: {_shown(rows.cells[row])!r}" for row in at[:_EXAMPLES])
            faults.others.append(
                f"{rows.name}: {len(at)} row{'s hold' if len(at) > 1 else ' holds'} {problem}: {first}; {way_out}"
            )
    return gold


def build_rows(rows: Extracted, texts: Sequence[str], gold: Gold | None = None) -> pa.Table:
    """The table of rows with `rows.schema`; without `gold` nothing is labelled.

    `position` counts the rows of a document from 0, in file order.
    """
    n = len(rows)
    counts: Counter[str] = Counter()
    positions = np.zeros(n, dtype=np.int32)
    if rows.documents is not rows.ids:
        for row, document in enumerate(rows.documents):
            positions[row] = counts[document]
            counts[document] += 1
    return pa.table(
        {
            "id": pa.array(rows.ids, pa.string()),
            "document_id": pa.array(rows.documents, pa.string()),
            "position": pa.array(positions),
            "text": pa.array(texts, pa.string()),
            "fields": rows.fields,
            "gold": pa.array(gold.labels if gold else [None] * n, pa.list_(pa.string())),
            "gold_score": pa.array(gold.scores if gold else [None] * n, pa.float64()),
            "group": pa.array(rows.groups, pa.string()),
            "content_hash": pa.array(rows.content_keys, pa.string()),
            "weight": pa.array(rows.weights),
        },
        schema=schema([f.name for f in rows.fields.type]),
    )
