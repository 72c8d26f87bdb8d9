"""Predict one split with every run, one model at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa

from categorize.data.input_spec import InputSpec
from categorize.labels import LabelSet
from categorize.loading import load_predictor
from categorize.nn.device import free_memory
from categorize.nn.memory import peak, reset_peak
from categorize.nn.shared_bases import let_unused_bases_go
from categorize.prediction.predictor import TrainedPredictor, columns_of
from categorize.predictions import Predictions
from categorize.recipe.decision_sections import RunReference
from categorize.recipe.sections import EvalRecipe
from categorize.recipe.wording import counted
from categorize.reports.checks import RunCheck
from categorize.reports.labelled import labelling_run, teacher_predictions
from categorize.reports.predicted import RunPredictions
from categorize.reports.split import EvaluatedSplit


def predict_with_runs(
    references: Iterable[RunReference],
    recipe: EvalRecipe,
    split: EvaluatedSplit,
    input_spec: InputSpec,
    check: RunCheck,
    trust_remote_code: bool,
    examples: pa.Table | None = None,
    further: Mapping[str, pa.Table] | None = None,
) -> Iterator[RunPredictions]:
    """What each run predicts, as it becomes ready; its speed is printed.

    Args:
        input_spec: how text is prepared for a model that is not a run.
        examples: labelled rows, from which `prompt.retrieval` chooses.
        further: rows that each run predicts too, by name; a labelling run says nothing of them.

    Raises:
        UserError: a run cannot be loaded, or does not pass the check.
    """
    for one in references:
        if (run := labelling_run(one.run)) is not None:
            yield teacher_predictions(run, one, split)
            continue
        predictor = load_predictor(
            one.run,
            base=one.base,
            label_set=split.label_set,
            input_spec=input_spec,
            section=one.asked_by(recipe.prediction),
            prompt=recipe.prompt,
            examples=examples,
            name=one.name,
            trust_remote_code=trust_remote_code,
            unseen_labels=check.unseen_labels,
        )
        let_unused_bases_go()  # the last one's, if this run is of another kind
        facts, found = predictor.facts, predictor.label_set  # of a run, the labels of its training count
        labels = facts.get("labels", found.names)
        check.check(one.run, predictor.name, facts.get("task", found.task), labels, predictor.fingerprints)
        predicted = predict_split(predictor, split)
        print(f"  {predicted.name}: {predicted.documents_per_second:,.0f} documents/s", flush=True)
        more = {}
        for name, rows in (further or {}).items():
            more[name] = in_order_of(split.label_set, predictor.predict_rows(rows), predictor.label_set)
            print(f"    {name}: {counted(len(more[name]), 'document')}", flush=True)
        del predictor  # else the next model is loaded beside this one
        free_memory()
        yield replace(predicted, further=more)


def predict_split(predictor: TrainedPredictor, split: EvaluatedSplit) -> RunPredictions:
    """Predict the split with a predictor of its labels."""
    reset_peak()
    start = time.perf_counter()
    predictions = in_order_of(split.label_set, predictor.predict_rows(split.rows), predictor.label_set)
    speed = len(predictions) / (time.perf_counter() - start)
    memory = peak()
    parts = segment_notes(predictor, predictions)
    notes = (*predictor.notes, *parts, *reading_notes(predictor, predictions))
    reject = predictor.decision_rule.reject
    label = None if reject is None else reject.label
    return RunPredictions(predictor.name, predictions, speed, bool(parts), notes, predictor.facts, label, memory=memory)


def in_order_of(wanted: LabelSet, predictions: Predictions, found: LabelSet) -> Predictions:
    """Predictions of the label set `found` with probabilities in the order of `wanted`, which has the same labels, or
    more: of these NaN."""
    if predictions.probabilities is None or found.names == wanted.names:
        return predictions
    return replace(predictions, probabilities=columns_of(wanted, predictions.probabilities, found))


def segment_notes(predictor: TrainedPredictor, predictions: Predictions) -> list[str]:
    """How documents were read, where they were not read whole."""
    cut, rows = predictor.input_spec.segments, predictions.usage.rows
    if not predictor.input_spec.is_cut and rows == len(predictions):
        return []
    together = "" if rows == len(predictions) else f", aggregated by {cut.aggregation}"
    by = cut.by if predictor.input_spec.is_cut else "row"
    return [f"measured on {len(predictions):,} documents, read as {rows:,} segments (by {by}{together})"]


def reading_notes(predictor: TrainedPredictor, predictions: Predictions) -> list[str]:
    """What a reader must know of how answers were read: both valid rates of generated ones, texts that were cut, and
    those whose candidates were filled up."""
    notes = []
    inner: Any = predictor.inner
    # The answers of several segments stand in one text.
    if predictions.raw is not None and hasattr(inner, "prompt") and predictions.usage.rows == len(predictions):
        raw = [text or "" for text in predictions.raw]
        strict, tolerant = (
            inner.prompt.predictions(predictions.ids, raw, parsing).is_valid.mean()
            for parsing in ("strict", "tolerant")
        )
        notes.append(
            f"answers were generated: {strict:.1%} are a label to the letter, "
            f"{tolerant:.1%} can be read (the table reads {inner.section.parsing})"
        )
    if predictions.usage.truncated_rows:
        notes.append(f"{predictions.usage.truncated_rows:,} texts were cut to the model's longest input")
    if predictions.usage.filled_rows:
        notes.append(f"{predictions.usage.filled_rows:,} texts {inner.filling}")
    return notes
