"""Label cells become gold: what a label set makes of the cells, and what was counted on the way."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from categorize.data.columns import Cell, Extracted, split_cell, to_number
from categorize.data.rows import schema
from categorize.errors import UserError
from categorize.labels import LabelSet, UnknownLabel, spell
from categorize.recipe.wording import counted

_EXAMPLES = 5  # rows or values that a message shows
_SET_SHOWN = 20  # labels of the set that a message shows


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


def read_gold(rows: Extracted, label_set: LabelSet, separator: str, splits: Sequence[str] | None = None) -> Gold:
    """Read the label cells with a label set; `separator` cuts the cells of a multi-label one.

    `splits` (one name a row) serves messages alone.

    Raises:
        UserError: a label outside the set under `labels.unknown: error`; several labels in a single-label cell; a score
            that is no number or out of bounds.
    """
    if label_set.is_regression:
        return _read_scores(rows, label_set)
    gold = Gold(scores=[None] * len(rows))
    memory: dict[str | tuple[str, ...], tuple[list[str] | None, tuple[str, ...]]] = {}
    unknown_rows: dict[str, list[int]] = {}
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
            unknown_rows.setdefault(value, []).append(row)
        if unknown and label_set.rules.unknown != "other":
            gold.dropped += 1
            names = None
        elif names is None:
            gold.missing[_shown(cell)] += 1
        elif not label_set.is_multi_label and len(names) != 1:
            several.append(row)
        gold.labels.append(names)
    if unknown_rows and label_set.rules.unknown == "error":
        raise UserError(_unknown_message(rows, unknown_rows, label_set, splits))
    if several:
        row = several[0]
        raise UserError(
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


def _unknown_message(
    rows: Extracted, unknown: dict[str, list[int]], label_set: LabelSet, splits: Sequence[str] | None
) -> str:
    parts = []
    for value, at in sorted(unknown.items(), key=lambda item: -len(item[1]))[:_EXAMPLES]:
        close = difflib.get_close_matches(value, label_set.names, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        where = {splits[row] for row in at} if splits else set()
        only = f", in {' and '.join(sorted(where))} only" if where and "train" not in where else ""
        first = ", ".join(rows.where(row) for row in at[:3])
        parts.append(f"{value!r} ({counted(len(at), 'row')}: {first}{', ...' if len(at) > 3 else ''}{only}{hint})")
    more = f" and {len(unknown) - _EXAMPLES} more" if len(unknown) > _EXAMPLES else ""
    names = ", ".join(label_set.names[:_SET_SHOWN]) + (", ..." if len(label_set) > _SET_SHOWN else "")
    return (
        f"{rows.name}: labels outside the set: {'; '.join(parts)}{more}; the set: {names}; "
        "add them to labels.names, codes, aliases or missing, or set labels.unknown: drop | other"
    )


def _read_scores(rows: Extracted, label_set: LabelSet) -> Gold:
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
        (wrong, "no number", "mend them or list what they hold under labels.missing"),
        (
            outside,
            f"a score outside {rules.minimum}..{rules.maximum}",
            "mend them or change labels.minimum and labels.maximum",
        ),
    ):
        if at:
            first = ", ".join(f"{rows.where(row)}: {_shown(rows.cells[row])!r}" for row in at[:_EXAMPLES])
            raise UserError(
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
