"""What the data holds: counts, everything unusual, and the summary that a run prints before it trains."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import NormalDist
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from categorize.data.cleaning.report import CleaningReport
from categorize.data.columns import to_number
from categorize.data.gold import Gold
from categorize.data.reading.raw import SPLIT_NAMES
from categorize.data.rows import answer_codes, coded
from categorize.data.splitting.selection import EMPTY
from categorize.labels import LabelRules, LabelSet
from categorize.predictions import BoolArray, IntArray
from categorize.recipe.data_sections import DataSection
from categorize.recipe.wording import quote
from categorize.text_tables import aligned

_SHOWN = 8  # values that one line lists
_SHOWN_LABELS = 5  # labels that one warning names
_FEW = 20  # training rows under which a label is hard to learn
_LINES = 10  # of labels that are warned of one by one
_LISTED_LABELS = 40  # labels that the table shows
_NO_LABEL = "(no label)"
LABELLED_SPLITS = ("train", "validation", "test")
SCORE_MEASURES = ("mean", "sd", "min", "max")


@dataclass(frozen=True)
class DataReport:
    """Counts of a loaded source. Keys without a count are left out where nothing else is said."""

    source: str  # files or dataset
    rows: int
    texts: int  # distinct raw texts among them
    split_rows: dict[str, int]  # of every split
    label_counts: dict[str, dict[str, int]]  # label -> split -> rows; rows that truly have none: "(no label)"
    scores: dict[str, dict[str, float]]  # split -> mean, standard deviation, minimum, maximum of a regression
    missing: dict[str, int]  # rows that nobody has labelled, by what the cell holds ("" for an empty one)
    unknown: dict[str, int]  # rows with a label outside the set, by that label
    dropped: int  # rows that became unlabelled for it
    empty_texts: dict[str, int]  # rows without a text, by split; those of train are left out of it
    overlaps: dict[str, int]  # validation and test rows whose text stands in train, unlabeled ones whose is in test
    conflicts: int  # texts whose rows have different gold
    lengths: dict[str, float]  # characters of the prepared texts: median, mean, p95, max
    cleaning: CleaningReport
    notes: list[str] = field(default_factory=list)  # what the readers did
    warnings: list[str] = field(default_factory=list)  # what may spoil a run
    near_overlaps: dict[str, int] = field(default_factory=dict)  # as `overlaps`, of texts that are nearly the same
    left_out: dict[str, int] = field(default_factory=dict)  # rows that are in no split, by reason

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The summary, one line each, aligned in a terminal also where labels are Chinese."""
        lengths = self.lengths
        result = [
            f"data: {self.source}: {self.rows} rows, {self.texts} distinct texts",
            f"characters: median {lengths['median']:.0f}, mean {lengths['mean']:.0f}, "
            f"95% up to {lengths['p95']:.0f}, longest {lengths['max']:.0f}",
        ]
        result += aligned(self._table_rows())
        if len(self.label_counts) > _LISTED_LABELS:
            result.append(f"... and {len(self.label_counts) - _LISTED_LABELS} rarer labels")
        if self.missing:
            result.append(f"not labelled: {sum(self.missing.values())} rows ({_values(self.missing)})")
        if self.unknown:
            fate = f"{self.dropped} rows became unlabelled" if self.dropped else "taken by labels.other"
            result.append(f"labels outside the set: {_values(self.unknown)}; {fate}")
        if self.cleaning.steps:
            result.append(self.cleaning.line())
        if self.empty_texts:
            left_out = ", left out of training" if "train" in self.empty_texts else ""
            result.append(f"empty texts: {_counts(self.empty_texts)}{left_out}")
        if gone := {reason: n for reason, n in self.left_out.items() if reason != EMPTY}:
            result.append(f"left out: {'; '.join(f'{n} rows: {reason}' for reason, n in gone.items())}")
        if seen := {name: n for name, n in self.overlaps.items() if name != "unlabeled"}:
            result.append(f"texts that stand in train too: {_counts(seen)}")
        if "unlabeled" in self.overlaps:
            result.append(f"unlabeled texts that stand in test too: {self.overlaps['unlabeled']} rows")
        if self.conflicts:
            result.append(f"texts labelled in different ways: {self.conflicts}")
        result += [f"note: {note}" for note in self.notes]
        result += [f"warning: {warning}" for warning in self.warnings]
        return result

    def _table_rows(self) -> list[list[str]]:
        splits = [name for name, rows in self.split_rows.items() if rows]
        labelled = [name for name in splits if name in LABELLED_SPLITS]
        rows = [["", *splits], ["rows", *(str(self.split_rows[name]) for name in splits)]]
        by_size = sorted(self.label_counts, key=lambda label: -sum(self.label_counts[label].values()))
        for label in sorted(by_size[:_LISTED_LABELS], key=list(self.label_counts).index):
            rows.append([f"  {label}", *(str(self.label_counts[label].get(name, 0)) for name in labelled)])
        for key in SCORE_MEASURES if self.scores else ():
            rows.append([f"  score {key}", *(f"{self.scores[name][key]:.3g}" for name in labelled)])
        return rows


