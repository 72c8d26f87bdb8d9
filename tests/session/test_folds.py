"""`python -m categorize.folds`: every row is tested once, the mean is that of the runs, and finished folds are kept."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import fmean

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import f1_score

from categorize.child_runs import run_and_wait
from categorize.data.input_spec import InputSpec
from categorize.folds import main, plan, pooled
from categorize.labels import Label, LabelSet
from categorize.prediction.tables import predictions_table, write_predictions
from categorize.predictions import Predictions
from categorize.recipe.data_sections import DataSection
from categorize.runs.folder import is_run
from tests.session.collections import write_collection, write_recipe


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    data = {"splits": {"folds": 2, "near_duplicates": "off"}}
    path = write_recipe(tmp_path / "mine.yaml", model={"method": "tfidf"}, training=None, data=data)
    return str(path)


def test_all_folds_run_and_are_averaged_and_finished_ones_are_kept(
    recipe: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([recipe]) == 0
    shown = capfd.readouterr().out
    assert "mean ± sd" in shown
    summary = json.loads(Path("outputs/mine_folds/folds.json").read_text())
    folders = [Path(f"outputs/mine_folds/fold_{i}") for i in range(2)]
    tested = [pq.read_table(folder / "predictions/test.parquet")["id"].to_pylist() for folder in folders]
    rows = [row for part in tested for row in part]
    assert len(rows) == len(set(rows)) == summary["rows"] == 114  # six of 120 are not labelled
    accuracies = [json.loads((folder / "metrics.json").read_text())["test"]["accuracy"] for folder in folders]
    assert summary["mean"]["accuracy"] == pytest.approx(fmean(accuracies))
    assert "pooled" in shown and summary["pooled"]["rows"] == 114
    assert summary["pooled"]["accuracy"] == pytest.approx(fmean(accuracies))  # of folds of one size
    assert len(list(Path("outputs/splits").iterdir())) == 1
    # One fold is lost, another was interrupted before it wrote anything but its recipe.
    before = (folders[0] / "run.json").stat().st_mtime_ns
    folders[1].rename(Path("outputs/mine_folds/fold_1.incomplete"))
    Path("outputs/mine_folds/fold_1.incomplete/run.json").unlink()
    assert main([recipe]) == 0
    assert "fold 0: finished before" in capfd.readouterr().out
    assert (folders[0] / "run.json").stat().st_mtime_ns == before
    assert is_run(folders[1])
    assert json.loads(Path("outputs/mine_folds/folds.json").read_text())["mean"] == summary["mean"]
    # Folds of another recipe are not mixed in.
    assert main([recipe, "model.C=9.0"]) == 2
    assert "was made with another recipe" in capfd.readouterr().err


@pytest.mark.parametrize("names", [["a", "b", "c"], None], ids=["one label set", "that of each fold's training rows"])
def test_pooled_measures_are_those_of_all_predictions_together(tmp_path: Path, names: list[str] | None) -> None:
    """Not their mean: a label may have rows in one fold alone."""
    spec = InputSpec.from_section(DataSection.model_validate({"source": "x.csv", "columns": {"text": "text"}}))
    answers = {"one": (["a", "a", "b", "b"], ["a", "b", "b", "b"]), "two": (["a", "c"], ["c", "c"])}
    for folder, (gold, predicted) in answers.items():
        label_set = LabelSet("single_label", tuple(Label(name) for name in names or sorted({*gold, *predicted})))
        rows = spec.documents(spec.rows_from_texts([f"{folder} {i}" for i in range(len(gold))]))
        rows = rows.set_column(rows.column_names.index("gold"), "gold", pa.array([[label] for label in gold]))
        found = Predictions(
            rows["id"].to_pylist(), np.full((len(gold), len(label_set)), 0.5), decided=[[label] for label in predicted]
        )
        (tmp_path / folder / "predictions").mkdir(parents=True)
        write_predictions(tmp_path / folder / "predictions/test.parquet", predictions_table(rows, found))
        label_set.save(tmp_path / folder / "label_set.json")
    measured = pooled([tmp_path / folder for folder in answers])
    gold, predicted = ([label for one in answers.values() for label in one[i]] for i in range(2))
    assert measured["macro"]["f1"] == pytest.approx(f1_score(gold, predicted, average="macro"))
    assert measured["rows"] == 6 and measured["accuracy"] == 4 / 6
    assert ("log_loss" in measured) == (names is not None)


def test_a_fold_that_fails_stops_with_the_way_on(recipe: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main([recipe, "data.columns.text=nothing"]) == 2
    error = capfd.readouterr().err
    assert "has no column 'nothing'" in error
    assert "fold 0 failed (exit status 2)" in error


def test_five_folds_where_none_are_named_and_nothing_is_pushed(recipe: str) -> None:
    folds = plan(recipe, ["data.splits.folds=null", "hub.repo_id=someone/model"])
    assert len(folds) == 5
    assert len(plan(recipe, ["data.splits.folds=4", "name=other"])) == 4
    assert all(fold.recipe.recipe.hub is None for fold in folds)  # type: ignore[union-attr]
    assert len({fold.recipe.recipe.data.splits.file for fold in folds}) == 1


def test_a_recipe_that_trains_nothing_is_refused(
    recipe: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    other = write_recipe(tmp_path / "e.yaml", kind="eval", evaluation={"runs": ["a"]}, training=None)
    assert main([str(other)]) == 2
    assert "trains nothing" in capfd.readouterr().err
    assert main([recipe, "data.splits.by_time=id"]) == 2
    assert "cannot go with folds" in capfd.readouterr().err
    assert main([recipe, "--what"]) == 2
    assert capfd.readouterr().err.startswith("error: ")


def test_a_signal_to_stop_is_passed_on_to_the_fold(tmp_path: Path) -> None:
    """As a scheduler sends it that tells the command alone."""
    code = (
        "import os, signal, sys, time\n"
        "def leave(*_):\n    open(sys.argv[1], 'w').write('told')\n    sys.exit(75)\n"
        "signal.signal(signal.SIGTERM, leave)\n"
        "os.kill(os.getppid(), signal.SIGUSR1)\n"
        "time.sleep(60)\n"
    )
    assert run_and_wait([sys.executable, "-c", code, str(tmp_path / "told")]) == (75, False)
    assert (tmp_path / "told").read_text() == "told"
