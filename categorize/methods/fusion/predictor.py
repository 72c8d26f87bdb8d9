"""Predicts with a fusion: every block of documents goes through all members."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.labels import LabelSet
from categorize.methods.fusion.combination import Fusion
from categorize.methods.members import load_members, member_scores, readable
from categorize.prediction.predictor import ScoresOtherLabels, TrainedPredictor
from categorize.predictions import Predictions, Usage
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import LABEL_SET, Run


class FusionPredictor:
    """Several runs as one; each reads the documents as its own training did.

    Args:
        label_set: labels in the order of the result.
        members: as many as the fusion has; those of their labels that are not in the set are left out.
    """

    unit: Literal["row", "document"] = "document"

    def __init__(self, label_set: LabelSet, fusion: Fusion, members: Sequence[TrainedPredictor]) -> None:
        self.label_set, self.fusion, self.members = label_set, fusion, list(members)
        self.tokens: TokenCounter = PlainTokens()

    def remember(self) -> None:
        """See `Remembers`: every member that can."""
        for one in self.members:
            one.remember()

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Undecided predictions of each batch, one a document."""
        for batch in batches:
            start = time.perf_counter()
            rows = pa.Table.from_batches([batch])
            found = [one.predict_rows(readable(rows, one)) for one in self.members]
            scores = [
                member_scores(predictions, one.label_set, self.label_set)
                for predictions, one in zip(found, self.members, strict=True)
            ]
            fused = self.fusion.fuse(self.label_set, np.stack(scores))
            usage = replace(sum((one.usage for one in found), Usage()), rows=len(found[0]))
            usage = replace(usage, seconds=time.perf_counter() - start)
            if self.label_set.is_regression:
                yield Predictions(found[0].ids, score=fused[:, 0], usage=usage)
            else:
                yield Predictions(found[0].ids, probabilities=fused, usage=usage)


class AskedFusion(FusionPredictor):
    """A fusion of which some members read the labels, so that it can be asked about others."""

    def for_labels(self, label_set: LabelSet) -> AskedFusion:
        """The same members, asked about these labels where they can be; of the others the labels of their training
        count."""
        members = [
            one.for_labels(label_set) if isinstance(one.inner, ScoresOtherLabels) else one for one in self.members
        ]
        return AskedFusion(label_set, self.fusion, members)


def load(run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> FusionPredictor:
    """The predictor of a fusion, its members loaded from inside its folder, or from where they were.

    Raises:
        UserError: a member is gone, or was trained again; a base is given, of which a fusion has several.
    """
    fusion = Fusion.load(run.path)
    listed = [{"path": one.path, "fingerprint": one.fingerprint} for one in fusion.members]
    members = load_members(run, listed, section, base, trust_remote_code)
    asked = any(isinstance(one.inner, ScoresOtherLabels) for one in members)
    return (AskedFusion if asked else FusionPredictor)(LabelSet.load(run.path / LABEL_SET), fusion, members)
