"""Runs on long documents: cut in training as in prediction, measured and predicted per document, by every family."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from categorize import load_predictor
from categorize.data.splits import load_recipe_data
from categorize.evaluate import evaluate
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.recipes import load_recipe
from tests.session.collections import write_recipe

Tiny = Callable[..., Path]
LABELS = {"names": ["good", "bad"]}
DATA = {"columns": {"id": "id", "text": "text", "label": "mood"}, "splits": {"test": 0.25, "validation": 0.25}}


def write_transcripts(path: Path, documents: int = 48, easy: bool = False) -> None:
    """Transcripts of 2 to 9 turns, one mood each; not every turn shows it, unless it is to be easy."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "mood", "moods", "score"])
        for i in range(documents):
            word, late = "good" if i % 2 == 0 else "bad", i % 3 == 0
            turns = []
            for turn in range(2 + i % 8):
                said = word if turn % 3 != 1 or easy else "fine"
                said = {"good": "yyyy", "bad": "nnnn"}[said] if easy else said
                turns.append(
                    f"{'Ann' if turn % 2 else 'Bob'}: {said} {'label' if late else 'text'} {chr(97 + i % 26)} {i}"
                )
            moods = ";".join([word] + ["late"] * late)
            writer.writerow([f"d{i}", "\n".join(turns), word, moods, 3.5 if word == "good" else 1.5])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_transcripts(tmp_path / "rows.csv")
    return tmp_path


def run(folder: Path, name: str, script: str = "run_seqcls.py", *argv: str, **sections: Any) -> dict[str, Any]:
    """Train; gives `run.json`, after checking that the saved run predicts each document as it reported."""
    kind = "sft" if script == "run_sft.py" else "seqcls"
    data = {**DATA, **sections.pop("data")}
    recipe = write_recipe(folder / f"{name}.yaml", kind=kind, **{"labels": LABELS, "data": data, **sections})
    assert main(script, kind, train, METHODS, [str(recipe), *argv]) == 0
    path = folder / "outputs" / name
    manifest = json.loads((path / "run.json").read_text())
    written = pq.read_table(path / "predictions/test.parquet")
    metrics = json.loads((path / "metrics.json").read_text())
    loaded = load_recipe_data(load_recipe(recipe).recipe)
    assert written["id"].to_pylist() == loaded.splits.test["id"].to_pylist()
    assert metrics["test"]["rows"] == written.num_rows == manifest["rows"]["test"]
    predictor = load_predictor(str(path), section=load_recipe(recipe).recipe.prediction)
    again = predictor.predict_rows(loaded.splits.test)
    assert [list(names) for names in again.decided or [[]] * len(again)] == written["predicted"].to_pylist()
    if again.probabilities is not None:
        np.testing.assert_allclose(again.probabilities, np.array(written["probabilities"].to_pylist()), atol=1e-6)
    undecided = predictor.probabilities(loaded.splits.test)
    assert undecided.ids == again.ids and undecided.decided is None
    cut = predictor.input_spec.expand(loaded.splits.train, predictor.tokens)
    assert cut.num_rows == manifest["details"]["segments"]["train"]["segments"] > manifest["rows"]["train"]
    assert again.usage.rows > len(again)
    assert "The measures are of documents." in (path / "README.md").read_text(encoding="utf-8")
    assert manifest["prediction"]["documents"] == manifest["rows"]["validation"] + manifest["rows"]["test"]
    assert manifest["details"].get("truncated_rows", 0) == manifest["prediction"]["truncated_rows"] == 0
    return manifest


def test_tfidf_with_every_aggregation_is_compared_per_document(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = []
    for by, aggregation in (("turns", "vote"), ("packed", "mean"), ("tokens", "confidence_weighted")):
        more = {} if by == "turns" else {"max_tokens": 14}
        segments = {"by": by, "aggregation": aggregation, **more}
        manifest = run(folder, by, data={"segments": segments}, model={"method": "tfidf"}, training=None)
        assert manifest["details"]["segments"]["train"]["by"] == by
        names.append(f"outputs/{by}")
    whole = write_recipe(folder / "whole.yaml", data=DATA, model={"method": "tfidf"}, training=None)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(whole)]) == 0
    capsys.readouterr()
    section = {"runs": [*names, "outputs/whole"], "bootstrap": 20}
    recipe = write_recipe(
        folder / "eval.yaml", kind="eval", data=DATA, labels=LABELS, evaluation=section, training=None
    )
    assert main("run_eval.py", "eval", evaluate, METHODS, [str(recipe)]) == 0
    said = " ".join(capsys.readouterr().out.split())
    test = load_recipe_data(load_recipe(recipe).recipe).splits.test.num_rows
    assert f"4 runs on the test split, {test} documents" in said
    assert f"test split: {test} documents" in said
    assert f"turns: measured on {test} documents, read as" in said
    assert "(by packed, aggregated by mean)" in said
    assert "whole: measured on" not in said


