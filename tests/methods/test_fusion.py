"""A fusion: members as they are, weights that hold on other rows, one line for members that do not fit together."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.linear_model import LogisticRegression

from categorize import load_predictor
from categorize.errors import UserError
from categorize.evaluate import evaluate
from categorize.labels import Label, LabelSet
from categorize.methods.fusion.combination import Fusion, Member, pooled
from categorize.methods.fusion.weights import cross_calibrated, folds_of, least_squares, search, simplex, stack
from categorize.methods.members import member_scores
from categorize.methods.registry import METHODS
from categorize.metrics.curves import Curves
from categorize.predictions import Predictions
from categorize.recipe.command import main
from categorize.reports.report import load_report
from categorize.runs.contents import files_of
from categorize.runs.folder import Run
from categorize.train import train
from tests.session.collections import write_recipe

Tiny = Callable[..., Path]
WORDS = {"a": ["apple", "pear"], "b": ["bolt", "nut"], "c": ["cloud", "rain"]}
SINGLE = LabelSet("single_label", (Label("a"), Label("b"), Label("c")))
MULTI = LabelSet("multi_label", SINGLE.labels)
SCORE = LabelSet("regression", (Label("score"),))


def write_rows(rows: int = 240) -> None:
    """Texts with a hint by a word in one column and by another in the next, each wrong for a quarter of the rows."""
    rng = np.random.default_rng(0)
    with Path("rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "other", "mood", "moods", "score"])
        for i in range(rows):
            label = "abc"[i % 3]
            said = [WORDS[label if rng.random() < 0.75 else rng.choice([*"abc"])] for _ in range(2)]
            texts = [f"{rng.choice(words)} {rng.choice([*'xyz'])} {i}" for words in said]
            table.writerow([f"r{i}", *texts, label, label, ord(label) - 96])


def run(recipe: Path, *more: str) -> int:
    return main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name, *more])


def recipe_of(name: str, model: dict[str, Any], task: str = "single_label", **data: Any) -> Path:
    column = {"single_label": "mood", "multi_label": "moods", "regression": "score"}[task]
    columns = {"id": "id", "text": data.pop("text", "text"), "label": column}
    labels: dict[str, Any] = {"task": task, "names": None if task == "regression" else ["a", "b", "c"]}
    sections = {"data": {"columns": columns, "splits": {"test": 0.3, "validation": 0.3}, **data}, "labels": labels}
    return write_recipe(Path(f"{name}.yaml"), model=model, training=None, **sections)


def members(task: str = "single_label") -> list[str]:
    """Two runs that read words and characters."""
    for name, model in (
        ("words", {"char_ngrams": None, "word_ngrams": [1, 1]}),
        ("characters", {"char_ngrams": [1, 3]}),
    ):
        assert run(recipe_of(name, {"method": "tfidf", **model}, task)) == 0
    return ["outputs/words", "outputs/characters"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows()


# ---------------------------------------------------------------- whole runs
@pytest.mark.slow
@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_a_fusion_trains_reloads_compares_and_moves_with_its_members(
    task: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = recipe_of("fused", {"method": "fusion", "members": members(task)}, task)
    assert run(recipe, "--dry-run") == 0
    assert "member outputs/words (tfidf): its predictions of validation are there" in capsys.readouterr().out
    assert run(recipe) == 0
    printed = capsys.readouterr().out
    assert "words (tfidf): weight" in printed and "predicting validation with" not in printed
    stored = pq.read_table("outputs/fused/predictions/test.parquet")
    manifest = Run.open("outputs/fused").manifest
    assert [one["path"] for one in manifest["members"]] == ["../words", "../characters"]
    comparison = {"kind": "eval", "evaluation": {"runs": ["outputs/fused", *members_of(manifest)]}}
    evaluation = write_recipe(
        Path("eval.yaml"), **{**comparison, "training": None, **sections_of(recipe), "output_dir": "compared"}
    )
    assert main("run_eval.py", "eval", evaluate, METHODS, [evaluation.name]) == 0
    lines = {one.name: one for one in load_report("compared/report.json").comparison.runs}
    assert lines["fused"].method == "fusion" and {"words", "characters"} < set(lines)
    Path("outputs").rename("elsewhere")
    found = load_predictor("elsewhere/fused").predict_texts(stored["text"].to_pylist())
    column = "score" if task == "regression" else "probabilities"
    np.testing.assert_array_equal(np.array(stored[column].to_pylist()), np.array(getattr(found, column)))
    assert load_predictor("elsewhere/fused").predict_texts([]).ids == []


@pytest.mark.parametrize("source", ["tfidf", "encoder"])
def test_a_fusion_with_its_members_inside_needs_nothing_else(source: str, tiny: Tiny) -> None:
    """Members of one name too; of a member that reads an encoder in a folder, the encoder comes with it."""
    named = members()
    if source == "encoder":
        shutil.copytree(tiny("bert"), "encoder")
        features = {"type": "encoder", "name_or_path": "encoder", "max_length": 16, "cache": False}
        assert run(recipe_of("vectors", {"method": "embedding", "features": features})) == 0
        Path("outputs/more").mkdir()
        named.append(str(Path("outputs/vectors").rename("outputs/more/words")))
    assert run(recipe_of("fused", {"method": "fusion", "members": named, "copy_members": True})) == 0
    inside = ["members/words", "members/characters", *(["members/words_2"] if source == "encoder" else [])]
    assert [one["path"] for one in Run.open("outputs/fused").manifest["members"]] == inside
    stored = pq.read_table("outputs/fused/predictions/test.parquet")
    Path("outputs/fused").rename("moved")
    for gone in ("outputs", "encoder"):
        shutil.rmtree(gone, ignore_errors=True)
    found = load_predictor("moved").predict_texts(stored["text"].to_pylist())
    np.testing.assert_allclose(np.array(stored["probabilities"].to_pylist()), found.probabilities, rtol=1e-5, atol=1e-7)
    assert not list(Path("moved").rglob("splits.parquet"))[1:] and not Path("moved/members/words/predictions").exists()


def test_an_encoder_that_was_changed_since_goes_into_no_copy(tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(tiny("bert"), "encoder")
    features = {"type": "encoder", "name_or_path": "encoder", "max_length": 16, "cache": False}
    assert run(recipe_of("vectors", {"method": "embedding", "features": features})) == 0
    Path("encoder/extra.json").write_text("{}")
    with pytest.raises(UserError, match=r"outputs/vectors: was trained with another model than encoder holds now"):
        files_of(Path("outputs/vectors"))


def members_of(manifest: dict[str, Any]) -> list[str]:
    return [f"outputs/{Path(one['path']).name}" for one in manifest["members"]]


def sections_of(recipe: Path) -> dict[str, Any]:
    return {key: value for key, value in yaml.safe_load(recipe.read_text()).items() if key in ("data", "labels")}


def test_members_read_documents_as_their_own_training_did() -> None:
    """One whole, one in segments: the fusion is the mean of what each predicted of the test split."""
    assert run(recipe_of("whole", {"method": "tfidf"})) == 0
    cut = {"segments": {"by": "tokens", "max_tokens": 1, "aggregation": "max"}, "cleaning": ["whitespace"]}
    assert run(recipe_of("cut", {"method": "tfidf"}, **cut)) == 0
    named = [{"run": "outputs/whole", "weight": 1.0}, {"run": "outputs/cut", "weight": 3.0}]
    assert run(recipe_of("fused", {"method": "fusion", "calibration": "none", "members": named})) == 0
    whole, parts, fused = (
        np.array(pq.read_table(f"outputs/{name}/predictions/test.parquet")["probabilities"].to_pylist())
        for name in ("whole", "cut", "fused")
    )
    assert np.abs(whole - parts / parts.sum(axis=1, keepdims=True)).max() > 0.1
    mean = (whole + 3 * parts) / (whole + 3 * parts).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(fused, mean, atol=1e-12)
    texts = pq.read_table("outputs/fused/predictions/test.parquet")["text"].to_pylist()
    np.testing.assert_array_equal(load_predictor("outputs/fused").predict_texts(texts).probabilities, fused)


# ---------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("missing", r"model.members: outputs/nowhere: no such run folder; train it first"),
        ("unfinished", r"outputs/words: the run is not finished"),
        ("twice", "is named twice; keep one"),
        ("task", "predicts single_label, but labels.task is multi_label"),
        ("labels", "its labels are not those of outputs/words: it alone has 'd'"),
        ("rows", r"its validation split \(000000000000\) is not that of outputs/words"),
        ("fusion", "is a fusion itself"),
        ("none held out", "weights are fitted on validation rows, but data.splits.validation is 0"),
        ("base", r"outputs/characters: is an adapter on .*, a folder of this machine that would stay behind"),
        ("weights", "some members have a weight and some have none"),
        ("stacked", "model.combine: stacking fits the weights"),
    ],
)
def test_what_does_not_fit_together_is_one_line_before_data_is_read(
    change: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("words", "characters"):
        Path(f"outputs/{name}").mkdir(parents=True)
        manifest: dict[str, Any] = {"name": name, "method": "tfidf", "task": "single_label", "labels": ["a", "b", "c"]}
        manifest["split_fingerprints"] = {"validation": "1" * 64, "test": "2" * 64}
        if name == "characters":
            manifest["labels"] += ["d"] if change == "labels" else []
            manifest["split_fingerprints"] |= {"validation": "0" * 64} if change == "rows" else {}
            manifest |= {"method": "fusion", "members": [{"path": "../words"}]} if change == "fusion" else {}
        Path(f"outputs/{name}/run.json").write_text(json.dumps(manifest), encoding="utf-8")
    named: list[Any] = ["outputs/words", "outputs/characters"]
    named[1:] = {"missing": ["outputs/nowhere"], "twice": ["outputs/words/"]}.get(change, named[1:])
    model: dict[str, Any] = {"method": "fusion", "members": named}
    if change == "unfinished":
        Path("outputs/words").rename("outputs/words.incomplete")
        Path("outputs/words").mkdir()
    if change in ("weights", "stacked"):
        model["members"] = [{"run": one, "weight": 2.0} for one in named[: 1 + (change == "stacked")]]
        model["members"] += named[len(model["members"]) :]
        model["combine"] = "stacking" if change == "stacked" else "mean"
    splits = {"splits": {"validation": 0 if change == "none held out" else 0.2}, "source": "no_such_file.csv"}
    recipe = recipe_of("fused", model, "multi_label" if change == "task" else "single_label", **splits)
    if change == "base":
        Path("outputs/characters/adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "outputs"}))
        recipe.write_text(recipe.read_text() + "hub: {repo_id: me/fused}\n")
    assert run(recipe) == 2
    error = capsys.readouterr().err.strip()
    assert re.search(said, error) and "no_such_file" not in error, error


def test_members_of_other_rows_than_the_recipes_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    named = members()
    recipe = recipe_of("fused", {"method": "fusion", "members": named}, splits={"test": 0.2, "validation": 0.2})
    assert run(recipe) == 2
    assert "its validation split" in (error := capsys.readouterr().err) and "this recipe" in error


def test_a_member_that_is_gone_or_was_trained_again_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recipe_of("fused", {"method": "fusion", "members": members()})) == 0
    manifest = Path("outputs/words/run.json")
    manifest.write_text(manifest.read_text().replace('"seed": 42', '"seed": 43'), encoding="utf-8")
    with pytest.raises(UserError, match=r"its member .*words was trained again since; train the run again") as error:
        load_predictor("outputs/fused")
    assert "\n" not in str(error.value)
    Path("outputs/characters").rename("outputs/moved")
    manifest.write_text(manifest.read_text().replace('"seed": 43', '"seed": 42'), encoding="utf-8")
    with pytest.raises(UserError, match=r"its member .*characters is not there; move it back"):
        load_predictor("outputs/fused")


@pytest.mark.slow
def test_a_member_bent_to_validation_predicts_it_anew_without_its_curves(capsys: pytest.CaptureFixture[str]) -> None:
    plain, bent = members()
    assert run(recipe_of("words", {"method": "tfidf"}), "--overwrite", "decision.calibration=isotonic") == 0
    assert run(recipe_of("fused", {"method": "fusion", "members": [plain, bent]})) == 0
    assert "predicting validation with outputs/words" in capsys.readouterr().out
    fused = load_predictor("outputs/fused").inner
    assert all(one.decision_rule.curves is None for one in fused.members)  # type: ignore[attr-defined]


# ---------------------------------------------------------------- arithmetic
def cells_of(label_set: LabelSet, good: float, rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of one member, `good` of the gold's evidence in them, and the gold."""
    rng = np.random.default_rng(7)
    gold = np.eye(3)[rng.integers(0, 3, rows)]
    logits = good * gold + np.random.default_rng(seed).normal(size=(rows, 3))
    if label_set.is_multi_label:
        return 1 / (1 + np.exp(-logits + 1)), gold
    e = np.exp(logits)
    return e / e.sum(axis=1, keepdims=True), gold


