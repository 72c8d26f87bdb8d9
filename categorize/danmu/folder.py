"""`ingest`: raw danmu files to a folder of Parquet files, in bounded memory, on several processes, resumable.

The folder appears whole or not at all: everything is written to `<folder>.incomplete`, which a killed ingestion leaves
behind and the next one continues. A finished folder of the same files and settings is kept as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa
from filelock import FileLock

from categorize.danmu.counts import Counts
from categorize.danmu.files import Settings, find_files, form_of
from categorize.danmu.pool import Pool
from categorize.danmu.rows import NO_COLUMN
from categorize.danmu.spill import PARTITIONS
from categorize.danmu.tasks import (
    APART_FOLDER,
    COLLECTIONS,
    COMMENTS_FOLDER,
    REJECTS,
    SPILL_FOLDER,
    Done,
    FileTask,
    MergeTask,
    merge_part,
    read_files,
)
from categorize.data.reading.progress import Progress
from categorize.errors import UserError
from categorize.writing import put_in_place

VERSION = 3
MANIFEST = "danmu.json"
REJECTS_FILE = "rejects.jsonl"
COLLECTIONS_FILE = "collections.parquet"
_COLLECTIONS = pa.schema(
    [
        ("file", pa.string()),
        ("record", pa.int64()),
        ("video_id", pa.string()),
        ("chat_id", pa.string()),
        ("collected", pa.timestamp("ms", "UTC")),
        ("maxlimit", pa.int64()),
        ("elements", pa.int64()),
        ("rejected", pa.int64()),
        ("possibly_cut", pa.bool_()),
    ]
)
_JOURNAL = "journal.jsonl"
_FOLDERS = (SPILL_FOLDER, COMMENTS_FOLDER, APART_FOLDER)
_OURS = {*_FOLDERS, MANIFEST, REJECTS_FILE, COLLECTIONS_FILE, _JOURNAL}
_TASK_BYTES = 16 << 20  # small files are read together up to this
_SMALL = 8 << 20  # bytes of input that need no second process
_ROWS_OF_A_PART = 150_000
_COLLECTIONS_AT_ONCE = 20_000


@dataclass(frozen=True)
class Ingested:
    """A finished folder with `comments/`, `apart/`, `collections.parquet`, `rejects.jsonl` and `danmu.json`."""

    folder: Path
    counts: Counts  # of everything that was read
    seconds: float  # that the ingestion took
    reused: bool = False  # whether the folder was there already
    resumed: int = 0  # tasks that an interrupted ingestion had finished


def ingest(
    source: str, folder: str | Path, settings: Settings, *, overwrite: bool = True, progress: TextIO | None = None
) -> Ingested:
    """Read a file, a folder or a pattern of raw danmu files into a folder of Parquet files.

    `overwrite` replaces a finished folder of other files or settings; `progress` is shown on stderr by default. It
    raises a UserError where there is no file, where a file cannot be read at all, where no file holds a comment, where
    the folder belongs to something else, and where the disk is full.
    """
    folder = Path(folder)
    base, files = find_files(source)
    inputs = [[_relative(file, base), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    wanted = {"version": VERSION, "settings": settings.to_dict(), "inputs": inputs}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        # One ingestion at a time: processes of a distributed start wait, then find the folder finished.
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            manifest = _manifest(folder)
            if manifest is not None and all(manifest.get(key) == value for key, value in wanted.items()):
                return Ingested(folder, Counts.of(manifest["counts"]), manifest["seconds"], reused=True)
            if manifest is None and folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
                raise UserError(f"{folder}: there is something else; name another folder")
            if manifest is not None and not overwrite:
                way_out = "use --overwrite or name another folder"
                raise UserError(f"{folder}: holds rows of other files or settings; {way_out}")
            return _ingest(files, folder, settings, wanted, progress)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}; free space or name another") from None


def _manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished folder, or None."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "counts" in manifest else None


def _relative(file: Path, base: Path) -> str:
    return (file.relative_to(base) if file.is_relative_to(base) else file).as_posix()


# ---------------------------------------------------------------- the work
def _ingest(
    files: Sequence[Path], folder: Path, settings: Settings, wanted: dict[str, Any], stream: TextIO | None
) -> Ingested:
    start = time.monotonic()
    work = folder.with_name(folder.name + ".incomplete")
    known = _journal(work, {"settings": wanted["settings"], "version": VERSION})
    tasks = _file_tasks(files, wanted["inputs"])
    missing = [task for task in tasks if task.stem not in known]
    resumed = len(tasks) - len(missing)
    total, left = sum(task.size for task in tasks), sum(task.size for task in missing)
    with Pool(1 if total < _SMALL else len(missing) + 1) as pool:
        shown = Progress("reading", total, "comments", alike=False, stream=stream)
        shown.done = total - left
        for done in pool.run(partial(read_files, work, settings), missing, shown):
            known[done.stem] = done
            _append(work, asdict(done))
        read = [known[task.stem] for task in tasks]
        counts = Counts.of(*(done.counts for done in read))
        _check_found(counts, files)
        shown = Progress("merging", counts.elements, "comments", alike=False, stream=stream)
        merged = list(pool.run(partial(merge_part, work, settings), _merge_tasks(read, counts.elements), shown))
    for done in merged:
        counts.add(done.counts)
    counts.check()
    stems = [done.stem for done in read]
    with (work / REJECTS_FILE).open("wb") as target:
        for stem in (*stems, *sorted(done.stem for done in merged)):
            with (work / SPILL_FOLDER / REJECTS.format(stem)).open("rb") as part:
                shutil.copyfileobj(part, target)
    _write_collections(work, stems)
    seconds = time.monotonic() - start
    shutil.rmtree(work / SPILL_FOLDER)
    (work / _JOURNAL).unlink()
    if not counts.rows_apart:
        (work / APART_FOLDER).rmdir()
    manifest = {**wanted, "counts": counts.to_dict(), "seconds": round(seconds, 3)}
    (work / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    put_in_place(work, folder)
    return Ingested(folder, counts, seconds, resumed=resumed)


def _file_tasks(files: Sequence[Path], inputs: Sequence[Sequence[Any]]) -> list[FileTask]:
    """Small files together, large ones alone; a task's name tells its files, as they lie on the disk."""
    tasks: list[FileTask] = []
    start = size = 0
    for end, (_, more, _) in enumerate(inputs, 1):
        size += more
        following = inputs[end][1] if end < len(inputs) else math.inf
        if size >= _TASK_BYTES or size + following > 2 * _TASK_BYTES:
            named = tuple((str(files[i]), inputs[i][0]) for i in range(start, end))
            key = hashlib.sha256(json.dumps([start, inputs[start:end]]).encode()).hexdigest()[:16]
            tasks.append(FileTask(f"files-{start:06d}-{key}", start, named, size))
            start, size = end, 0
    return tasks


