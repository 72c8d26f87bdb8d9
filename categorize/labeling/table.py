"""The table of labels: each input row exactly once, in input order, in parts that appear whole."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from categorize.data.rows import fields_of
from categorize.labeling.exchange import Labels, Stored
from categorize.labeling.rows import SpooledRows, Survey
from categorize.labels import LabelSet
from categorize.writing import whole_file

ROW_COLUMNS = ("id", "document_id", "text")
ABOUT = pa.schema(
    [
        pa.field("source", pa.string()),
        pa.field("duplicate_of", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("rationale", pa.string()),
        pa.field("confidence", pa.float64()),
        pa.field("attempts", pa.int32()),
        pa.field("cost", pa.float64()),
        pa.field("request", pa.int64()),
        pa.field("teacher", pa.string()),
    ]
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a job says of one text.

    Attributes:
        labels: of each label set; None where it has none.
        source: teacher, reused, failed, or disagreement.
        teacher: who labelled it.
    """

    labels: Labels | None
    source: str
    reason: str = ""
    rationale: str = ""
    confidence: float | None = None
    attempts: int = 0
    cost: float = 0.0
    request: int | None = None
    teacher: str | None = None

    @classmethod
    def of(cls, stored: Stored, teacher: str) -> Verdict:
        """What one teacher's answer amounts to."""
        source = "failed" if stored.labels is None else "reused" if stored.reused else "teacher"
        return cls(
            stored.labels,
            source,
            stored.reason,
            stored.rationale,
            stored.confidence,
            stored.attempts,
            stored.cost,
            stored.request,
            teacher,
        )


Decides = Callable[[Sequence[bytes]], Mapping[bytes, Verdict]]


@dataclass
class Written:
    """What stands in the table: rows by source, failed ones by reason, labels of each set, rows without an answer."""

    sources: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    labels: dict[str, Counter[str]] = field(default_factory=dict)
    unanswered: int = 0


def label_type(label_set: LabelSet) -> pa.DataType:
    """Type of a label set's column."""
    if label_set.is_regression:
        return pa.float64()
    return pa.list_(pa.string()) if label_set.is_multi_label else pa.string()