@pytest.mark.parametrize("label_set", [SINGLE, MULTI])
@pytest.mark.parametrize("objective", ["log_loss", "accuracy", "macro_f1"])
def test_weights_go_to_the_member_that_knows_more(label_set: LabelSet, objective: str) -> None:
    gold = cells_of(label_set, 2.0, 400, 1)[1]
    cells = np.stack([cells_of(label_set, good, 400, seed)[0] for seed, good in enumerate((2.0, 0.0))])
    found = search(label_set, "mean", objective, cells, gold)
    assert found.weights[0] > 0.7 and sum(found.weights) == pytest.approx(1.0)
    assert found.held_out is not None and found.equal is not None and found.held_out > found.equal


def test_weights_that_do_not_hold_on_other_rows_stay_equal() -> None:
    rng = np.random.default_rng(3)
    for seed in range(5):
        noise = np.random.default_rng(seed).dirichlet([1, 1, 1], (2, 60))
        found = search(SINGLE, "mean", "accuracy", noise, np.eye(3)[rng.integers(0, 3, 60)])
        assert found.held_out is not None and found.equal is not None
        assert found.held_out > found.equal or found.weights == [0.5, 0.5]


@pytest.mark.parametrize("members", [2, 3, 4, 7])
def test_the_grid_covers_the_simplex(members: int) -> None:
    points = [tuple(one) for one in simplex(members)]
    assert len(points) == len(set(points)) <= 300
    assert all(sum(one) == pytest.approx(1.0) for one in points)
    assert {tuple(row) for row in np.eye(members).tolist()} <= set(points)


