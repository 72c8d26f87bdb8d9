"""Macro-F1 with thresholds swept on test: the most that any thresholds reach, shown and used for nothing."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.metrics.thresholds import swept
from categorize.predictions import Predictions
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_recipe

LABELS = LabelSet("multi_label", (Label("a"), Label("b")))
PROBABILITY = st.integers(10, 990).map(lambda one: one / 1000)  # what differs by rounding alone is not parted
ROW = st.tuples(st.lists(PROBABILITY, min_size=2, max_size=2), st.lists(st.booleans(), min_size=2, max_size=2))


@given(st.lists(ROW, min_size=1, max_size=12))
def test_no_threshold_of_a_label_reaches_more(rows: list[tuple[list[float], list[bool]]]) -> None:
    probabilities, gold = (np.array(part, dtype=float) for part in zip(*rows, strict=True))
    found = swept(LABELS, gold, Predictions([str(i) for i in range(len(rows))], probabilities))
    held = np.flatnonzero(gold.sum(0))
    if not len(held):
        assert found is None
        return
    assert found is not None
    best = [
        max(f1_score(gold[:, j], probabilities[:, j] >= t, zero_division=0.0) for t in [*probabilities[:, j], 2.0])
        for j in held
    ]
    assert found["per_label"] == pytest.approx(np.mean(best))
    assert found["global"] <= found["per_label"] + 1e-12


def test_it_is_of_several_labels_a_row_with_probabilities_alone() -> None:
    single = LabelSet("single_label", LABELS.labels)
    gold = np.eye(2)
    assert swept(single, gold, Predictions(["1", "2"], gold)) is None
    assert swept(LABELS, gold, Predictions(["1", "2"], decided=[["a"], []])) is None


def test_a_run_shows_it_beside_the_figure_of_its_own_thresholds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "text", "mood"])
        for i in range(300):
            names = [name for name, share in (("good", 0.5), ("bad", 0.15)) if rng.random() < share]
            said = " ".join(name for name in ("good", "bad") if (name in names) ^ (rng.random() < 0.2))
            rows.writerow([i, f"{said} text {i}", "|".join(names) or "[]"])
    recipe = write_recipe(
        tmp_path / "r.yaml",
        model={"method": "tfidf"},
        training=None,
        data={"columns": {"id": "id", "text": "text", "label": "mood"}, "label_separator": "|"},
        labels={"task": "multi_label", "names": ["good", "bad"], "missing": ["[]"]},
        decision={"thresholds": "per_label"},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe)]) == 0
    metrics = json.loads(Path("outputs/r/metrics.json").read_text())
    best = metrics["test"]["macro_f1_swept_on_test"]
    assert best["per_label"] >= metrics["test"]["macro"]["f1"]
    assert "macro_f1_swept_on_test" not in metrics["validation"]
    assert f"macro_f1 {best['per_label']:.4f} with thresholds swept on test" in capsys.readouterr().out