@pytest.mark.parametrize(
    ("task", "aggregation"), [("multi_label", "vote"), ("multi_label", "max"), ("regression", "median")]
)
def test_tasks_other_than_single_labels_are_aggregated(folder: Path, task: str, aggregation: str) -> None:
    column = "moods" if task == "multi_label" else "score"
    labels = {"task": task, **({"names": ["good", "bad", "late"]} if task == "multi_label" else {"names": None})}
    data = {
        "columns": {"id": "id", "label": column},
        "segments": {"by": "turns", "aggregation": aggregation},
    }
    decision = {"decision": {"thresholds": "per_label"}} if task == "multi_label" else {}
    run(folder, "mine", data=data, labels=labels, model={"method": "tfidf"}, training=None, **decision)
    metrics = json.loads((folder / "outputs/mine/metrics.json").read_text())["test"]
    assert metrics["rmse"] < 0.5 if task == "regression" else metrics["macro"]["f1"] > 0.8


@pytest.mark.slow
def test_a_head_is_watched_and_measured_on_documents(folder: Path, tiny: Tiny) -> None:
    data = {"segments": {"by": "packed", "max_tokens": 16, "aggregation": "vote"}}
    model = {"name_or_path": str(tiny("bert")), "max_length": 16}
    training = {"num_train_epochs": 12, "early_stopping": {"patience": 3}, "class_weights": "balanced"}
    run(folder, "head", data=data, model=model, training=training)
    path = folder / "outputs/head"
    log = json.loads((path / "training_log.json").read_text())
    metrics = json.loads((path / "metrics.json").read_text())["validation"]
    assert metrics["accuracy"] > 0.9
    documents = metrics["rows"]
    # Accuracies of documents are multiples of one in so many documents, not of segments.
    scores = [entry["eval_accuracy"] for entry in log if "eval_accuracy" in entry]
    assert scores and all(abs(score * documents - round(score * documents)) < 1e-6 for score in scores)


def test_the_dry_run_counts_segments(folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    data = {**DATA, "segments": {"by": "tokens", "stride": 4}, "cleaning": ["whitespace", "speakers", "laughter"]}
    model = {"name_or_path": str(tiny("bert")), "max_length": 16}
    recipe = write_recipe(folder / "mine.yaml", data=data, labels=LABELS, model=model)
    rows = folder / "rows.csv"
    rows.write_text(rows.read_text(encoding="utf-8").replace("Bob:", "BOBBY:"), encoding="utf-8")
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "train: 24 documents in" in said and "(tokens, at most 14 tokens)" in said
    assert "rows that would be cut: 0" in said
    assert "rows touched by each step in order: whitespace 0, speakers 48, laughter 0" in said
    assert "speakers: 'BOBBY: " in said and "-> 'Bobby: " in said


SFT = {
    "num_train_epochs": 12,
    "per_device_train_batch_size": 8,
    "learning_rate": 5e-3,
    "warmup_steps": 5,
    "activation_checkpointing": False,
}


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["scoring", "generation"])
def test_a_causal_student_aggregates_scores_and_answers(folder: Path, tiny: Tiny, mode: str) -> None:
    write_transcripts(folder / "rows.csv", 120, easy=True)
    manifest = run(
        folder,
        mode,
        "run_sft.py",
        data={"segments": {"by": "packed"}},
        model={"name_or_path": str(tiny("qwen2")), "max_length": 160},
        prompt={"system": "Mood."},
        training=SFT,
        prediction={"mode": mode},
    )
    assert manifest["details"]["segments"]["train"]["limit"] < 160
    written = pq.read_table(folder / "outputs" / mode / "predictions/test.parquet")
    right = [a == b for a, b in zip(written["predicted"].to_pylist(), written["gold"].to_pylist(), strict=True)]
    assert np.mean(right) > 0.8
    answers = [answer.split("\n") for answer in written["raw"].to_pylist() if answer is not None]
    assert (max(map(len, answers)) > 1) if mode == "generation" else not answers


@pytest.mark.slow
@pytest.mark.skipif(
    "CATEGORIZE_DATA" not in os.environ, reason="CATEGORIZE_DATA names no folder with the real datasets"
)
def test_real_dialogues_are_decided_by_their_turns(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = Path(os.environ["CATEGORIZE_DATA"]).resolve() / "crosswoz_domains_zh"
    files = {split: str(data / f"{split}.jsonl.gz") for split in ("train", "validation", "test")}
    monkeypatch.chdir(tmp_path)
    segments = "data.segments={by: turns, aggregation: max}"
    recipe = str(root / "benchmarks/recipes/crosswoz_tfidf.yaml")
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe, f"data.source={json.dumps(files)}", segments]) == 0
    measured = json.loads((tmp_path / "outputs/crosswoz_tfidf/metrics.json").read_text())["test"]
    assert measured["rows"] == 200
    assert measured["macro"]["f1"] > 0.96
