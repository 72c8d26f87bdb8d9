"""k nearest neighbours as a run: what scikit-learn's give, the rows that voted, and no row that votes on itself."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_matrix
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from categorize import load_predictor
from categorize.errors import UserError
from categorize.methods.neighbours.predictor import NeighboursPredictor, votes
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.load import load_recipe
from categorize.runs.folder import Run
from categorize.train import train
from tests.methods.test_embedding import TASKS, measured
from tests.session.collections import write_collection, write_recipe

TFIDF = {"type": "tfidf", "char_ngrams": None, "word_ngrams": [1, 1]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CATEGORIZE_EMBEDDINGS_CACHE", str(tmp_path / "kept"))
    write_collection(tmp_path / "rows.csv", 240)
    return tmp_path


def fit(folder: Path, task: str, features: Any, **model: Any) -> Run:
    path = write_recipe(
        folder / "one.yaml", training=None, model={"method": "neighbours", "features": features, **model}, **TASKS[task]
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [path.name, "--overwrite"]) == 0
    return Run.open("outputs/one")


@pytest.mark.parametrize("task", list(TASKS))
@pytest.mark.parametrize("search", ["exact", "hnsw"])
def test_a_run_learns_and_predicts_the_same_when_it_is_loaded_again(
    folder: Path, tiny: Callable[..., Path], task: str, search: str
) -> None:
    features = TFIDF if search == "exact" else {"type": "encoder", "name_or_path": str(tiny("bert"))}
    run = fit(folder, task, features, search=search)
    assert measured(run, task) > (0.5 if task == "multi_label" else 0.7)
    assert {file.suffix for file in run.path.iterdir() if file.is_file()} <= {
        ".json", ".safetensors", ".yaml", ".parquet", ".md"
    }  # fmt: skip
    stored = pq.read_table(run.path / "predictions/test.parquet")
    again = load_predictor("outputs/one").predict_texts(stored["text"].to_pylist())
    if task == "regression":
        assert again.score is not None and again.score.tolist() == stored["score"].to_pylist()
    else:
        assert again.probabilities is not None
        assert np.array_equal(again.probabilities, np.array(stored["probabilities"].to_pylist()))


def test_the_neighbours_of_a_text_are_named(folder: Path) -> None:
    fit(folder, "single_label", TFIDF, k=[5])
    inner = load_predictor("outputs/one").inner
    assert isinstance(inner, NeighboursPredictor)
    with Path("rows.csv").open(encoding="utf-8", newline="") as file:
        table = {row["id"]: row for row in csv.DictReader(file)}
    own = inner.ids[0]
    first, second = inner.neighbours([table[own]["text"], "bad text bad"])
    assert len(first) == 5 and first[0].id == own and first[0].similarity == pytest.approx(1.0, abs=1e-6)
    assert all(one.labels == (table[one.id]["mood"],) for one in [*first, *second])
    assert {one.labels for one in second} == {("bad",)}
    assert [one.similarity for one in second] == sorted((one.similarity for one in second), reverse=True)
    assert len(inner.neighbours(["bad"], 2)[0]) == 2


def test_a_regression_names_scores(folder: Path) -> None:
    fit(folder, "regression", TFIDF, k=[3])
    inner = load_predictor("outputs/one").inner
    assert isinstance(inner, NeighboursPredictor)
    assert [one.score for one in inner.neighbours(["bad text bad"])[0]] == [1.5] * 3


def test_votes_are_those_of_scikit_learn() -> None:
    from categorize.features.search import build_index

    rng = np.random.default_rng(0)
    rows, queries = rng.normal(size=(300, 8)), rng.normal(size=(40, 8))
    classes, scores = rng.integers(0, 3, 300), rng.normal(size=300)
    found = build_index(rows, "exact").search(queries, 9)
    library: dict[str, Any] = {"n_neighbors": 9, "metric": "cosine", "algorithm": "brute"}
    library["weights"] = lambda distances: np.exp((1 - distances) / 0.1)
    shares = votes(found, csr_matrix(np.eye(3)[classes]), np.ones(300), 0.1)
    assert np.allclose(shares, KNeighborsClassifier(**library).fit(rows, classes).predict_proba(queries), atol=1e-5)
    mean = votes(found, csr_matrix(scores[:, None]), np.ones(300), 0.1)[:, 0]
    assert np.allclose(mean, KNeighborsRegressor(**library).fit(rows, scores).predict(queries), atol=1e-5)
    many = csr_matrix(rng.random((300, 4)) > 0.5, dtype=float)
    several = np.column_stack(
        [one[:, 1] for one in KNeighborsClassifier(**library).fit(rows, many.toarray()).predict_proba(queries)]
    )
    assert np.allclose(votes(found, many, np.ones(300), 0.1), several, atol=1e-5)


def test_a_row_of_weight_nothing_does_not_vote() -> None:
    found = (np.array([[0.9, 0.8]], dtype=np.float32), np.array([[0, 1]]))
    assert votes(found, csr_matrix(np.eye(2)), np.array([0.0, 1.0]), 1.0).tolist() == [[0.0, 1.0]]
    nobody = (np.array([[-np.inf]], dtype=np.float32), np.array([[0]]))
    assert np.isnan(votes(nobody, csr_matrix(np.eye(2)), np.ones(2), 1.0)).all()


def test_without_validation_rows_choose_by_the_others_and_not_by_their_duplicates(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Labels are by chance, and each text is there twice: one neighbour is always right where a duplicate may vote."""
    rng = np.random.default_rng(0)
    with Path("rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["id", "text", "mood"])
        for i in range(150):
            text = " ".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 6))
            label = "good" if rng.random() < 0.7 else "bad"
            table.writerows([[f"{i}a", text, label], [f"{i}b", text, label]])
    path = write_recipe(
        folder / "one.yaml",
        training=None,
        model={"method": "neighbours", "features": TFIDF, "k": [1, 50]},
        data={"splits": {"validation": 0.0, "test": 0.1}},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [path.name]) == 0
    assert Run.open("outputs/one").manifest["details"]["k"] == 50
    assert "chosen on training rows, each by the others" in capsys.readouterr().out


