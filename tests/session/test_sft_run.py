"""From a recipe to a tuned causal model, in this process: every kind of answer is learned, and the saved run predicts
what it reported."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from categorize import load_predictor
from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.decision_sections import CausalPredictionSection
from categorize.train import train
from categorize.training import costs
from tests.session.collections import write_recipe

Tiny = Callable[..., Path]
TRAINING = {
    "num_train_epochs": 10, "per_device_train_batch_size": 8, "learning_rate": 5e-3, "warmup_steps": 5,
    "activation_checkpointing": False,
}  # fmt: skip


def write_easy(path: Path, rows: int = 120) -> None:
    """A collection that a random model of bytes learns in seconds: a letter says the mood, another one `late`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "mood", "moods", "score"])
        for i in range(rows):
            good, late = i % 3 != 0, i % 4 == 0
            text = ("yyyy" if good else "nnnn") + (" zzzz" if late else " ....") + f" {i}"
            moods = ";".join(["good" if good else "bad"] + ["late"] * late)
            writer.writerow([f"r{i}", text, "good" if good else "bad", moods, 3.5 if good else 1.25])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_easy(tmp_path / "rows.csv")
    return tmp_path


def sft(folder: Path, name: str, model: Path, *argv: str, **sections: Any) -> dict[str, Any]:
    """Train; gives `run.json`."""
    recipe = write_recipe(
        folder / f"{name}.yaml",
        kind="sft",
        **{
            "model": {"name_or_path": str(model), "max_length": 200},
            "prompt": {"system": "Mood of the text."},
            **sections,
            "training": {**TRAINING, **sections.get("training", {})},
        },
    )
    assert main("run_sft.py", "sft", train, METHODS, [str(recipe), *argv]) == 0
    return dict(json.loads((folder / "outputs" / name / "run.json").read_text()))


def check_reloaded(path: Path) -> tuple[Any, dict[str, Any]]:
    """The predictor of the saved run predicts the test rows as it reported; gives it and the measures."""
    written = pq.read_table(path / "predictions/test.parquet")
    predictor = load_predictor(str(path))
    again = predictor.predict_texts(written["text"].to_pylist())
    assert [list(names) for names in again.decided or [[]] * len(again)] == written["predicted"].to_pylist()
    if again.probabilities is not None:
        np.testing.assert_allclose(again.probabilities, np.array(written["probabilities"].to_pylist()), atol=1e-6)
    if again.score is not None:
        np.testing.assert_allclose(again.score, written["score"].to_numpy(), rtol=1e-6)
    if again.raw is not None:
        assert list(again.raw) == written["raw"].to_pylist()
    assert not [file for file in path.rglob("*.bin") if "checkpoints" not in file.parts]
    return predictor, json.loads((path / "metrics.json").read_text())["test"]


