"""What label cells look like besides what they are taken for: nothing at all, or several labels in one cell."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pyarrow as pa

from categorize.data.columns import Cell, label_cells, split_cell
from categorize.data.reading.ways_out import said
from categorize.data.rows import coded
from categorize.labels import LabelSet, spell
from categorize.recipe.data_sections import DataSection
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.scalars import flow
from categorize.recipe.wording import counted, first_few, quote, similar

NOTHING = frozenset(
    (
        "null",
        "na",
        "n/a",
        "nan",
        "none",
        "nil",
        "missing",
        "unlabeled",
        "unlabelled",
        "unknown",
        "?",
        "-",
        "无",
        "未标注",
    )
)
_SEPARATORS = (";", "|", ",", "、", "/", "+", "&", "\n")
_MANY = 0.8  # share of the cells with a separator whose parts are labels elsewhere


def label_hints(rows: pa.Table, label_set: LabelSet, labels: LabelsSection, data: DataSection) -> list[str]:
    """Warnings on a label set that was found in the rows: an extracted table with `split`."""
    if labels.names is not None or label_set.is_regression:
        return []
    found, code = label_cells(rows)
    counts = zip(found, np.bincount(code, minlength=len(found)).tolist(), strict=True)
    cells: Counter[Cell] = Counter({cell: count for cell, count in counts if cell is not None})
    return [*_missing(cells, labels, data), *_several(cells, labels, data), *_untrained(rows, label_set, data)]


def _values(cell: Cell, labels: LabelsSection, data: DataSection) -> tuple[str, ...]:
    if isinstance(cell, str):
        several = labels.task == "multi_label"
        return (split_cell(cell, data.label_separator) or ()) if several else (cell,)
    return cell or ()


def _missing(cells: Counter[Cell], labels: LabelsSection, data: DataSection) -> list[str]:
    """Labels that may mean that nobody has labelled the row."""
    counts: Counter[str] = Counter()
    for cell, count in cells.items():
        for value in _values(cell, labels, data):
            if spell(value).casefold() in NOTHING and spell(value) not in map(spell, labels.codes):
                counts[spell(value)] += count
    if not counts:
        return []
    shown = ", ".join(f"{quote(value)} ({counted(n, 'row')})" for value, n in counts.most_common())
    missing = flow([*labels.missing, *counts])
    return [
        f"{shown} counts as a class; where it means not labelled, set labels.missing: {missing}; where it is a class, "
        "labels.names says so"
    ]


def _several(cells: Counter[Cell], labels: LabelsSection, data: DataSection) -> list[str]:
    """Cells that look like several labels between another separator."""
    values = Counter[str]()
    for cell, count in cells.items():
        for value in _values(cell, labels, data):
            values[value] += count
    usual = unicodedata.normalize("NFKC", data.label_separator) if labels.task == "multi_label" else None
    if (found := find_separator(values, usual)) is None:
        return []
    separator, good = found
    way = separator_way(separator, labels.task, data.label_separator)
    rows = counted(sum(values[value] for value in good), "row")
    return [f"{quote(good[0])} ({rows} of its kind) looks like several labels: set {way}"]


def find_separator(values: Counter[str], usual: str | None = None) -> tuple[str, list[str]] | None:
    """A separator (not the `usual` one) between whose places stand labels that other cells have too, and the cells that
    have it; None where there is none."""

    for separator in _SEPARATORS:
        if separator == usual:
            continue
        parts = {value: split(value, separator) for value in values}
        joined = [value for value, some in parts.items() if len(some) > 1]
        cells_with = Counter(part for some in parts.values() if joined for part in set(some))
        good = [value for value in joined if all(cells_with[part] > 1 for part in parts[value])]
        if good and len(good) >= _MANY * len(joined):
            return separator, good
    return None


def separator_way(separator: str, task: str, usual: str) -> str:
    """The keys that read several labels of a cell; `usual` is the recipe's separator."""
    keys = [] if task == "multi_label" else ["labels.task: multi_label"]
    if separator != unicodedata.normalize("NFKC", usual):
        keys.append(said(label_separator=separator))
    return " and ".join(keys)


def split(value: str, separator: str) -> list[str]:
    """The parts of a cell; a full-width separator counts as the plain one."""
    return [part for part in map(str.strip, unicodedata.normalize("NFKC", value).split(separator)) if part]


def joined_by(values: Iterable[str], knows: Callable[[str], bool], separator: str) -> str | None:
    """The separator, other than the recipe's, by which values are labels of a set; None where there is none."""
    several = list(values)
    for other in _SEPARATORS:
        if other != unicodedata.normalize("NFKC", separator):
            parts = [split(value, other) for value in several]
            if parts and all(len(some) > 1 and all(map(knows, some)) for some in parts):
                return other
    return None


def _untrained(rows: pa.Table, label_set: LabelSet, data: DataSection) -> list[str]:
    """Labels of validation and test that train lacks: the set holds them, and nothing can be learned of them."""
    where: dict[str, Counter[str]] = {}
    (values, of_value), (splits, of_split) = coded(rows["values"]), coded(rows["split"])
    pairs, first, counts = np.unique(of_value * len(splits) + of_split, return_index=True, return_counts=True)
    lists, names = values.to_pylist(), splits.to_pylist()
    for i in np.argsort(first).tolist():
        value, split = divmod(int(pairs[i]), len(splits))
        for name in lists[value] or ():
            where.setdefault(name, Counter())[names[split]] += int(counts[i])
    lacking = {name: found for name, found in where.items() if not found["train"] and label_set.knows(name)}
    trained = [name for name in where if where[name]["train"]]
    if not lacking:
        return []
    return [f"train lacks labels that the set has from other splits: {first_few(_told(lacking, trained))}"]


def _told(lacking: dict[str, Counter[str]], trained: Sequence[str]) -> list[str]:
    told = []
    for name, found in lacking.items():
        close = similar(name, trained, 0.6)
        rows = ", ".join(f"{split_name} {n:,}" for split_name, n in found.items() if split_name != "unlabeled")
        told.append(f"{quote(name)} ({rows}{f'; did you mean {quote(close)}?' if close else ''})")
    return told
