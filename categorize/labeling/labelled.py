"""A file labelled by a run, block by block: its own columns as they were, and what the run says of each row."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.data.columns import text_columns
from categorize.data.reading.files import SourceFile
from categorize.data.reading.formats import rows_of_json
from categorize.data.reading.opening import InputFile
from categorize.data.reading.progress import Progress
from categorize.data.reading.raw import Block, RawTable, Source
from categorize.data.stream import Piece, RowStream
from categorize.errors import UserError
from categorize.labeling.student import Answers, answer
from categorize.labels import LabelSet
from categorize.prediction.predictor import TrainedPredictor
from categorize.recipe.wording import counted, did_you_mean

_LABELS_SHOWN = 30
_SCALE = 1000  # of the progress


@dataclass(frozen=True)
class Part:
    """Some rows of the input, with what the run says of them.

    Attributes:
        block: the rows as the format has them.
        raw: the same rows as strings.
    """

    block: Block
    raw: RawTable
    answers: Answers


@dataclass
class Labelled:
    """The input, labelled part by part as it is iterated over; what was labelled is counted."""

    stream: RowStream
    predictor: TrainedPredictor
    counts: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    invalid: int = 0
    empty: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        (self.input,) = self.stream.parts.values()
        columns = self.stream.data.columns
        # A column that only some files have: without it, each row is a document.
        there = {name: getattr(columns, name) for name in ("id", "document") if getattr(columns, name) in self.columns}
        known = columns.model_copy(update={"id": None, "document": None, **there})
        self.stream.data = self.stream.data.model_copy(update={"columns": known})

    @property
    def columns(self) -> list[str]:
        """Columns of the input."""
        return self.stream.columns

    @property
    def form(self) -> str:
        """Format of the input."""
        return self.input.source.form if isinstance(self.input.source, SourceFile) else "dataset"

    def own_lines(self) -> Iterator[str] | None:
        """The rows of JSON as they are written, one a line; None of other formats."""
        source = self.input.source
        if not isinstance(source, SourceFile) or source.form not in ("json", "jsonl"):
            return None
        file, options = InputFile(source.path), source.options
        file.is_silent = True
        if source.form == "json":
            value = json.loads(file.text(options.encoding, options.replaces))
            rows, _ = rows_of_json(value, source.name, options.records)
            return (json.dumps(one, ensure_ascii=False) for one in rows)
        return (line for line in file.lines(options.encoding, "\n", options.replaces) if line.strip())

    @property
    def label_set(self) -> LabelSet:
        """Labels that are given."""
        return self.predictor.label_set

    def check_text(self, text: str | None) -> None:
        """Raises UserError where a column with texts is missing."""
        for column in text_columns(self.predictor.input_spec.columns):
            if column in self.columns:
                continue
            named = f"--text: {self.input.name} has no column {column!r}"
            trained = f"{self.input.name} has no column {column!r}, which the run reads its texts from"
            way_out = "" if text is not None else "; name the column with the texts: --text COLUMN"
            close = did_you_mean(column, self.columns)
            there = ", ".join(map(repr, self.columns))
            raise UserError(f"{trained if text is None else named}{close}; columns: {there}{way_out}")

    def __iter__(self) -> Iterator[Part]:
        start = time.monotonic()
        progress = Progress(f"labelling {self.input.name}", _SCALE)
        for block, raw in self._pairs():
            rows = self.stream.prepare(Piece(0, Source.ALL, raw))
            answers = answer(self.predictor, rows)
            self._count(answers)
            yield Part(block, raw, answers)
            progress.update(round(_SCALE * self.input.done(self.rows)), self.rows)
        progress.finish()
        self.seconds = time.monotonic() - start

    def _pairs(self) -> Iterator[tuple[Block, RawTable]]:
        """Blocks; all rows as one where the rows of a document may stand anywhere."""
        if self.stream.data.columns.document is None:
            yield from self.input.pairs()
            return
        blocks, raws = zip(*self.input.pairs(), strict=True)
        numbers = np.concatenate([raw.row_numbers for raw in raws])
        table = pa.concat_tables([raw.table for raw in raws])
        yield together_blocks(blocks, list(self.columns)), RawTable(table, raws[0].name, numbers)

    def _count(self, answers: Answers) -> None:
        valid = answers.valid
        self.rows += len(valid)
        self.invalid += int((~valid).sum())
        self.empty += sum(not text for text in answers.text.to_pylist())
        if not self.label_set.is_regression:
            for names in answers.labels:
                self.counts.update(names)

    def lines(self, output: Path, run: str) -> list[str]:
        """What there is to say at the end."""
        lines = [*self.input.notes]
        rate = self.rows / max(self.seconds, 1e-9)
        lines.append(f"{output}: {counted(self.rows, 'row')} labelled by {run}, {rate:,.0f} rows/s")
        if self.counts:
            shown = ", ".join(f"{name} {count:,}" for name, count in self.counts.most_common(_LABELS_SHOWN))
            lines.append(f"label: {shown}" + (", ..." if len(self.counts) > _LABELS_SHOWN else ""))
        if self.invalid:
            lines.append(f"{counted(self.invalid, 'row')} without a valid answer: valid is false, the label empty")
        if self.empty:
            lines.append(f"{counted(self.empty, 'row')} with an empty text: labelled all the same, look at them")
        return lines + [f"note: {note}" for note in self.predictor.notes]


def together_blocks(blocks: Sequence[Block], columns: list[str]) -> Block:
    """Blocks of one format as one."""
    first = blocks[0]
    numbers = [int(number) for block in blocks for number in block.numbers]
    if isinstance(first.columns, pa.Table):
        tables = [block.columns for block in blocks]
        return Block(first.name, pa.concat_tables(tables, promote_options="default"), numbers, first.header)
    values: dict[str, list[Any]] = {
        name: [v for b in blocks for v in (b.columns[name] if name in b.columns else [None] * len(b.numbers))]
        for name in columns
    }
    return Block(first.name, values, numbers, first.header)
