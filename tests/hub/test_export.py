"""A run exported for other tools gives what the run gives, and says how far it is off."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from categorize import load_predictor
from categorize.export import main as export
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_collection, write_recipe

pytestmark = pytest.mark.slow
Tiny = Callable[..., Path]
TEXTS = ["good movie 1", "bad text bad 讨厌 2", ""]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    return tmp_path


def trained(folder: Path, base: Path, **sections: Any) -> None:
    described = {"name_or_path": str(base), **sections.pop("model", {})}
    recipe = write_recipe(folder / "one.yaml", model=described, **sections)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe), "training.max_steps=4"]) == 0


SEVERAL: dict[str, Any] = {
    "data": {"columns": {"id": "id", "text": "text", "label": "moods"}},
    "labels": {"task": "multi_label", "names": ["good", "bad", "late"]},
}


@pytest.mark.parametrize(
    ("architecture", "sections"),
    [("bert", {"model": {"pooling": "mean"}}), ("qwen2", {"adapter": {"type": "lora"}, **SEVERAL})],
)
def test_a_head_in_onnx_runtime_gives_the_probabilities_of_the_run(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str], architecture: str, sections: dict[str, Any]
) -> None:
    """With nothing but the folder: the graph, and the tokenizer as stock transformers reads it."""
    import onnxruntime
    from transformers import AutoTokenizer

    trained(folder, tiny(architecture, scale=3), **sections)
    capsys.readouterr()
    assert export(["outputs/one", "--to", "onnx"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"compared on \d+ texts: largest difference \S+, 0\.0% of them decided otherwise", said)
    written = folder / "outputs/one_onnx"
    tokenizer = AutoTokenizer.from_pretrained(written)
    inputs = tokenizer(TEXTS[:2], padding=True, return_tensors="np")
    session = onnxruntime.InferenceSession(str(written / "model.onnx"))
    (logits,) = session.run(["logits"], {name: inputs[name] for name in ("input_ids", "attention_mask")})
    several = "labels" in sections
    found = 1 / (1 + np.exp(-logits)) if several else np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(found, load_predictor("outputs/one").predict_texts(TEXTS[:2]).probabilities, atol=1e-5)
    names = json.loads((written / "config.json").read_text())["id2label"]
    assert list(names.values()) == json.loads((folder / "outputs/one/run.json").read_text())["labels"]
    assert export(["outputs/one", "--to", "onnx"]) == 2
    assert "outputs/one_onnx: is there already" in capsys.readouterr().err


def test_what_is_not_a_head_is_refused_in_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(folder / "one.yaml", model={"method": "tfidf"}, training=None)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe)]) == 0
    capsys.readouterr()
    assert export(["outputs/one", "--to", "onnx"]) == 2
    assert capsys.readouterr().err == (
        "error: outputs/one: method tfidf is not exported to ONNX; heads on encoders and decoders are\n"
    )
    assert export(["outputs/one", "--to", "merged"]) == 2
    assert "the recipe has no adapter" in capsys.readouterr().err


def test_a_run_is_merged_into_half_precision_and_says_how_many_rows_it_decides_otherwise(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    from safetensors import safe_open

    trained(folder, tiny("bert", scale=3), adapter={"type": "lora"})
    capsys.readouterr()
    assert export(["outputs/one", "--to", "merged", "--dtype", "bfloat16"]) == 0
    said = capsys.readouterr().out
    share = re.search(r"merged into bfloat16 weights: ([\d.]+)% of 12 validation rows decided as before", said)
    assert share is not None
    told = json.loads((folder / "outputs/one_merged/run.json").read_text())["details"]["merge"]
    assert told["dtype"] == "bfloat16" and f"{told['agreement']:.1%}" == f"{share[1]}%"
    with safe_open(folder / "outputs/one_merged/model.safetensors", "np") as weights:
        assert {weights.get_slice(key).get_dtype() for key in weights.keys()} == {"BF16"}  # noqa: SIM118
    assert json.loads((folder / "outputs/one_merged/head.json").read_text())["base"] is None
