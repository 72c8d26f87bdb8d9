"""A report with many rows, made of predictions that are drawn: the pages of the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from categorize.analysis.closer import look_closer
from categorize.analysis.inputs import Inputs, RunOutput
from categorize.data.rows import schema
from categorize.labels import Label, LabelSet
from categorize.metrics.intervals import measure_with_intervals, paired_differences
from categorize.predictions import Predictions
from categorize.reports.comparison import EvaluatedRun, compare
from categorize.reports.costs import costs_of
from categorize.reports.predicted import RunPredictions
from categorize.reports.report import Report
from categorize.reports.write import write_report

NAMES = ["积极", "Mild", "消极", "Irrelevant"]
LABELS = LabelSet("single_label", tuple(Label(name) for name in NAMES))
HOSTILE = "</script><script>window.ran = 1</script><!--<img src=x onerror='window.ran = 2'>"
RUNS = ["a, tfidf", "encoder", "<b>head</b>", "qwen $x$", "qwen SFT", "untuned"]


def drawn_report(rows: int, resamples: int = 20) -> tuple[Report, pa.Table]:
    """Six runs of rising skill, the last of which answers 42% of the rows; row 0 has a text that tries to run."""
    generator = np.random.default_rng(0)
    gold = generator.choice(4, rows, p=[0.13, 0.43, 0.09, 0.35])
    ids = [f"r{i}" for i in range(rows)]
    texts = [HOSTILE, *(f"弹幕 {i} said something" for i in range(1, rows))]
    answers = [[NAMES[one]] for one in gold]
    documents = pa.Table.from_pylist(
        [
            {"id": one, "document_id": one, "text": text, "gold": answer, "fields": {}, "content_hash": text}
            for one, text, answer in zip(ids, texts, answers, strict=True)
        ],
        schema(),
    )
    known = np.eye(4)[gold]
    hard = generator.random(rows) < 0.1  # for every run
    predicted = []
    for at, name in enumerate(RUNS):
        scores = generator.normal(size=(rows, 4))
        scores[np.arange(rows), gold] += np.where(hard, -2.0, 1 + at % 5 / 2)
        scores *= 2
        probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
        valid = generator.random(rows) < (0.42 if name == "untuned" else 1)
        answers = [[NAMES[one]] if fine else [] for one, fine in zip(probabilities.argmax(axis=1), valid, strict=True)]
        predictions = Predictions(ids, None if name == "untuned" else probabilities, decided=answers, valid=valid)
        predicted.append(RunPredictions(name, predictions, 10.0 ** (at + 1), False, (), {}))
    runs = [
        EvaluatedRun(
            one.name,
            "head",
            measure_with_intervals(LABELS, known, one.predictions, resamples=resamples),
            ("a note with <i>tags</i>",),
            one.documents_per_second,
            training_seconds=60.0 * (at + 1),
        )
        for at, one in enumerate(predicted)
    ]
    differences = paired_differences(
        LABELS,
        known,
        {one.name: one.predictions for one in predicted},
        reference="qwen SFT",
        measures=["accuracy", "macro_f1"],
        resamples=resamples,
    )
    comparison = compare(runs, differences=differences)
    outputs = [RunOutput(one.name, one.predictions, run.metrics) for one, run in zip(predicted, runs, strict=True)]
    closer = look_closer(Inputs(LABELS, "test", documents, known, documents.slice(0, 100), outputs))
    assert closer.rows is not None
    return Report("评论 report", comparison, costs_of(runs, 10_000, 2.0), closer.found), closer.rows


def write_drawn_report(folder: Path, rows: int) -> Path:
    """The page of such a report."""
    report, table = drawn_report(rows)
    return next(path for path in write_report(folder, report, [], table) if path.suffix == ".html")
