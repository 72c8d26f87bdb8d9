"""The chunks method: documents of any length are trained on, saved, resumed, reloaded and explained."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

import run_seqcls
from categorize import load_predictor
from categorize.data.segments.tokens import PlainTokens
from categorize.errors import UserError
from categorize.methods.chunks.documents import chosen, document_chunks
from categorize.methods.chunks.explain import chunk_weights
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.load import load_recipe
from tests.session.collections import write_recipe

Tiny = Callable[..., Path]
NGRAMS = {"name_or_path": None, "features": {"type": "tfidf", "word_ngrams": [1, 1], "char_ngrams": None}, "svd": 8}
FILLER = ("text", "label", "fine", "movie")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Documents of 1 to 6 lines, of which one says whether it is good or bad."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    with (tmp_path / "rows.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "mood", "moods", "score"])
        for i in range(120):
            lines = [" ".join(rng.choice(FILLER, size=6)) for _ in range(1 + i % 6)]
            mood = ("good", "bad")[i % 2]
            lines[int(rng.integers(len(lines)))] += f" {mood} {mood} {i % 10}"
            writer.writerow([f"r{i}", "\n".join(lines), mood, mood, f"{3.0 + (i % 2)}"])
    return tmp_path


def recipe(folder: Path, tiny: Tiny, name: str = "long", **sections: Any) -> str:
    model = {"method": "chunks", "name_or_path": str(tiny("bert")), "max_length": 14, **sections.pop("model", {})}
    training = {"num_train_epochs": 4, "learning_rate": 1e-2, **sections.pop("training", {})}
    return str(write_recipe(folder / f"{name}.yaml", model=model, training=training, **sections))


def run(*arguments: str) -> int:
    return main("run_seqcls.py", "seqcls", run_seqcls.run, METHODS, list(arguments))


def texts(folder: Path) -> list[str]:
    with (folder / "rows.csv").open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def test_a_dry_run_shows_how_many_chunks_there_are(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(recipe(folder, tiny, model={"max_chunks": 3}), "--dry-run") == 0
    told = capsys.readouterr().out
    assert "chunks a document: median 3, most 3; 14 chunks of 14 documents would be left out" in told
    assert not (folder / "outputs").exists() or not list((folder / "outputs").glob("long*"))


def test_long_documents_are_trained_on_reloaded_and_explained(folder: Path, tiny: Tiny) -> None:
    path = recipe(folder, tiny)
    assert run(path) == 0
    manifest = json.loads((folder / "outputs/long/run.json").read_text())
    assert manifest["method"] == "chunks" and manifest["details"]["chunks"]["train"]["documents"] == 84
    measured = json.loads((folder / "outputs/long/metrics.json").read_text())["test"]
    assert measured["accuracy"] > 0.9  # what decides stands behind the first window of most
    assert not list((folder / "outputs/long").glob("*.bin"))
    predictor = load_predictor("outputs/long")
    together = predictor.predict_texts(texts(folder))
    alone = [predictor.predict_texts([text]) for text in texts(folder)[:6]]
    assert together.probabilities is not None
    for one, row in zip(alone, together.probabilities, strict=False):
        assert one.probabilities is not None
        np.testing.assert_allclose(one.probabilities[0], row, atol=1e-6)
    found = chunk_weights(predictor, texts(folder)[5])
    assert len(found.texts) == len(found.weights) > 2 and found.weights.sum() == pytest.approx(1)
    assert " ".join(found.texts).split() == texts(folder)[5].split()


@pytest.mark.parametrize(
    "sections",
    [
        {"model": {"aggregator": {"type": "lstm"}}, "data": {"segments": {"by": "turns"}}},
        {"model": {"aggregator": {"type": "transformer"}, "pooling": "cls"}, "adapter": {"type": "lora"}},
        {
            "model": {"aggregator": {"type": "label_attention"}, "chunk_batch": 4},
            "labels": {"task": "multi_label"},
            "data": {"columns": {"id": "id", "text": "text", "label": "moods"}},
            "training": {"class_weights": "balanced"},
        },
        {
            "model": {"aggregator": {"type": "mlp"}},
            "labels": {"task": "regression", "names": None},
            "data": {"columns": {"id": "id", "text": "text", "label": "score"}},
        },
        {
            "model": {**NGRAMS, "aggregator": {"type": "logsumexp"}},
            "data": {"segments": {"by": "turns"}},
            "training": {"learning_rate": 1e-3},
        },
    ],
    ids=["turns", "lora", "multi_label", "regression", "n-grams"],
)
def test_a_reloaded_run_predicts_what_it_predicted_in_training(
    folder: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch, sections: dict[str, Any]
) -> None:
    from categorize.training.trainer import HeadTrainer

    given = HeadTrainer.given

    def keep(self: Any, model: Any, outputs: Any, rows: list[int]) -> Any:
        rows_and_logits.update(zip(rows, given(self, model, outputs, rows), strict=True))
        return given(self, model, outputs, rows)

    rows_and_logits: dict[int, np.ndarray] = {}
    monkeypatch.setattr(HeadTrainer, "given", keep)
    path = recipe(folder, tiny, **{**sections, "training": {"num_train_epochs": 1, **sections.get("training", {})}})
    assert run(path) == 0
    logits = [rows_and_logits[row] for row in range(12)]
    predictor = load_predictor("outputs/long").inner
    loaded = load_recipe(path, methods=METHODS).recipe
    from categorize.data.splits import load_data

    data = load_data(loaded.data, loaded.labels)  # type: ignore[union-attr]
    rows = data.input_spec.expand(data.splits.validation, predictor.tokens)
    (found,) = predictor.predict(rows.combine_chunks().to_batches())
    output = predictor.chunks.output(predictor.label_set)  # type: ignore[attr-defined]
    expected = output.predictions(found.ids, np.stack(logits).astype(np.float64))
    for name in ("probabilities", "score"):
        mine, theirs = getattr(found, name), getattr(expected, name)
        assert (mine is None) == (theirs is None)
        if mine is not None:
            np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_a_resumed_training_ends_with_the_same_weights(
    folder: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file
    from transformers import Trainer

    training = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 4, "eval_strategy": "no"}
    training["load_best_model_at_end"] = False
    lstm = {"aggregator": {"type": "lstm", "dropout": 0.3}}
    for name in ("whole", "broken"):
        recipe(folder, tiny, name, training=training, model=lstm)
    assert run("whole.yaml") == 0
    step = Trainer.training_step

    def dies(self: Any, *arguments: Any, **named: Any) -> Any:
        if self.state.global_step == 6:
            raise KeyboardInterrupt
        return step(self, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "training_step", dies)
        assert run("broken.yaml") != 0
    assert run("broken.yaml", "--resume") == 0
    weights = [load_file(folder / "outputs" / name / "model.safetensors") for name in ("whole", "broken")]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_accumulation_does_not_change_the_trained_weights(folder: Path, tiny: Tiny) -> None:
    from safetensors.torch import load_file

    calm = {"aggregator": {"type": "attention", "dropout": 0.0}}
    plain = {"optim": "sgd", "num_train_epochs": 1}
    for name, size, accumulation in (("a", 8, 1), ("b", 2, 4)):
        more = {"per_device_train_batch_size": size, "gradient_accumulation_steps": accumulation}
        assert run(recipe(folder, tiny, name, model=calm, training={**plain, **more})) == 0
    one, other = (load_file(folder / "outputs" / name / "model.safetensors") for name in "ab")
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=1e-4, atol=1e-6)


def rows(*texts: str) -> pa.Table:
    return pa.table({"document_id": [f"d{i}" for i in range(len(texts))], "text": list(texts)})


class Four(PlainTokens):
    """A model that reads four words."""

    room = 4


def test_a_text_that_is_too_long_becomes_windows_and_loses_nothing() -> None:
    found = document_chunks(rows("a b c d e f g h i", "a b", ""), Four())
    assert [[found.texts[i] for i in chunks] for chunks in found.chunks] == [
        ["a b c d", "e f g h", "i"],
        ["a b"],
        [""],
    ]
    assert not found.left_out.any() and found.line("train") is None


def test_chunks_beyond_the_most_are_counted() -> None:
    found = document_chunks(rows("a b c d e f g h i", "a b"), Four(), 2, "spread")
    assert [[found.texts[i] for i in chunks] for chunks in found.chunks] == [["a b c d", "i"], ["a b"]]
    assert found.left_out.tolist() == [1, 0]
    assert found.line("train") == (
        "warning: train: 1 chunks of 1 documents are left out, which have more than model.max_chunks"
    )
    assert chosen(5, 1, "spread") == [0]


def test_rows_of_a_document_that_stand_apart_are_its_chunks() -> None:
    table = pa.table({"document_id": ["x", "y", "x"], "text": ["a", "b", "b"]})
    found = document_chunks(table, Four())
    assert found.ids == ["x", "y"] and [chunks.tolist() for chunks in found.chunks] == [[0, 1], [1]]


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        (
            {"data": {"segments": {"by": "turns", "aggregation": "vote"}}},
            "data.segments.aggregation: does nothing with model.method chunks, which learns to join segments",
        ),
        ({"data": {"segments": {"by": "turns", "weighting": "segment"}}}, "data.segments.weighting: does nothing"),
        (
            {"model": {"aggregator": {"type": "max", "hidden_size": 8}}},
            "model.aggregator.hidden_size: does nothing with type: max; remove it",
        ),
        (
            {"model": {"aggregator": {"type": "label_attention"}}, "labels": {"task": "regression", "names": None}},
            "model.aggregator.type: label_attention is for labels, but labels.task is regression; write attention",
        ),
        ({"model": {"name_or_path": None}}, "model: names no encoder; write name_or_path, or features for fixed ones"),
        (
            {"model": {**NGRAMS, "svd": None}},
            "model.features: n-grams are too many for the aggregator; write model.svd",
        ),
        ({"model": {"svd": 8}}, "model.svd: reduces model.features, which are not there; remove it"),
        (
            {"model": {**NGRAMS, "pooling": "cls"}, "adapter": {"type": "lora"}},
            "model.pooling: is for an encoder that is trained, but model.features are fixed; remove one of them",
        ),
        ({"model": {"keep": "spread"}}, "model.keep: does nothing without model.max_chunks; remove it"),
        ({"adapter": {"type": "prefix"}}, "adapter.type: prefix does not fit model.method chunks; write one of lora"),
        ({"adapter": {"type": "lora"}, "quantization": {"load_in_4bit": True}}, "quantization: is not read by"),
        ({"prompt": {"template": "{text}"}}, "prompt: is not read by model.method chunks; remove it"),
    ],
)
def test_what_would_do_nothing_is_refused_in_the_recipe(
    folder: Path, tiny: Tiny, sections: dict[str, Any], told: str
) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(recipe(folder, tiny, **sections), methods=METHODS)
    assert any(told in line for line in str(caught.value).splitlines()), str(caught.value)


def test_weights_of_chunks_are_those_of_an_aggregator_that_has_some(folder: Path, tiny: Tiny) -> None:
    training = {"num_train_epochs": 1, "max_steps": 1}
    assert run(recipe(folder, tiny, model={"aggregator": {"type": "lstm"}}, training=training)) == 0
    with pytest.raises(UserError, match="its aggregator does not weigh chunks; train one with"):
        chunk_weights(load_predictor("outputs/long"), "good")


def test_vectors_of_an_encoder_are_computed_once_and_kept(
    folder: Path, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    from categorize.features.encoder import EncoderFeaturizer

    features = {"type": "encoder", "name_or_path": str(tiny("bert")), "cache_dir": str(folder / "kept")}
    model = {"name_or_path": None, "features": features}
    assert run(recipe(folder, tiny, "first", model=model, training={"num_train_epochs": 1})) == 0

    def again(*_: Any) -> Any:
        raise AssertionError("embedded again")

    monkeypatch.setattr(EncoderFeaturizer, "embed", again)
    assert run(recipe(folder, tiny, "second", model=model, training={"num_train_epochs": 1})) == 0
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    first, second = (load_predictor(f"outputs/{name}").predict_texts(texts(folder)[:4]) for name in ("first", "second"))
    assert first.probabilities is not None and second.probabilities is not None
    assert np.array_equal(first.probabilities, second.probabilities)
