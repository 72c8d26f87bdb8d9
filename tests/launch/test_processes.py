"""What the user of a launch reads when a process ends early, and which status a scheduler gets."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from categorize.errors import UserError
from categorize.evaluate import evaluate
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from categorize.recipe.terminal import exit_status
from categorize.train import train
from tests.session.collections import write_collection, write_recipe

Environment = pytest.MonkeyPatch
MISSING = "error: missing.yaml: no such file"
LAUNCHERS = {"accelerate": "accelerate.commands.launch", "own": "categorize.launch"}


def be_process(monkeypatch: Environment, number: int, launch: Path) -> Path:
    """What torchrun tells process `number` of two; gives the file that its report reads."""
    file = launch / "attempt_0" / str(number) / "error.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    for name, value in {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": 2, "TORCHELASTIC_ERROR_FILE": file}.items():
        monkeypatch.setenv(name, str(value))
    return file


def fail(message: str) -> None:
    raise UserError(message)


def start(
    root: Path, folder: Path, launcher: str, config: str, *command: str, number: int = 1
) -> subprocess.Popen[str]:
    options = ["--config_file", str(root / f"accelerate_configs/{config}.yaml"), "--num_processes", str(number)]
    return subprocess.Popen(
        [sys.executable, "-m", LAUNCHERS[launcher], *options, *command],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_of_all_processes_that_find_the_same_mistake_one_says_it(
    tmp_path: Path, monkeypatch: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in (1, 0):
        file = be_process(monkeypatch, number, tmp_path)
        assert main("run_sft.py", "sft", lambda command: None, METHODS, [str(tmp_path / "missing.yaml")]) == 2
        text = f"{tmp_path / 'missing.yaml'}: no such file"
        # torchrun's report shows this as the root cause, in place of an advice how to get a traceback
        assert json.loads(file.read_text())["message"]["extraInfo"]["py_callstack"] == text
    assert capsys.readouterr().err == f"error: {text}\n"


def test_a_mistake_that_one_process_alone_finds_is_said(
    tmp_path: Path, monkeypatch: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    be_process(monkeypatch, 0, tmp_path)
    assert exit_status(lambda: fail("rows.csv: no such file")) == 2
    be_process(monkeypatch, 1, tmp_path)
    assert exit_status(lambda: fail("outputs/a: cannot write: No space left on device")) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: rows.csv: no such file",
        "error: outputs/a: cannot write: No space left on device",
    ]


def test_what_follows_from_the_end_of_another_process_shows_no_traceback(
    tmp_path: Path, monkeypatch: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    def lose_connection() -> None:
        raise RuntimeError("Connection closed by peer")

    be_process(monkeypatch, 0, tmp_path)
    with pytest.raises(RuntimeError):
        exit_status(lose_connection)
    be_process(monkeypatch, 1, tmp_path)
    exit_status(lambda: fail("full"))
    be_process(monkeypatch, 0, tmp_path)
    assert exit_status(lose_connection) == 1
    assert capsys.readouterr().err == "error: full\n"


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK", "WORLD_SIZE"])
def test_an_empty_number_of_a_process_is_none_at_all_and_others_are_refused(
    name: str, monkeypatch: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    for other in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, "")
    assert main("run_sft.py", "sft", lambda command: None, METHODS, ["missing.yaml"]) == 2
    assert name not in os.environ  # accelerate reads it too, and cannot read ""
    monkeypatch.setenv(name, "first")
    assert main("run_sft.py", "sft", lambda command: None, METHODS, ["missing.yaml"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0] == MISSING
    assert said[1].startswith(f"error: {name}: 'first' is not a number; ")


def test_a_process_that_the_launch_does_not_have_is_refused(
    monkeypatch: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    """It would train and write nothing, without a word."""
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert main("run_sft.py", "sft", lambda command: None, METHODS, ["missing.yaml"]) == 2
    assert capsys.readouterr().err.startswith("error: RANK is 1 and WORLD_SIZE 1: no such process; ")


def test_of_several_processes_one_fits_a_linear_model_and_one_compares(
    tmp_path: Path, monkeypatch: Environment, capsys: pytest.CaptureFixture[str]
) -> None:
    """All would write the same files, one while another puts the folder in place."""
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    linear = write_recipe(tmp_path / "linear.yaml", model={"method": "tfidf"}, training=None)
    compared = write_recipe(
        tmp_path / "eval.yaml", kind="eval", training=None, evaluation={"runs": ["outputs/linear"], "bootstrap": 0}
    )
    for script, kind, work, recipe, folder in (
        ("run_seqcls.py", "seqcls", train, linear, "linear"),
        ("run_eval.py", "eval", evaluate, compared, "eval"),
    ):
        be_process(monkeypatch, 1, tmp_path)
        assert main(script, kind, work, METHODS, [str(recipe)]) == 0
        assert capsys.readouterr() == ("", "")
        assert not list((tmp_path / "outputs").glob(f"{folder}*"))
        be_process(monkeypatch, 0, tmp_path)
        assert main(script, kind, work, METHODS, [str(recipe)]) == 0
        assert (tmp_path / "outputs" / folder).is_dir() and capsys.readouterr().out


def test_the_documented_launch_ends_with_the_mistake(root: Path, tmp_path: Path) -> None:
    """Not above the traceback that accelerate prints for every status but 0."""
    process = start(root, tmp_path, "accelerate", "single_gpu", str(root / "run_sft.py"), "missing.yaml")
    said = process.communicate(timeout=120)[1].splitlines()
    assert said[-1] == MISSING and said.count(MISSING) == 1
    assert process.returncode == 1  # whatever the process ended with


@pytest.mark.slow
def test_our_own_launch_says_the_mistake_alone_and_keeps_the_status(root: Path, tmp_path: Path) -> None:
    for number, config in ((1, "single_gpu"), (2, "multi_gpu")):
        process = start(root, tmp_path, "own", config, str(root / "run_sft.py"), "missing.yaml", number=number)
        assert process.communicate(timeout=120)[1].splitlines() == [MISSING]
        assert process.returncode == 2


GROUP = """
import os, signal, sys, time
import torch
from categorize.errors import UserError
from categorize.recipe.terminal import exit_status
from categorize.evaluate import evaluate
from categorize.train import train
from tests.session.collections import write_collection, write_recipe

