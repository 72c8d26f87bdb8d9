"""Power cuts and full disks: a killed run is continued to the same end, and what was there before stays whole."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file, save_file

from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.train import train
from categorize.training.checkpoints import has_checkpoints, mark_complete
from tests.forks import Script
from tests.session.collections import write_collection, write_recipe

Tiny = Callable[..., Path]
TRAINING = {
    "num_train_epochs": 4,
    "per_device_train_batch_size": 4,
    "learning_rate": 1e-3,
    "use_cpu": True,
    "save_strategy": "steps",
    "save_steps": 10,
    "eval_strategy": "steps",
    "eval_steps": 10,
}


def script(folder: Path, *arguments: str, file_limit: int | None = None) -> Script:
    return Script("run_seqcls.py", *arguments, folder=folder, file_limit=file_limit)


def finish(process: Script, status: int = 0) -> tuple[str, str]:
    found, out, err = process.end()
    assert found == status, out + err
    return out, err


def killed_behind_a_checkpoint(process: Script, checkpoints: Path, how: signal.Signals) -> str:
    """Stop the process once it has written a checkpoint whole; gives what it said on stderr."""
    deadline = time.monotonic() + 200
    while not list(checkpoints.glob("checkpoint-*/complete.json")) and time.monotonic() < deadline:
        assert process.is_running(), process.end()
        time.sleep(0.01)
    process.kill(how)
    return finish(process, status=75 if how == signal.SIGTERM else -how)[1]


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_is_resumed_to_the_weights_of_the_uninterrupted_one(
    tiny: Tiny, tmp_path: Path, how: signal.Signals
) -> None:
    """`kill -9` in the middle, as a power cut, or told to stop; dropout is on, so generators are part of the state."""
    write_collection(tmp_path / "rows.csv")
    recipe = write_recipe(tmp_path / "one.yaml", model={"name_or_path": str(tiny("roberta"))}, training=TRAINING)
    finish(script(tmp_path, recipe.name, "output_dir=outputs/whole"))
    checkpoints = tmp_path / "outputs/one.incomplete/checkpoints"
    error = killed_behind_a_checkpoint(script(tmp_path, recipe.name), checkpoints, how)
    if how == signal.SIGTERM:
        assert re.search(
            r"checkpoint-\d+: training was stopped by SIGTERM behind step .* with --resume goes on\n$", error
        )
    assert not (tmp_path / "outputs/one").exists()
    done = {path.parent.name for path in checkpoints.glob("checkpoint-*/complete.json")}
    assert done and "checkpoint-88" not in done, "killed before the end"
    _, error = finish(script(tmp_path, recipe.name), status=2)
    assert "an interrupted run is here; continue it with --resume" in error
    _, error = finish(script(tmp_path, recipe.name, "--resume", "training.learning_rate=5e-3"), status=2)
    assert "another recipe" in error and "learning_rate: 0.005" in error
    out, _ = finish(script(tmp_path, recipe.name, "--resume"))
    assert "resuming from checkpoint-" in out
    whole, resumed = (load_file(tmp_path / "outputs" / name / "model.safetensors") for name in ("whole", "one"))
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert (value == resumed[name]).all(), name
    manifest = json.loads((tmp_path / "outputs/one/run.json").read_text())
    assert manifest["details"]["resumed_from"].startswith("checkpoint-")


@pytest.mark.slow
def test_a_recipe_may_resume_by_itself(tiny: Tiny, tmp_path: Path) -> None:
    write_collection(tmp_path / "rows.csv", 60)
    training = {**TRAINING, "num_train_epochs": 2, "save_steps": 5, "eval_steps": 5, "resume": "auto"}
    recipe = write_recipe(tmp_path / "one.yaml", model={"name_or_path": str(tiny("bert"))}, training=training)
    checkpoints = tmp_path / "outputs/one.incomplete/checkpoints"
    killed_behind_a_checkpoint(script(tmp_path, recipe.name), checkpoints, signal.SIGKILL)
    out, _ = finish(script(tmp_path, recipe.name))
    assert "resuming from checkpoint-" in out
    assert (tmp_path / "outputs/one/run.json").exists()


def power_cut() -> None:
    raise KeyboardInterrupt


def interrupted(
    tiny: Callable[[str], Path],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    flags: Sequence[str] = (),
    stop: Callable[[], None] = power_cut,
    status: int = 130,
    sections: Mapping[str, Any] | None = None,
    **training: Any,
) -> list[str]:
    """A run of `rows.csv` in `folder` stopped behind its second checkpoint; gives how to start it again."""
    write_collection(folder / "rows.csv", 60)
    settings = {"num_train_epochs": 4, "save_strategy": "steps", "save_steps": 2, "eval_strategy": "no", **training}
    model = {"name_or_path": str(tiny("bert"))}
    recipe = write_recipe(folder / "one.yaml", model=model, training=settings, **(sections or {}))

    def mark(checkpoint: Path) -> None:
        mark_complete(checkpoint)
        if checkpoint.name == "checkpoint-4":
            stop()

    monkeypatch.chdir(folder)
    with monkeypatch.context() as patch:
        patch.setattr("categorize.training.step_batches.mark_complete", mark)
        assert main("run_seqcls.py", "seqcls", train, METHODS, [recipe.name, *flags]) == status
    return [recipe.name, "--resume"]


def test_a_resumed_run_ends_though_training_deletes_the_checkpoint_it_began_from(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = interrupted(tiny, tmp_path, monkeypatch, save_total_limit=1)
    assert main("run_seqcls.py", "seqcls", train, METHODS, again) == 0
    assert not (tmp_path / "outputs/one/checkpoints/checkpoint-4").exists()
    manifest = json.loads((tmp_path / "outputs/one/run.json").read_text())
    assert manifest["details"]["resumed_from"] == "checkpoint-4"


def test_what_a_resumed_run_took_is_that_of_all_its_starts(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps, rows, tokens and loss are those of a run that was never interrupted, and time is summed."""
    again = interrupted(tiny, tmp_path, monkeypatch, balance="downsample")
    checkpoint = tmp_path / "outputs/one.incomplete/checkpoints/checkpoint-4"
    seconds = json.loads((checkpoint / "progress.json").read_text())["seconds"]
    assert seconds > 0
    (checkpoint / "progress.json").write_text(
        (checkpoint / "progress.json").read_text().replace(str(seconds), f"{seconds + 1000}")
    )
    (checkpoint / "complete.json").unlink()
    mark_complete(checkpoint)
    assert main("run_seqcls.py", "seqcls", train, METHODS, again) == 0
    assert main("run_seqcls.py", "seqcls", train, METHODS, [again[0], "output_dir=outputs/whole"]) == 0
    one, whole = (json.loads((tmp_path / f"outputs/{name}/run.json").read_text()) for name in ("one", "whole"))
    counted = ("rows", "rows_an_epoch", "tokens")
    assert [one["training"][name] for name in counted] == [whole["training"][name] for name in counted]
    assert one["training"]["rows"] == 4 * one["training"]["rows_an_epoch"] < 4 * one["rows"]["train"]
    assert one["details"]["train_loss"] == pytest.approx(whole["details"]["train_loss"], rel=1e-6)
    assert one["training"]["seconds"] > 1000 + seconds and one["seconds"] > one["training"]["seconds"]
    assert (one["details"]["starts"], whole["details"]["starts"]) == (2, 1)


