"""A job that is killed again and again: every row once, and no answer that was stored is paid for again."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import pytest

from categorize.labeling.ledger import Ledger
from tests.labeling.fault_server import Script, Serving, serving, truth
from tests.labeling.jobs import NAMES, table, texts, write_recipe, write_rows

KILLS = 20
ROWS = 2000
FAULTS = ["500", "close", "429", "truncated", "drop"]


def begin(root: Path, recipe: Path) -> subprocess.Popen[str]:
    command = [sys.executable, str(root / "run_label.py"), str(recipe)]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill(process: subprocess.Popen[str], server: Serving, folder: Path, dice: random.Random, at_the_end: bool) -> bool:
    """Kill at a random point: within the start, between two answers, or while the table is written."""
    wait_for = len(server.log()) + dice.choice([0, 0, 1, 3, 6, 9])
    begun_in_table = folder / "job.incomplete" / "labels"
    while process.poll() is None:
        if begun_in_table.exists() if at_the_end else len(server.log()) >= wait_for:
            break
        time.sleep(0.005)
    time.sleep(dice.uniform(0, 0.02 if at_the_end else 0.2))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_job_killed_at_20_points_asks_nothing_again_that_was_stored_and_ends_whole(
    root: Path, tmp_path: Path
) -> None:
    dice = random.Random(11)
    rows = texts(ROWS) + [{"id": f"again {i}", "text": f"comment {i * 7}"} for i in range(100)]
    text_of = {blake2b(row["text"].encode(), digest_size=16).digest(): row["text"] for row in rows}
    with serving(tmp_path, Script(labels=list(NAMES), seconds=0.02, rate=0.1, faults=FAULTS)) as server:
        teacher = {"type": "endpoint", "url": server.url, "model": "m", "concurrency": 4, "retries": 8}
        recipe = write_recipe(tmp_path, write_rows(tmp_path, rows), labeling={"teacher": teacher, "items": 5})
        killed = 0
        stored: set[str] = set()
        seen = 0  # requests until the last kill
        while killed < KILLS:
            process = begin(root, recipe)
            at_the_end = killed >= KILLS - 3
            killed += kill(process, server, tmp_path, dice, at_the_end)
            time.sleep(0.3)  # requests that were in flight are still answered
            log = server.log()
            again = {text for entry in log[seen:] for text in entry["texts"]} & stored
            assert not again, f"asked again after kill {killed}: {sorted(again)[:5]}"
            ledger = Ledger.open(tmp_path / "job.ledger")
            (variant,) = ledger.variants() or (0,)
            stored = {text_of[key] for key in ledger.settled(variant, text_of)}
            ledger.close()
            seen = len(log)
            assert not (tmp_path / "job").exists() or at_the_end
        process = begin(root, recipe)
        said, _ = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert not {text for entry in server.log()[seen:] for text in entry["texts"]} & stored
    done = table(tmp_path)
    assert done["id"].to_pylist() == [row["id"] for row in rows]
    assert Counter(done["source"].to_pylist())["failed"] == 0
    for row, label in zip(rows, done["label"].to_pylist(), strict=True):
        assert [label] == truth(row["text"], NAMES)
    assert [part.name for part in (tmp_path / "job" / "labels").iterdir()] == ["part-00000.parquet"]
