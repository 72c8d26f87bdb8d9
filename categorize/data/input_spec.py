"""InputSpec: how raw columns become the text that a model reads, and documents become segments and back.

Saved with the run as `input.json`, so that prediction prepares text exactly as training did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from categorize.data.cleaning.report import CleaningTrace
from categorize.data.cleaning.steps import cleaner
from categorize.data.columns import extract, text_columns
from categorize.data.reading.raw import RawTable, from_arrow, from_columns
from categorize.data.reading.shaping import Shaping
from categorize.data.rows import COLUMN_TYPES, coded_rows, fields_of, grouped, new_rows, struct_of, taken, with_columns
from categorize.data.segments.aggregation import aggregate_predictions, vote_predictions
from categorize.data.segments.cuts import Document, Segment, cut_by_minutes, cut_documents
from categorize.data.segments.tokens import TokenCounter
from categorize.data.segments.turns import uniform_name
from categorize.errors import UserError
from categorize.predictions import Predictions
from categorize.recipe.data_sections import CleaningOptions, Columns, DataSection, Segments, SpeakerOptions
from categorize.recipe.template import Template
from categorize.settings import Settings

_PART = 10_000  # rows that are held as Python has them


@dataclass(frozen=True)
class InputSpec(Settings):
    """How text is prepared.

    Attributes:
        columns: which raw columns hold what.
        template: joins several text columns, "{title}\\n{body}"; None: newlines between those that are not empty.
        cleaning: the cleaning steps, in order; each text column is cleaned before the template joins them.
        segments: how documents are cut, and how predictions of the parts become one.

    Raises:
        UserError: a placeholder is not a text column, a text column lacks a placeholder, or a step does not exist.

    >>> spec = InputSpec(Columns(text=["title", "body"]), "{title}: {body}", ("nfkc", "whitespace"))
    >>> spec.text({"title": "Ｎｅｗｓ", "body": " two   words "})
    'News: two words'
    >>> spec.rows_from_table(pa.table({"title": ["A", "B"], "body": ["x", None]}))["text"].to_pylist()
    ['A: x', 'B:']
    """

    file_name: ClassVar[str] = "input.json"
    title: ClassVar[str] = "a preparation of texts"

    columns: Columns = field(default_factory=lambda: Columns())
    template: str | None = None
    cleaning: tuple[str | CleaningOptions, ...] = ()
    segments: Segments = field(default_factory=lambda: Segments())

    def __post_init__(self) -> None:
        cleaner(self.cleaning)
        if self._template is None:
            return
        columns = text_columns(self.columns)
        if other := [column for column in self._template.columns if column not in columns]:
            raise UserError(f"data.template: {{{other[0]}}} is not a column of data.columns.text: {', '.join(columns)}")
        if unused := [column for column in columns if column not in self._template.columns]:
            raise UserError(f"data.template: {self.template!r} has no place for the text column {{{unused[0]}}}")

    @classmethod
    def from_section(cls, data: DataSection) -> InputSpec:
        """The spec that a recipe's `data` section describes."""
        return cls(data.columns, data.template, tuple(data.cleaning), data.segments)

    # ------------------------------------------------------------ text
    @cached_property
    def _template(self) -> Template | None:
        try:
            return Template.parse(self.template) if self.template is not None else None
        except ValueError as error:
            raise UserError(f"data.template: {error}") from None

    @cached_property
    def _clean(self) -> Callable[[str], str]:
        return cleaner(self.cleaning)

    def text(self, fields: Mapping[str, str | None]) -> str:
        """The text of one row's raw columns. Raises UserError where a text column is missing."""
        columns = {name: pa.array([value], pa.string()) for name, value in fields.items()}
        return str(self.texts(struct_of(columns, 1))[0])

    def _join(self, cleaned: Sequence[str]) -> str:
        """The text of cleaned columns."""
        if self._template is None:
            return "\n".join(value for value in cleaned if value)
        if not any(cleaned):
            return ""  # the template alone is not a text
        values = dict(zip(text_columns(self.columns), cleaned, strict=True))
        return self._template.fill(values.__getitem__).strip()

    def texts(self, fields: pa.StructArray, trace: CleaningTrace | None = None) -> pa.Array:
        """The texts of all rows of the `fields` column; equal raw texts are cleaned once, by `trace` where given."""
        names = [child.name for child in fields.type]
        columns = text_columns(self.columns)
        for column in columns:
            if column not in names:
                raise UserError(f"there is no text column {column!r}; columns: {', '.join(map(repr, names))}")
        first, code = coded_rows([fields.field(column) for column in columns])
        counts = np.bincount(code, minlength=len(first)).tolist()
        parts = [pa.array([], pa.string())]
        for start in range(0, len(first), _PART):
            at = pa.array(first[start : start + _PART])
            cells = [fields.field(column).take(at).fill_null("").to_pylist() for column in columns]
            if trace is None:
                cells = [list(map(self._clean, texts)) for texts in cells]
            else:
                cells = trace.clean(cells, counts[start : start + _PART])
            alone = len(cells) == 1 and self._template is None
            joined = cells[0] if alone else list(map(self._join, zip(*cells, strict=True)))
            parts.append(pa.array(joined, pa.string()))
        return taken(pa.concat_arrays(parts), code)

    # ------------------------------------------------------------ rows for prediction
    def rows_from_texts(self, texts: Sequence[str]) -> pa.Table:
        """Rows of new texts, with ids from "1". Raises UserError where several columns are read (`rows_from_table`)."""
        columns = text_columns(self.columns)
        if len(columns) != 1:
            named = ", ".join(columns)
            raise UserError(f"this run reads the columns {named}: give a table with them instead of plain texts")
        return self.rows_from_table(from_columns({columns[0]: list(texts)}, "texts", range(1, len(texts) + 1)))

    def rows_from_table(self, raw: RawTable | pa.Table) -> pa.Table:
        """Rows of new data, prepared as the training rows were. Labels are not read; the text columns suffice.

        Raises:
            UserError: a text column is missing, or ids come twice.
        """
        if isinstance(raw, pa.Table):
            raw = from_arrow(raw, "table")
        raw = Shaping.of(DataSection(source=raw.name, columns=Columns(text=self.columns.text, label=None))).table(raw)
        there = set(raw.table.column_names)
        kept = [name for name in self.columns.keep if name in there]
        left: dict[str, Any] = {"label": None, "raters": [], "keep": kept}
        left |= {key: None for key in ("id", "document", "group", "weight") if getattr(self.columns, key) not in there}
        columns = self.columns.model_copy(update=left)
        extracted = extract(raw, DataSection(source=raw.name, columns=columns))
        return new_rows(extracted, self.texts(fields_of(extracted)))

    # ------------------------------------------------------------ documents and segments
    def fields(self, rows: pa.Table) -> list[str]:
        """What a prompt can name of such rows: their text, their raw columns, and the speaker where a step finds it."""
        speaker = ["speaker"] if self.is_cut and self._drops_labels else []
        return list(dict.fromkeys(["text", *(child.name for child in rows.schema.field("fields").type), *speaker]))

    @property
    def is_cut(self) -> bool:
        """Whether documents are cut (or shortened) before a model reads them."""
        return self.segments.by != "document"

    def expand(self, rows: pa.Table, tokens: TokenCounter | None = None) -> pa.Table:
        """Rows as the model reads them: the text made anew from the raw columns, then cut into segments.

        Making it anew lets a run predict rows that another recipe loaded. With `segments.by: document` rows stay as
        they are. Otherwise the rows of a document are joined by newlines and cut; a segment has the id `document#0`
        and on, the document's gold, group and raw columns, and its weight, or its share of it (`segments.weighting`).
        Where one column is the text, a segment's raw column holds the segment, so that a prompt never sees the whole.

        Args:
            tokens: what segments are counted by; of the tokenizer that reads them. Not needed for whole documents.
        """
        rows = self.with_texts(rows)
        if not self.is_cut:
            return rows
        if tokens is None:
            raise ValueError(f"segments by {self.segments.by} need the tokens of a model")
        documents = self.documents(rows)
        names = documents["id"].to_pylist()
        cut = cut_documents(
            [Document(name, pieces) for name, pieces in zip(names, self._pieces(rows, documents), strict=True)],
            self.segments,
            tokens,
            speaker_names=self.speaker_names,
            drop_labels=self._drops_labels,
        )
        return self._segment_rows(documents, cut)

    def with_texts(self, rows: pa.Table) -> pa.Table:
        """The rows with their text made anew from the raw columns."""
        return with_columns(rows, {"text": self.texts(fields_of(rows))})

    def _pieces(self, rows: pa.Table, documents: pa.Table) -> list[list[str]]:
        """The text of each document; by minutes its pieces, cut before cleaning, which may take the stamps away."""
        minutes = self.segments.minutes
        if self.segments.by != "minutes" or minutes is None:
            return [[text] for text in documents["text"].to_pylist()]
        whole = self.raw_documents(rows)["text"].to_pylist()
        return [[self._clean(piece) for piece in cut_by_minutes(text, minutes, self.speaker_names)] for text in whole]

    def raw_documents(self, rows: pa.Table) -> pa.Table:
        """`documents` with the texts as they were before cleaning."""
        fields = fields_of(rows)
        columns = [fields.field(column).to_pylist() for column in text_columns(self.columns)]
        raw = [self._join([value or "" for value in values]) for values in zip(*columns, strict=True)]
        return self.documents(with_columns(rows, {"text": pa.array(raw, pa.string())}))

    def _segment_rows(self, documents: pa.Table, cut: Sequence[Sequence[Segment]]) -> pa.Table:
        parts = [part for document in cut for part in document]
        places = [(i, position) for i, document in enumerate(cut) for position in range(len(document))]
        table = documents.take(pa.array([i for i, _ in places], pa.int64()))
        weights = table["weight"].to_numpy()
        if self.segments.weighting == "document":
            weights = weights / np.array([len(cut[i]) for i, _ in places])
        names = zip(table["id"].to_pylist(), places, strict=True)
        text = pa.array([part.text for part in parts], pa.string())
        fields = fields_of(table)
        raw = {child.name: fields.field(child.name) for child in fields.type}
        if len(text_columns(self.columns)) == 1:
            raw[text_columns(self.columns)[0]] = text
        if self._drops_labels:
            raw["speaker"] = pa.array([part.speaker for part in parts], pa.string())
        columns = {"text": text, "fields": struct_of(raw, len(parts)), "weight": weights}
        columns["id"] = pa.array([f"{name}#{position}" for name, (_, position) in names], pa.string())
        columns["position"] = pa.array([position for _, position in places], pa.int32())
        return with_columns(table, columns)

    @cached_property
    def _speakers(self) -> SpeakerOptions | None:
        """Options of the last cleaning step `speakers`, where it has some."""
        found = [step.speakers for step in self.cleaning if isinstance(step, CleaningOptions) and step.speakers]
        return found[-1] if found else None

    @property
    def _drops_labels(self) -> bool:
        """Whether speakers become a field of their own."""
        return self._speakers is not None and self._speakers.style == "field"

    @property
    def speaker_names(self) -> tuple[str, ...]:
        """Labels that the recipe lists, as cleaning leaves them."""
        if self._speakers is None or self._speakers.style == "numbered":
            return ()
        return (*self._speakers.names, *map(uniform_name, self._speakers.names))

    def aggregate(self, predictions: Predictions, rows: pa.Table, *, multi_label: bool = False) -> Predictions:
        """Undecided predictions of rows become those of documents; see `aggregation.aggregate_predictions`."""
        return aggregate_predictions(self.segments.aggregation, predictions, rows, multi_label=multi_label)

    def vote(
        self,
        predictions: Predictions,
        rows: pa.Table,
        labels: Sequence[str],
        *,
        multi_label: bool,
        thresholds: Sequence[float] = (),
    ) -> Predictions:
        """Decided predictions of rows become those of documents by majority; see `aggregation.vote_predictions`."""
        how = self.segments.aggregation
        return vote_predictions(how, predictions, rows, labels, multi_label=multi_label, thresholds=thresholds)

    def documents(self, rows: pa.Table) -> pa.Table:
        """One row a document, in the order of `aggregate`: the texts joined by newlines, all else from its first row.

        The gold is that of the first row that has one.
        """
        members = grouped(zip(rows["document_id"].to_pylist(), range(rows.num_rows), strict=True))
        if len(members) == rows.num_rows:
            return with_columns(rows, {"id": rows["document_id"]})

        def of_documents(column: str, joined: Callable[[Iterator[Any]], Any]) -> pa.Array:
            values = rows[column].to_pylist()
            return pa.array([joined(values[i] for i in at) for at in members.values()], COLUMN_TYPES[column])

        columns = {name: of_documents(name, _first) for name in ("gold", "gold_score")}
        columns |= {"id": pa.array(list(members), pa.string()), "text": of_documents("text", "\n".join)}
        return with_columns(rows.take([at[0] for at in members.values()]), columns)

    # ------------------------------------------------------------ saving
    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        steps = [step if isinstance(step, str) else step.to_dict() for step in self.cleaning]
        data = super().to_dict() | {"cleaning": steps}
        del data["columns"]["raters"]  # of no use to a model
        return data


def _first(values: Iterator[Any]) -> Any:
    return next((value for value in values if value is not None), None)
