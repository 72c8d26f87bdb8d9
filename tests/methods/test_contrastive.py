"""A sentence encoder tuned on pairs: texts of a label come together, and the run is a sentence encoder by itself."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import run_seqcls
from categorize import load_predictor
from categorize.methods.contrastive.pairs import draw_pairs
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from tests.session.collections import write_collection, write_recipe
from tests.tiny_models import build_tiny


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    build_tiny(tmp_path / "encoder", "bert")
    return tmp_path


def recipe(folder: Path, **model: Any) -> Path:
    keys = {"method": "contrastive", "name_or_path": "encoder", "pairs": 2, "learning_rate": 1e-3, "batch_size": 32}
    data = {"sample": {"per_label": 16, "splits": ["train"]}}
    return write_recipe(folder / "few.yaml", model={**keys, **model}, training=None, data=data)


def run(*arguments: str) -> int:
    return main("run_seqcls.py", "seqcls", run_seqcls.run, METHODS, arguments)


def test_every_text_gets_pairs_of_both_kinds_and_never_itself() -> None:
    targets = np.eye(3)[[0, 0, 0, 1, 1, 2]]
    pairs = draw_pairs(targets, each=5, seed=1)
    assert not (pairs.first == pairs.second).any()
    same = (targets[pairs.first] * targets[pairs.second]).sum(axis=1)
    assert (pairs.alike == same).all()
    alike, unlike = (Counter(pairs.first[pairs.alike == kind].tolist()) for kind in (1, 0))
    assert alike == dict.fromkeys(range(5), 5)  # the only text of its label has no partner
    assert unlike == dict.fromkeys(range(6), 5)
    again = draw_pairs(targets, each=5, seed=1)
    assert (again.first == pairs.first).all() and (again.second == pairs.second).all()
    assert (draw_pairs(targets, each=5, seed=2).second != pairs.second).any()


def test_texts_of_several_labels_are_alike_by_what_they_share() -> None:
    targets = np.array([[1.0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [0, 0, 0]])
    pairs = draw_pairs(targets, each=30, seed=0)
    found = {(a, b): like for a, b, like in zip(pairs.first, pairs.second, pairs.alike, strict=True)}
    assert found[(0, 1)] == 0.5 and found[(0, 2)] == 0 and found[(3, 4)] == 1 and found[(3, 0)] == 0


def test_a_tuned_encoder_brings_texts_of_a_label_together_and_predicts_alike_when_reloaded(folder: Path) -> None:
    from sentence_transformers import SentenceTransformer

    assert run(str(recipe(folder, pairs=20, batch_size=16))) == 0
    output = folder / "outputs/few"
    metrics = json.loads((output / "metrics.json").read_text())
    assert metrics["test"]["accuracy"] > 0.9  # two thirds are good
    stored = pq.read_table(output / "predictions/test.parquet")
    again = load_predictor(str(output)).predict_texts(stored["text"].to_pylist())
    assert again.decided == stored["predicted"].to_pylist()
    assert np.allclose(np.array(stored["probabilities"].to_pylist()), again.probabilities, atol=1e-6)
    # The run is a sentence encoder for anybody, and texts of a label are closer than before.
    texts, moods = ["good movie", "fine text good", "bad movie", "bad text bad"], np.array([0, 0, 1, 1])

    def gap(place: str) -> float:
        vectors = SentenceTransformer(place).encode(texts, normalize_embeddings=True)
        same = moods[:, None] == moods[None, :]
        cosines = vectors @ vectors.T
        return float(cosines[same].mean() - cosines[~same].mean())

    assert gap(str(output)) > gap("encoder") + 0.3
    moved = output.rename(folder / "elsewhere")
    assert load_predictor(str(moved)).predict_texts(["good movie", "bad movie"]).decided == [["good"], ["bad"]]


def test_label_words_stand_beside_the_rows(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(str(recipe(folder, label_words="{name} {name}")), "--dry-run") == 0
    assert "of 34 texts" in capsys.readouterr().out  # 16 rows of each of two labels, and a text for each label


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (
            ["labels.task=regression", "labels.names=null", "data.columns.label=score"],
            "a regression has none: use head",
        ),
        (["model.label_words='{title}'"], "knows name, description, aliases, not 'title'"),
        (["model.label_words=words"], "names nothing of a label"),
        (["model.name_or_path=nowhere"], "nowhere"),
        (["data.sample.rows=3"], "takes one of rows and per_label"),
    ],
)
def test_what_cannot_be_tuned_is_told_in_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], overrides: list[str], said: str
) -> None:
    assert run(str(recipe(folder)), *overrides) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and len(error.splitlines()) == 1
