"""More labels than a prompt or a context holds are one line before weights are read: the models here have none."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from categorize.evaluate import evaluate
from categorize.label import label
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train

Tiny = Callable[..., Path]
SAVED = Path(__file__).parents[1] / "runs/saved"
MANY = [f"label number {i}" for i in range(400)]
DATA = {"source": "rows.csv", "columns": {"text": "text", "label": "label"}}


@pytest.fixture
def place(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with rows, and models without weights: `decoder` and `encoder`, which read 512 and 128 tokens, and
    `run`, a causal model that was tuned on two labels; `first` is a run as it should be."""
    monkeypatch.chdir(tmp_path)
    rows = [f"row {i},{MANY[i % 400]}" for i in range(1200)]
    Path("rows.csv").write_text("text,label\n" + "\n".join(rows) + "\n")
    Path("open.csv").write_text("text\n" + "".join(f"row {i}\n" for i in range(9)))
    for name, model in (("decoder", tiny("qwen2", chat=True)), ("encoder", tiny("bert")), ("run", SAVED / "sft")):
        shutil.copytree(model, name, ignore=shutil.ignore_patterns("*.safetensors"))
    shutil.copytree(SAVED / "tfidf", "first")
    for manifest in (Path("run/run.json"), Path("first/run.json")):  # trained on no split that could have been seen
        manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"split_fingerprints": {}}))
    return tmp_path


def refused(capsys: pytest.CaptureFixture[str], kind: str, story: Any, recipe: dict[str, Any], *flags: str) -> str:
    """What a recipe ends with: one line."""
    Path("recipe.yaml").write_text(json.dumps({"kind": kind, "name": "x", "output_dir": "out/x", **recipe}))
    assert main(f"run_{kind}.py", kind, story, METHODS, ["recipe.yaml", *flags]) == 2
    said, error = capsys.readouterr()
    assert "documents/s" not in said, "nothing was predicted"
    assert error.count("\n") == 1 and not list(Path().glob("out/x*/*.safetensors"))
    return error


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ({}, r"instruction and answer take [\d,]+ tokens, max_length is 512"),
        ({"system": "Say it.", "completion": "codes"}, "single-token codes for 400 labels"),
    ],
)
def test_in_tuning_a_causal_model(
    place: Path, capsys: pytest.CaptureFixture[str], flags: list[str], prompt: dict[str, Any], said: str
) -> None:
    recipe = {"data": DATA, "labels": {"names": MANY}, "model": {"name_or_path": "decoder"}, "prompt": prompt}
    error = refused(capsys, "sft", train, recipe, *flags)
    assert re.search(said, error), error


def test_in_training_a_head_that_reads_prompts(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = {"name_or_path": "encoder"}
    recipe = {"data": DATA, "labels": {"names": MANY}, "model": model, "prompt": {"system": "One of:\n{labels}"}}
    assert "max_length is 128" in refused(capsys, "seqcls", train, recipe)


@pytest.mark.parametrize("flags", [[], ["--dry-run"]])
@pytest.mark.parametrize(("model", "longest"), [("decoder", 512), ("run", 30)])
def test_in_an_evaluation_before_its_first_run_predicts(
    place: Path, capsys: pytest.CaptureFixture[str], flags: list[str], model: str, longest: int
) -> None:
    runs = [{"run": "first"}, {"run": model}]
    names = {"names": [*MANY, "good", "bad"]}
    measured = {"runs": runs, "bootstrap": 0, "unseen_labels": "measure"}
    recipe = {"data": DATA, "labels": names, "evaluation": measured}
    error = refused(capsys, "eval", evaluate, recipe, *flags)
    assert f"max_length is {longest}; raise it" in error and "prediction.candidates" in error


def test_in_an_evaluation_candidates_are_as_many_as_fit(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measured = {"runs": [{"run": "decoder"}], "bootstrap": 0}
    recipe = {"data": DATA, "labels": {"names": MANY}, "evaluation": measured}
    for top, said in ((300, "max_length is 512"), (2, "cannot load the model")):
        narrowed = {**recipe, "prediction": {"candidates": {"top": top}}}
        assert said in refused(capsys, "eval", evaluate, narrowed)


@pytest.mark.parametrize(
    ("teacher", "said"),
    [
        ({"type": "local", "name_or_path": "decoder"}, "decoder reads 512; shorten prompt.system"),
        ({"type": "local", "name_or_path": "decoder", "mode": "scoring"}, "max_length is 512"),
        ({"type": "run", "run": "run"}, "max_length is 30"),
    ],
)
def test_in_labelling(place: Path, capsys: pytest.CaptureFixture[str], teacher: dict[str, Any], said: str) -> None:
    data = {"source": "open.csv", "columns": {"text": "text", "label": None}}
    recipe = {"data": data, "labels": {"names": MANY}, "labeling": {"teacher": teacher}}
    assert said in refused(capsys, "label", label, recipe)
