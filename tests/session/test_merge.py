"""Merged export: the adapter becomes part of whole weights, and the merged run predicts as the run did."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from categorize import load_predictor
from categorize.merge import compare
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_recipe
from tests.session.test_sft_run import write_easy

Tiny = Callable[..., Path]
TEXTS = ["yyyy 1", "nnnn zzzz 2", "something else"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_easy(tmp_path / "rows.csv")
    return tmp_path


def head_recipe(folder: Path, model: Path, adapter: dict[str, Any] | None, **sections: Any) -> str:
    path = folder / "one.yaml"
    return str(write_recipe(path, model={"name_or_path": str(model)}, adapter=adapter, **sections))


def sft_recipe(folder: Path, model: Path, adapter: dict[str, Any] | None, **sections: Any) -> str:
    training = {
        "num_train_epochs": 3, "learning_rate": 1e-2, "activation_checkpointing": False, **sections.pop("training", {})
    }  # fmt: skip
    model_section = {"name_or_path": str(model), "max_length": 200}
    return str(
        write_recipe(
            folder / "one.yaml", kind="sft", model=model_section, adapter=adapter, training=training,
            prompt={"system": "Mood of the text."}, **sections,
        )
    )  # fmt: skip


def run(kind: str, *argv: str) -> int:
    return main(f"run_{kind}.py", kind, train, METHODS, list(argv))


def check_merged(folder: Path, kind: str) -> dict[str, Any]:
    """A complete run without adapter, whose weights plain transformers loads; gives its `run.json`."""
    merged = folder / "outputs/one_merged"
    names = {file.name for file in merged.iterdir()}
    assert names >= {
        "run.json", "recipe.yaml", "label_set.json", "input.json", "decision_rule.json", "metrics.json", "README.md",
        "splits.parquet", "predictions", "model.safetensors", "config.json", "tokenizer.json",
    }  # fmt: skip
    assert {file.stat().st_mode for file in merged.iterdir() if file.is_file()} == {
        (merged / "recipe.yaml").stat().st_mode
    }
    assert not any("adapter" in name or name.endswith(".bin") for name in names)
    settings = json.loads((merged / ("head.json" if kind == "seqcls" else "causal.json")).read_text())
    assert settings["base"] is None and settings["quantization"] is None
    assert "quantization_config" not in json.loads((merged / "config.json").read_text())
    manifest: dict[str, Any] = json.loads((merged / "run.json").read_text())
    assert manifest["name"] == "one_merged"
    assert manifest["notes"][-1] == "merged into float32 weights"
    before = json.loads((folder / "outputs/one/run.json").read_text())
    assert "merge" not in before["details"]
    assert manifest["split_fingerprints"] == before["split_fingerprints"]
    return manifest


@pytest.mark.parametrize("kind", ["seqcls", "sft"])
@pytest.mark.parametrize(
    "adapter", ["lora", "dora", *(pytest.param(one, marks=pytest.mark.slow) for one in ("rslora", "ia3"))]
)
def test_a_merged_run_predicts_as_the_run_did(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str], kind: str, adapter: str
) -> None:
    build = head_recipe if kind == "seqcls" else sft_recipe
    recipe = build(folder, tiny("qwen2", chat=True, scale=5), {"type": adapter})
    assert run(kind, recipe, "--merge") == 0
    shown = capsys.readouterr().out
    assert "merged into float32 weights: 100.0% of 12 validation rows decided as before, largest difference" in shown
    assert "warning: the merged run" not in shown
    manifest = check_merged(folder, kind)
    merge = manifest["details"]["merge"]
    assert (merge["split"], merge["rows"], merge["agreement"], merge["dtype"]) == ("validation", 12, 1.0, "float32")
    assert 0 < merge["largest_difference"] < 1e-4
    before, after = (load_predictor(f"outputs/{name}").predict_texts(TEXTS) for name in ("one", "one_merged"))
    assert before.decided == after.decided
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-4)


@pytest.mark.parametrize("architecture", ["bert", "deberta", "distilbert"])
def test_new_poolers_are_merged_as_they_were_trained(folder: Path, tiny: Tiny, architecture: str) -> None:
    assert run("seqcls", head_recipe(folder, tiny(architecture), {"type": "lora"}), "--merge") == 0
    assert check_merged(folder, "seqcls")["details"]["merge"]["largest_difference"] < 1e-5


def test_a_finished_run_is_merged_without_training(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = head_recipe(folder, tiny("bert"), {"type": "lora"})
    assert run("seqcls", recipe) == 0
    before = {path: path.read_bytes() for path in (folder / "outputs/one").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert run("seqcls", recipe, "--merge") == 0
    assert "nothing is trained" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in (folder / "outputs/one").rglob("*") if path.is_file()} == before
    check_merged(folder, "seqcls")
    assert run("seqcls", recipe, "--merge") == 2
    assert "outputs/one_merged: a merged run is here already; remove the folder" in capsys.readouterr().err
    assert run("seqcls", recipe, "--merge", "--overwrite") == 0


def test_a_finished_run_is_merged_into_its_base_where_that_is_now(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    base = folder / "base"
    shutil.copytree(tiny("bert"), base)
    recipe = head_recipe(folder, base, {"type": "ia3"})
    assert run("seqcls", recipe) == 0
    base.rename(folder / "moved")
    assert run("seqcls", recipe, "--merge") == 2
    assert capsys.readouterr().err.startswith(f"error: {base}: no such model folder")
    assert run("seqcls", recipe, "--merge", f"model.name_or_path={folder / 'moved'}") == 0
    assert check_merged(folder, "seqcls")["details"]["merge"]["largest_difference"] < 1e-5


def test_a_finished_run_of_another_recipe_is_not_merged(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = head_recipe(folder, tiny("bert"), {"type": "lora"})
    assert run("seqcls", recipe) == 0
    assert run("seqcls", recipe, "--merge", "seed=5") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: outputs/one/recipe.yaml: the finished run had another recipe")
    assert not (folder / "outputs/one_merged").exists()


def test_an_adapter_on_4_bit_weights_is_merged_into_whole_ones(folder: Path, tiny: Tiny) -> None:
    """Each merged matrix is the saved one of the base plus the adapter, not what NF4 made of it."""
    from safetensors.torch import load_file

    base = tiny("qwen2", chat=True, width=64, scale=5)
    recipe = sft_recipe(folder, base, {"type": "lora", "r": 4, "lora_alpha": 8}, quantization={"load_in_4bit": True})
    assert run("sft", recipe, "--merge") == 0
    manifest = check_merged(folder, "sft")
    assert manifest["notes"] == ["lora on 4-bit weights", "merged into float32 weights"]
    assert manifest["parameters"] == sum(v.numel() for v in load_file(base / "model.safetensors").values())
    whole, merged = load_file(base / "model.safetensors"), load_file(folder / "outputs/one_merged/model.safetensors")
    adapter = load_file(folder / "outputs/one/adapter_model.safetensors")
    name = "model.layers.0.mlp.up_proj"
    down, up = (adapter[f"base_model.model.{name}.lora_{side}.weight"].float() for side in "AB")
    expected = whole[f"{name}.weight"] + 2.0 * up @ down
    torch.testing.assert_close(merged[f"{name}.weight"], expected, rtol=1e-4, atol=1e-5)
    assert manifest["details"]["merge"]["largest_difference"] > 1e-4, "NF4 and whole weights are not the same base"


def test_a_merged_causal_model_generates_and_stops_by_itself(folder: Path, tiny: Tiny) -> None:
    """With plain transformers, from the merged folder alone."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    recipe = sft_recipe(
        folder, tiny("qwen2", chat=True, scale=5), {"type": "lora"},
        training={"num_train_epochs": 8, "load_best_model_at_end": False},  # scoring is at its best before writing is
    )  # fmt: skip
    assert run("sft", recipe, "--merge") == 0
    merged = str(folder / "outputs/one_merged")
    tokenizer, model = AutoTokenizer.from_pretrained(merged), AutoModelForCausalLM.from_pretrained(merged)
    turns = [{"role": "system", "content": "Mood of the text."}, {"role": "user", "content": "yyyy zzzz 3"}]
    inputs = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    new = model.generate(**inputs, max_new_tokens=30)[0, inputs["input_ids"].shape[1] :]
    assert tokenizer.decode(new) == "good<|im_end|>"


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (None, "--merge: the recipe has no adapter, so that there is nothing to merge"),
        ({"type": "prefix", "num_virtual_tokens": 4}, "--merge: adapter.type prefix learns tokens before the text"),
        ({"type": "prompt", "num_virtual_tokens": 4}, "--merge: adapter.type prompt learns tokens before the text"),
        ({"type": "p_tuning", "num_virtual_tokens": 4}, "--merge: adapter.type p_tuning learns tokens"),
        ({"type": "lora", "lora_bias": True}, "--merge: adapter.type lora as it is here cannot become part of the"),
    ],
)
def test_what_cannot_be_merged_is_refused_before_training(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str], adapter: dict[str, Any] | None, said: str
) -> None:
    recipe = sft_recipe(folder, tiny("qwen2", chat=True), adapter)
    capsys.readouterr()  # of building the model, where no other test has
    assert run("sft", recipe, "--merge") == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}") and error.count("\n") == 1
    assert not (folder / "outputs").exists()


