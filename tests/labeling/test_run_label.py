"""`run_label.py` as a user starts it, against a real server: exit statuses, one-line ends, what it prints."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from categorize.label import label
from categorize.methods.registry import METHODS
from categorize.recipe.command import parse_command
from tests.labeling.fault_server import Script, Serving, serving, truth
from tests.labeling.jobs import NAMES, table, texts, write_recipe, write_rows


def recipe_for(server: Serving, folder: Path, rows: int, **labeling: Any) -> Path:
    teacher = {"type": "endpoint", "url": server.url, "model": "m", "concurrency": 4}
    section = {"teacher": teacher, "items": 5} | labeling
    return write_recipe(folder, write_rows(folder, texts(rows)), labeling=section)


def begin(root: Path, recipe: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(root / "run_label.py"), str(recipe), *arguments]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command,
        cwd=root,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )


def heed_interrupts() -> None:
    """In a test run that stands in the background, children would ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_job_ends_with_75_and_says_how_to_go_on(root: Path, tmp_path: Path, how: signal.Signals) -> None:
    with serving(tmp_path, Script(labels=list(NAMES), seconds=0.1)) as server:
        recipe = recipe_for(server, tmp_path, 500)
        process = begin(root, recipe)
        while len(server.log()) < 10:
            time.sleep(0.01)
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 75, out + err
        assert err.strip() == (
            f"stopped by {how.name}; every answer that came is stored, and the same command goes on where it stopped"
        )
        status = json.loads((tmp_path / "job.ledger" / "status.json").read_text())
        assert status["state"] == "stopped" and 0 < status["labelled"] < 500
        asked = [text for entry in server.log() for text in entry["texts"]]
        assert len(asked) == status["labelled"], "what was in flight has come and counts"
        process = begin(root, recipe)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, out + err
        asked = [text for entry in server.log() for text in entry["texts"]]
        assert len(asked) == len(set(asked)) == 500
    assert f"{len(asked):,} rows: teacher {len(asked):,}" in out


@pytest.mark.slow
def test_a_used_up_budget_ends_with_2_in_one_line(root: Path, tmp_path: Path) -> None:
    with serving(tmp_path, Script(labels=list(NAMES))) as server:
        process = begin(root, recipe_for(server, tmp_path, 100, budget={"requests": 9}))
        _, err = process.communicate(timeout=60)
        assert process.returncode == 2
        assert err.startswith("error: labeling.budget.requests: ") and err.count("\n") == 1
        assert "the same command goes on" in err and len(server.log()) <= 9


@pytest.mark.slow
def test_a_second_job_in_the_same_place_is_refused(root: Path, tmp_path: Path) -> None:
    with serving(tmp_path, Script(labels=list(NAMES), seconds=0.5)) as server:
        recipe = recipe_for(server, tmp_path, 2000)
        first = begin(root, recipe)
        while not server.log():
            time.sleep(0.01)
        for arguments in ([], [f"output_dir={tmp_path / 'other'}", f"labeling.ledger={tmp_path / 'job.ledger'}"]):
            _, err = begin(root, recipe, *arguments).communicate(timeout=60)
            assert err.startswith("error: ") and "another" in err and err.count("\n") == 1, err
        first.terminate()
        assert first.wait(timeout=60) == 75


def test_several_votes_of_one_server_share_its_connections(tmp_path: Path) -> None:
    with serving(tmp_path, Script(labels=list(NAMES))) as server:
        recipe = recipe_for(server, tmp_path, 20, repeats=2, flip_sample=5)
        label(parse_command("run_label.py", "label", METHODS, [str(recipe), "--probe"]))
        label(parse_command("run_label.py", "label", METHODS, [str(recipe)]))
        asked = [text for entry in server.log() for text in entry["texts"]]
    assert len(asked) == 20 + 20 + 5, "the answers of the probe are not asked for again"
    done = table(tmp_path)
    for text, one in zip(done["text"].to_pylist(), done["label"].to_pylist(), strict=True):
        assert [one] == truth(text, NAMES)