@pytest.fixture(scope="module")
def tuned(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a whole chat model that learned one label a row."""
    folder = tmp_path_factory.mktemp("tuned")
    write_easy(folder / "rows.csv")
    with chdir(folder):
        sft(folder, "one", tiny("qwen2", chat=True))
    return folder / "outputs/one"


def check_learned(path: Path, completion: str = "names") -> None:
    """A run that learned one label a row, and predicts as reported."""
    manifest = json.loads((path / "run.json").read_text())
    predictor, metrics = check_reloaded(path)
    assert metrics["accuracy"] > 0.9 and metrics["valid_rate"] == 1
    assert manifest["details"]["prefix_tokens"] > 10
    assert manifest["details"]["best_metric"] > 0.9
    prompt = json.loads((path / "prompt.json").read_text())
    assert (prompt["codes"] is not None) == (completion == "codes")
    assert predictor.predict_texts(["yyyy 7", "nnnn 9"]).decided == [["good"], ["bad"]]


def test_one_label_is_learned_and_scored_as_reported(tuned: Path) -> None:
    check_learned(tuned)


@pytest.mark.parametrize(
    ("architecture", "chat", "completion"),
    [("qwen2", False, "names"), ("llama", True, "codes")],
    ids=["plain", "codes"],
)
def test_an_adapter_learns_one_label_and_scores_as_reported(
    folder: Path, tiny: Tiny, architecture: str, chat: bool, completion: str
) -> None:
    sft(
        folder, "one", tiny(architecture, chat=chat, scale=5), adapter={"type": "lora"},
        training={"learning_rate": 1e-2},
        prompt={"system": "Mood of the text:\n{labels}", "completion": completion},
    )  # fmt: skip
    check_learned(folder / "outputs/one", completion)


def test_generation_and_scoring_agree_once_the_task_is_learned(tuned: Path) -> None:
    texts = pq.read_table(tuned / "predictions/test.parquet")["text"].to_pylist()
    texts += [f"yyyy .... {i}" for i in range(200, 240)] + [f"nnnn zzzz {i}" for i in range(200, 240)]
    scored = load_predictor(str(tuned)).predict_texts(texts)
    generated = {
        parsing: load_predictor(
            str(tuned), section=CausalPredictionSection(mode="generation", parsing=parsing)
        ).predict_texts(texts)
        for parsing in ("strict", "tolerant")
    }
    for answers in generated.values():
        assert answers.is_valid.all(), "a tuned model answers with a label to the letter, and stops"
        agreement = np.mean([list(a) == list(b) for a, b in zip(scored.decided, answers.decided, strict=True)])
        assert agreement >= 0.99
    assert set(generated["strict"].raw) == {"good", "bad"}


def test_several_labels_are_answered_as_a_list(folder: Path, tiny: Tiny) -> None:
    write_easy(folder / "rows.csv", 240)
    sft(
        folder, "many", tiny("qwen2", chat=True),
        data={"columns": {"id": "id", "text": "text", "label": "moods"}},
        labels={"task": "multi_label", "names": ["good", "bad", "late"]},
    )  # fmt: skip
    _, metrics = check_reloaded(folder / "outputs/many")
    assert metrics["valid_rate"] > 0.95
    assert metrics["macro"]["f1"] > 0.6
    raw = pq.read_table(folder / "outputs/many/predictions/test.parquet")["raw"].to_pylist()
    assert any("," in answer for answer in raw)


def test_a_label_is_learned_among_the_labels_and_scored_as_reported(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    among: dict[str, Any] = {
        "prompt": {"system": "Mood of the text:\n{labels}", "completion": "codes"},
        "training": {"loss": "label_set"},
    }
    sft(folder, "one", tiny("qwen2", chat=True), **among)
    check_learned(folder / "outputs/one", "codes")
    assert json.loads((folder / "outputs/one/causal.json").read_text())["loss"] == "label_set"
    with pytest.raises(UserError, match=r"prediction.mode: generation: the run learned labels among each other"):
        load_predictor(str(folder / "outputs/one"), section=CausalPredictionSection(mode="generation"))
    dry = [str(folder / "one.yaml"), "--dry-run", "--overwrite"]
    assert main("run_sft.py", "sft", train, METHODS, dry) == 0
    assert "among 2 labels, from 1 sequence a row" in capsys.readouterr().out


@pytest.mark.slow
def test_yes_or_no_a_label_gives_probabilities_and_thresholds(folder: Path, tiny: Tiny) -> None:
    write_easy(folder / "rows.csv", 240)
    sft(
        folder, "many", tiny("qwen2", chat=True),
        data={"columns": {"id": "id", "text": "text", "label": "moods"}},
        labels={"task": "multi_label", "names": ["good", "bad", {"name": "late", "description": "in the evening"}]},
        prompt={"completion": "yes_no", "question": "Is it {label}?"},
        decision={"thresholds": "per_label", "calibration": "temperature"},
        training={"class_weights": "balanced", "num_train_epochs": 8},
    )  # fmt: skip
    predictor, metrics = check_reloaded(folder / "outputs/many")
    assert metrics["valid_rate"] == 1
    assert metrics["macro"]["f1"] > 0.8
    assert predictor.predict_texts(["yyyy zzzz 7"]).probabilities.argmin() == 1  # the only label that does not fit
    prompt = json.loads((folder / "outputs/many/prompt.json").read_text())
    assert (prompt["completion"], prompt["question"]) == ("yes_no", "Is it {label}?")
    assert len(json.loads((folder / "outputs/many/decision_rule.json").read_text())["thresholds"]) == 3


def test_a_score_is_answered_as_a_number(folder: Path, tiny: Tiny) -> None:
    sft(
        folder, "score", tiny("qwen2", chat=True),
        data={"columns": {"id": "id", "text": "text", "label": "score"}},
        labels={"task": "regression", "names": None, "minimum": 1.0, "maximum": 5.0},
    )  # fmt: skip
    _, metrics = check_reloaded(folder / "outputs/score")
    assert metrics["valid_rate"] == 1
    assert metrics["pearson"] > 0.8
    raw = pq.read_table(folder / "outputs/score/predictions/test.parquet")["raw"].to_pylist()
    assert set(raw) == {"1.25", "3.5"}


def test_early_stopping_goes_by_the_scored_labels(folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = sft(
        folder, "stopped", tiny("qwen2", chat=True),
        training={"num_train_epochs": 40, "early_stopping": {"patience": 2}},
    )  # fmt: skip
    details = manifest["details"]
    assert details["epochs"] < 40, "macro-F1 stays at its best, so training stops"
    assert details["best_metric"] == 1.0
    assert "macro_f1 1.0000" in capsys.readouterr().out
    _, metrics = check_reloaded(folder / "outputs/stopped")
    assert metrics["accuracy"] > 0.9


@pytest.mark.parametrize(
    "adapter",
    [
        {"type": "prefix", "num_virtual_tokens": 8},
        {"type": "prompt", "num_virtual_tokens": 8},
        {"type": "p_tuning", "num_virtual_tokens": 8, "encoder_hidden_size": 32},
        {"type": "ia3"},
    ],
    ids=lambda one: one["type"],
)
def test_other_adapters_train_validate_and_reload(folder: Path, tiny: Tiny, adapter: dict[str, Any]) -> None:
    training = {"num_train_epochs": 2, "class_weights": "balanced"}
    manifest = sft(folder, "one", tiny("qwen2", chat=True), adapter=adapter, training=training)
    assert manifest["notes"] == [adapter["type"]]
    assert manifest["details"]["class_weights"] == pytest.approx({"good": 0.75, "bad": 1.5}, abs=0.05)
    check_reloaded(folder / "outputs/one")


@pytest.mark.parametrize("bits", ["load_in_4bit", "load_in_8bit"])
def test_an_adapter_on_quantized_weights_learns_and_reloads(folder: Path, tiny: Tiny, bits: str) -> None:
    manifest = sft(
        folder, "one", tiny("qwen2", chat=True, width=64, scale=5), adapter={"type": "lora"}, quantization={bits: True},
        training={"learning_rate": 1e-2, "num_train_epochs": 6},
    )  # fmt: skip
    _, metrics = check_reloaded(folder / "outputs/one")
    assert metrics["accuracy"] > 0.9
    assert manifest["notes"] == [f"lora on {bits[8]}-bit weights"]


def test_a_dry_run_shows_what_is_learned(folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(
        folder / "one.yaml",
        kind="sft",
        model={"name_or_path": str(tiny("qwen2", chat=True)), "max_length": 90},
        prompt={"system": "Mood of the text."},
    )
    assert main("run_sft.py", "sft", train, METHODS, [str(recipe), "--dry-run"]) == 0
    shown = capsys.readouterr().out
    for part in ("shared instruction:", "rows that would be cut:", "no loss on this:", "| <|im_start|>system"):
        assert part in shown
    assert "<|im_end|>'" in shown.partition("loss on these")[2]
    assert not (folder / "outputs").exists()


@pytest.mark.slow
def test_a_dry_run_counts_on_activations_that_are_computed_again(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its estimate, where no step is taken, would be several times the memory that a recipe's header says."""
    monkeypatch.setattr(costs, "LONGEST_STEP", 0.0)
    write_easy(folder / "rows.csv", 4000)  # a batch is no larger than what there is
    recipe = write_recipe(
        folder / "one.yaml",
        kind="sft",
        model={"name_or_path": str(tiny("qwen2", chat=True)), "max_length": 500},
        prompt={"system": "Mood of the text. " * 20},
        training={"per_device_train_batch_size": 4096, "use_cpu": True, "shared_prefix": False},
    )
    needed = {}
    for said in ([], ["training.activation_checkpointing=true"], ["training.activation_checkpointing=false"]):
        assert main("run_sft.py", "sft", train, METHODS, [str(recipe), "--dry-run", *said]) == 0
        found = re.search(r"memory, estimated: ([\d.]+) GiB", capsys.readouterr().out)
        assert found is not None
        needed[tuple(said)] = float(found[1])
    default, on, off = needed.values()
    assert default == on < off * 0.75  # of two layers
