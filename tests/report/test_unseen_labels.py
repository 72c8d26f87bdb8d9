"""Labels beyond training: their rows leave train and validation alone, and an evaluation measures them apart."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score

from categorize.data.splits import load_data
from categorize.evaluate import evaluate
from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.metrics.measures import measure, measure_seen_and_unseen
from categorize.predictions import Predictions
from categorize.recipe.command import main
from categorize.recipe.data_sections import Columns, DataSection
from categorize.recipe.label_sections import LabelsSection
from categorize.reports.report import load_report
from categorize.train import train
from tests.session.collections import write_recipe

NAMES = ["apple", "bolt", "cloud", "dune"]


@pytest.fixture(autouse=True)
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Path("rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "mood", "moods"])
        for i in range(200):
            name = NAMES[i % 4]
            table.writerow([i, f"an {name} or so {i}", name, f"{name};{NAMES[(i + 1) % 4]}"])
        table.writerows([[i, f"a dune or so {i}", "dune", "dune"] for i in range(200, 220)])  # most rows, held out


@pytest.mark.parametrize("column", ["mood", "moods"])
def test_held_out_labels_leave_train_and_validation_and_move_no_row(column: str) -> None:
    task: Any = "single_label" if column == "mood" else "multi_label"
    data = DataSection(source="rows.csv", columns=Columns(id="id", label=column))
    whole = load_data(data, LabelsSection(task=task, names=[*NAMES]))
    less = load_data(data, LabelsSection(task=task, names=[*NAMES], held_out=["dune"]))
    assert less.label_set.names == NAMES[:3] and less.label_set.rules.held_out == ("dune",)
    assert less.splits.fingerprints["test"] == whole.splits.fingerprints["test"]
    assert less.splits.assignment == whole.splits.assignment
    for split in ("train", "validation"):
        stays = [
            i
            for i, gold in zip(*(whole.splits[split][c].to_pylist() for c in ("id", "gold")), strict=True)
            if "dune" not in gold
        ]
        assert less.splits[split]["id"].to_pylist() == stays and len(stays) < whole.splits[split].num_rows
    gone = sum(whole.splits[split].num_rows - less.splits[split].num_rows for split in ("train", "validation"))
    assert less.report.left_out == {"a label that is held out of training": gone}
    gold = less.label_set.encode_rows(less.splits.test)
    held_out = ["dune" in names for names in less.splits.test["gold"].to_pylist()]
    assert np.isnan(gold).all(axis=1).tolist() == held_out and any(held_out)
    LabelSet.from_dict(json.loads(json.dumps(less.label_set.to_dict())))
    assert whole.label_set.fingerprint == LabelSet.from_section(LabelsSection(task=task, names=[*NAMES])).fingerprint


def test_seen_and_unseen_labels_are_measured_as_scikit_learn_would() -> None:
    rng = np.random.default_rng(0)
    label_set = LabelSet("single_label", tuple(Label(name) for name in NAMES))
    gold, predicted = rng.integers(0, 4, 200), rng.integers(0, 4, 200)
    predicted = np.where(rng.random(200) < 0.5, gold, predicted)
    predictions = Predictions([""] * 200, decided=[[NAMES[i]] for i in predicted])
    arrays = np.eye(4)[gold]
    found = measure_seen_and_unseen(label_set, measure(label_set, arrays, predictions), arrays, predictions, ["dune"])
    f1 = f1_score(gold, predicted, average=None)
    seen = gold != 3
    assert found["unseen"]["macro_f1"] == pytest.approx(f1[3])
    assert found["seen"]["macro_f1"] == pytest.approx(f1[:3].mean())
    accuracies = [accuracy_score(gold[rows], predicted[rows]) for rows in (seen, ~seen)]
    assert [found[part]["accuracy"] for part in ("seen", "unseen")] == pytest.approx(accuracies)
    assert found["harmonic_mean"]["accuracy"] == pytest.approx(2 / sum(1 / a for a in accuracies))
    assert [found[part]["rows"] for part in ("seen", "unseen")] == [seen.sum(), (~seen).sum()]
    never = Predictions([""] * 200, decided=[["apple"]] * 200)
    nothing = measure_seen_and_unseen(label_set, measure(label_set, arrays, never), arrays, never, ["dune"])
    assert nothing["unseen"]["accuracy"] == 0.0 and nothing["harmonic_mean"]["accuracy"] == 0.0


def test_an_evaluation_asks_runs_about_labels_beyond_their_training(capsys: pytest.CaptureFixture[str]) -> None:
    """A run that reads labels finds them; one with fixed labels never does; their fusion finds them too."""
    shared: dict[str, Any] = {"training": None, "labels": {"names": NAMES, "held_out": ["dune"]}}
    for name, model in (
        ("fixed", {"method": "tfidf"}),
        ("reads", {"method": "lexical"}),
        ("fused", {"method": "fusion", "members": ["outputs/fixed", "outputs/reads"], "calibration": "platt"}),
    ):
        recipe = write_recipe(Path(f"{name}.yaml"), model=model, **shared)
        assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 0
    assert json.loads(Path("outputs/fixed/metrics.json").read_text())["test"]["rows_without_gold"] == 14
    recipe = write_recipe(
        Path("eval.yaml"),
        kind="eval",
        training=None,
        labels={"names": NAMES},
        evaluation={"runs": ["outputs/fixed", "outputs/reads", "outputs/fused"], "bootstrap": 50},
    )
    capsys.readouterr()
    assert main("run_eval.py", "eval", evaluate, METHODS, [recipe.name]) == 2
    assert "only the evaluation has 'dune'" in (error := capsys.readouterr().err) and "unseen_labels: measure" in error
    assert main("run_eval.py", "eval", evaluate, METHODS, [recipe.name, "evaluation.unseen_labels=measure"]) == 0
    printed = capsys.readouterr().out
    assert "unseen labels: acc." in printed and "fixed: never predicts 1 label that it was not trained on" in printed
    runs = {one.name: one for one in load_report("outputs/eval/report.json").comparison.runs}
    unseen = {name: one.metrics["unseen_labels"]["unseen"]["accuracy"] for name, one in runs.items()}
    assert unseen["fixed"] == 0.0 and unseen["reads"] == 1.0 and unseen["fused"] > 0.5
    assert runs["fixed"].numbers["seen_labels_accuracy"] > 0.9
    assert runs["reads"].numbers["harmonic_mean_labels_accuracy"] > 0.9
    assert runs["majority label"].metrics["unseen_labels"]["unseen"]["accuracy"] == 0.0
    cells = np.array(pq.read_table("outputs/eval/predictions/fixed.parquet")["probabilities"].to_pylist())
    assert np.isnan(cells[:, 3]).all() and not np.isnan(cells[:, :3]).any()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"labels": {"names": NAMES, "held_out": ["moon"]}}, "labels.held_out: 'moon' is not one of labels.names"),
        ({"labels": {"names": NAMES, "held_out": NAMES[:3]}}, "of 4 labels 3 are held out; leave two or more"),
        ({"labels": {"names": NAMES, "task": "ordinal", "held_out": ["dune"]}}, "is for labels without an order"),
    ],
)
def test_labels_that_cannot_be_held_out_are_one_line(
    more: dict[str, Any], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(Path("one.yaml"), model={"method": "tfidf"}, training=None, **more)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 2
    assert said in capsys.readouterr().err


def test_an_evaluation_holds_no_label_out(capsys: pytest.CaptureFixture[str]) -> None:
    labels = {"names": NAMES, "held_out": ["dune"]}
    recipe = write_recipe(Path("e.yaml"), kind="eval", training=None, labels=labels, evaluation={"runs": ["outputs/a"]})
    assert main("run_eval.py", "eval", evaluate, METHODS, [recipe.name]) == 2
    assert "an evaluation of all labels says evaluation.unseen_labels: measure" in capsys.readouterr().err