def test_without_labelled_rows_nothing_is_loaded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("rows.csv").write_text("id,text,mood\n" + "".join(f"{i},text {i},\n" for i in range(30)), encoding="utf-8")
    fresh = folder / "fresh"
    path = write_recipe(
        folder / "one.yaml",
        training=None,
        model={
            "method": "neighbours",
            "features": {"type": "encoder", "name_or_path": "./gone", "cache_dir": str(fresh)},
        },
    )
    (folder / "gone").mkdir()  # a folder without a model: loading it would be another error
    assert main("run_seqcls.py", "seqcls", train, METHODS, [path.name]) == 2
    error = capsys.readouterr().err
    assert "label" in error and "gone" not in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("model.search=flat", "model.search: flat is for embeddings, and n-grams are sparse; write exact"),
        ("model.k=[0]", "model.k[0]: expected"),
        ("model.k=[]", "model.k: "),
        ("training={balance: upsample}", "training: is not read by model.method neighbours"),
    ],
)
def test_what_cannot_work_is_refused_while_the_recipe_is_checked(folder: Path, override: str, told: str) -> None:
    path = write_recipe(folder / "one.yaml", training=None, model={"method": "neighbours", "features": TFIDF})
    with pytest.raises(UserError) as caught:
        load_recipe(path, [override], methods=METHODS)
    assert told in str(caught.value)


def test_a_dry_run_embeds_nothing(folder: Path, tiny: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    path = write_recipe(
        folder / "one.yaml",
        training=None,
        model={"method": "neighbours", "features": {"type": "encoder", "name_or_path": str(tiny("bert"))}},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [path.name, "--dry-run"]) == 0
    assert "labelled rows by" in capsys.readouterr().out and not (folder / "kept").exists()
