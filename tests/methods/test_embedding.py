"""Features and a classical estimator: what scikit-learn and xgboost give on the same features, as a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix
from sklearn.calibration import CalibratedClassifierCV
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import PredefinedSplit
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import LinearSVC

from categorize import load_predictor
from categorize.data.rows import digest
from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.load import load_recipe
from categorize.runs.folder import Run
from categorize.train import train
from categorize.training.linear import fit_binary, fit_sigmoids, fit_softmax, fold_of, probabilities_of
from tests.session.collections import write_collection, write_recipe

TFIDF = {"type": "tfidf", "char_ngrams": None, "word_ngrams": [1, 1]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CATEGORIZE_EMBEDDINGS_CACHE", str(tmp_path / "kept"))
    write_collection(tmp_path / "rows.csv", 240)
    return tmp_path


TASKS: dict[str, dict[str, Any]] = {
    "single_label": {"data": {"columns": {"id": "id", "text": "text", "label": "mood"}}},
    "multi_label": {
        "data": {"columns": {"id": "id", "text": "text", "label": "moods"}, "label_separator": ";"},
        "labels": {"task": "multi_label", "names": ["good", "bad", "late"]},
    },
    "ordinal": {"labels": {"task": "ordinal", "names": ["bad", "good"]}},
    "regression": {
        "data": {"columns": {"id": "id", "text": "text", "label": "score"}},
        "labels": {"task": "regression", "names": None},
    },
}


def fit(folder: Path, task: str, features: Any, *arguments: str, **model: Any) -> Run:
    path = write_recipe(
        folder / "one.yaml", training=None, model={"method": "embedding", "features": features, **model}, **TASKS[task]
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [path.name, "--overwrite", *arguments]) == 0
    return Run.open("outputs/one")


def measured(run: Run, task: str) -> float:
    scores = run.read_json("metrics.json")["test"]
    return float(scores["pearson"] if task == "regression" else scores["macro"]["f1"])


@pytest.mark.parametrize(
    ("task", "estimator"),
    [
        (task, estimator)
        for task in TASKS
        for estimator in (None, "linear_svc", "xgboost")
        if (task, estimator) != ("regression", "linear_svc")  # refused: see the checks
    ],
)
def test_a_run_learns_and_predicts_the_same_when_it_is_loaded_again(
    folder: Path, task: str, estimator: str | None
) -> None:
    run = fit(folder, task, TFIDF, estimator=estimator)
    assert measured(run, task) > (0.6 if task == "multi_label" else 0.9)  # `late` can hardly be learned
    files = {file.suffix for file in run.path.iterdir() if file.is_file()}
    assert files <= {".json", ".safetensors", ".ubj", ".yaml", ".parquet", ".md"}
    stored = pq.read_table(run.path / "predictions/test.parquet")
    again = load_predictor("outputs/one").predict_texts(stored["text"].to_pylist())
    if task == "regression":
        assert again.score is not None and again.score.tolist() == stored["score"].to_pylist()
    else:
        assert again.probabilities is not None
        assert np.array_equal(again.probabilities, np.array(stored["probabilities"].to_pylist()))


@pytest.mark.parametrize("kind", ["encoder", "sentence_transformers", "static", "several"])
def test_every_kind_of_features_makes_a_run(
    folder: Path, tiny: Callable[..., Path], sentence_model: Path, static_model: Path, kind: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    encoder = {"type": "encoder", "name_or_path": str(tiny("bert"))}
    features: Any = {
        "encoder": encoder,
        "sentence_transformers": {"type": kind, "name_or_path": str(sentence_model)},
        "static": {"type": kind, "name_or_path": str(static_model)},
        "several": [TFIDF, encoder],
    }[kind]
    run = fit(folder, "single_label", features, C=[100.0])
    assert measured(run, "single_label") > 0.7  # of random weights; the majority label has 0.4
    printed = capsys.readouterr().out
    assert "texts computed, 0 kept from before" in printed and "estimator: logistic_regression" in printed
    before = run.read_json("metrics.json")["test"]["log_loss"]
    again = fit(folder, "single_label", features, C=[100.0])
    assert " 0 texts computed" in capsys.readouterr().out  # those of the test rows were kept too
    assert again.read_json("metrics.json")["test"]["log_loss"] == before


def test_a_dry_run_embeds_nothing(folder: Path, tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = write_recipe(
        folder / "one.yaml",
        training=None,
        model={"method": "embedding", "features": {"type": "encoder", "name_or_path": str(tiny("bert"))}},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [path.name, "--dry-run"]) == 0
    assert "distinct training texts" in capsys.readouterr().out
    assert not (folder / "kept").exists() and not (folder / "outputs").exists()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.estimator=ridge", "model.estimator: ridge predicts a score, not single_label"),
        ("model.alpha=[1.0]", "model.alpha: is for ridge, not for logistic_regression"),
        ("model.boosting={rounds: 3}", "model.boosting: is for xgboost, not for logistic_regression"),
        ("model.features=[]", "model.features: "),
        ("model.features.type=word2vec", "model.features.type: expected one of tfidf, encoder"),
        ("training={class_weights: balanced, num_train_epochs: 2}", "training: is not read by model.method embedding"),
    ],
)
def test_what_cannot_work_is_refused_while_the_recipe_is_checked(folder: Path, override: str, told: str) -> None:
    path = write_recipe(folder / "one.yaml", training=None, model={"method": "embedding", "features": TFIDF})
    with pytest.raises(UserError) as caught:
        load_recipe(path, [override], methods=METHODS)
    assert told in str(caught.value)


def test_a_missing_model_is_told_before_the_data_is_read(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "rows.csv").unlink()
    path = write_recipe(
        folder / "one.yaml",
        training=None,
        model={"method": "embedding", "features": {"type": "encoder", "name_or_path": "./nowhere"}},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [path.name]) == 2
    assert "./nowhere: no such model folder" in capsys.readouterr().err


# ---------------------------------------------------------------- beside scikit-learn
@pytest.fixture(scope="module")
def rows() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features [300, 8], classes of three unequal labels, and weights."""
    rng = np.random.default_rng(3)
    classes = rng.choice(3, 300, p=[0.6, 0.3, 0.1])
    matrix = rng.normal(size=(300, 8)) + 1.2 * np.eye(8)[classes]
    return matrix, classes, rng.integers(1, 4, 300).astype(float)