def work():
    torch.distributed.init_process_group("gloo")
    torch.distributed.barrier()
    if sys.argv[1] == "full" and os.environ["RANK"] == "1":
        raise UserError("outputs/a: cannot write: No space left on device")
    if sys.argv[1] == "full":
        torch.distributed.barrier()  # with a process that is gone
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
    print("ready", flush=True)
    time.sleep(60)

sys.exit(exit_status(work))
"""


@pytest.mark.slow
def test_an_error_of_one_process_of_a_group_ends_the_others_and_is_all_that_is_said(root: Path, tmp_path: Path) -> None:
    (tmp_path / "group.py").write_text(GROUP)
    process = start(root, tmp_path, "own", "multi_gpu", "group.py", "full", number=2)
    said = process.communicate(timeout=120)[1].splitlines()
    assert [line for line in said if "error" in line.lower()] == [
        "error: outputs/a: cannot write: No space left on device"
    ]
    assert not any("Traceback" in line for line in said)
    assert process.returncode == 2


@pytest.mark.slow
def test_a_scheduler_s_signal_reaches_the_processes_and_their_status_the_scheduler(root: Path, tmp_path: Path) -> None:
    (tmp_path / "group.py").write_text(GROUP)
    process = start(root, tmp_path, "own", "multi_gpu", "group.py", "wait", number=2)
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(2)]
    assert "".join(said).replace("\n", "") == "readyready"  # both write to one pipe, in any order
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 75
