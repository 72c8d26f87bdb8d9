"""The split that every run of a comparison predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from categorize.data.columns import to_number
from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.labels import LabelSet, UnknownLabel, spell
from categorize.prediction.tables import likeness_of_documents
from categorize.predictions import BoolArray, FloatArray


@dataclass(frozen=True)
class EvaluatedSplit:
    """Rows, and what is measured on them.

    Attributes:
        rows, documents: as `data.rows.schema` has them; a document may have several rows.
        gold: [documents, labels], of `LabelSet.encode`.
        ratings: [documents, raters], of `data.columns.raters`: scores or positions of labels, NaN where there is none.
        train_overlap: of each document, "exact" or "near" where its text stands in train, else None.
    """

    name: str
    label_set: LabelSet
    rows: pa.Table
    documents: pa.Table
    gold: FloatArray
    fingerprint: str
    train_overlap: list[str | None]
    ratings: FloatArray | None = None

    def at(self, documents: BoolArray) -> EvaluatedSplit:
        """Some documents alone, to measure on; `rows` and the fingerprint stay those of all."""
        at = np.flatnonzero(documents)
        overlap = [self.train_overlap[i] for i in at]
        ratings = None if self.ratings is None else self.ratings[at]
        documents = self.documents.take(at)
        return replace(self, documents=documents, gold=self.gold[at], train_overlap=overlap, ratings=ratings)

    @property
    def groups(self) -> list[str | None] | None:
        """Group of each document where the data has groups."""
        values = self.documents.column("group").to_pylist()
        return values if any(value is not None for value in values) else None


def evaluated_split(data: LoadedData, name: str, raters: Sequence[str] = ()) -> EvaluatedSplit:
    """The split of this name.

    Args:
        raters: columns of human raters.

    Raises:
        UserError: the split is empty, or a rating is not a number or a label.
    """
    rows = data.splits[name]
    if not rows.num_rows:
        raise UserError(
            f"evaluation.split: the {name} split is empty; raise data.splits.{name} or choose another split"
        )
    documents = data.input_spec.documents(rows)
    gold = data.label_set.encode_rows(documents)
    likeness = data.splits.train_overlap(name) if name != "train" else [None] * rows.num_rows
    overlap = likeness_of_documents(rows, likeness)
    ratings = read_ratings(documents, raters, data.label_set) if raters else None
    fingerprint = data.splits.fingerprints[name]
    return EvaluatedSplit(name, data.label_set, rows, documents, gold, fingerprint, overlap, ratings)


def read_ratings(documents: pa.Table, raters: Sequence[str], label_set: LabelSet) -> FloatArray:
    """The cells of raters as numbers [documents, raters]: scores, or positions of labels; NaN where a cell is empty or
    means unlabelled.

    Raises:
        UserError: a cell is neither.
    """
    ratings = np.full((documents.num_rows, len(raters)), np.nan)
    fields, ids = documents.column("fields").combine_chunks(), documents.column("id")
    missing = {"", *map(spell, label_set.rules.missing)}
    for j, name in enumerate(raters):
        for i, cell in enumerate(fields.field(name).to_pylist()):
            if cell is None or spell(cell) in missing:
                continue
            value = _rating(cell, label_set)
            if value is None:
                expected = "a number" if label_set.is_regression else "a label of the set"
                raise UserError(
                    f"data.columns.raters: {name!r} holds {cell!r} in row {ids[i].as_py()}, expected {expected}; fix "
                    "it, or list it under labels.missing"
                )
            ratings[i, j] = value
    return ratings


def _rating(cell: str, label_set: LabelSet) -> float | None:
    if label_set.is_regression:
        return to_number(cell)
    try:
        name = label_set.resolve(cell)
    except UnknownLabel:
        return None
    return np.nan if name is None else float(label_set.index[name])
