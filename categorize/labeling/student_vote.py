"""A student as one of several teachers: its predictions are votes in the ledger, so that they stand beside answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from categorize.data.columns import text_columns
from categorize.data.rows import fields_of
from categorize.errors import UserError
from categorize.labeling.exchange import JobStops, Reply, Request, Stored
from categorize.labeling.ledger import Ledger
from categorize.labeling.progress import Progress
from categorize.labeling.rows import SpooledRows, Survey
from categorize.labeling.student import Answers, answer
from categorize.labeling.values import LabelReader, Unreadable
from categorize.labels import LabelSet

if TYPE_CHECKING:
    from categorize.prediction.predictor import TrainedPredictor


class StudentTeacher:
    """A predictor among the teachers of a job; it answers no requests, see `predict_votes`.

    Args:
        columns: of the source, whose values make the key of a text: rows of one key share an answer.
        identity: see `student.identity_of`.

    Raises:
        UserError: it reads whole documents, or columns that the prompt does not show.
    """

    def __init__(self, predictor: TrainedPredictor, columns: Sequence[str], identity: Mapping[str, Any]) -> None:
        spec = predictor.input_spec
        self.name = predictor.name
        if spec.columns.document is not None:
            raise UserError(f"labeling.teachers: {self.name} reads whole documents; label by it alone")
        if more := [name for name in text_columns(spec.columns) if name not in columns]:
            raise UserError(
                f"labeling.teachers: {self.name} reads the column {more[0]!r}, which the prompt does not show; add "
                f"{{{more[0]}}} to prompt.template: equal questions share an answer"
            )
        self.predictor = replace(
            predictor, input_spec=replace(spec, columns=spec.columns.model_copy(update={"id": None}))
        )
        self.identity: Mapping[str, Any] = {"type": "student", **identity}

    async def ask(self, request: Request) -> Reply:
        """Raises JobStops: a student answers no requests."""
        raise JobStops(f"{self.name}: a student is not asked by requests")

    async def close(self) -> None:
        """Nothing is held."""


def predict_votes(
    student: StudentTeacher,
    label_set: LabelSet,
    ledger: Ledger,
    variant: int,
    rows: SpooledRows,
    looked: Survey,
    at: npt.NDArray[np.int64],
    progress: Progress,
) -> None:
    """Put what a student says of these rows into the ledger, block by block; an interrupted start goes on there."""
    start = 0
    for block in rows.blocks():
        begin, end = np.searchsorted(at, (start, start + block.num_rows))
        if begin < end:
            fields = fields_of(block.take(pa.array(at[begin:end] - start)))
            raw = pa.table({child.name: fields.field(child.name) for child in fields.type})
            found = answer(student.predictor, student.predictor.input_spec.rows_from_table(raw))
            stored = stored_of(found, label_set)
            ledger.keep(variant, dict(zip(looked.keys_at(at[begin:end]), stored, strict=True)))
            labelled = sum(one.labels is not None for one in stored)
            progress.add(labelled, len(stored) - labelled, 0)
        start += block.num_rows
    ledger.flush()


def stored_of(found: Answers, label_set: LabelSet) -> list[Stored]:
    """Predictions as answers of the ledger; what is not valid, or breaks a rule of the labels, has failed."""
    read, valid = LabelReader(label_set), found.valid.tolist()
    values: list[Any] = found.score.tolist() if label_set.is_regression else found.labels
    sure: list[float | None] = [None] * len(valid)
    if found.probabilities is not None and not label_set.is_multi_label:
        sure = [float(one) for one in found.probabilities.max(axis=1)]
    stored = []
    for value, is_valid, confidence in zip(values, valid, sure, strict=True):
        try:
            if not is_valid:
                raise Unreadable("no valid answer")
            stored.append(Stored("labelled", (read(value),), confidence=confidence))
        except Unreadable as error:
            stored.append(Stored("failed", None, str(error)))
    return stored