def test_a_run_is_continued_in_another_place_with_another_prediction(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Comments, the place and what comes after training make no difference; what training reads is one."""
    again = interrupted(tiny, tmp_path, monkeypatch)
    (tmp_path / "disk").mkdir()
    shutil.copytree(tmp_path / "outputs/one.incomplete", tmp_path / "disk/two.incomplete")
    shutil.rmtree(tmp_path / "outputs")
    (tmp_path / "rows.csv").rename(tmp_path / "disk/rows.csv")
    recipe = tmp_path / "one.yaml"
    recipe.write_text("# a comment\n" + recipe.read_text(encoding="utf-8"), encoding="utf-8")
    changed = [
        "output_dir=disk/two", "data.source=disk/rows.csv", "prediction.batch_size=3", "training.resume=auto",
        "decision.calibration=temperature",
    ]  # fmt: skip
    capsys.readouterr()
    assert main("run_seqcls.py", "seqcls", train, METHODS, [*again, *changed, "training.learning_rate=1e-5"]) == 2
    said = "the interrupted run had another recipe (training.learning_rate: 1.0e-05, was 0.005); undo the change"
    assert said in capsys.readouterr().err
    assert main("run_seqcls.py", "seqcls", train, METHODS, [again[0], *changed]) == 0
    assert "batch_size: 3" in (tmp_path / "disk/two/recipe.yaml").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "disk/two/run.json").read_text())["details"]["resumed_from"] == "checkpoint-4"


def test_an_adapter_is_not_continued_on_another_base(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    base = shutil.copytree(tiny("bert"), tmp_path / "base")
    again = interrupted(lambda _: base, tmp_path, monkeypatch, sections={"adapter": {"type": "lora"}})
    before = (base / "model.safetensors").read_bytes()
    weights = load_file(base / "model.safetensors")
    save_file({name: value + 0.01 for name, value in weights.items()}, base / "model.safetensors", {"format": "pt"})
    assert main("run_seqcls.py", "seqcls", train, METHODS, again) == 2
    assert "base: its weights are not those that the interrupted run began with" in capsys.readouterr().err
    (base / "model.safetensors").write_bytes(before)
    assert main("run_seqcls.py", "seqcls", train, METHODS, again) == 0
    assert len(json.loads((tmp_path / "outputs/one/run.json").read_text())["details"]["base_fingerprint"]) == 64


def test_a_run_that_is_told_to_stop_is_continued_and_not_put_in_place(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = lambda: os.kill(os.getpid(), signal.SIGTERM)  # noqa: E731
    again = interrupted(tiny, tmp_path, monkeypatch, stop=told, status=75)
    error = capsys.readouterr().err
    assert "checkpoint-5: training was stopped by SIGTERM behind step 5 of " in error and "--resume" in error
    assert not (tmp_path / "outputs/one").exists()
    assert main("run_seqcls.py", "seqcls", train, METHODS, again) == 0
    assert json.loads((tmp_path / "outputs/one/run.json").read_text())["details"]["resumed_from"] == "checkpoint-5"


def test_a_run_that_is_started_twice_is_refused_while_the_first_writes_it(tmp_path: Path) -> None:
    from categorize.errors import UserError
    from categorize.runs.folder import RunWriter

    code = (
        "import sys, time\nfrom categorize.runs.folder import RunWriter\n"
        "RunWriter(sys.argv[1], 'seed: 1\\n').stage('label_set.json').write_text('{}')\n"
        "print('writing', flush=True)\ntime.sleep(60)\n"
    )
    first = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True)
    assert first.stdout is not None and first.stdout.readline() == "writing\n"
    for overwrite in (False, True):
        with pytest.raises(UserError, match="another process is writing this run"):
            RunWriter(tmp_path / "run", "seed: 1\n", overwrite=overwrite)
    assert (tmp_path / "run.incomplete/label_set.json").exists()
    first.kill()
    first.communicate()
    RunWriter(tmp_path / "run", "seed: 1\n", holds_work=has_checkpoints)
    RunWriter(tmp_path / "run", "seed: 1\n", holds_work=has_checkpoints).commit({"name": "again", "method": "tfidf"})
    assert (tmp_path / "run/run.json").exists()


def test_a_run_without_the_optimizers_state_is_not_continued(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would go on with another learning rate and end with other weights."""
    again = interrupted(tiny, tmp_path, monkeypatch, save_only_model=True)
    assert main("run_seqcls.py", "seqcls", train, METHODS, again) == 2
    assert "checkpoint-4: training.save_only_model left out the optimizer" in capsys.readouterr().err


def test_an_interrupted_replacement_of_a_finished_run_is_continued(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from categorize.runs.folder import RunWriter

    RunWriter(tmp_path / "outputs/one", "seed: 1\n").commit({"name": "old", "method": "tfidf"})
    again = interrupted(tiny, tmp_path, monkeypatch, flags=["--overwrite"])
    assert main("run_seqcls.py", "seqcls", train, METHODS, again) == 2
    assert "replace it with --overwrite --resume" in capsys.readouterr().err
    assert main("run_seqcls.py", "seqcls", train, METHODS, [*again, "--overwrite", "seed=2"]) == 2
    assert "another recipe" in capsys.readouterr().err
    assert main("run_seqcls.py", "seqcls", train, METHODS, [*again, "--overwrite"]) == 0
    manifest = json.loads((tmp_path / "outputs/one/run.json").read_text())
    assert manifest["name"] == "one" and manifest["details"]["resumed_from"] == "checkpoint-4"


@pytest.mark.parametrize("change", ["label", "order", "nothing"])
def test_an_interrupted_run_is_not_continued_on_other_rows(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: str
) -> None:
    again = interrupted(tiny, tmp_path, monkeypatch)
    header, *rows = (tmp_path / "rows.csv").read_text(encoding="utf-8").splitlines()
    if change == "label":
        rows = [row.replace(",good,", ",bad,") if row.startswith("r1,") else row for row in rows]
    if change == "order":
        rows.reverse()
    (tmp_path / "rows.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    capsys.readouterr()
    assert main("run_seqcls.py", "seqcls", train, METHODS, again) == (0 if change == "nothing" else 2)
    error = capsys.readouterr().err
    assert ("rows.csv was changed since" in error and "--overwrite" in error) == (change != "nothing")


@pytest.mark.parametrize("method", [pytest.param("head", marks=pytest.mark.slow), "tfidf"])
def test_a_full_disk_leaves_the_old_run_whole(tiny: Tiny, tmp_path: Path, method: str) -> None:
    """A limit on the size of files stands in for the full disk: writing the weights fails in the same place."""
    write_collection(tmp_path / "rows.csv", 60)
    sections = (
        {"model": {"name_or_path": str(tiny("bert"))}}
        if method == "head"
        else {"model": {"method": "tfidf"}, "training": None}
    )
    recipe = write_recipe(tmp_path / "one.yaml", **sections)
    finish(script(tmp_path, recipe.name))
    before = {path: path.read_bytes() for path in (tmp_path / "outputs/one").rglob("*") if path.is_file()}
    _, error = finish(script(tmp_path, recipe.name, "--overwrite", "seed=9", file_limit=6000), status=2)
    assert "cannot write" in error and "what was there before is untouched" in error
    assert "Traceback" not in error
    assert {path: path.read_bytes() for path in (tmp_path / "outputs/one").rglob("*") if path.is_file()} == before


def test_a_crash_between_the_two_renames_brings_the_old_run_back(tmp_path: Path) -> None:
    from categorize.runs.folder import Run, RunWriter

    first = RunWriter(tmp_path / "run", "seed: 1\n")
    first.commit({"name": "old", "method": "tfidf"})
    (tmp_path / "run").rename(tmp_path / "run.replaced")  # the state after the first rename
    assert Run.open(tmp_path / "run").manifest["name"] == "old"
    assert not (tmp_path / "run.replaced").exists()
