"""The split that every run of a comparison predicts."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.prediction.tables import likeness_of_documents
from categorize.predictions import BoolArray, FloatArray


@dataclass(frozen=True)
class EvaluatedSplit:
    """Rows, and what is measured on them.

    Attributes:
        rows, documents: as `data.rows.schema` has them; a document may have several rows.
        gold: [documents, labels], of `LabelSet.encode`.
        train_overlap: of each document, "exact" or "near" where its text stands in train, else None.
    """

    name: str
    label_set: LabelSet
    rows: pa.Table
    documents: pa.Table
    gold: FloatArray
    fingerprint: str
    train_overlap: list[str | None]

    def at(self, documents: BoolArray) -> EvaluatedSplit:
        """Some documents alone, to measure on; `rows` and the fingerprint stay those of all."""
        at = np.flatnonzero(documents)
        overlap = [self.train_overlap[i] for i in at]
        return replace(self, documents=self.documents.take(at), gold=self.gold[at], train_overlap=overlap)

    @property
    def groups(self) -> list[str | None] | None:
        """Group of each document where the data has groups."""
        values = self.documents.column("group").to_pylist()
        return values if any(value is not None for value in values) else None


def evaluated_split(data: LoadedData, name: str) -> EvaluatedSplit:
    """The split of this name.

    Raises:
        UserError: the split is empty.
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
    return EvaluatedSplit(name, data.label_set, rows, documents, gold, data.splits.fingerprints[name], overlap)