def write_labels(
    folder: Path,
    rows: SpooledRows,
    looked: Survey,
    decides: Decides,
    label_sets: Mapping[str, LabelSet],
    shard_rows: int,
) -> Written:
    """Write `part-00000.parquet` and on, each complete by rename; parts that an interrupted job left are replaced.

    Args:
        folder: of the parts.
        looked: the survey of these rows.
        decides: what is said of texts, by their keys; a text that is lacking is counted as unanswered.
        label_sets: by the names of their columns.
        shard_rows: rows of a part.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    written = Written(labels={name: Counter() for name in label_sets})
    parts = _Parts(folder, shard_rows)
    with parts:
        for table in labelled_blocks(rows, looked, decides, label_sets, written):
            parts.write(table)
    return written


def labelled_blocks(
    rows: SpooledRows, looked: Survey, decides: Decides, label_sets: Mapping[str, LabelSet], written: Written
) -> Iterator[pa.Table]:
    """The table in blocks; counts what it holds."""
    repeated = np.bincount(looked.code[looked.code >= 0], minlength=1) > 1
    first_ids: dict[int, str] = {}  # of texts that come more than once
    start = 0
    for block in rows.blocks():
        at = np.arange(start, start + block.num_rows)
        start += block.num_rows
        keys = looked.keys_at(at)
        code, first = looked.code[at].tolist(), looked.first[at].tolist()
        verdicts = decides(list({key for key, number in zip(keys, code, strict=True) if number >= 0}))
        ids, gold, scores = (block[name].to_pylist() for name in ("id", "gold", "gold_score"))
        decided: list[Verdict] = []
        duplicate_of: list[str | None] = []
        for i, (key, number) in enumerate(zip(keys, code, strict=True)):
            original = None
            if number >= 0 and repeated[number]:
                if first[i]:
                    first_ids[number] = ids[i]
                else:
                    original = first_ids[number]
            duplicate_of.append(original)
            decided.append(_verdict(verdicts.get(key) if number >= 0 else None, looked, at[i], original, written))
        for i in np.flatnonzero(looked.gold[at]).tolist():
            names = gold[i] if gold[i] is not None else [repr(scores[i])]
            decided[i] = Verdict((tuple(names),), "gold")
        yield _table(block, decided, duplicate_of, label_sets, written)


UNANSWERED = Verdict(None, "unanswered")
EMPTY = Verdict(None, "failed", "empty text")


def _verdict(found: Verdict | None, looked: Survey, row: Any, original: str | None, written: Written) -> Verdict:
    if looked.empty[row]:
        return EMPTY
    if found is None:
        if not looked.gold[row]:
            written.unanswered += 1
        return UNANSWERED
    if original is None:
        return found
    # It shares the answer, not its cost; a failed one says so itself.
    source = "duplicate" if found.labels is not None else found.source
    return Verdict(
        found.labels, source, found.reason, found.rationale, found.confidence, 0, 0.0, found.request, found.teacher
    )


def _table(
    block: pa.Table,
    decided: Sequence[Verdict],
    duplicate_of: Sequence[str | None],
    label_sets: Mapping[str, LabelSet],
    written: Written,
) -> pa.Table:
    written.sources.update([one.source for one in decided])
    written.reasons.update([one.reason for one in decided if one.source == "failed"])
    columns = row_columns(block, label_sets)
    for place, (name, label_set) in enumerate(label_sets.items()):
        found = [None if one.labels is None else one.labels[place] for one in decided]
        columns[name] = pa.array(_cells(found, label_set), label_type(label_set))
        if not label_set.is_regression:
            written.labels[name].update([label for names in found if names for label in names])
    about = {
        "source": [one.source for one in decided],
        "duplicate_of": duplicate_of,
        "reason": [one.reason or None for one in decided],
        "rationale": [one.rationale or None for one in decided],
        "confidence": [one.confidence for one in decided],
        "attempts": [one.attempts for one in decided],
        "cost": [one.cost for one in decided],
        "request": [one.request for one in decided],
        "teacher": [one.teacher for one in decided],
    }
    return pa.table(columns | {name: pa.array(about[name], ABOUT.field(name).type) for name in ABOUT.names})


def row_columns(block: pa.Table, others: Iterable[str]) -> dict[str, Any]:
    """The columns of the table that come from the source: ids, its own columns under their names, and the text.

    Args:
        others: names of columns behind these; one of the source that has such a name gets `data.` before it.
    """
    taken = {*ROW_COLUMNS, *others, *ABOUT.names}
    fields = fields_of(block)
    columns: dict[str, Any] = {"id": block["id"], "document_id": block["document_id"]}
    for child in fields.type:
        columns[f"data.{child.name}" if child.name in taken else child.name] = fields.field(child.name)
    return columns | {"text": block["text"]}


def _cells(found: Sequence[tuple[str, ...] | None], label_set: LabelSet) -> list[Any]:
    if label_set.is_multi_label:
        return [None if names is None else list(names) for names in found]
    if label_set.is_regression:
        return [None if not names else float(names[0]) for names in found]
    return [None if not names else names[0] for names in found]


class _Parts:
    """Files of so many rows each; the last is shorter. Leaving with an error leaves only whole parts."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder, self._rows = folder, rows
        self._number, self._held = 0, 0
        self._stack: ExitStack | None = None
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        """Write rows, over as many parts as they take."""
        while table.num_rows:
            if self._writer is None:
                self._open(table.schema)
            assert self._writer is not None
            now = table.slice(0, self._rows - self._held)
            self._writer.write_table(now)
            self._held += now.num_rows
            table = table.slice(now.num_rows)
            if self._held == self._rows:
                self._close()

    def _open(self, schema: pa.Schema) -> None:
        self._stack = ExitStack()
        file = self._stack.enter_context(whole_file(self._folder / f"part-{self._number:05d}.parquet"))
        self._writer = self._stack.enter_context(pq.ParquetWriter(file, schema))
        self._number, self._held = self._number + 1, 0

    def _close(self, error: Any = (None, None, None)) -> None:
        if self._stack is not None:
            stack, self._stack, self._writer = self._stack, None, None
            stack.__exit__(*error)

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        self._close(error)
