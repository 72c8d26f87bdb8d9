"""What one run of a comparison says of the split."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from categorize.predictions import BoolArray, Predictions


@dataclass(frozen=True)
class RunPredictions:
    """What one run predicted of the split.

    Attributes:
        predictions: decided, one a document; probabilities in the order of the evaluation's labels.
        in_parts: whether documents were read in parts.
        notes: what a reader must know of the run and of how it read the documents.
        facts: of the predictor: method, parameters, rows and the like.
        scope_label: label of the rows that its decision rule rejects.
        further: predictions of further rows that the evaluation asks for, by their names.
        memory: most bytes that predicting held, on the GPU where there is one.
        reviewed: of a labelling run, which documents people reviewed, [documents]; None of others.
    """

    name: str
    predictions: Predictions
    documents_per_second: float | None
    in_parts: bool
    notes: tuple[str, ...]
    facts: Mapping[str, Any]
    scope_label: str | None = None
    reviewed: BoolArray | None = None
    further: Mapping[str, Predictions] = field(default_factory=dict)
    memory: int | None = None

    def at(self, rows: BoolArray) -> RunPredictions:
        """The same of some documents alone."""
        return replace(self, predictions=self.predictions.take(np.flatnonzero(rows)))