def describe(
    source: str,
    notes: Sequence[str],
    warnings: Sequence[str],
    rows: pa.Table,
    near_train: Collection[str],
    label_set: LabelSet,
    gold: Gold,
    data: DataSection,
    cleaning: CleaningReport,
) -> DataReport:
    """The report on loaded rows, a table with all columns of `columns`; `warnings` are those of the assignment."""
    place = pa.compute.if_else(rows["reason"].is_null(), rows["split"], None)
    golds = rows.select(["gold", "gold_score"])
    tables = {name: golds.filter(pa.compute.equal(place, name)) for name in SPLIT_NAMES}
    keys, key = coded(rows["content_hash"])
    at = {name: pa.compute.equal(place, name).fill_null(False).to_numpy() for name in SPLIT_NAMES}
    is_near = pa.compute.is_in(keys, value_set=pa.array(near_train, pa.string())).to_numpy(zero_copy_only=False)[key]
    near = {name: int(is_near[at[name]].sum()) for name in ("validation", "test")}
    lengths = pa.compute.utf8_length(rows["text"]).to_numpy()
    measures = (np.median(lengths), lengths.mean(), np.percentile(lengths, 95), lengths.max())
    report = DataReport(
        source=source,
        rows=rows.num_rows,
        texts=len(keys),
        split_rows={name: table.num_rows for name, table in tables.items()},
        label_counts=_label_counts(tables, label_set),
        scores=_scores(tables) if label_set.is_regression else {},
        missing=dict(gold.missing.most_common()),
        unknown=dict(gold.unknown.most_common()),
        dropped=gold.dropped,
        empty_texts=_count(rows.filter(pa.compute.equal(rows["text"], ""))["split"]),
        overlaps=_overlaps(key, at),
        conflicts=_conflicts(key, answer_codes(rows)),
        lengths=dict(zip(("median", "mean", "p95", "max"), map(float, measures), strict=True)),
        cleaning=cleaning,
        notes=list(notes),
        near_overlaps={name: n for name, n in near.items() if n},
        left_out=_count(rows["reason"].drop_null()),
    )
    report.warnings.extend(_warnings(report, rows, label_set, data))
    # A published file of unlabelled rows may number its documents anew.
    if data.columns.document is not None and getattr(data.source, "unlabeled", None) is None:
        report.warnings.extend(_torn(rows["document_id"], rows["split"]))
    report.warnings.extend(warnings)
    if report.near_overlaps:
        report.warnings.append(_near_warning(report.near_overlaps, data, set(rows["official"].unique().to_pylist())))
    return report


def _count(values: pa.ChunkedArray) -> dict[str, int]:
    """Each value with its number, in order of first appearance."""
    return dict(zip(*_counted(values), strict=True))


def _counted(column: pa.ChunkedArray) -> tuple[list[Any], list[int]]:
    """The distinct values of a column in order of first appearance, and how many rows have each."""
    values, code = coded(column)
    return values.to_pylist(), np.bincount(code, minlength=len(values)).tolist()


def _near_warning(overlaps: dict[str, int], data: DataSection, published: set[str]) -> str:
    cut = ({"validation", "test"} - published) & set(overlaps)
    found = f"nearly the text of a training row: {_counts(overlaps)}; scores on them flatter"
    # `group` helps where this source's splits are cut, and nothing else says what stays together.
    named = data.columns.group is None and data.columns.document is None and data.splits.by_time is None
    if named and data.splits.near_duplicates != "group" and cut:
        found += " (data.splits.near_duplicates: group keeps such texts in one split)"
    elif not cut:
        found += " (the splits are published, and kept; metrics.json has the measures of the other rows, too)"
    return found


def _label_counts(tables: dict[str, pa.Table], label_set: LabelSet) -> dict[str, dict[str, int]]:
    if label_set.is_regression:
        return {}
    result: dict[str, dict[str, int]] = {name: {} for name in label_set.names}
    for split in LABELLED_SPLITS:
        counts: Counter[str] = Counter()
        for gold, rows in zip(*_counted(tables[split]["gold"]), strict=True):
            counts.update(dict.fromkeys(gold or [_NO_LABEL], rows))
        for label, n in counts.items():
            result.setdefault(label, {})[split] = n
    return result


def _scores(tables: dict[str, pa.Table]) -> dict[str, dict[str, float]]:
    result = {}
    for split in LABELLED_SPLITS:
        values = tables[split]["gold_score"].to_numpy()
        if len(values):
            numbers = (values.mean(), values.std(), values.min(), values.max())
            result[split] = dict(zip(SCORE_MEASURES, map(float, numbers), strict=True))
    return result


def _overlaps(key: IntArray, at: Mapping[str, BoolArray]) -> dict[str, int]:
    """Rows of each split whose key stands in train too; of unlabeled ones, in test."""
    counts = {}
    for name, other in (("validation", "train"), ("test", "train"), ("unlabeled", "test")):
        there = np.zeros(int(key.max(initial=0)) + 1, dtype=bool)
        there[key[at[other]]] = True
        counts[name] = int(there[key[at[name]]].sum())
    return {name: n for name, n in counts.items() if n}


