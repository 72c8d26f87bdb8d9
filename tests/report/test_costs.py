"""Costs: what follows from times and prices, and memory that was really taken."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from categorize.evaluate import evaluate
from categorize.methods.registry import METHODS
from categorize.nn.memory import peak, reset_peak
from categorize.recipe.command import main
from categorize.reports.comparison import EvaluatedRun
from categorize.reports.costs import RunCosts, cost_table, costs_of
from categorize.train import train
from tests.session.collections import write_collection, write_recipe

MIB = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a stretch is counted on Linux alone")
def test_the_peak_is_that_of_the_stretch() -> None:
    before = np.ones(200 * MIB, dtype=np.uint8)
    reset_peak()
    whole = peak()
    del before
    reset_peak()
    start = peak()
    assert start < whole - 150 * MIB
    held = np.ones(100 * MIB, dtype=np.uint8)
    del held
    assert 90 * MIB < peak() - start < 150 * MIB


def test_a_teacher_costs_what_it_took_for_a_text_and_others_their_hours() -> None:
    runs = [
        EvaluatedRun("majority label", "baseline", {}),
        EvaluatedRun("bert", "head", {}, documents_per_second=50.0, training_seconds=7200.0, training_memory=3 * 2**30),
        EvaluatedRun("teacher", "teacher", {}, money_per_document=0.0004),
    ]
    costs = costs_of(runs, 1_000_000, 1.5, "EUR")
    assert costs.runs == (
        RunCosts("majority label"),
        RunCosts("bert", 3.0, 20_000.0, pytest.approx(8.3333, abs=1e-4)),
        RunCosts("teacher", rest_money=pytest.approx(400.0)),
    )
    header, rows, _ = cost_table(runs, costs)
    assert header == [
        "run", "training", "training, EUR", "memory, training", "documents/s", "1,000,000 unlabelled: time",
        "1,000,000 unlabelled: EUR",
    ]  # fmt: skip
    assert rows == [
        ["bert", "2 h 00 min", "3.00", "3.0 GiB", "50.0", "5 h 33 min", "8.33"],
        ["teacher", "-", "-", "-", "-", "-", "400.00"],
    ]
    unpriced = costs_of(runs, 0)
    assert unpriced.runs[1] == RunCosts("bert") and "unlabelled" not in " ".join(cost_table(runs, unpriced).header)


def test_an_evaluation_tells_time_memory_and_the_rows_without_a_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv", rows=200)
    recipe = write_recipe(tmp_path / "one.yaml", model={"method": "tfidf"}, training=None)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 0
    evaluation = {"runs": ["outputs/one"], "bootstrap": 0, "closer": False, "costs": {"price_per_hour": 3600}}
    write_recipe(tmp_path / "eval.yaml", kind="eval", training=None, evaluation=evaluation)
    assert main("run_eval.py", "eval", evaluate, METHODS, ["eval.yaml"]) == 0
    report = json.loads(Path("outputs/eval/report.json").read_text(encoding="utf-8"))
    run, costs = report["runs"][1], report["costs"]
    manifest = json.loads(Path("outputs/one/run.json").read_text(encoding="utf-8"))
    assert run["training_memory"] == manifest["training"]["memory"] > 10 * MIB < run["prediction_memory"]
    assert costs["rest"] == manifest["rows"]["unlabeled"] > 0
    of_run = costs["runs"][1]
    assert of_run["training_money"] == pytest.approx(manifest["training"]["seconds"])  # 1 a second
    assert of_run["rest_money"] == pytest.approx(of_run["rest_seconds"])  # a rounding apart
    assert of_run["rest_seconds"] == pytest.approx(costs["rest"] / run["documents_per_second"])
    more = ["eval.yaml", "--overwrite", "evaluation.costs.rows=5000000"]
    assert main("run_eval.py", "eval", evaluate, METHODS, more) == 0
    assert "| 5,000,000 unlabelled: time |" in Path("outputs/eval/report.md").read_text(encoding="utf-8")