def test_curves_of_a_cell_never_saw_its_row() -> None:
    p, gold = cells_of(MULTI, 1.0, 300, 1)
    found = cross_calibrated(MULTI, "isotonic", p[None], gold)[0]
    out = folds_of(gold) == 2
    curves = Curves.fit("isotonic", MULTI.names, p[~out], gold[~out])
    assert curves is not None
    np.testing.assert_array_equal(found[out], curves.apply(MULTI.names, p[out], multi_label=True))


def test_stacking_of_several_labels_is_scikit_learns_logistic_regression() -> None:
    cells = np.stack([cells_of(MULTI, good, 400, seed)[0] for seed, good in enumerate((1.5, 1.0, 0.5))])
    gold = cells_of(MULTI, 1.0, 400, 1)[1]
    logits = np.log(cells / (1 - cells))
    theirs = LogisticRegression(C=1e6, tol=1e-8).fit(logits.reshape(3, -1).T, gold.ravel())
    found = stack(MULTI, cells, gold)
    np.testing.assert_allclose([*found.weights, found.intercept], [*theirs.coef_[0], *theirs.intercept_], atol=1e-3)
    fused = pooled("stacking", cells, found.weights, True, found.intercept)
    np.testing.assert_allclose(fused.ravel(), theirs.predict_proba(logits.reshape(3, -1).T)[:, 1], atol=1e-3)


