"""Baselines of an evaluation: TF-IDF on its own training rows, trained once, and left out where it stands already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from categorize.reports.report import load_report
from tests.session.collections import write_collection, write_recipe
from tests.session.test_training_run import compare, run

TFIDF = "TF-IDF baseline"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    return tmp_path


def trained(folder: Path, name: str, method: str, features: dict[str, str] | None = None, **sections: Any) -> str:
    model = {"method": method, **({} if features is None else {"features": features})}
    assert run(str(write_recipe(folder / f"{name}.yaml", model=model, training=None, **sections))) == 0
    return f"outputs/{name}"


def evaluation(folder: Path, runs: list[str], **sections: Any) -> str:
    told = {"kind": "eval", "evaluation": {"runs": runs, "bootstrap": 50, "closer": False}, "training": None}
    return str(write_recipe(folder / "table.yaml", **told, **sections))


def names() -> list[str]:
    return [one.name for one in load_report("outputs/table/report.json").comparison.runs]


@pytest.mark.parametrize("task", ["single_label", pytest.param("multi_label", marks=pytest.mark.slow)])
def test_the_baseline_is_the_tfidf_run_of_the_same_rows_and_is_trained_once(
    folder: Path, task: str, capsys: pytest.CaptureFixture[str]
) -> None:
    several = {"data": {"columns": {"id": "id", "text": "text", "label": "moods"}}}
    sections: dict[str, Any] = {} if task == "single_label" else several
    labels = ["good", "bad"] if task == "single_label" else ["good", "bad", "late"]
    sections["labels"] = {"task": task, "names": labels}
    words = trained(folder, "words", "lexical", **sections)
    recipe = evaluation(folder, [words], **sections)
    assert compare(recipe) == 0
    out = capsys.readouterr().out
    assert names() == ["majority label", TFIDF, "words"] and f"{TFIDF}: training on" in out
    assert "tfidf_baseline: tfidf" not in out  # what training says is in a file
    (log,) = Path("outputs/baselines").glob("tfidf-*.log")
    assert "run folder" in log.read_text()
    first = load_report("outputs/table/report.json").comparison.runs[1]
    thresholds = {} if task == "single_label" else {"decision": {"thresholds": "global"}}
    mine = Path(trained(folder, "mine", "tfidf", **sections, **thresholds))
    own = json.loads((mine / "metrics.json").read_text())["test"]
    for measure in ("accuracy", "macro", "log_loss"):
        assert first.metrics[measure] == own[measure]
    assert first.method == "baseline" and first.training_rows is not None

    capsys.readouterr()
    assert compare(recipe, "--overwrite") == 0
    assert "trained before" in capsys.readouterr().out
    assert load_report("outputs/table/report.json").comparison.runs[1].metrics == first.metrics
    # Other training rows make another baseline; the test rows are the same.
    held_out = {
        one
        for split in ("validation", "test")
        for one in pq.read_table(f"{words}/predictions/{split}.parquet")["id"].to_pylist()
    }
    rows = Path("rows.csv").read_text(encoding="utf-8").splitlines()
    at = next(i for i, row in enumerate(rows) if ",bad,bad," in row and row.split(",")[0] not in held_out)
    rows[at] = rows[at].replace(",bad,bad,", ",good,good,")
    Path("rows.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    assert compare(recipe, "--overwrite") == 0
    assert len(list(Path("outputs/baselines").glob("tfidf-*.yaml"))) == 2


def test_a_tfidf_run_needs_no_tfidf_baseline_and_the_recipe_may_want_none(folder: Path) -> None:
    recipe = evaluation(folder, [trained(folder, "linear", "tfidf")])
    assert compare(recipe) == 0 and names() == ["majority label", "linear"]
    assert not Path("outputs/baselines").exists()
    other = evaluation(folder, [trained(folder, "words", "lexical")])
    for wanted, found in (("[majority]", ["majority label", "words"]), ("[]", ["words"])):
        assert compare(other, f"evaluation.baselines={wanted}", "--overwrite") == 0 and names() == found


def test_a_key_of_old_recipes_and_a_name_that_is_taken_are_told(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = evaluation(folder, [trained(folder, "words", "lexical")])
    capsys.readouterr()
    assert compare(recipe, "evaluation.majority=false") == 2
    assert "is one of evaluation.baselines; write baselines: [] for none" in capsys.readouterr().err
    assert compare(recipe, "evaluation.runs=[{run: outputs/words, name: TF-IDF baseline}]") == 2
    assert "leave the baseline out with evaluation.baselines" in capsys.readouterr().err


def test_a_baseline_of_scores_is_a_ridge_regression(folder: Path) -> None:
    sections: dict[str, Any] = {
        "data": {"columns": {"id": "id", "text": "text", "label": "score"}},
        "labels": {"task": "regression", "names": None},
    }
    near = trained(folder, "near", "neighbours", {"type": "tfidf"}, **sections)
    assert compare(evaluation(folder, [near], **sections)) == 0
    assert names() == ["mean score", TFIDF, "near"]
