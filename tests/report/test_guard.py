"""The guard's exit statuses, and one run in scikit-learn's form."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import classification_report as of_sklearn

from categorize.evaluate import evaluate
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.reports.classification_report import classification_report
from categorize.train import train
from tests.session.collections import write_collection, write_recipe


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs and their report."""
    folder = tmp_path_factory.mktemp("guarded")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_collection(folder / "rows.csv", rows=300)
        for name, model in (("small", {"max_features": 2}), ("large", {"C": 2.0})):
            recipe = write_recipe(folder / f"{name}.yaml", model={"method": "tfidf", **model}, training=None)
            assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 0
        evaluation = {"runs": ["outputs/small", "outputs/large"], "bootstrap": 0, "closer": False}
        write_recipe(folder / "eval.yaml", kind="eval", training=None, evaluation=evaluation)
        assert main("run_eval.py", "eval", evaluate, METHODS, ["eval.yaml", "output_dir=old"]) == 0
    return folder


@pytest.fixture(autouse=True)
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def evaluated(*arguments: str) -> int:
    return main("run_eval.py", "eval", evaluate, METHODS, ["eval.yaml", "--overwrite", *arguments])


def old_with(name: str, macro_f1: float) -> str:
    """The old report, in which a run was as good as this."""
    data = json.loads(Path("old/report.json").read_text(encoding="utf-8"))
    run = next(one for one in data["runs"] if one["name"] == name)
    run["metrics"]["macro"]["f1"] = macro_f1
    Path("changed.json").write_text(json.dumps(data), encoding="utf-8")
    return "changed.json"


def score(name: str) -> float:
    runs = json.loads(Path("old/report.json").read_text(encoding="utf-8"))["runs"]
    return float(next(one for one in runs if one["name"] == name)["metrics"]["macro"]["f1"])


def test_runs_as_good_as_before_pass(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated("--against", "old/report.json", "--fail-below", "0") == 0
    said = capsys.readouterr().out
    assert "Against old/report.json, at most 0 less:" in said and said.count(" ok") == 2


def test_a_run_that_fell_further_than_allowed_ends_with_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated("--against", old_with("small", score("small") + 0.03)) == 3
    said = capsys.readouterr().err
    assert "guard: small is worse" in said and "-0.0300" in said and "Traceback" not in said
    assert Path("outputs/eval/report.json").exists()  # what was measured is there all the same
    assert evaluated("--against", old_with("small", score("small") + 0.03), "--fail-below", "0.05") == 0
    assert evaluated("--against", old_with("small", score("small") + 0.005)) == 0  # 0.01 by default


def test_a_run_that_is_not_measured_any_more_ends_with_status_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated("--against", "old/report.json", "evaluation.runs=[outputs/large]") == 3
    assert "guard: small is missing" in capsys.readouterr().err
    more = "evaluation.runs=[outputs/small, outputs/large, {run: outputs/large, name: added}]"
    assert evaluated("--against", "old/report.json", more) == 0
    assert re.search(r"added +- .* new", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--against", "nowhere.json"], "nowhere.json: cannot be read"),
        (["--against", "eval.yaml"], "eval.yaml: not a report"),
        (
            ["--against", "old/report.json", "evaluation.split=validation"],
            "old/report.json: measured single_label on the test split, this recipe single_label on validation",
        ),
        (["--against", "other.json"], "other.json: its test split (another) is not this recipe's ("),
        (["--fail-below", "0.1"], "--fail-below 0.1: name the earlier report.json by --against"),
        (["--against", "old/report.json", "--fail-below", "-1"], "--fail-below -1: "),
    ],
)
def test_what_cannot_be_compared_is_status_2_before_anything_is_predicted(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = json.loads(Path("old/report.json").read_text(encoding="utf-8"))
    Path("other.json").write_text(json.dumps({**data, "fingerprint": "another"}), encoding="utf-8")
    assert evaluated(*arguments) == 2
    captured = capsys.readouterr()
    assert said in captured.err and len(captured.err.splitlines()) == 1 and "documents/s" not in captured.out


def test_a_finished_report_prints_a_run_in_scikit_learns_form_without_predicting(
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["eval.yaml", "output_dir=old", "--classification-report"]
    assert main("run_eval.py", "eval", evaluate, METHODS, [*arguments, "small"]) == 0
    printed = capsys.readouterr().out
    rows = pq.read_table("old/predictions/small.parquet").to_pylist()
    gold, said = ([row[name][0] for row in rows] for name in ("gold", "predicted"))
    names = [one["label"] for one in json.loads(Path("old/report.json").read_text())["runs"][1]["metrics"]["per_class"]]
    assert printed == of_sklearn(gold, said, labels=names, zero_division=0)
    assert main("run_eval.py", "eval", evaluate, METHODS, [*arguments, "tiny"]) == 2
    assert "--classification-report 'tiny': old/report.json has no such run; runs: " in capsys.readouterr().err
    assert main("run_eval.py", "eval", evaluate, METHODS, [*arguments, "majority label"]) == 2
    assert "a baseline has no predictions" in capsys.readouterr().err


def test_invalid_answers_are_wrong_in_the_accuracy_below(tmp_path: Path) -> None:
    data = json.loads(Path("old/report.json").read_text(encoding="utf-8"))
    run = data["runs"][1]
    table = pq.read_table(f"old/{run['predictions']}")
    valid = np.arange(table.num_rows) % 2 == 0
    right = [row["gold"] == row["predicted"] for row in table.to_pylist()]
    run["metrics"] |= {"invalid": int((~valid).sum()), "accuracy": float((valid & right).mean())}
    (tmp_path / "predictions").mkdir()
    at = table.column_names.index("valid")
    pq.write_table(table.set_column(at, "valid", [valid.tolist()]), tmp_path / run["predictions"])
    (tmp_path / "report.json").write_text(json.dumps(data), encoding="utf-8")
    text = classification_report(tmp_path / "report.json", run["name"])
    assert "micro avg" in text and f"accuracy {(valid & right).mean():.4f}: {(~valid).sum()} of" in text