def test_a_dry_run_refuses_an_adapter_that_training_would_stumble_over(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = sft_recipe(folder, tiny("qwen2", chat=True), {"type": "lora", "target_modules": ["lm_head"]})
    capsys.readouterr()
    assert run("sft", recipe, "--dry-run") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: adapter: the output layer (lm_head) cannot have an adapter")
    assert error.count("\n") == 1 and not (folder / "outputs").exists()


def write_predictions(folder: Path, split: str = "validation", **columns: Any) -> Path:
    rows = len(next(iter(columns.values())))
    table = {"predicted": [["a"]] * rows, "valid": [True] * rows, "probabilities": [None] * rows, **columns}
    (folder / "predictions").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), folder / f"predictions/{split}.parquet")
    return folder


def test_runs_that_differ_are_warned_of(tmp_path: Path) -> None:
    before = write_predictions(tmp_path / "a", predicted=[["a"]] * 50, probabilities=[[0.9, 0.1]] * 50)
    after = write_predictions(
        tmp_path / "b", predicted=[["a"]] * 49 + [["b"]], probabilities=[[0.9, 0.1]] * 49 + [[0.4, 0.6]]
    )
    comparison = compare(before, after, "bfloat16", False)
    assert comparison.agreement == 0.98
    assert comparison.largest_difference == pytest.approx(0.5)
    first, warning = comparison.lines()
    assert first == (
        "merged into bfloat16 weights: 98.0% of 50 validation rows decided as before, largest difference 0.5"
    )
    assert warning.startswith("warning: the merged run decides 2.0% of the rows otherwise")


