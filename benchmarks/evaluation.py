#!/usr/bin/env python
"""Six models on 15,000 rows with 1,000 bootstrap resamples: CPU seconds and peak memory of the whole comparison.

    python benchmarks/evaluation.py

Makes predictions by a seed, with probabilities, of one label among four, of 22 labels in five groups of which a row has
some, and of a score. For each, a process of its own measures all six models with intervals, curves and paired tests,
and writes the report to `outputs/benchmarks/evaluation`; the table goes to `benchmarks/RESULTS.md` (with --show it
does not). A model takes no part in it: what is timed comes after its predictions.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]  # the library and its neighbour, installed or not

import numpy as np  # noqa: E402
import pyarrow as pa  # noqa: E402
from results import write_section  # noqa: E402

from categorize.data.rows import schema  # noqa: E402
from categorize.errors import UserError  # noqa: E402
from categorize.labels import Group, Label, LabelSet  # noqa: E402
from categorize.methods.registry import METHODS  # noqa: E402
from categorize.metrics.decision import DecisionRule  # noqa: E402
from categorize.predictions import Predictions  # noqa: E402
from categorize.recipe.sections import EvalRecipe, recipe_classes  # noqa: E402
from categorize.recipe.terminal import run_command  # noqa: E402
from categorize.runs.environment import processor_name  # noqa: E402
from categorize.text_tables import markdown_table  # noqa: E402

HEADING = "## Comparing predictions"
WORK = ROOT / "outputs" / "benchmarks" / "evaluation"
MODELS, ROWS, RESAMPLES = 6, 15_000, 1000
MOST_SECONDS, MOST_BYTES = 60.0, 2_000_000_000
TASKS = {"one of 4 labels": "single_label", "some of 22 labels, 5 groups": "multi_label", "a score": "regression"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 1 where a comparison took longer, or more memory, than promised."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print the table, and leave RESULTS.md alone")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--resamples", type=int, default=RESAMPLES)
    parser.add_argument("--one", choices=TASKS.values(), help=argparse.SUPPRESS)  # in a process of its own
    options = parser.parse_args(argv)
    if options.one:
        print(json.dumps(compared(options.one, options.rows, options.resamples)))
        return 0
    rows, kept = [], True
    for title, task in TASKS.items():
        sizes = [f"--rows={options.rows}", f"--resamples={options.resamples}"]
        command = [sys.executable, __file__, "--one", task, *sizes]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise UserError(f"{shlex.join(command)} failed: {done.stderr.strip().splitlines()[-1]}")
        found = json.loads(done.stdout.splitlines()[-1])
        kept &= found["seconds"] <= MOST_SECONDS and found["peak"] <= MOST_BYTES
        seconds, peak = f"{found['seconds']:.1f}", f"{found['peak'] / 1e6:,.0f} MB"
        rows.append([title, seconds, peak, f"{found['json'] / 1e6:.1f} MB"])
        print(f"{title}: {seconds} s, {peak}", flush=True)
    table = markdown_table(["predictions", "CPU seconds", "peak memory", "report.json"], rows, "lrrr")
    threads = os.environ.get("OMP_NUM_THREADS")
    told = [
        f"- command: `{f'OMP_NUM_THREADS={threads} ' if threads else ''}python benchmarks/evaluation.py`",
        f"- hardware: {processor_name()}, {len(os.sched_getaffinity(0))} core(s) used",
        f"- date: {date.today()}",
    ]
    size = f"{MODELS} models, {options.rows:,} rows, {options.resamples:,} resamples"
    text = (
        f"{HEADING}\n\n{size}: measures, intervals, curves, paired tests, the report written.\n\n{table}\n\n"
        + "\n".join(told)
    )
    if options.show:
        print(text)
    else:
        write_section(HEADING, text)
    return 0 if kept else 1


def compared(task: str, rows: int, resamples: int) -> dict[str, float]:
    """CPU seconds of a comparison, the largest memory of this process in bytes, and the size of `report.json`."""
    from categorize.reports.measuring import compare_predictions
    from categorize.reports.predicted import RunPredictions
    from categorize.reports.report import Report
    from categorize.reports.split import EvaluatedSplit
    from categorize.reports.write import write_report

    label_set = labels(task)
    rng = np.random.default_rng(0)
    gold = golds(label_set, rows, rng)
    ids = [str(i) for i in range(rows)]
    runs = [
        RunPredictions(f"model {n}", predicted(label_set, gold, ids, 0.9 + 0.1 * n, rng), None, False, (), {})
        for n in range(MODELS)
    ]
    documents = table(label_set, gold, ids)
    split = EvaluatedSplit("test", label_set, documents, documents, gold, "", [None] * rows)
    begun = time.process_time()
    comparison = compare_predictions(runs, recipe(task, resamples), split, documents)
    folder = WORK / task
    folder.mkdir(parents=True, exist_ok=True)
    write_report(folder, Report(task, comparison), [])
    seconds = time.process_time() - begun  # of this process: others of the machine do not count
    return {"seconds": seconds, "peak": float(peak_memory()), "json": (folder / "report.json").stat().st_size}


def labels(task: str) -> LabelSet:
    """Four labels, 22 in five groups, or a score."""
    if task == "regression":
        return LabelSet("regression", (Label("score"),))
    if task == "single_label":
        return LabelSet("single_label", tuple(map(Label, ("Positive", "Mild", "Negative", "Irrelevant"))))
    groups = tuple(Group(f"group {i}") for i in range(5))
    return LabelSet("multi_label", tuple(Label(f"label {i}", parent=f"group {i % 5}") for i in range(22)), groups)


def golds(label_set: LabelSet, rows: int, rng: np.random.Generator) -> np.ndarray:
    """Gold [rows, labels]."""
    if label_set.is_regression:
        return rng.normal(3, 1, size=(rows, 1)).round(1)
    if label_set.is_multi_label:
        return (rng.random((rows, 22)) < np.linspace(0.02, 0.2, 22)).astype(float)
    return np.eye(4)[rng.choice(4, size=rows, p=[0.13, 0.43, 0.09, 0.35])]


def predicted(
    label_set: LabelSet, gold: np.ndarray, ids: list[str], skill: float, rng: np.random.Generator
) -> Predictions:
    """What a model says that sees the gold through noise."""
    noise = rng.normal(size=gold.shape)
    rule = DecisionRule.default(label_set)
    if label_set.is_regression:
        return rule.apply(Predictions(ids, score=gold[:, 0] * skill + noise[:, 0]))
    logits = 2 * skill * gold + noise
    if label_set.is_multi_label:
        return rule.apply(Predictions(ids, 1 / (1 + np.exp(2 - 2 * logits))))
    shares = np.exp(logits)
    return rule.apply(Predictions(ids, shares / shares.sum(axis=1, keepdims=True)))


def table(label_set: LabelSet, gold: np.ndarray, ids: list[str]) -> pa.Table:
    """The documents of the split, of whose texts nothing is asked."""
    count, fields = len(ids), schema(["text"])
    named: dict[str, Any] = {name: pa.nulls(count, fields.field(name).type) for name in fields.names}
    scores = gold[:, 0] if label_set.is_regression else None
    named |= {"id": pa.array(ids), "document_id": pa.array(ids)}
    names = [None] * count if label_set.is_regression else label_set.decode(gold)
    named["gold"] = pa.array(names, pa.list_(pa.string()))
    named["gold_score"] = pa.array([None] * count if scores is None else scores, pa.float64())
    return pa.table(named, schema=fields)


def recipe(task: str, resamples: int) -> EvalRecipe:
    """An evaluation of so many resamples."""
    told = {
        "kind": "eval",
        "name": task,
        "data": {"source": "rows.csv"},
        "labels": {"task": task},
        "evaluation": {"runs": ["none"], "bootstrap": resamples, "baselines": ["majority"]},
    }
    found = recipe_classes(METHODS)["eval"].model_validate(told)
    assert isinstance(found, EvalRecipe)
    return found


def peak_memory() -> int:
    """Bytes."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    sys.exit(run_command(main))