def test_stacking_of_one_label_has_the_least_log_loss() -> None:
    cells = np.stack([cells_of(SINGLE, good, 400, seed)[0] for seed, good in enumerate((1.5, 1.0))])
    gold = cells_of(SINGLE, 1.0, 400, 1)[1]

    def loss(weights: list[float]) -> float:
        return -float(np.log((pooled("stacking", cells, weights, False) * gold).sum(axis=1)).mean())

    found = stack(SINGLE, cells, gold).weights
    tried = [[found[0] + x, found[1] + y] for x in (-0.05, 0.0, 0.05) for y in (-0.05, 0.0, 0.05)]
    assert loss(found) == pytest.approx(min(map(loss, tried)))


def test_scores_are_joined_by_non_negative_least_squares() -> None:
    rng = np.random.default_rng(0)
    a, b, against = rng.normal(size=(3, 200))
    gold = (2 * a + 0.5 * b - against + 3 + 0.01 * rng.normal(size=200))[:, None]
    cells = np.stack([a, b, against])[:, :, None]
    found = least_squares(cells, gold)
    np.testing.assert_allclose(
        found.weights[:2], np.linalg.lstsq(np.c_[a, b, np.ones(200)], gold[:, 0])[0][:2], atol=0.02
    )
    assert found.weights[2] == 0.0
    fused = pooled("scores", cells, found.weights, False, found.intercept)
    np.testing.assert_allclose(fused[:, 0], np.c_[a, b] @ found.weights[:2] + found.intercept)


@pytest.mark.parametrize("label_set", [SINGLE, MULTI])
@pytest.mark.parametrize("pool", ["mean", "log_mean", "stacking"])
def test_what_a_member_does_not_say_is_left_to_the_others(label_set: LabelSet, pool: Any) -> None:
    p = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    silent = np.full_like(p, np.nan)
    found = pooled(pool, np.stack([p, silent]), [0.4, 0.6], label_set.is_multi_label)
    np.testing.assert_allclose(found, p)
    np.testing.assert_allclose(pooled("mean", np.stack([p, silent]), [0.0, 1.0], label_set.is_multi_label), p)
    assert np.isnan(pooled(pool, np.stack([silent, silent]), [0.4, 0.6], label_set.is_multi_label)).all()
    same = Fusion(pool, tuple(Member("", "", 0.5) for _ in range(2))).fuse(label_set, np.stack([p, p]))
    np.testing.assert_allclose(same, p)


def test_written_answers_and_labels_beyond_training_are_cells_too() -> None:
    own = LabelSet("single_label", (Label("b"), Label("a")))
    written = Predictions(["1", "2"], decided=[["a"], []], valid=np.array([True, False]))
    np.testing.assert_array_equal(member_scores(written, own, SINGLE), [[1, 0, np.nan], [np.nan] * 3])
    scored = Predictions(["1", "2"], np.array([[0.2, 0.8], [0.6, 0.4]]))
    np.testing.assert_array_equal(member_scores(scored, own, SINGLE), [[0.8, 0.2, np.nan], [0.4, 0.6, np.nan]])
