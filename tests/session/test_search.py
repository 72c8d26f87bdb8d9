"""A `search` section: trials by validation alone, then the run with the best values, tested once."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import run_seqcls
from categorize.methods.registry import METHODS
from categorize.recipe.command import main
from tests.session.collections import write_collection, write_recipe

SPACE = {"model.C": {"low": 0.01, "high": 20.0, "log": True}, "model.char_ngrams": [[1, 2], [1, 3]]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv")
    return tmp_path


def recipe(folder: Path, name: str = "words", **search: Any) -> str:
    section = {"space": SPACE, "trials": 3, **search}
    path = write_recipe(folder / f"{name}.yaml", model={"method": "tfidf"}, training=None, search=section)
    return str(path)


def run(*arguments: str) -> int:
    return main("run_seqcls.py", "seqcls", run_seqcls.run, METHODS, arguments)


def test_validation_only_leaves_the_test_split_alone(folder: Path) -> None:
    assert run(recipe(folder), "search=null", "--validation-only") == 0
    metrics = json.loads((folder / "outputs/words/metrics.json").read_text())
    assert list(metrics) == ["validation"]
    assert [one.name for one in (folder / "outputs/words/predictions").iterdir()] == ["validation.parquet"]


def test_a_dry_run_says_what_would_be_searched(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recipe(folder), "--dry-run") == 0
    assert "search: 3 trials over model.C, model.char_ngrams" in capsys.readouterr().out
    assert not (folder / "outputs/words_search").exists()


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"space": {"model.C": [1.0, -1.0]}}, "search.space.model.C: -1.0 cannot be tried"),
        ({"space": {"model.strength": [1.0]}}, "search.space.model.strength: 1.0 cannot be tried"),
        ({"space": {"model.C": {"low": 3, "high": 1}}}, "are not two rising numbers"),
        ({"space": {"model.C": {"low": 0, "high": 1, "log": True}}}, "are not two rising numbers above 0"),
        ({"space": {"model.C": []}}, "search.space"),
    ],
)
def test_what_cannot_be_searched_is_told_before_any_trial(
    folder: Path, capsys: pytest.CaptureFixture[str], search: dict[str, Any], said: str
) -> None:
    assert run(recipe(folder, **search)) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error
    assert not list(folder.glob("outputs/*/trial_*"))


def test_a_search_inside_a_launch_names_the_launcher_key(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "0"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    assert run(recipe(folder)) == 2
    assert "search.launcher" in capsys.readouterr().err


def start(path: str, root: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(root / "run_seqcls.py"), path, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


@pytest.mark.slow
def test_a_killed_search_tries_what_an_uninterrupted_one_tries(root: Path, folder: Path) -> None:
    whole, killed = recipe(folder, "whole"), recipe(folder, "killed")
    done = start(whole, root)
    said, _ = done.communicate(timeout=300)
    assert done.returncode == 0 and "best: model.C=" in said
    process = start(killed, root)
    second = folder / "outputs/killed_search"
    while not (second / "trial_1.incomplete").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert start(killed, root).wait(timeout=300) == 0
    trials = [json.loads((folder / f"outputs/{name}_search/trials.json").read_text()) for name in ("whole", "killed")]
    assert trials[0] == trials[1]
    assert len(trials[0]["trials"]) == 3 and len({one["model.C"] for one in trials[0]["trials"]}) == 3
    # The best on validation became the run, which alone was tested.
    best = trials[0]["trials"][0]
    metrics = json.loads((folder / "outputs/whole/metrics.json").read_text())
    assert metrics["validation"]["macro"]["f1"] == best["macro_f1"]
    assert best["macro_f1"] == max(one["macro_f1"] for one in trials[0]["trials"]) and "test" in metrics
    kept = [one.name for one in (folder / "outputs/whole_search").glob("trial_*")]
    assert kept == [f"trial_{best['trial']}"]
    # More trials go on from those; another space is not mixed in, unless it is to begin anew.
    assert start(whole, root, "search.trials=4", "--overwrite").wait(timeout=300) == 0
    more = json.loads((folder / "outputs/whole_search/trials.json").read_text())["trials"]
    assert len(more) == 4 and all(one in more for one in trials[0]["trials"])
    shutil.rmtree(folder / "outputs/whole")
    assert start(whole, root, 'search.space={"model.C": [1.0]}').wait(timeout=300) == 2
    assert (folder / "outputs/whole_search/trials.json").exists()
