"""What a training is watched by: measures of validation documents, and the patience with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from categorize.data.splits import LoadedData
from categorize.metrics.decision import DecisionRule
from categorize.metrics.measures import measure
from categorize.metrics.progress import flat
from categorize.prediction.predictor import SegmentPredictions
from categorize.predictions import Predictions
from categorize.recipe.training_sections import SftTrainingSection, TrainingSection

Read = Callable[[list[str], list[Any]], Predictions]


def measures_of_documents(data: LoadedData, segments: pa.Table, read: Read) -> Callable[[list[Any]], dict[str, float]]:
    """From what a trainer gives for each of these segments to the measures that are logged and choose the best
    checkpoint: those of documents, as in an evaluation, decided by the default rule.

    Args:
        read: undecided predictions from row ids and what was given for the rows.
    """
    label_set, spec = data.label_set, data.input_spec
    gold, ids = label_set.encode_rows(spec.documents(segments)), segments.column("id").to_pylist()
    rule = DecisionRule.default(label_set)

    def compute(given: list[Any]) -> dict[str, float]:
        return flat(measure(label_set, gold, SegmentPredictions(read(ids, given), segments, spec).decide(rule)))

    return compute


def early_stopping(section: TrainingSection | SftTrainingSection) -> list[Any]:
    """The callback that ends a training for want of progress, where the recipe has it."""
    from transformers import EarlyStoppingCallback

    patience = section.early_stopping
    return [] if patience is None else [EarlyStoppingCallback(patience.patience, patience.threshold)]
