"""A model beside human raters: means of pairs, as scipy and scikit-learn have them; bad cells are named."""

from __future__ import annotations

import csv
import json
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import pearsonr
from sklearn.metrics import cohen_kappa_score

from categorize.labels import Label, LabelSet
from categorize.metrics.raters import measure_raters, rater_statistic
from categorize.predictions import Predictions
from tests.session.collections import write_recipe
from tests.session.test_training_run import compare, run

SCORE = LabelSet("regression", (Label("score"),))
SINGLE = LabelSet("single_label", tuple(Label(name) for name in "abc"))


def test_agreement_is_the_mean_over_pairs_of_the_rows_that_both_rated() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=50)
    ratings = truth[:, None] + rng.normal(size=(50, 3))
    ratings[rng.random((50, 3)) < 0.2] = np.nan
    score = truth + 0.1 * rng.normal(size=50)
    score[3] = np.nan  # not valid: left out
    found = measure_raters(SCORE, ratings, Predictions([str(i) for i in range(50)], score=score))

    def r(a: np.ndarray, b: np.ndarray) -> float:
        both = ~np.isnan(a) & ~np.isnan(b)
        return float(pearsonr(a[both], b[both]).statistic)

    assert found["model_rater"] == pytest.approx(np.mean([r(score, one) for one in ratings.T]))
    assert found["rater_rater"] == pytest.approx(np.mean([r(*pair) for pair in combinations(ratings.T, 2)]))
    assert found["model_rater"] > found["rater_rater"]  # one that knows the truth agrees more than they do


def test_labels_are_compared_by_kappa() -> None:
    ratings = np.array([[0, 0], [1, 1], [2, 1], [0, 2], [1, 1.0]])
    predictions = Predictions(list("vwxyz"), decided=[["a"], ["b"], ["c"], ["a"], ["a"]])
    found = measure_raters(SINGLE, ratings, predictions)
    kappas = [cohen_kappa_score([0, 1, 2, 0, 0], one) for one in ratings.T.astype(int)]
    assert found["measure"] == "cohen_kappa" and found["model_rater"] == pytest.approx(np.mean(kappas))


def test_constant_or_missing_ratings_are_no_agreement() -> None:
    ratings = np.array([[1.0, 1.0, np.nan], [1.0, 2.0, np.nan], [1.0, 3.0, 2.0]])
    found = measure_raters(SCORE, ratings, Predictions(list("abc"), score=np.array([1.0, 2.0, 3.0])))
    assert found["model_rater"] == pytest.approx(1.0) and found["rater_rater"] is None


@pytest.mark.parametrize("label_set", [SCORE, SINGLE], ids=lambda one: one.task)
def test_agreement_in_a_resample_is_that_of_the_repeated_rows(label_set: LabelSet) -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        rows = int(rng.integers(3, 12))
        ratings = rng.integers(0, 3, (rows, 3)).astype(float)
        ratings[rng.random((rows, 3)) < 0.2] = np.nan
        ids, said, valid = [str(i) for i in range(rows)], rng.integers(0, 3, rows), rng.random(rows) > 0.1
        answers = {"score": said.astype(float)} if label_set is SCORE else {"decided": [["abc"[one]] for one in said]}
        predictions = Predictions(ids, valid=valid, **answers)  # type: ignore[arg-type]
        drawn = rng.integers(0, rows, rows)
        weights = np.stack([np.bincount(drawn, minlength=rows), np.ones(rows)]).astype(float)
        values = rater_statistic(label_set, ratings, predictions)(weights)
        for at, of in enumerate((drawn, np.arange(rows))):
            expected = measure_raters(label_set, ratings[of], predictions.take(of))
            for name in ("model_rater", "rater_rater"):
                wanted = np.nan if expected[name] is None else expected[name]
                assert values[name][at] == pytest.approx(wanted, nan_ok=True, abs=1e-9), (seed, name)


def write_rows(broken: str = "") -> dict[str, object]:
    rng = np.random.default_rng(1)
    with Path("rows.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["text", "mean", "anna", "ben"])
        for i in range(160):
            truth = i % 5
            pair = [round(truth + rng.normal(), 2), broken if i == 7 and broken else round(truth + rng.normal(), 2)]
            table.writerow([f"word{truth} and some {i}", truth, *pair])
    columns = {"id": None, "text": "text", "label": "mean", "raters": ["anna", "ben"], "group": None}
    labels = {"task": "regression", "names": None}
    return {"data": {"source": "rows.csv", "columns": columns}, "labels": labels, "training": None}


def test_the_table_shows_the_model_beside_the_ceiling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = write_rows()
    assert run(str(write_recipe(tmp_path / "ridge.yaml", **rows, model={"method": "tfidf"}))) == 0
    evaluation = {"kind": "eval", "name": "eval", "evaluation": {"runs": ["outputs/ridge"], "bootstrap": 0}}
    assert compare(str(write_recipe(tmp_path / "eval.yaml", **rows, **evaluation))) == 0
    out = capsys.readouterr().out
    assert "model-rater r  rater-rater r" in out
    ridge = json.loads(Path("outputs/eval/report.json").read_text())["runs"][-1]["metrics"]["raters"]
    assert ridge["raters"] == 2 and ridge["model_rater"] > ridge["rater_rater"] > 0.5


def test_a_rating_that_is_no_number_is_named_before_anything_is_predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = write_rows(broken="two")
    evaluation = {"kind": "eval", "name": "eval", "evaluation": {"runs": ["outputs/none"], "split": "train"}}
    recipe = str(write_recipe(tmp_path / "eval.yaml", **rows, **evaluation))
    found = [compare(recipe, f"evaluation.split={split}") for split in ("train", "validation", "test")]
    errors = capsys.readouterr().err
    assert found == [2, 2, 2] and errors.count("'ben' holds 'two' in row 9, expected a number; fix it, or list it") == 1
    assert compare(recipe, "data.columns.raters=[anna]") == 2
    assert "data.columns.raters: needs two raters at least" in capsys.readouterr().err
