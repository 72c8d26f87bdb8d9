"""From a teacher's labels to a two-level student and back: trained on the table, compared with the teacher, labelling
itself. The teacher is ranked on reviewed rows alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from categorize import load_predictor
from categorize.evaluate import evaluate
from categorize.label import label
from categorize.labeling.review.story import review_folder, take_reviewed, write_review
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.labeling_sections import Review
from categorize.reports.report import load_report
from categorize.train import train
from tests.labeling import jobs
from tests.labeling.students import write_label_recipe
from tests.session.collections import write_recipe

LABELS = {"names": [{"name": "mood", "labels": ["good", "bad"]}, {"name": "rest", "labels": ["odd"]}]}
DATA = {
    "source": "job/labels",
    "columns": {"id": "id", "text": "text", "label": "label"},
    "splits": {"near_duplicates": "off", "test": 0.4},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a labelling run, `job`."""
    monkeypatch.chdir(tmp_path)
    rows = jobs.write_rows(tmp_path, jobs.texts(120))
    jobs.start(jobs.write_recipe(tmp_path, rows, labels=LABELS), jobs.InProcess())
    return tmp_path


def run(kind: str, story: Any, *argv: str) -> int:
    return main(f"run_{kind}.py", kind, story, METHODS, list(argv))


def review(wrong: int) -> tuple[set[str], set[str]]:
    """Review 60 rows, of which people correct so many; the ids of all, and of the corrected ones."""
    write_review(Path("job"), 60, Review(suspects=0), seed=1)
    file = review_folder(Path("job")) / "review.csv"
    with file.open(encoding="utf-8-sig", newline="") as opened:
        lines = list(csv.DictReader(opened))
    said = {row["id"]: row["label"] for row in pq.read_table("job/labels").to_pylist()}
    for i, line in enumerate(lines):
        line["reviewed"] = ("good" if said[line["id"]] != "good" else "bad") if i < wrong else "ok"
    with file.open("w", encoding="utf-8-sig", newline="") as opened:
        writer = csv.DictWriter(opened, list(lines[0]))
        writer.writeheader()
        writer.writerows(lines)
    take_reviewed(Path("job"), file, Review())
    ids = [line["id"] for line in lines]
    return set(ids), set(ids[:wrong])


def student(folder: Path, tiny: Callable[..., Path]) -> None:
    recipe = write_recipe(
        folder / "two.yaml",
        model={"method": "two_level", "name_or_path": str(tiny("bert"))},
        data=DATA,
        labels=LABELS,
        training={"num_train_epochs": 1, "eval_strategy": "no"},
    )
    assert run("seqcls", train, str(recipe)) == 0


def compare(folder: Path, name: str, *runs: str) -> Path:
    recipe = write_recipe(
        folder / f"{name}.yaml",
        kind="eval",
        training=None,
        data=DATA,
        labels=LABELS,
        evaluation={"runs": list(runs), "bootstrap": 20, "baselines": ["majority"]},
    )
    assert run("eval", evaluate, str(recipe)) == 0
    return folder / "outputs" / name


def test_a_teacher_is_ranked_on_reviewed_rows_alone_and_its_student_labels_as_it_predicts(
    folder: Path, tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    reviewed, corrected = review(wrong=20)
    student(folder, tiny)
    path = compare(folder, "compare", "outputs/two", "job")
    comparison = load_report(path / "report.json").comparison
    rows = pq.read_table(path / "predictions/job.parquet")
    ids = set(rows["id"].to_pylist())
    wrong = len(ids & corrected)
    assert 0 < wrong < len(ids & reviewed)

    majority, two, teacher = comparison.runs
    assert (teacher.name, teacher.method, teacher.is_ranked) == ("job", "teacher", False)
    assert teacher.metrics["accuracy"] == pytest.approx(
        1 - wrong / len(ids)
    )  # with its own labels, but for corrections
    assert all("job" not in names for names in comparison.best.values())
    assert {one.run for one in comparison.differences} | {one.reference for one in comparison.differences} <= {"two"}

    ranked = comparison.reviewed
    assert ranked is not None and [one.name for one in ranked.runs] == [majority.name, two.name, "job"]
    assert {one.metrics["rows"] for one in ranked.runs} == {len(ids & reviewed)}
    assert ranked.runs[2].metrics["accuracy"] == pytest.approx(1 - wrong / len(ids & reviewed))
    assert all(one.is_ranked for one in ranked.runs) and ranked.best["accuracy"] == ["job"]

    text = (path / "report.md").read_text(encoding="utf-8")
    assert "| teacher: agreement |" in text and "# On the rows that people reviewed" in text
    assert "## Main categories" in text and "teacher: agreement" in capsys.readouterr().out
    table = list(csv.DictReader((path / "main_categories.csv").open(encoding="utf-8-sig")))
    of_mood = next(one for one in table if (one["main category"], one["run"]) == ("mood", "two"))
    expected = next(one for one in two.metrics["groups"]["per_class"] if one["label"] == "mood")
    assert of_mood["support"] == str(expected["support"]) and of_mood["F1"] == f"{expected['f1']:.3f}"
    assert [one["main category"] for one in table][::3] == ["mood", "rest", "macro", "micro", "weighted"]

    recipe = write_label_recipe(folder / "mine.yaml", folder / "outputs/two", "comments.csv")
    assert run("label", label, str(recipe)) == 0
    labelled = pq.read_table("outputs/mine/labels")
    predictions = load_predictor("outputs/two").predict_texts(labelled["text"].to_pylist())
    assert [[name] for name in labelled["label"].to_pylist()] == [list(names) for names in predictions.decided or []]


def test_without_reviewed_rows_a_teacher_only_agrees(folder: Path, tiny: Callable[..., Path]) -> None:
    student(folder, tiny)
    comparison = load_report(compare(folder, "compare", "outputs/two", "job") / "report.json").comparison
    assert comparison.reviewed is None
    (note,) = comparison.runs[2].notes
    assert "it is not ranked; review rows of this split" in note


def test_a_teacher_of_other_labels_or_other_rows_is_refused_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = json.loads(json.dumps({"kind": "eval", "training": None, "evaluation": {"runs": ["job"]}}))
    other = write_recipe(folder / "a.yaml", data=DATA, labels={"names": ["good", "bad"], "unknown": "drop"}, **recipe)
    assert run("eval", evaluate, str(other)) == 2
    assert "job: its labels are not the evaluation's: only the run has 'odd'" in capsys.readouterr().err
    source = folder / "other.csv"
    source.write_text("id,text,label\n" + "".join(f"x{i},text {i},{jobs.NAMES[i % 3]}\n" for i in range(30)))
    rows = write_recipe(folder / "b.yaml", data={**DATA, "source": "other.csv"}, labels=LABELS, **recipe)
    assert run("eval", evaluate, str(rows)) == 2
    assert "job: labels none of the" in capsys.readouterr().err
