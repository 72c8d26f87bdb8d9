"""What a dry run says of steps, memory and time is what the training then takes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from categorize.training import costs
from categorize.training.rehearsal import rehearse
from tests.session.collections import write_collection, write_recipe
from tests.training.tiny_sft import build_sft_trainer
from tests.training.tiny_training import build_trainer

Tiny = Callable[..., Path]


@pytest.mark.parametrize(
    "training",
    [
        {"eval_strategy": "epoch"},
        {"eval_strategy": "epoch", "num_train_epochs": 0.5},
        {"eval_strategy": "steps", "eval_steps": 4, "eval_on_start": True},
        {"eval_strategy": "steps", "eval_steps": 0.3, "eval_delay": 4},
        {"eval_strategy": "epoch", "max_steps": 1, "lr_scheduler_type": "linear"},
        {"eval_strategy": "no"},
    ],
    ids=["epochs", "half-an-epoch", "on-start", "shares", "one-step", "never"],
)
def test_steps_and_validations_are_those_of_the_training(tiny: Tiny, tmp_path: Path, training: dict[str, Any]) -> None:
    def trainer() -> Any:
        return build_trainer(str(tiny("bert")), str(tmp_path), 2, 2, rows=13, **training)

    rehearsed = trainer()
    rehearsed.seen_rows = []
    measured = rehearse(rehearsed)
    trained = trainer()
    trained.train()
    assert measured.steps == trained.state.global_step
    assert measured.validations == sum("eval_loss" in entry for entry in trained.state.log_history)
    lengths = rehearsed.rows.lengths
    longest = {int(row) for row in np.argsort(-lengths, kind="stable")[:2]}
    assert measured.batch == (2, lengths.max()) and set(rehearsed.seen_rows[:4]) == longest
    assert (measured.validation > 0) == (measured.validations > 0) and measured.training > 0
    assert not list(tmp_path.glob("checkpoint*"))


def test_a_causal_model_is_rehearsed_with_the_answers_of_a_batch(tiny: Tiny, tmp_path: Path) -> None:
    trainer = build_sft_trainer(str(tiny("qwen2")), str(tmp_path), 4, 1, eval_strategy="epoch")
    asked: list[int] = []
    answer = trainer.predict_rows
    trainer.predict_rows = lambda model, rows: asked.append(len(rows)) or answer(model, rows)
    measured = rehearse(trainer)
    assert (measured.steps, measured.validations) == (12, 2)
    assert asked == [5, 5] and measured.row_seconds > 0


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (
            "CUDA out of memory. Tried to allocate 2.00 GiB",
            r"^training\.per_device_train_batch_size: .*\(4 rows of 28 t",
        ),
        ("some kernel\nis not implemented", r"^training: a step .* fails: some kernel is not implemented$"),
    ],
)
def test_a_step_that_fails_is_one_line(tiny: Tiny, tmp_path: Path, raised: str, message: str) -> None:
    trainer = build_trainer(str(tiny("bert")), str(tmp_path), 4, 1)

    def fail(*_: Any) -> None:
        raise RuntimeError(raised)

    trainer.model.register_forward_hook(fail)
    with pytest.raises(UserError, match=message) as caught:
        rehearse(trainer)
    assert "\n" not in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    return tmp_path


def regression(folder: Path, model: Path, **training: Any) -> str:
    return str(
        write_recipe(
            folder / "score.yaml",
            model={"name_or_path": str(model)},
            data={"columns": {"id": "id", "text": "text", "label": "score"}},
            labels={"task": "regression", "names": None, "minimum": 1.0, "maximum": 5.0},
            training=training,
        )
    )


def test_half_an_epoch_of_a_regression_shows_its_steps_and_a_score(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = regression(folder, tiny("bert"), num_train_epochs=0.5)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"its score: (3\.5|3\.75|1\.5);", shown)
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe]) == 0
    steps = json.loads((folder / "outputs/score/run.json").read_text())["details"]["steps"]
    assert f"optimizer steps: {steps} of 8 rows" in shown


def test_a_model_that_is_slow_here_is_estimated_and_said_to_be(
    folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(costs, "LONGEST_STEP", 0.0)
    recipe = str(write_recipe(folder / "one.yaml", model={"name_or_path": str(tiny("bert"))}))
    assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe, "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert "neither is measured: a step would take about" in shown and "memory, estimated:" in shown
    assert "measured:" not in shown.replace("neither is measured:", "")


PEAK = """
import os, sys
pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, *sys.argv[1:]])
_, status, usage = os.wait4(pid, 0)
print("peak", usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available() or sys.platform != "linux", reason="of a process without a GPU")
def test_the_measured_memory_is_that_of_the_run(folder: Path, tiny: Tiny, root: Path) -> None:
    """Activations of 64 rows of 128 tokens outweigh libraries and data; the rule of thumb said a quarter."""
    with (folder / "rows.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"long{i},{'good movie ' * 70}{i},good,good,3.5\n" for i in range(300))
    recipe = str(write_recipe(folder / "one.yaml", model={"name_or_path": str(tiny("bert", width=256))}))
    command = [str(root / "run_seqcls.py"), recipe, "training.per_device_train_batch_size=64"]

    def run(*flags: str) -> tuple[float, str]:
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *command, *flags],
            capture_output=True,
            text=True,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout.split("peak ")[-1]) / 2**20, done.stdout

    _, shown = run("--dry-run")
    said = re.search(r"memory, measured: ([\d.]+) GiB", shown)
    peak, _ = run()
    assert said is not None
    assert 0.8 * peak < float(said[1]) < 1.2 * peak
