"""An evaluation looks closer at its rows: what is written and said, what a recipe turns off, what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from categorize.evaluate import evaluate
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_collection, write_recipe


@pytest.fixture(autouse=True)
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs, one of which sees nothing but how often letters occur."""
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv", rows=400)
    for name, model in (("small", {"max_features": 2}), ("large", {"C": 2.0})):
        recipe = write_recipe(tmp_path / f"{name}.yaml", model={"method": "tfidf", **model}, training=None)
        assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 0
    evaluation = {"runs": ["outputs/small", "outputs/large"], "bootstrap": 50}
    write_recipe(tmp_path / "eval.yaml", kind="eval", training=None, evaluation=evaluation)


def evaluated(*arguments: str) -> int:
    return main("run_eval.py", "eval", evaluate, METHODS, ["eval.yaml", "--overwrite", *arguments])


def analysis() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("outputs/eval/report.json").read_text(encoding="utf-8")).get("analysis", {})
    return found


def test_what_was_found_is_written_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated("evaluation.train_label_errors=true") == 0
    said = capsys.readouterr().out
    found = analysis()
    told = f"the labels of {found['train_label_errors_found']} of "
    assert told in said and told in Path("outputs/eval/report.html").read_text(encoding="utf-8")
    assert "\nFindings\n" in said and "\nAdvice (evaluation.ignore" in said and "outputs/eval/report.html" in said
    comparison = json.loads(Path("outputs/eval/report.json").read_text(encoding="utf-8"))
    small = next(run for run in comparison["runs"] if run["name"] == "small")
    assert found["best"] == "large"
    assert [row[:2] for row in found["confusion"]["runs"]["small"]["counts"]] == [
        [row[j] for j in (0, 1)] for row in small["metrics"]["confusion"]["counts"]
    ]
    rows = pq.read_table("outputs/eval/rows.parquet")
    assert rows.num_rows == small["metrics"]["rows"] == found["errors"]["rows"]
    wrong = rows["wrong:small"].to_pylist()
    assert sum(wrong) == found["errors"]["wrong"]["small"] == round((1 - small["metrics"]["accuracy"]) * len(wrong))
    assert sum(wrong) > 5 and all(wrong[:5]) and not any(wrong[sum(wrong) :])
    assert all(row["neighbours"] for row in rows.slice(0, sum(wrong)).to_pylist())


@pytest.mark.slow
def test_a_recipe_leaves_out_checks_or_all_of_it_and_leftovers_go(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated() == 0
    codes = {one["code"] for one in analysis()["advice"]}
    assert codes
    assert evaluated(f"evaluation.ignore={json.dumps(sorted(codes))}") == 0
    assert analysis()["advice"] == []
    capsys.readouterr()
    assert evaluated("evaluation.closer=false") == 0
    said = capsys.readouterr().out
    assert "Findings" not in said and "looking closer" not in said
    assert analysis() == {} and not Path("outputs/eval/rows.parquet").exists()


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluation.ignore=[C0]", "evaluation.ignore: 'C0' is not a check"),
        (
            "evaluation.columns=[speaker]",
            "evaluation.columns: 'speaker' is not a column of the rows; columns: 'id', 'text'",
        ),
    ],
)
def test_what_is_not_there_is_told_before_anything_is_predicted(
    override: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated(override) == 2
    captured = capsys.readouterr()
    assert said in captured.err and len(captured.err.splitlines()) == 1 and "documents/s" not in captured.out


def test_slices_are_of_the_columns_that_the_recipe_names() -> None:
    assert evaluated("data.columns.keep=[moods]", "evaluation.features={type: tfidf}") == 0
    found = analysis()
    columns = {one["column"] for one in found["slices"]["large"]}
    assert "moods" in columns and "score" not in columns
    assert evaluated("evaluation.columns=[score]") == 0
    found = analysis()
    columns = {one["column"] for one in found["slices"]["large"]}
    assert "score" in columns and "moods" not in columns


def test_changed_texts_and_rows_without_a_label_are_predicted_by_every_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluated("evaluation.invariance=[typos,full_width,script]", "evaluation.counts=15") == 0
    said = capsys.readouterr().out
    assert said.count("without a label: 15 documents") == 2 and "Predictions that change with the text" in said
    found = analysis()
    changes = found["invariance"]["large"]
    assert set(changes) == {"typos", "full_width", "script"}
    assert 0 < changes["script"]["rows"] < changes["typos"]["rows"]  # texts with Chinese characters alone
    assert changes["full_width"]["changed"] == 0 < changes["full_width"]["rows"]  # nfkc undoes it
    assert found["counts"]["unlabelled"] == 15 and found["counts"]["runs"]["small"]["all"][0]["corrected"] is not None


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("evaluation.ablations=[no_opening]", "evaluation.ablations: no_opening changes no document of the test split"),
        ("evaluation.ablations=[no_end]", "evaluation.ablations"),
        ("evaluation.invariance=[case]", "evaluation.invariance"),
    ],
)
def test_changes_that_cannot_be_made_are_told_in_one_line(
    override: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert evaluated(override) == 2
    error = capsys.readouterr().err
    assert said in error and len(error.splitlines()) == 1


def test_counts_need_rows_without_a_label(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        evaluated("evaluation.counts=15", "data.columns.label=score", "labels.task=regression", "labels.names=null")
        == 2
    )
    assert "evaluation.counts: every row of the data has a label" in capsys.readouterr().err


def test_transcripts_are_predicted_without_a_part(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Path("talks.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "mood"])
        for i in range(200):
            mood = "good" if i % 2 else "bad"
            told = f"Ann: hello {i}\nBob: it was a {mood} year\nCid: what now?\nBob: more of that {i}"
            writer.writerow([i, told, mood])
    data = {"source": "talks.csv", "columns": {"id": "id", "label": "mood"}, "splits": {"near_duplicates": "off"}}
    recipe = write_recipe(tmp_path / "talks.yaml", data=data, model={"method": "tfidf"}, training=None)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 0
    evaluation = {"runs": ["outputs/talks"], "bootstrap": 100, "opening_turns": 2}
    evaluation |= {"ablations": ["no_opening", "no_questions", "shuffled_turns"]}
    recipe = write_recipe(tmp_path / "ev.yaml", kind="eval", data=data, training=None, evaluation=evaluation)
    assert main("run_eval.py", "eval", evaluate, METHODS, [recipe.name]) == 0
    assert "Without a part of the transcript\ntalks: no opening: macro_f1 0." in capsys.readouterr().out
    found = json.loads(Path("outputs/ev/report.json").read_text(encoding="utf-8"))["analysis"]["ablations"]["talks"]
    assert {name: one["rows"] for name, one in found.items()} == dict.fromkeys(evaluation["ablations"], 40)
    assert found["no_opening"]["whole"] == 1.0 and found["no_opening"]["high"] < 0  # what tells them apart is gone
    assert found["no_questions"]["without"] == 1.0 and found["no_questions"]["difference"] == 0
