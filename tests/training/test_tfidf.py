"""The linear model on TF-IDF features: what it learns from weighted rows."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from categorize.inference.load import load_predictor
from categorize.recipe.command import main
from categorize.training.session import train
from tests.session.collections import write_recipe

TEXTS = {"a": "apple pear", "b": "bolt nut", "c": "cloud rain"}


def fit(folder: Path, weights: dict[str, int], estimator: str, task: str = "single_label") -> np.ndarray:
    """Trains on 30 rows a label with these weights; gives the probabilities of one text a label."""
    with (folder / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "mood", "w"])
        rows.writerows(
            [f"{label}{i}", f"{text} {i}", label, weights[label]] for label, text in TEXTS.items() for i in range(30)
        )
    recipe = write_recipe(
        folder / "one.yaml",
        model={"method": "tfidf", "estimator": estimator},
        training=None,
        data={"columns": {"id": "id", "text": "text", "label": "mood", "weight": "w"}},
        labels={"task": task, "names": list(TEXTS)},
    )
    assert main("run_seqcls.py", "seqcls", train, [recipe.name, "--overwrite"]) == 0
    found = load_predictor("outputs/one").predict_texts(list(TEXTS.values()))
    assert found.probabilities is not None
    return np.asarray(found.probabilities)


@pytest.mark.parametrize("estimator", ["linear_svc", "logistic_regression"])
@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_a_label_whose_rows_all_weigh_nothing_is_one_without_training_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], estimator: str, task: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = fit(tmp_path, {"a": 1, "b": 2, "c": 0}, estimator, task)
    assert found.argmax(axis=1)[:2].tolist() == [0, 1]
    assert (found[:, 2] < 1e-6).all()
    assert "WARNING" not in capfd.readouterr().out, "liblinear's own, of a label without rows"
