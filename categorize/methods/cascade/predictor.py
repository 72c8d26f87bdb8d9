"""Predicts with a cascade: of every block of documents, a stage sees those that no earlier one was sure of."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa

from categorize.data.rows import coded
from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.labels import LabelSet
from categorize.methods.cascade.stages import Cascade, margins
from categorize.methods.members import load_members, member_scores, readable
from categorize.prediction.predictor import TrainedPredictor
from categorize.predictions import Predictions, Usage
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import LABEL_SET, Run


class CascadePredictor:
    """Several runs one behind the other; each reads the documents as its own training did.

    Args:
        label_set: labels in the order of the result.
        members: one a stage.
    """

    unit: Literal["row", "document"] = "document"

    def __init__(self, label_set: LabelSet, cascade: Cascade, members: Sequence[TrainedPredictor]) -> None:
        self.label_set, self.cascade, self.members = label_set, cascade, list(members)
        self.tokens: TokenCounter = PlainTokens()

    def remember(self) -> None:
        """See `Remembers`: every member that can."""
        for one in self.members:
            one.remember()

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Undecided predictions of each batch, one a document: the probabilities of the stage that answered it."""
        for batch in batches:
            yield self._predict(pa.Table.from_batches([batch]))

    def _predict(self, rows: pa.Table) -> Predictions:
        start = time.perf_counter()
        documents, of_row = coded(rows["document_id"])
        probabilities = np.full((len(documents), len(self.label_set)), np.nan)
        stage = np.zeros(len(documents), dtype=np.int64)
        left, usage = np.arange(len(documents)), Usage()
        for number, (one, member) in enumerate(zip(self.cascade.stages, self.members, strict=True)):
            if not len(left):
                break
            found = member.predict_rows(readable(rows.filter(pa.array(np.isin(of_row, left))), member))
            cells = one.calibrated(member_scores(found, member.label_set, self.label_set))
            last = number == len(self.members) - 1
            sure = np.ones(len(left), dtype=bool) if last else margins(cells) >= one.threshold
            probabilities[left[sure]], stage[left[sure]] = cells[sure], number
            left, usage = left[~sure], usage + found.usage
        names = np.array([one.name for one in self.cascade.stages])
        usage = replace(usage, rows=len(documents), seconds=time.perf_counter() - start)
        ids = documents.to_pylist()
        return Predictions(ids, probabilities=probabilities, usage=usage, stage=names[stage].tolist())


def load(run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> CascadePredictor:
    """The predictor of a cascade, its members loaded from inside its folder, or from where they were.

    Raises:
        UserError: a member is gone, or was trained again; a base is given, of which a cascade has several.
    """
    cascade = Cascade.load(run.path)
    listed = [{"path": one.path, "fingerprint": one.fingerprint} for one in cascade.stages]
    members = load_members(run, listed, section, base, trust_remote_code)
    return CascadePredictor(LabelSet.load(run.path / LABEL_SET), cascade, members)