@pytest.mark.parametrize("labels", [2, 3])
def test_softmax_regression_is_scikit_learns(rows: Any, labels: int) -> None:
    matrix, classes, weights = rows
    chosen = classes < labels
    model = fit_softmax(10.0, matrix[chosen], np.eye(4)[classes[chosen]], weights[chosen])
    theirs = LogisticRegression(C=10.0, max_iter=1000).fit(matrix[chosen], classes[chosen], weights[chosen])
    ours = model.margins(matrix)[:, :labels]
    ours = np.exp(ours) / np.exp(ours).sum(axis=1, keepdims=True)
    assert np.allclose(ours, theirs.predict_proba(matrix), atol=1e-6)
    assert (model.margins(matrix)[:, 3] == -30).all()  # a label without rows


def test_calibrated_margins_are_those_of_calibrated_classifier_cv(rows: Any) -> None:
    matrix, classes, _ = rows
    folds = fold_of([digest(str(i)) for i in range(300)])
    assert set(folds) == {0, 1, 2} and len(set(fold_of([digest("a")] * 2))) == 1
    targets, ones = np.eye(3)[classes], np.ones(300)
    margins = np.zeros((300, 3))
    for fold in range(3):
        out = folds == fold
        margins[out] = fit_binary("linear_svc", 1.0, matrix[~out], targets[~out], ones[~out], np.ones(3), 0).margins(
            matrix[out]
        )
    whole = fit_binary("linear_svc", 1.0, matrix, targets, ones, np.ones(3), 0)
    ours = probabilities_of(whole.margins(matrix), fit_sigmoids(margins, targets, ones), multi_label=False)
    library = CalibratedClassifierCV(LinearSVC(C=1.0, random_state=0), cv=PredefinedSplit(folds), ensemble=False)
    assert np.allclose(ours, library.fit(matrix, classes).predict_proba(matrix), atol=1e-4)
    each = probabilities_of(whole.margins(matrix), fit_sigmoids(margins, targets, ones), multi_label=True)
    for label in range(3):
        library.fit(matrix, classes == label)
        assert np.allclose(each[:, label], library.predict_proba(matrix)[:, 1], atol=1e-4)


@pytest.mark.parametrize("solver", ["liblinear", "lbfgs"], ids=["sparse", "dense"])
def test_binary_models_are_those_of_one_versus_rest(rows: Any, solver: str) -> None:
    matrix, classes, _ = rows
    matrix = csr_matrix(matrix) if solver == "liblinear" else matrix
    targets = np.eye(3)[classes]
    ours = fit_binary("logistic_regression", 5.0, matrix, targets, np.ones(300), np.ones(3), 0).margins(matrix)
    library = OneVsRestClassifier(LogisticRegression(C=5.0, solver=solver, max_iter=1000)).fit(matrix, targets)
    assert np.allclose(ours, library.decision_function(matrix), atol=1e-3)


def test_a_regression_is_scikit_learns_ridge_of_the_best_alpha(folder: Path, static_model: Path) -> None:
    from model2vec import StaticModel

    run = fit(folder, "regression", {"type": "static", "name_or_path": str(static_model)}, alpha=[0.01, 5.0])
    splits = {name: pq.read_table(run.path / f"predictions/{name}.parquet") for name in ("validation", "test")}
    import csv

    with Path("rows.csv").open(encoding="utf-8", newline="") as file:
        table = {row["id"]: row for row in csv.DictReader(file)}
    held = {one for split in splits.values() for one in split["id"].to_pylist()}
    train_rows = [row for name, row in table.items() if name not in held]
    embed = StaticModel.from_pretrained(str(static_model)).encode
    best = None
    for alpha in (0.01, 5.0):
        model = Ridge(alpha=alpha).fit(
            embed([row["text"] for row in train_rows]), [float(row["score"]) for row in train_rows]
        )
        found = {name: model.predict(embed(split["text"].to_pylist())) for name, split in splits.items()}
        gold = [float(table[one]["score"]) for one in splits["validation"]["id"].to_pylist()]
        error = float(np.mean((found["validation"] - gold) ** 2))
        if best is None or error < best[0]:
            best = (error, found["test"], alpha)
    assert best is not None
    assert run.manifest["details"]["alpha"] == best[2]
    assert np.allclose(splits["test"]["score"].to_numpy(), best[1], atol=1e-4)


def test_strengths_are_chosen_on_validation_alone(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = fit(folder, "single_label", TFIDF, C=[1e-6, 1.0])
    assert run.manifest["details"]["C"] == 1.0  # the other predicts the larger label everywhere
    assert json.loads((run.path / "features.json").read_text())["type"] == "tfidf"


def test_trees_stop_where_validation_gets_no_better(folder: Path) -> None:
    run = fit(folder, "single_label", TFIDF, estimator="xgboost", boosting={"rounds": 300, "patience": 5})
    import xgboost

    booster = xgboost.Booster()
    booster.load_model(run.path / "estimator.ubj")
    assert booster.num_boosted_rounds() == run.manifest["details"]["rounds"] < 300
