"""Runs with a loss of the recipe: trained, reloaded, and predicting by the logits alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from categorize import load_predictor
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_recipe

Tiny = Callable[..., Path]


def write_uneven(path: Path, task: str) -> None:
    """120 rows, of which every tenth is of the rare label; their texts say so two times in three."""
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "mood"])
        for i in range(120):
            label = "bad" if i % 10 == 0 else "good"
            said = label if rng.random() < 0.67 else rng.choice(["good", "bad"])
            rows.writerow([i, f"{said} movie {i}", "good|bad" if task == "multi_label" and i % 20 == 0 else label])


@pytest.mark.parametrize(
    ("task", "training"),
    [
        ("single_label", {"loss": {"type": "logit_adjustment", "tau": 1.5}}),
        ("single_label", {"loss": "focal", "class_weights": {"type": "effective_number", "beta": 0.9}}),
        ("multi_label", {"loss": "asymmetric"}),
    ],
)
def test_a_run_with_a_loss_is_reloaded_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Tiny, task: str, training: dict[str, Any]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_uneven(tmp_path / "rows.csv", task)
    recipe = write_recipe(
        tmp_path / "r.yaml",
        model={"name_or_path": str(tiny("bert")), "max_length": 16},
        labels={"task": task, "names": ["good", "bad"]},
        data={
            "columns": {"id": "id", "text": "text", "label": "mood"},
            **({"label_separator": "|"} if task == "multi_label" else {}),
        },
        training={**training, "num_train_epochs": 1, "per_device_train_batch_size": 8, "use_cpu": True},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe)]) == 0
    metrics = json.loads(Path("outputs/r/metrics.json").read_text())
    assert metrics["test"]["rows"] > 0
    one, again = (load_predictor("outputs/r").predict_texts(["good movie", "bad movie"]) for _ in range(2))
    np.testing.assert_array_equal(one.probabilities, again.probabilities)