def _conflicts(key: IntArray, gold: IntArray) -> int:
    """Keys whose rows have different known gold (-1 = unknown)."""
    key, gold = key[gold >= 0], gold[gold >= 0]
    one = np.empty(int(key.max(initial=0)) + 1, dtype=np.int64)
    one[key] = gold  # of its rows' golds any
    return len(np.unique(key[gold != one[key]]))


def _warnings(report: DataReport, rows: pa.Table, label_set: LabelSet, data: DataSection) -> list[str]:
    warnings = []
    labelled = sum(report.split_rows[name] for name in LABELLED_SPLITS)
    if labelled:
        totals = {label: sum(counts.values()) for label, counts in report.label_counts.items() if label != _NO_LABEL}
        alone: list[str] = []
        untrained: list[str] = []
        for label, total in totals.items():
            if total == 1:
                where = next(iter(report.label_counts[label]))
                alone.append(
                    f"label {quote(label)} has one row in all, in {where}: it cannot be both trained and tested"
                )
            elif not report.label_counts[label].get("train"):
                untrained.append(f"label {quote(label)} has no training row")
        for lines, of_all in ((alone, "labels have one row in all"), (untrained, "labels have no training row")):
            warnings += lines[:_LINES]
            if len(lines) > _LINES:
                warnings.append(f"... {len(lines) - _LINES:,} more {of_all}")
        train = {label: report.label_counts[label].get("train", 0) for label, total in totals.items() if total > 1}
        if few := {label: n for label, n in train.items() if 0 < n < _FEW}:
            warnings.append(f"labels with fewer than {_FEW} training rows: {_values(few)}")
        warnings += _uneven(report)
        for name, share in (("validation", data.splits.validation), ("test", data.splits.test)):
            if share and not report.split_rows[name]:
                warnings.append(f"the {name} split is empty: there are too few labelled rows for a share of {share}")
    rules = label_set.rules
    if label_set.is_regression and rules.missing == LabelRules().missing:  # else the recipe says what it means
        lowest = -math.inf if rules.minimum is None else rules.minimum
        numbers = {value: to_number(value) for value in report.missing}
        if scores := {value: report.missing[value] for value, x in numbers.items() if x is not None and x >= lowest}:
            warnings.append(
                f"{_values(scores)} counts as unlabelled: where it is a score, set labels.missing: ['']; where it is "
                "none, set labels.minimum above it"
            )
    if data.columns.document is not None and (
        conflicts := _conflicts(coded(rows["document_id"])[1], answer_codes(rows))
    ):
        told = "documents have rows with different labels; the first labelled row's is the document's"
        warnings.append(f"{conflicts} {told}")
    return warnings


def _torn(documents: pa.ChunkedArray, splits: pa.ChunkedArray) -> list[str]:
    """Documents that are labelled in some of their rows only, as where a label stands in the first row alone."""
    labelled = documents.filter(pa.compute.is_in(splits, value_set=pa.array(LABELLED_SPLITS)))
    others = documents.filter(pa.compute.equal(splits, "unlabeled"))
    torn = others.filter(pa.compute.is_in(others, value_set=labelled)).to_pylist()
    if not torn:
        return []
    return [
        f"{len(set(torn))} documents, such as {quote(torn[0])}, are labelled in some rows only: their other "
        f"{len(torn)} rows are unlabeled, and the documents lack them; write the label into all rows of one"
    ]


def _uneven(report: DataReport) -> list[str]:
    """Labels whose share in validation or test differs from that in train by more than chance."""
    labels = max(len(report.label_counts), 1)
    # Two-sided, one false alarm in a thousand clean splits, over all labels of both held-out splits.
    limit = NormalDist().inv_cdf(1 - 0.001 / (4 * labels))
    warnings = []
    train_rows = report.split_rows["train"]
    for split in ("validation", "test"):
        rows = report.split_rows[split]
        found = []
        for label, counts in report.label_counts.items():
            a, b = counts.get("train", 0), counts.get(split, 0)
            if not rows or not train_rows or not a + b:
                continue
            pooled = (a + b) / (train_rows + rows)
            deviation = math.sqrt(pooled * (1 - pooled) * (1 / train_rows + 1 / rows))
            difference = b / rows - a / train_rows
            if deviation and abs(difference) > limit * deviation:
                found.append(
                    (abs(difference), f"{quote(label)} {a / train_rows:.1%} of train, {b / rows:.1%} of {split}")
                )
        if found:
            shown = [text for _, text in sorted(found, reverse=True)[:_SHOWN_LABELS]]
            more = f", and {len(found) - _SHOWN_LABELS} more" if len(found) > _SHOWN_LABELS else ""
            warnings.append(f"labels whose share differs by more than chance: {'; '.join(shown)}{more}")
    return warnings


# ---------------------------------------------------------------- printing
def _values(counts: dict[str, int]) -> str:
    items = sorted(counts.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{quote(value)} {n}" if value else f"empty {n}" for value, n in items[:_SHOWN])
    return shown + (f", and {len(items) - _SHOWN} more" if len(items) > _SHOWN else "")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in counts.items())
