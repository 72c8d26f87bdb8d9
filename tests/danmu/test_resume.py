"""A folder appears whole or not at all, and an interrupted ingestion goes on where it was."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from categorize.danmu import Settings, ingest
from categorize.danmu import folder as module
from categorize.errors import UserError
from demo.generate_danmu import Plan, write

SCRIPT = """
import sys
from categorize.danmu import folder as ingest
ingest._TASK_BYTES = 1
ingest.ingest(sys.argv[1], sys.argv[2], ingest.Settings())
"""


def files(folder: Path, count: int, comments: int) -> Path:
    """Some collections, each in a file of its own."""
    write(Plan(comments * count, 5), folder)
    rows = [line for file in sorted((folder / "raw").iterdir()) for line in file.read_text("utf-8").split("\n") if line]
    target = folder / "many"
    target.mkdir()
    for i in range(count):
        (target / f"{i:03d}.jsonl").write_text("\n".join(rows[i::count]) + "\n", encoding="utf-8")
    return target


def test_a_killed_ingestion_goes_on_and_gives_the_same(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = files(tmp_path, 40, 1000)
    journal = tmp_path / "out.incomplete" / "journal.jsonl"
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(source), str(tmp_path / "out")], cwd=root)
    while process.poll() is None and not (journal.is_file() and journal.read_text("utf-8").count("\n") > 3):
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists() and journal.is_file()
    monkeypatch.setattr(module, "_TASK_BYTES", 1)
    resumed = ingest(str(source), tmp_path / "out", Settings())
    fresh = ingest(str(source), tmp_path / "fresh", Settings())
    assert 3 <= resumed.resumed < 40 and fresh.resumed == 0
    assert resumed.counts == fresh.counts
    for name in ("comments", "apart", "collections.parquet"):
        assert pq.read_table(resumed.folder / name).equals(pq.read_table(fresh.folder / name))
    assert (resumed.folder / "rejects.jsonl").read_bytes() == (fresh.folder / "rejects.jsonl").read_bytes()
    assert not (tmp_path / "out.incomplete").exists()


@pytest.mark.slow
def test_processes_end_with_their_killed_parent(tmp_path: Path, root: Path) -> None:
    import psutil

    source = files(tmp_path, 8, 20_000)
    script = SCRIPT.replace("ingest._TASK_BYTES = 1", "ingest._TASK_BYTES = ingest._SMALL = 1")
    code = "if __name__ == '__main__':\n" + "\n".join(f"    {line}" for line in script.splitlines())
    (tmp_path / "start.py").write_text(code, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, str(tmp_path / "start.py"), str(source), str(tmp_path / "out")]
    process = subprocess.Popen(command, env=environment)
    spill = tmp_path / "out.incomplete" / "spill"
    while process.poll() is None and not (spill.is_dir() and any(spill.iterdir())):
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=20)
    assert children and not alive


def test_an_interrupted_ingestion_of_other_settings_is_not_continued(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = files(tmp_path, 3, 500)
    work = tmp_path / "out.incomplete"
    work.mkdir()
    (work / "journal.jsonl").write_text('{"settings": {}, "version": 2}\n{"stem": "files-0', encoding="utf-8")
    assert ingest(str(source), tmp_path / "out", Settings()).resumed == 0


def test_an_ingestion_killed_while_it_tidied_up_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = files(tmp_path, 3, 500)
    (source / "empty.jsonl").write_text("\n", encoding="utf-8")
    monkeypatch.setattr(module, "_TASK_BYTES", 1)

    def killed(_: Path) -> None:
        for path in (tmp_path / "out.incomplete" / "spill").glob("*.rejects.jsonl"):
            path.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module.shutil, "rmtree", killed)
        ingest(str(source), tmp_path / "out", Settings())
    again = ingest(str(source), tmp_path / "out", Settings())
    assert again.counts == ingest(str(source), tmp_path / "fresh", Settings()).counts


def test_an_interrupted_run_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    source = files(tmp_path, 1, 100)
    checkpoints = tmp_path / "out.incomplete" / "checkpoints"
    checkpoints.mkdir(parents=True)
    with pytest.raises(UserError, match=r"out\.incomplete: holds 'checkpoints'"):
        ingest(str(source), tmp_path / "out", Settings())
    assert checkpoints.exists()


def test_a_finished_folder_of_the_same_files_and_settings_is_kept(tmp_path: Path) -> None:
    source = files(tmp_path, 2, 500)
    first = ingest(str(source), tmp_path / "out", Settings())
    before = (tmp_path / "out" / "danmu.json").stat().st_mtime_ns
    again = ingest(str(source), tmp_path / "out", Settings())
    assert again.reused and again.counts == first.counts
    assert (tmp_path / "out" / "danmu.json").stat().st_mtime_ns == before
    other = ingest(str(source), tmp_path / "out", Settings(keep_scripted=True))
    assert not other.reused and other.counts.rows > first.counts.rows
    (source / "001.jsonl").unlink()
    assert ingest(str(source), tmp_path / "out", Settings(keep_scripted=True)).counts.files == 1


def test_rows_of_other_settings_and_foreign_folders_are_not_overwritten(tmp_path: Path) -> None:
    source = files(tmp_path, 2, 500)
    ingest(str(source), tmp_path / "out", Settings())
    with pytest.raises(UserError, match="--overwrite"):
        ingest(str(source), tmp_path / "out", Settings(keep_scripted=True), overwrite=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("important", encoding="utf-8")
    with pytest.raises(UserError, match="something else"):
        ingest(str(source), tmp_path / "mine", Settings())
    assert (tmp_path / "mine" / "thesis.txt").read_text(encoding="utf-8") == "important"


def test_the_command_prints_the_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from categorize.danmu.__main__ import main

    source = files(tmp_path, 2, 500)
    assert main([str(source), "--write", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    counts = json.loads((tmp_path / "out" / "danmu.json").read_text(encoding="utf-8"))["counts"]
    assert re.search(f"comments found +{counts['elements']:,}\n", printed) and "set apart" in printed
    assert main([str(source), "--write", str(tmp_path / "out")]) == 0
    assert "was there already" in capsys.readouterr().out
    assert main([str(source), "--write", str(tmp_path / "out"), "--scripted", "keep"]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_progress_is_told_in_a_log_when_it_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    from categorize.data.reading import progress

    monkeypatch.setattr(progress, "_LOG_AFTER", 0.0)
    log = io.StringIO()
    ingest(str(files(tmp_path, 2, 500)), tmp_path / "out", Settings(), progress=log)
    assert "reading" in log.getvalue() and "merging" in log.getvalue() and "\r" not in log.getvalue()