def _merge_tasks(read: Sequence[Done], elements: int) -> list[MergeTask]:
    parts = max(1, min(PARTITIONS, -(-elements // _ROWS_OF_A_PART)))
    bounds = [PARTITIONS * i // parts for i in range(parts + 1)]
    segments = tuple(name for done in read for name in done.segments)
    late_cut = tuple(number for done in read for number in done.late_cut)
    return [MergeTask(i, first, last, segments, late_cut) for i, (first, last) in enumerate(pairwise(bounds))]


def _check_found(counts: Counts, files: Sequence[Path]) -> None:
    """Raises UserError where no file holds a comment: the source is something else."""
    if counts.elements > counts.rejected.total():
        return
    reasons = ", ".join(f"{reason} ({n})" for reason, n in counts.rejected.most_common(2)) or "nothing looks like one"
    remarks = f"; {counts.remarks[0]}" if counts.remarks else ""
    which = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} other files"
    broken = f"; {counts.broken_records} broken records" if counts.broken_records else ""
    way_out = "see data.format"
    if any(reason.startswith(NO_COLUMN) for reason in counts.rejected):
        way_out = "rename the columns, or leave out data.format: danmu to read a table"
    elif any(form_of(file) != "xml" for file in files) and counts.rejected:
        way_out = "name what stands between two tuples of a danmu_list: data.danmu.joint"
    raise UserError(f"{which}: no whole comment: {reasons}{broken}{remarks}; {way_out}")


def _write_collections(work: Path, stems: Sequence[str]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(work / COLLECTIONS_FILE, _COLLECTIONS) as writer:
        for stem in stems:
            with (work / SPILL_FOLDER / COLLECTIONS.format(stem)).open(encoding="utf-8") as lines:
                while some := [json.loads(line) for line in islice(lines, _COLLECTIONS_AT_ONCE)]:
                    writer.write_table(pa.Table.from_pylist(some, _COLLECTIONS))


# ---------------------------------------------------------------- resuming
def _journal(work: Path, head: dict[str, Any]) -> dict[str, Done]:
    """Finished tasks of an interrupted ingestion with the same settings, by name; what else it left is taken away.

    Raises:
        UserError: the folder holds what no ingestion wrote, such as an interrupted training run.
    """
    spill, done = work / SPILL_FOLDER, {}
    if foreign := sorted({path.name for path in work.iterdir()} - _OURS) if work.is_dir() else []:
        raise UserError(
            f"{work}: holds {foreign[0]!r}, which reading danmu did not leave; name another folder, or move it"
        )
    with contextlib.suppress(OSError, ValueError, TypeError):
        written_head, *lines = (work / _JOURNAL).read_text(encoding="utf-8").splitlines()
        for line in lines if json.loads(written_head) == head else []:
            with contextlib.suppress(ValueError):  # the last line of a killed process
                item = Done(**json.loads(line))
                names = {*item.segments, REJECTS.format(item.stem), COLLECTIONS.format(item.stem)}
                if all((spill / name).is_file() for name in names):
                    done[item.stem] = (item, names)
    if not done and work.exists():
        shutil.rmtree(work)
    for folder in _FOLDERS:
        (work / folder).mkdir(parents=True, exist_ok=True)
    if not done:
        _append(work, head)
    kept = {name for _, names in done.values() for name in names}
    for path in (path for folder in _FOLDERS for path in (work / folder).iterdir()):
        if path.name not in kept:
            path.unlink()
    return {stem: item for stem, (item, _) in done.items()}


def _append(work: Path, line: dict[str, Any]) -> None:
    with (work / _JOURNAL).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
