"""Out-of-scope rejection: known scores, thresholds that are the best there are, a label of its own."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf
from sklearn.metrics import f1_score, roc_auc_score

from categorize import load_predictor
from categorize.evaluate import evaluate
from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.metrics.decision import DecisionRule
from categorize.metrics.rejection import measure_scope
from categorize.prediction.scope import fit_statistics
from categorize.predictions import Predictions
from categorize.recipe.command import main
from categorize.recipe.decision_sections import DecisionSection, RejectSection
from categorize.reports.report import load_report
from categorize.runs.folder import Run
from categorize.train import train
from tests.session.collections import write_recipe

NAMES = ["good", "bad", "oos"]
LABELS = LabelSet("single_label", tuple(Label(name) for name in NAMES))


def validation(rows: int = 400) -> tuple[Predictions, np.ndarray]:
    """Sure probabilities of two labels, less sure ones of rows out of scope."""
    rng = np.random.default_rng(0)
    gold = rng.integers(0, 3, rows)
    logits = rng.normal(size=(rows, 3)) + 3 * np.eye(3)[gold] * (gold < 2)[:, None]
    logits[:, 2] = -20.0
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Predictions([""] * rows, p), np.eye(3)[gold]


def test_a_fitted_threshold_has_the_best_f1_of_rows_out_of_scope() -> None:
    predictions, gold = validation()
    rule = DecisionRule.fit(DecisionSection(reject=RejectSection(label="oos")), LABELS, predictions, gold)
    assert rule.reject is not None and predictions.probabilities is not None
    confidence = predictions.probabilities[:, :2].max(axis=1)
    outside = gold[:, 2] > 0
    best = max(f1_score(outside, confidence < t) for t in np.unique(confidence))
    decided = rule.apply(predictions)
    assert f1_score(outside, [names == ["oos"] for names in decided.decided or []]) == pytest.approx(best)
    found = measure_scope(LABELS, gold, decided, "oos")
    assert found is not None and found["auroc"] == pytest.approx(roc_auc_score(~outside, confidence))
    assert found["out_of_scope"] == outside.sum() and found["rows"] == len(gold)
    assert measure_scope(LABELS, gold[~outside], decided.take(np.flatnonzero(~outside)), "oos") is None


@pytest.mark.parametrize("keep", [0.5, 0.9, 0.95])
def test_without_rows_out_of_scope_a_share_of_the_rows_is_kept(keep: float, tmp_path: Path) -> None:
    predictions, gold = validation()
    inside = np.flatnonzero(gold[:, 2] == 0)
    section = DecisionSection(reject=RejectSection(keep=keep))
    rule = DecisionRule.fit(section, LABELS, predictions.take(inside), gold[inside])
    rule.save(tmp_path)
    assert DecisionRule.load(tmp_path) == rule
    decided = rule.apply(predictions.take(inside))
    assert decided.is_valid.mean() == pytest.approx(keep, abs=2 / len(inside)) and decided.is_valid.mean() >= keep
    rejected = [names for names, valid in zip(decided.decided or [], decided.is_valid, strict=True) if not valid]
    assert rejected and not any(rejected)


def test_a_given_threshold_holds_and_rows_judged_by_their_texts_need_a_score() -> None:
    predictions, gold = validation()
    section = DecisionSection(reject=RejectSection(threshold=0.7, label="oos"))
    rule = DecisionRule.fit(section, LABELS, predictions, gold)
    assert rule.reject is not None and rule.reject.threshold == 0.7
    scored = Predictions(["1", "2"], np.array([[0.9, 0.1, 0.0]] * 2), scope=np.array([-3.0, -1.0]))
    by_text = RejectSection(by="mahalanobis", threshold=-2.0, label="oos", encoder="x")
    rule = DecisionRule.fit(DecisionSection(reject=by_text), LABELS, scored, np.array([[1.0, 0, 0]] * 2))
    assert rule.apply(scored).decided == [["oos"], ["good"]]
    with pytest.raises(ValueError, match="no scope score"):
        rule.apply(predictions)


def test_scores_are_those_of_the_formulas() -> None:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 3, 200)
    vectors = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6)) + 4 * rng.normal(size=(3, 6))[classes]
    new = rng.normal(size=(20, 6)) * 3
    means = np.stack([vectors[classes == one].mean(axis=0) for one in range(3)])
    inverse = np.linalg.inv(ledoit_wolf(vectors - means[classes], assume_centered=True)[0])
    distances = [[(x - m) @ inverse @ (x - m) for m in means] for x in new]
    nothing: Any = None
    found = fit_statistics("mahalanobis", nothing, vectors, classes.tolist()).of_vectors(new)
    np.testing.assert_allclose(found, -np.min(distances, axis=1), rtol=1e-8)
    cosines = [[x @ m / np.linalg.norm(x) / np.linalg.norm(m) for m in means] for x in new]
    found = fit_statistics("similarity", nothing, vectors, classes.tolist()).of_vectors(new)
    np.testing.assert_allclose(found, np.max(cosines, axis=1))


@pytest.fixture
def rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two labels in training; in validation and test also rows of other words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CATEGORIZE_EMBEDDINGS_CACHE", str(tmp_path / "kept"))
    texts = {"good": "good fine movie", "bad": "bad text label", "oos": "讨厌 啊 哈 吗"}
    for split, count in (("train", 60), ("validation", 45), ("test", 45)):
        with Path(f"{split}.csv").open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["text", "mood"])
            names = NAMES[:2] if split == "train" else NAMES
            for i in range(count):
                name = names[i % len(names)]
                table.writerow([f"{texts[name]} {chr(97 + i % 26)} {i}", name])


@pytest.mark.parametrize("by", ["softmax", "similarity", "mahalanobis"])
def test_a_run_rejects_what_it_was_not_trained_on_and_reloads_the_same(
    by: str, rows: None, tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    data = {
        "source": {split: f"{split}.csv" for split in ("train", "validation", "test")},
        "columns": {"id": None, "label": "mood"},
    }
    reject = {"by": by, "label": "oos"} | ({} if by == "softmax" else {"encoder": str(tiny("bert"))})
    shared: dict[str, Any] = {"training": None, "labels": {"names": NAMES}, "data": data}
    recipe = write_recipe(Path("one.yaml"), model={"method": "tfidf"}, decision={"reject": reject}, **shared)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 0
    run = Run.open("outputs/one")
    measured = run.read_json("metrics.json")["test"]
    assert measured["scope"]["out_of_scope"] == 15 and measured["scope"]["auroc"] > 0.9
    assert measured["per_class"][2]["recall"] > 0.8
    assert run.has("scope.safetensors") is (by != "softmax")
    stored = run.read_json("metrics.json")["test"]["scope"]["auroc"]
    evaluation = write_recipe(
        Path("e.yaml"), kind="eval", evaluation={"runs": ["outputs/one"], "bootstrap": 0}, **shared
    )
    assert main("run_eval.py", "eval", evaluate, METHODS, [evaluation.name]) == 0
    assert "out of scope: AUROC" in capsys.readouterr().out
    line = load_report("outputs/e/report.json").comparison.runs[-1]
    assert line.numbers["scope_auroc"] == pytest.approx(stored)
    assert load_predictor("outputs/one").predict_texts(["讨厌 啊 哈 吗 z", "good fine movie z"]).decided == [
        ["oos"],
        ["good"],
    ]


@pytest.mark.parametrize(
    ("reject", "more", "said"),
    [
        ({"label": "far"}, {}, "decision.reject.label: 'far' is not one of labels.names; add it"),
        ({"by": "mahalanobis"}, {}, "decision.reject.by: mahalanobis reads embeddings; name an encoder"),
        ({"encoder": "x"}, {}, "decision.reject.encoder: is for by: similarity and mahalanobis"),
        ({}, {"labels": {"task": "multi_label", "names": NAMES}}, "decision.reject: rejects rows of one label"),
        ({}, {"data": {"splits": {"validation": 0}}}, "decision.reject.threshold: is fitted on validation rows"),
    ],
)
def test_what_cannot_be_rejected_is_one_line(
    reject: dict[str, Any],
    more: dict[str, Any],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    sections = {"labels": {"names": NAMES}, "training": None, **more}
    recipe = write_recipe(
        Path("one.yaml"), model={"method": "tfidf"}, decision={"reject": reject or {"keep": 0.9}}, **sections
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name]) == 2
    assert said.replace("'far'", '"far"') in capsys.readouterr().err.replace("'far'", '"far"')
