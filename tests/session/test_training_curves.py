"""Every training by steps leaves its curves; the command draws a run anew, an interrupted one too."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from categorize import training_curves
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from tests.session.collections import write_collection, write_recipe


@pytest.fixture
def trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Path]) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv", rows=120)
    model = {"name_or_path": str(tiny("bert"))}
    write_recipe(tmp_path / "one.yaml", model=model)
    more = ["training.logging_steps=1", "training.num_train_epochs=2", "training.keep_checkpoints=true"]
    assert main("run_seqcls.py", "seqcls", train, METHODS, ["one.yaml", *more]) == 0
    return tmp_path / "outputs/one"


def test_a_run_has_its_curves_and_the_command_draws_them_anew(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    svg = (trained / "training.svg").read_text(encoding="utf-8")
    for text in ("loss", "training", "validation", "validation macro-F1", "learning rate", "rows/s", "optimizer step"):
        assert f">{text}</text>" in svg
    log = json.loads((trained / "training_log.json").read_text(encoding="utf-8"))
    speeds = [entry["rows_per_second"] for entry in log if "loss" in entry]
    assert len(speeds) > 2 and all(speed > 0 for speed in speeds)
    (trained / "training.svg").unlink()
    assert training_curves.main([str(trained)]) == 0
    assert (trained / "training.svg").read_text(encoding="utf-8") == svg
    assert (trained / "training.png").read_bytes().startswith(b"\x89PNG")
    # As an interrupted run has it: checkpoints beside the place of the run.
    shutil.move(trained, trained.with_name("one.incomplete"))
    (trained.with_name("one.incomplete") / "training_log.json").unlink()
    trained.mkdir()
    assert training_curves.main([str(trained)]) == 0
    assert (trained / "training.svg").exists()


def test_what_has_no_curves_is_told(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert training_curves.main([str(trained.parent)]) == 2
    assert "no log of a training (training_log.json)" in capsys.readouterr().err
    (trained / "training_log.json").write_text('[{"loss": 1.0, "step": 1}]')
    assert training_curves.main([str(trained)]) == 2
    assert "fewer than two losses were logged" in capsys.readouterr().err


def test_a_picture_that_cannot_be_drawn_costs_no_run(trained: Path) -> None:
    (trained / "training.svg").unlink()
    (trained / "training.svg").mkdir()
    why = training_curves.written_into(trained)
    assert why is not None and why.startswith("no picture of the training: ")
