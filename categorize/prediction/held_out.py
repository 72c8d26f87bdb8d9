"""The held-out splits of a run: predicted, decided, measured and written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from categorize.data.auxiliary import auxiliary_scores
from categorize.data.splits import LoadedData
from categorize.labels import LabelSet
from categorize.metrics.decision import DecisionRule
from categorize.metrics.measures import measure, measure_unseen_texts
from categorize.metrics.rejection import measure_scope
from categorize.metrics.scores import regression_scores
from categorize.metrics.stages import measure_stages
from categorize.metrics.thresholds import swept
from categorize.prediction.predictor import SegmentPredictions, TrainedPredictor
from categorize.prediction.tables import likeness_of_documents, predictions_table, write_predictions
from categorize.predictions import FloatArray
from categorize.recipe.sections import TrainedRecipe
from categorize.runs.folder import METRICS, RunWriter
from categorize.writing import disk_errors


def predict_held_out(
    predictor: TrainedPredictor, data: LoadedData, *, validation_only: bool = False
) -> dict[str, SegmentPredictions]:
    """Undecided predictions of validation and test, where they have rows."""
    splits = {"validation": data.splits.validation}
    if not validation_only:
        splits["test"] = data.splits.test
    return {name: predictor.predict_segments(rows) for name, rows in splits.items() if rows.num_rows}


def write_predicted(
    recipe: TrainedRecipe,
    data: LoadedData,
    rule: DecisionRule,
    undecided: dict[str, SegmentPredictions],
    writer: RunWriter,
) -> dict[str, Any]:
    """Decide and write the predictions of each split, and the measures of all, which it gives."""
    metrics: dict[str, Any] = {}
    for name, segments in undecided.items():
        rows = data.input_spec.documents(data.splits[name])
        decided = segments.decide(rule)
        gold = data.label_set.encode_rows(rows)
        metrics[name] = measure(data.label_set, gold, decided)
        if decided.auxiliary is not None:
            metrics[name]["auxiliary"] = _auxiliary(data.label_set, rows, decided.auxiliary)
        seen = likeness_of_documents(data.splits[name], data.splits.train_overlap(name))
        if (unseen := measure_unseen_texts(data.label_set, gold, decided, seen)) is not None:
            metrics[name]["unseen"] = unseen
        if name == "test" and (best := swept(data.label_set, gold, decided)) is not None:
            metrics[name]["macro_f1_swept_on_test"] = best
        label = None if rule.reject is None else rule.reject.label
        if (scope := measure_scope(data.label_set, gold, decided, label)) is not None:
            metrics[name]["scope"] = scope
        if (stages := measure_stages(data.label_set, gold, decided)) is not None:
            metrics[name]["stages"] = stages
        table = predictions_table(rows, decided, recipe.data.columns.keep, seen)
        with disk_errors(writer.path):
            write_predictions(writer.stage(f"predictions/{name}.parquet"), table)
    writer.write_json(METRICS, metrics)
    return metrics


def _auxiliary(label_set: LabelSet, rows: pa.Table, scores: dict[str, FloatArray]) -> dict[str, Any]:
    """Measures of each further score on the rows that have it, as a regression's."""
    measured = {}
    for name, predicted in scores.items():
        gold = auxiliary_scores(rows, [name], label_set)[:, 0]
        known = ~np.isnan(gold)
        found = regression_scores(gold[known], predicted[known]) if known.any() else {}
        measured[name] = {"rows": int(known.sum()), **found}
    return measured
