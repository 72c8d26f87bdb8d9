"""A run folder that is written for hours, by whatever means, is continued where it was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from categorize.errors import UserError
from categorize.runs.folder import RunWriter
from categorize.runs.holding import release

RECIPE = "kind: label\nname: one\nseed: 1\n"
# Labels a block after the other, each in a file of its own, and kills itself in the middle of a file.
WORK = """
import os, signal, sys
from categorize.runs.folder import RunWriter
writer = RunWriter(sys.argv[1], sys.argv[2], resume="--resume" in sys.argv)
print("resumed" if writer.resumed else "begun", flush=True)
for block in range(4):
    name = f"blocks/{block}.json"
    if (writer.path / name).exists():
        continue
    print(block, flush=True)
    if block == 2 and not writer.resumed:
        os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
    writer.write_json(name, {"block": block, "labels": ["good"] * 1000})
writer.commit({"name": "one", "method": "label"})
"""


def work(path: Path, *flags: str) -> tuple[int, list[str], str]:
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(path), RECIPE, *flags], capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stdout.split(), done.stderr


def test_a_run_without_checkpoints_goes_on_with_what_was_staged(tmp_path: Path) -> None:
    path, incomplete = tmp_path / "run", tmp_path / "run.incomplete"
    status, said, _ = work(path)
    assert status == -signal.SIGKILL and said == ["begun", "0", "1", "2"]
    assert len(list(incomplete.rglob("*.tmp"))) == 1, "killed in the middle of a file"
    left = {one.name for one in incomplete.rglob("*.json")}
    assert left == {"0.json", "1.json"}, "no file is half there under its name"

    with pytest.raises(UserError, match=r"an interrupted run is here; continue it with --resume or start anew") as one:
        RunWriter(path, RECIPE)
    assert "\n" not in str(one.value)
    with pytest.raises(UserError, match=r"another recipe \(seed: 2, was 1\)"):
        RunWriter(path, RECIPE.replace("1", "2"), resume=True)
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in incomplete.rglob("*") if file.is_file()}
    assert RunWriter(path, RECIPE.replace("one", "two"), resume=True, probe=True).resumed
    assert before == {
        file: (file.stat().st_mtime_ns, file.read_bytes()) for file in incomplete.rglob("*") if file.is_file()
    }, "a dry run leaves the folder as it is"
    release(incomplete)

    status, said, error = work(path, "--resume")
    assert (status, said) == (0, ["resumed", "2", "3"]), error
    assert [json.loads((path / f"blocks/{i}.json").read_text())["block"] for i in range(4)] == [0, 1, 2, 3]
    assert not list(path.rglob("*.tmp")) and not incomplete.exists()


def test_overwriting_begins_anew_and_a_folder_with_a_recipe_alone_holds_no_work(tmp_path: Path) -> None:
    path = tmp_path / "run"
    RunWriter(path, RECIPE)
    second = RunWriter(path, RECIPE.replace("1", "2"))  # nothing is lost
    assert not second.resumed
    second.write_json("blocks/0.json", {})
    anew = RunWriter(path, RECIPE, overwrite=True)
    assert not anew.resumed and not (anew.path / "blocks").exists()
