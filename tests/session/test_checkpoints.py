"""A checkpoint in a run folder is read as that run at that step; without `keep_checkpoints` a finished run has none."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from categorize import load_predictor
from categorize.errors import UserError
from categorize.evaluate import evaluate
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_collection, write_recipe

Tiny = Callable[..., Path]
TEXTS = ["good movie", "讨厌 这个 视频", "bad bad label"]
# Target scaling and cleaning, which a checkpoint by itself does not know.
SCORES: dict[str, Any] = {
    "data": {"columns": {"id": "id", "text": "text", "label": "score"}, "cleaning": ["nfkc", "urls"]},
    "labels": {"task": "regression", "names": None, "minimum": 1.0, "maximum": 5.0},
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv", 80)
    return tmp_path


def best_and_other(run: str) -> tuple[str, str]:
    """The checkpoint whose weights the run has, and another one."""
    best = f"checkpoint-{json.loads(Path(run, 'run.json').read_text())['details']['best_step']}"
    names = [path.name for path in Path(run, "checkpoints").iterdir()]
    assert best in names and len(names) == 2
    return f"{run}/checkpoints/{best}", f"{run}/checkpoints/{next(name for name in names if name != best)}"


def answers(path: str) -> Any:
    predictions = load_predictor(path).predict_texts(TEXTS)
    return predictions.score if predictions.score is not None else predictions.probabilities


def test_a_checkpoint_predicts_as_its_run_did_at_that_step(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    model = {"name_or_path": str(tiny("bert")), "pooling": "mean", "max_length": 12}
    recipe = write_recipe(folder / "one.yaml", model=model, **SCORES)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe), "training.keep_checkpoints=true"]) == 0
    best, other = best_and_other("outputs/one")
    expected = answers("outputs/one")
    np.testing.assert_array_equal(answers(best), expected)
    assert not np.allclose(answers(other), expected)
    table = write_recipe(
        folder / "t.yaml", kind="eval", evaluation={"runs": ["outputs/one", best, other]}, training=None, **SCORES
    )
    assert main("run_eval.py", "eval", evaluate, METHODS, [str(table)]) == 0
    step = Path(best).name.removeprefix("checkpoint-")
    runs = {one["name"]: one for one in json.loads(Path("outputs/t/report.json").read_text())["runs"]}
    at_step = runs[f"one at step {step}"]
    assert at_step["metrics"]["mae"] == runs["one"]["metrics"]["mae"]
    assert 0 < at_step["training_seconds"] <= runs["one"]["training_seconds"]
    steps = json.loads(Path("outputs/one/run.json").read_text())["details"]["steps"]
    where = f"checkpoint at step {step} of {steps}"
    assert at_step["notes"] == [f"{where}, decided by the rule of the finished run"]

    # The same of a run that is not finished.
    unfinished = Path("outputs/one").rename("outputs/one.incomplete")
    for name in ("run.json", "decision_rule.json", "model.safetensors", "config.json"):
        (unfinished / name).unlink()
    early = load_predictor(str(unfinished / "checkpoints" / Path(best).name))
    np.testing.assert_array_equal(early.predict_texts(TEXTS).score, expected)
    assert early.name == f"one at step {step}" and early.fingerprints.keys() >= {"validation", "test"}
    assert early.notes == [f"{where}; the run is not finished, no decision rule is fitted yet"]

    outside = shutil.copytree(unfinished / "checkpoints" / Path(best).name, folder / "outside")
    with pytest.raises(UserError, match="outside: a checkpoint without its run"):
        load_predictor(str(outside))
    (unfinished / "checkpoints" / Path(other).name / "complete.json").unlink()
    with pytest.raises(UserError, match="was not written to the end"):
        load_predictor(str(unfinished / "checkpoints" / Path(other).name))


def test_an_adapters_checkpoint_is_asked_by_its_runs_prompt(folder: Path, tiny: Tiny) -> None:
    recipe = write_recipe(
        folder / "one.yaml",
        kind="sft",
        model={"name_or_path": str(tiny("qwen2", chat=True)), "max_length": 200},
        prompt={"system": "Say the mood.", "completion": "codes"},
        adapter={"type": "lora"},
        training={"keep_checkpoints": True, "activation_checkpointing": False},
    )
    assert main("run_sft.py", "sft", train, METHODS, [str(recipe)]) == 0
    best, other = best_and_other("outputs/one")
    np.testing.assert_array_equal(answers(best), answers("outputs/one"))
    assert not np.allclose(answers(other), answers("outputs/one"))


def test_a_finished_run_keeps_no_checkpoints_unless_told(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(folder / "one.yaml", model={"name_or_path": str(tiny("bert"))})
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe)]) == 0
    assert not Path("outputs/one/checkpoints").exists() and Path("outputs/one/model.safetensors").is_file()
    shown = capsys.readouterr().out
    assert "deleted 2 checkpoints (" in shown and "training.keep_checkpoints: true keeps them" in shown
