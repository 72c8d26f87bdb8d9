"""InputSpec: how raw columns become the text that a model reads, and documents become segments and back.

Saved with the run as `input.json`, so that prediction prepares text exactly as training did.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from categorize.data.cleaning import cleaner
from categorize.data.cleaning_report import CleaningTrace
from categorize.data.columns import Extracted, extract, text_columns
from categorize.data.gold import build_rows
from categorize.data.raw import RawTable, from_arrow, from_columns
from categorize.data.rows import first_seen
from categorize.errors import UserError
from categorize.predictions import Predictions
from categorize.recipe.sections import CleaningOptions, Columns, DataSection, Segments

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

FILE_NAME = "input.json"
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


@dataclass(frozen=True)
class InputSpec:
    """How text is prepared.

    Attributes:
        columns: which raw columns hold what.
        template: joins several text columns, "{title}\\n{body}"; None: newlines between those that are not empty.
        cleaning: the cleaning steps, in order; each text column is cleaned before the template joins them.
        segments: how documents are cut, and how predictions of the parts become one.

    Raises:
        UserError: a placeholder is no text column, a text column has no placeholder, or a step does not exist.
    """

    columns: Columns = field(default_factory=lambda: Columns())
    template: str | None = None
    cleaning: tuple[str | CleaningOptions, ...] = ()
    segments: Segments = field(default_factory=lambda: Segments())

    def __post_init__(self) -> None:
        cleaner(self.cleaning)
        if self.template is None:
            return
        columns = text_columns(self.columns)
        found = set()
        for match in _PLACEHOLDER.finditer(self.template):
            if match.group() in ("{", "}"):
                raise UserError(
                    f"data.template: {self.template!r}: a brace of no placeholder; write {{{{ or }}}} for one"
                )
            if match.group(1) is not None:
                found.add(match.group(1))
                if match.group(1) not in columns:
                    raise UserError(
                        f"data.template: {{{match.group(1)}}} is no column of data.columns.text: {', '.join(columns)}"
                    )
        if unused := [column for column in columns if column not in found]:
            raise UserError(f"data.template: {self.template!r} has no place for the text column {{{unused[0]}}}")

    @classmethod
    def from_section(cls, data: DataSection) -> InputSpec:
        """The spec that a recipe's `data` section describes."""
        return cls(data.columns, data.template, tuple(data.cleaning), data.segments)

    # ------------------------------------------------------------ text
    @cached_property
    def _clean(self) -> Callable[[str], str]:
        return cleaner(self.cleaning)

    def text(self, fields: Mapping[str, str | None]) -> str:
        """The text of one row's raw columns.

        Raises:
            UserError: a text column is missing.
        """
        columns = text_columns(self.columns)
        for column in columns:
            if column not in fields:
                raise UserError(f"there is no text column {column!r}; columns: {', '.join(map(repr, fields))}")
        return self._join([self._clean(fields[column] or "") for column in columns])

    def _join(self, cleaned: Sequence[str]) -> str:
        """The text of cleaned columns."""
        if self.template is None:
            return "\n".join(value for value in cleaned if value)
        if not any(cleaned):
            return ""  # the template alone is no text
        values = dict(zip(text_columns(self.columns), cleaned, strict=True))
        return _PLACEHOLDER.sub(
            lambda m: values[m.group(1)] if m.group(1) is not None else m.group()[0], self.template
        ).strip()

    def texts(self, fields: pa.StructArray, trace: CleaningTrace | None = None) -> list[str]:
        """The texts of all rows of the `fields` column; equal raw texts are cleaned once.

        Args:
            trace: notes what each cleaning step does; made for the steps of this spec.
        """
        names = [child.name for child in fields.type]
        columns = text_columns(self.columns)
        for column in columns:
            if column not in names:
                raise UserError(f"there is no text column {column!r}; columns: {', '.join(map(repr, names))}")
        raw = list(zip(*(fields.field(column).to_pylist() for column in columns), strict=True))
        memory = dict.fromkeys(raw, "")
        counts = Counter(raw) if trace is not None else {}
        for values in memory:
            texts = [value or "" for value in values]
            cleaned = trace.clean(texts, counts[values]) if trace is not None else [self._clean(text) for text in texts]
            memory[values] = self._join(cleaned)
        return [memory[values] for values in raw]

    # ------------------------------------------------------------ rows for prediction
    def rows(self, extracted: Extracted) -> pa.Table:
        """Unlabelled rows of extracted columns."""
        return build_rows(extracted, self.texts(extracted.fields))

    def rows_from_texts(self, texts: Sequence[str]) -> pa.Table:
        """Rows of new texts, with ids from "1", prepared as the training rows were.

        Raises:
            UserError: the spec reads several columns; use `rows_from_table`.
        """
        columns = text_columns(self.columns)
        if len(columns) != 1:
            raise UserError(
                f"this run reads the columns {', '.join(columns)}: give a table with them instead of plain texts"
            )
        return self.rows_from_table(from_columns({columns[0]: list(texts)}, "texts", range(1, len(texts) + 1)))

    def rows_from_table(self, raw: RawTable | pa.Table) -> pa.Table:
        """Rows of new data, prepared as the training rows were. Labels are not read; the text columns suffice.

        Raises:
            UserError: a text column is missing, or ids come twice.
        """
        if isinstance(raw, pa.Table):
            raw = from_arrow(raw, "table")
        there = set(raw.table.column_names)
        optional = {
            key: None for key in ("id", "document", "group", "weight") if getattr(self.columns, key) not in there
        }
        columns = self.columns.model_copy(
            update={**optional, "label": None, "keep": [k for k in self.columns.keep if k in there]}
        )
        return self.rows(extract(raw, DataSection(source=raw.name, columns=columns)))

    # ------------------------------------------------------------ documents and segments
    def expand(self, rows: pa.Table) -> pa.Table:
        """Rows as the model reads them: the text made anew from the raw columns, then cut into segments.

        Making it anew lets a run predict rows that another recipe loaded. A document is one segment.
        """
        fields = rows["fields"].combine_chunks()
        if isinstance(fields, pa.ChunkedArray):
            fields = pa.concat_arrays(fields.chunks) if fields.num_chunks else pa.array([], fields.type)
        at = rows.schema.get_field_index("text")
        return rows.set_column(at, "text", pa.array(self.texts(fields), pa.string()))

    def aggregate(self, predictions: Predictions, rows: pa.Table) -> Predictions:
        """Predictions of rows become predictions of documents, in order of first appearance; ids are document ids.

        Probabilities are averaged (or their maximum taken) over the rows that have one, scores averaged, generated
        texts joined by newlines; a document is valid if any of its rows is. `decided` survives where every document is
        one row: otherwise the decision rule must be applied again.

        Args:
            rows: the rows that were predicted, in the same order.

        Raises:
            ValueError: predictions and rows are not of the same ids.
        """
        import numpy as np

        if list(predictions.ids) != rows["id"].to_pylist():
            raise ValueError("predictions and rows differ in their ids or in their order")
        documents = rows["document_id"].to_pylist()
        names = first_seen(documents)
        if len(names) == len(documents):
            return Predictions(
                documents,
                predictions.probabilities,
                predictions.score,
                predictions.decided,
                predictions.valid,
                predictions.raw,
                predictions.usage,
            )
        index = {name: i for i, name in enumerate(names)}
        of_row = np.array([index[name] for name in documents], dtype=np.int64)
        use_maximum = self.segments.aggregation == "max"
        probabilities = predictions.probabilities
        score = predictions.score
        raw: list[str | None] | None = None
        if predictions.raw is not None:
            answers: list[list[str]] = [[] for _ in names]
            for document, answer in zip(of_row.tolist(), predictions.raw, strict=True):
                if answer is not None:
                    answers[document].append(answer)
            raw = ["\n".join(parts) if parts else None for parts in answers]
        return Predictions(
            names,
            None if probabilities is None else _combine(probabilities, of_row, len(names), use_maximum),
            None if score is None else _combine(score[:, None], of_row, len(names), False)[:, 0],
            None,
            np.bincount(of_row, weights=predictions.is_valid, minlength=len(names)) > 0,
            raw,
            predictions.usage,
        )

    def documents(self, rows: pa.Table) -> pa.Table:
        """One row a document, in the order of `aggregate`: the texts joined by newlines, all else from its first row.

        The gold is that of the first row that has one.
        """
        documents = rows["document_id"].to_pylist()
        members: dict[str, list[int]] = {}
        for row, document in enumerate(documents):
            members.setdefault(document, []).append(row)
        if len(members) == len(documents):
            return rows.set_column(rows.schema.get_field_index("id"), "id", rows["document_id"])
        texts, gold, scores = (rows[name].to_pylist() for name in ("text", "gold", "gold_score"))
        table = rows.take([at[0] for at in members.values()])
        columns = {
            "id": pa.array(list(members), pa.string()),
            "text": pa.array(["\n".join(texts[i] for i in at) for at in members.values()], pa.string()),
            "gold": pa.array([_first(gold[i] for i in at) for at in members.values()], pa.list_(pa.string())),
            "gold_score": pa.array([_first(scores[i] for i in at) for at in members.values()], pa.float64()),
        }
        for name, values in columns.items():
            table = table.set_column(table.schema.get_field_index(name), name, values)
        return table

    # ------------------------------------------------------------ saving
    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "columns": self.columns.model_dump(),
            "template": self.template,
            "cleaning": [step if isinstance(step, str) else step.to_dict() for step in self.cleaning],
            "segments": self.segments.model_dump(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> InputSpec:
        """The inverse of `to_dict`."""
        cleaning = tuple(step if isinstance(step, str) else CleaningOptions(**step) for step in data["cleaning"])
        return cls(Columns(**data["columns"]), data["template"], cleaning, Segments(**data["segments"]))

    def save(self, path: str | Path) -> None:
        """Write JSON; a folder gets `input.json`."""
        target = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
        target.write_text(json.dumps(self.to_dict(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> InputSpec:
        """Read what `save` wrote, from the file or its folder."""
        source = Path(path) / FILE_NAME if Path(path).is_dir() else Path(path)
        return cls.from_dict(json.loads(source.read_text(encoding="utf-8")))


def _combine(
    values: npt.NDArray[np.float64], of_row: npt.NDArray[np.int64], documents: int, use_maximum: bool
) -> npt.NDArray[np.float64]:
    """Mean or maximum of the rows of each document, [rows, k] -> [documents, k]; NaN entries do not count."""
    import numpy as np

    known = ~np.isnan(values)
    counts = np.zeros((documents, values.shape[1]))
    np.add.at(counts, of_row, known.astype(np.float64))
    if use_maximum:
        result = np.full((documents, values.shape[1]), -np.inf)
        np.maximum.at(result, of_row, np.where(known, values, -np.inf))
    else:
        result = np.zeros((documents, values.shape[1]))
        np.add.at(result, of_row, np.where(known, values, 0.0))
        result = result / np.maximum(counts, 1)
    return np.where(counts > 0, result, np.nan)


def _first(values: Any) -> Any:
    return next((value for value in values if value is not None), None)