@pytest.mark.parametrize(
    ("after", "log_loss", "warned"),
    [
        ([0.899, 0.101], (0.3, 0.3), False),
        ([0.6, 0.4], (0.3, 0.3), True),
        ([0.9, 0.1], (3.1, 8.4), True),
    ],
    ids=["the-same", "other-probabilities", "another-log-loss"],
)
def test_runs_that_decide_alike_with_other_probabilities_are_warned_of(
    tmp_path: Path, after: list[float], log_loss: tuple[float, float], warned: bool
) -> None:
    folders = [
        write_predictions(tmp_path / name, predicted=[["a"]] * 50, probabilities=[row] * 50)
        for name, row in (("a", [0.9, 0.1]), ("b", after))
    ]
    for folder, value in zip(folders, log_loss, strict=True):
        (folder / "metrics.json").write_text(json.dumps({"validation": {"log_loss": value}}))
    comparison = compare(*folders, "float32", False)
    assert comparison.agreement == 1.0
    expected = sum(p * np.log(p / q) for p, q in zip([0.9, 0.1], after, strict=True))
    assert comparison.divergence == pytest.approx(expected, abs=1e-9)
    first, *warnings = comparison.lines()
    assert first.endswith(f"log loss {log_loss[0]:.3f} -> {log_loss[1]:.3f}")
    assert [line.startswith("warning: the merged run decides alike") for line in warnings] == [True] * warned


def test_an_answer_that_turned_invalid_counts_as_another(tmp_path: Path) -> None:
    before = write_predictions(tmp_path / "a", predicted=[["a"], []], valid=[True, True])
    after = write_predictions(tmp_path / "b", predicted=[["a"], []], valid=[True, False])
    comparison = compare(before, after, "float32", False)
    assert (comparison.agreement, comparison.largest_difference) == (0.5, None)


def test_scores_are_compared_by_their_spread_on_test_where_there_is_no_validation(tmp_path: Path) -> None:
    before = write_predictions(tmp_path / "a", "test", score=[1.0, 2.0, 5.0, float("nan")])
    after = write_predictions(tmp_path / "b", "test", score=[1.03, 2.5, 5.0, float("nan")])
    comparison = compare(before, after, "float32", True)
    assert (comparison.split, comparison.agreement) == ("test", 0.75)
    assert comparison.largest_difference == pytest.approx(0.5)
    assert compare(tmp_path, tmp_path, "float32", True).agreement is None
