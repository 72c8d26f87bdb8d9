"""A cascade: rows above the threshold have the first member's answer, the others the last's, at a stated loss."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize import load_predictor
from categorize.data.splits import load_data
from categorize.evaluate import evaluate
from categorize.label import label
from categorize.methods.cascade.stages import Cascade, choose, loss_bound, margins
from categorize.methods.registry import METHODS
from categorize.metrics.stated_precision import NEVER
from categorize.recipe.command import main
from categorize.recipe.data_sections import DataSection
from categorize.recipe.label_sections import LabelsSection
from categorize.reports.report import load_report
from categorize.runs.folder import Run
from tests.methods.test_fusion import recipe_of, run, sections_of, write_rows
from tests.session.collections import write_recipe


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def trained(**model: Any) -> list[str]:
    """A cascade of two runs, the first of which reads five characters."""
    write_rows(600)
    named = ["outputs/first", "outputs/last"]
    for path, features in zip(
        named, ({"char_ngrams": [1, 1], "max_features": 5}, {"char_ngrams": [1, 3]}), strict=True
    ):
        assert run(recipe_of(Path(path).name, {"method": "tfidf", **features})) == 0
    recipe = recipe_of("cascade", {"method": "cascade", "members": named, "confidence": 0.5, **model})
    assert run(recipe) == 0
    return named


def test_each_row_has_the_answer_of_the_first_member_that_is_sure_and_of_the_last_else() -> None:
    named = trained(max_loss=0.02)
    stored = pq.read_table("outputs/cascade/predictions/test.parquet")
    first, last = (pq.read_table(f"{path}/predictions/test.parquet") for path in named)
    stages = Cascade.load("outputs/cascade").stages
    cells = np.array(first["probabilities"].to_pylist())
    sure = margins(stages[0].calibrated(cells)) >= stages[0].threshold
    assert 0 < sure.sum() < len(sure) and first["predicted"].to_pylist() != last["predicted"].to_pylist()
    answers = zip(sure, first["predicted"].to_pylist(), last["predicted"].to_pylist(), strict=True)
    assert stored["predicted"].to_pylist() == [one if known else other for known, one, other in answers]
    assert stored["stage"].to_pylist() == ["first" if known else "last" for known in sure]
    own = np.where(
        sure[:, None], stages[0].calibrated(cells), stages[1].calibrated(np.array(last["probabilities"].to_pylist()))
    )
    np.testing.assert_allclose(np.array(stored["probabilities"].to_pylist()), own, atol=1e-12)
    measured = json.loads(Path("outputs/cascade/metrics.json").read_text())
    right = np.array([a == b for a, b in zip(stored["predicted"].to_pylist(), stored["gold"].to_pylist(), strict=True)])
    told = measured["test"]["stages"]["first"]
    assert (told["rows"], told["coverage"]) == (sure.sum(), sure.mean())
    assert told["accuracy_low"] < (accuracy := right[sure].mean()) == told["accuracy"] < told["accuracy_high"]
    # On validation no more is lost than was stated.
    validation = {path: json.loads(Path(f"{path}/metrics.json").read_text())["validation"] for path in named}
    assert validation["outputs/last"]["accuracy"] - measured["validation"]["accuracy"] <= 0.02 + 1e-9
    stage = Run.open("outputs/cascade").manifest["details"]["stages"][0]
    assert stage["coverage"] == measured["validation"]["stages"]["first"]["coverage"] and accuracy > 0


@pytest.mark.slow
def test_a_cascade_reloads_is_evaluated_beside_its_members_and_labels(capsys: pytest.CaptureFixture[str]) -> None:
    named = trained(max_loss=0.02, copy_members=True)
    assert "answered by first:  accuracy" in capsys.readouterr().out
    stored = pq.read_table("outputs/cascade/predictions/test.parquet")
    sections = sections_of(Path("cascade.yaml"))
    comparison = {"kind": "eval", "evaluation": {"runs": [*named, "outputs/cascade"]}, "output_dir": "compared"}
    evaluation = write_recipe(Path("eval.yaml"), **{**comparison, "training": None, **sections})
    assert main("run_eval.py", "eval", evaluate, METHODS, [evaluation.name]) == 0
    lines = {one.name: one for one in load_report("compared/report.json").comparison.runs}
    assert set(lines["cascade"].metrics["stages"]) == {"first", "last"}
    assert "first answers" in Path("compared/report.md").read_text(encoding="utf-8")
    teacher = {"type": "run", "run": "outputs/cascade"}
    columns = {"id": "id", "text": "text", "label": None}
    asked = {"source": "rows.csv", "columns": columns}
    job = {"kind": "label", "labeling": {"teacher": teacher}, "training": None, "labels": None, "data": asked}
    assert main("run_label.py", "label", label, METHODS, [write_recipe(Path("label.yaml"), **job).name]) == 0
    labels = pq.read_table("outputs/label/labels")
    teachers = dict(zip(labels["data.id"].to_pylist(), labels["teacher"].to_pylist(), strict=True))
    assert {teachers[row] for row in stored["id"].to_pylist()} == {"cascade: first", "cascade: last"}
    Path("outputs/cascade").rename("moved")
    for path in named:
        Path(path).rename(f"{path}_gone")
    data, labels = DataSection.model_validate(sections["data"]), LabelsSection.model_validate(sections["labels"])
    found = load_predictor("moved").predict_rows(load_data(data, labels).splits.test)
    np.testing.assert_array_equal(found.probabilities, np.array(stored["probabilities"].to_pylist()))
    assert found.stage == stored["stage"].to_pylist()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"labels": {"task": "regression", "names": None}},
            "a cascade is for one label a row, but labels.task is regression",
        ),
        ({"labels": {"task": "multi_label"}}, "but labels.task is multi_label: a row of several labels has no single"),
        ({"data": {"splits": {"validation": 0}}}, "data.splits.validation is 0"),
        ({"decision": {"calibration": "isotonic"}}, "decision.calibration: would change what the members answer"),
        ({"model": {"members": ["outputs/one"]}}, "model.members"),
        ({}, "outputs/one: no such run folder"),
    ],
)
def test_what_cannot_be_a_cascade_is_one_line(
    changes: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"method": "cascade", "members": ["outputs/one", "outputs/two"], **changes.pop("model", {})}
    sections = {"model": model, "training": None, "data": {"source": "nothing.csv"}, **changes}
    assert run(write_recipe(Path("cascade.yaml"), **sections)) == 2
    assert said in (error := capsys.readouterr().err) and "nothing.csv" not in error


# ---------------------------------------------------------------- the threshold
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), max_loss=st.sampled_from([0.0, 0.01, 0.05]), confidence=st.sampled_from([0.5, 0.9]))
def test_no_threshold_loses_more_than_was_stated(seed: int, max_loss: float, confidence: float) -> None:
    rng = np.random.default_rng(seed)
    margin = rng.choice(np.linspace(0, 1, 40), 300)
    right, reference = rng.random(300) < 0.5 + margin / 2, rng.random(300) < 0.9
    threshold = choose(margin, right, reference, 300, max_loss, confidence)
    own = margin >= threshold
    lost, gained = int((own & reference & ~right).sum()), int((own & right & ~reference).sum())
    assert threshold == NEVER or loss_bound(lost, gained, 300, confidence) <= max_loss


def test_the_loss_on_other_rows_is_as_stated_as_often_as_stated() -> None:
    """Of 300 choices on 1,000 rows with 90% confidence, a tenth at most (with room for chance) loses more."""
    rng = np.random.default_rng(0)
    grid = np.linspace(0, 1, 2001)
    chance = 0.55 + 0.44 * grid  # of the first member's being right, by its margin; the last is right in 90%
    beyond, covered = 0, []
    for _ in range(300):
        margin = rng.random(1000)
        right, reference = rng.random(1000) < 0.55 + 0.44 * margin, rng.random(1000) < 0.9
        threshold = choose(margin, right, reference, 1000, 0.02, 0.9)
        own = grid >= threshold
        beyond += float(((0.9 - chance) * own).mean()) > 0.02
        covered.append(own.mean())
    assert beyond <= 300 * 0.1 + 3 * (300 * 0.1 * 0.9) ** 0.5
    assert np.median(covered) > 0.2


def test_a_bound_without_a_lost_row_shrinks_with_the_rows() -> None:
    assert [round(loss_bound(0, 0, rows, 0.95), 4) for rows in (200, 1000, 10_000)] == [0.0115, 0.0023, 0.0002]
    assert choose(np.ones(100), np.ones(100, dtype=bool), np.ones(100, dtype=bool), 100, 0.005, 0.95) == NEVER
