"""`ingest`: raw danmu files to a folder of Parquet files, in bounded memory, on several processes, resumable.

The folder appears whole or not at all: everything is written to `<folder>.incomplete`, which a killed ingestion leaves
behind and the next one continues. A finished folder of the same files and settings is kept as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

import pyarrow as pa

from categorize.danmu.counts import Counts
from categorize.danmu.files import Reading, find_files, form_of
from categorize.danmu.pool import Pool
from categorize.danmu.spill import PARTITIONS
from categorize.danmu.task import (
    APART_FOLDER,
    COLLECTIONS,
    COMMENTS_FOLDER,
    SPILL_FOLDER,
    Done,
    FileReader,
    FileTask,
    MergeTask,
    run_merge,
)
from categorize.data.placing import put_in_place
from categorize.data.reading.progress import Progress
from categorize.errors import UserError
from categorize.recipe.data_sections import CleaningOptions

VERSION = 2
MANIFEST = "danmu.json"
REJECTS = "rejects.jsonl"
COLLECTIONS_FILE = "collections.parquet"
_JOURNAL = "journal.jsonl"
_OURS = {
    SPILL_FOLDER, COMMENTS_FOLDER, APART_FOLDER, MANIFEST, REJECTS, COLLECTIONS_FILE, _JOURNAL
}  # fmt: skip
_TASK_BYTES = 16 << 20  # small files are read together up to this
_SMALL = 8 << 20  # bytes of input that need no second process
_ROWS_OF_A_PART = 150_000


@dataclass(frozen=True)
class Settings:
    """What the result depends on besides the files.

    Attributes:
        joint, utc_offset: see `files.Reading`.
        keep_scripted: whether positioned and scripted comments are rows as others.
        cleaning: names of the cleaning steps that make `clean_text`.
    """

    joint: str | None = None
    utc_offset: float = 8.0
    keep_scripted: bool = False
    cleaning: tuple[str | CleaningOptions, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        steps = [step if isinstance(step, str) else step.to_dict() for step in self.cleaning]
        return {
            "joint": self.joint,
            "utc_offset": self.utc_offset,
            "keep_scripted": self.keep_scripted,
            "cleaning": steps,
        }

    @property
    def reading(self) -> Reading:
        """What reading the files depends on."""
        return Reading(self.joint, self.utc_offset)


@dataclass(frozen=True)
class Ingested:
    """A finished folder.

    Attributes:
        folder: with `comments/`, `apart/`, `collections.parquet`, `rejects.jsonl`, `danmu.json`.
        counts: of everything that was read.
        seconds: that the ingestion took.
        reused: whether the folder was there already.
        resumed: tasks that an interrupted ingestion had finished.
    """

    folder: Path
    counts: Counts
    seconds: float
    reused: bool = False
    resumed: int = 0


def ingest(
    source: str, folder: str | Path, settings: Settings, *, overwrite: bool = True, progress: TextIO | None = None
) -> Ingested:
    """Read a file, a folder or a pattern of raw danmu files into a folder of Parquet files.

    Args:
        overwrite: whether a finished folder of other files or settings is replaced.
        progress: where progress is shown; stderr by default.

    Raises:
        UserError: there is no file, one cannot be read at all, no file holds a comment, the folder is another's, or
            the disk is full.
    """
    folder = Path(folder)
    base, files = find_files(source)
    for file in files:
        if form_of(file) is None:
            raise UserError(f"{file}: the name does not tell the form: .xml, .csv, .tsv, .json, .jsonl, .parquet")
    inputs = [[_relative(file, base), file.stat().st_size, file.stat().st_mtime_ns] for file in files]
    wanted = {"version": VERSION, "settings": settings.to_dict(), "inputs": inputs}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            finished = _finished(folder, wanted)
            if finished is not None:
                return finished
            _check_place(folder, overwrite)
            return _ingest(files, folder, settings, wanted, progress)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}; free space or name another") from None


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a finished folder, or None."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and "counts" in manifest else None


def _finished(folder: Path, wanted: dict[str, Any]) -> Ingested | None:
    manifest = read_manifest(folder)
    if manifest is None or any(manifest.get(key) != value for key, value in wanted.items()):
        return None
    return Ingested(folder, Counts.from_dict(manifest["counts"]), manifest["seconds"], reused=True)


def _check_place(folder: Path, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not folder.is_dir() or (any(folder.iterdir()) and read_manifest(folder) is None):
        raise UserError(f"{folder}: there is something else; name another folder")
    if any(folder.iterdir()) and not overwrite:
        raise UserError(f"{folder}: holds rows of other files or settings; use --overwrite or name another folder")


def _relative(file: Path, base: Path) -> str:
    try:
        return file.relative_to(base).as_posix()
    except ValueError:
        return file.as_posix()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One ingestion at a time: processes of a distributed start wait, then find the folder finished."""
    try:
        import fcntl
    except ImportError:  # not on Windows
        yield
        return
    with folder.with_name(f".{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


# ---------------------------------------------------------------- the work
def _ingest(
    files: Sequence[Path], folder: Path, settings: Settings, wanted: dict[str, Any], stream: TextIO | None
) -> Ingested:
    start = time.monotonic()
    work = folder.with_name(folder.name + ".incomplete")
    spill = work / SPILL_FOLDER
    known = _journal(work, wanted)
    for name in (SPILL_FOLDER, COMMENTS_FOLDER, APART_FOLDER):
        (work / name).mkdir(parents=True, exist_ok=True)
    if not (work / _JOURNAL).exists():
        _append(work, {"settings": wanted["settings"], "version": VERSION})
    tasks = _file_tasks(files, wanted["inputs"])
    missing = [task for task in tasks if task.stem not in known]
    _clear(spill, {name for done in known.values() for name in done.segments}, set(known))
    total = sum(size for _, size, _ in wanted["inputs"])
    with Pool(1 if total < _SMALL else len(missing) + 1) as pool:
        read = Progress("reading", total, "comments", alike=False, stream=stream)
        skipped = {task.stem for task in tasks} - {task.stem for task in missing}
        read.done = total - _bytes(missing, files, wanted["inputs"])
        try:
            for done in pool.run([_reading(spill, task, settings.reading) for task in missing], read.advance):
                known[done.stem] = done
                _append(work, asdict(done))
        finally:
            read.finish()
        ordered = [known[task.stem] for task in tasks]
        counts = Counts()
        for done in ordered:
            counts.add(Counts.from_dict(done.counts))
        _check_found(counts, files)
        merges = _merge_tasks(ordered, settings, counts.elements)
        for name in (COMMENTS_FOLDER, APART_FOLDER):
            for old in (work / name).iterdir():
                old.unlink()
        shown = Progress("merging", counts.elements, "comments", alike=False, stream=stream)
        parts = []
        try:
            for done in pool.run([_merging(work, merge) for merge in merges], lambda _, n: shown.advance(n, n)):
                parts.append(done)
                counts.add(Counts.from_dict(done.counts))
        finally:
            shown.finish()
    counts.check()
    _join_rejects(work, [done.stem for done in ordered] + sorted(done.stem for done in parts))
    _join_collections(work, [done.stem for done in ordered])
    seconds = time.monotonic() - start
    manifest = {**wanted, "counts": counts.to_dict(), "seconds": round(seconds, 3)}
    shutil.rmtree(spill)
    (work / _JOURNAL).unlink()
    if not any((work / APART_FOLDER).iterdir()):
        (work / APART_FOLDER).rmdir()
    (work / MANIFEST).write_text(json.dumps(manifest, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    put_in_place(work, folder)
    return Ingested(folder, counts, seconds, resumed=len(skipped))


def _reading(spill: Path, task: FileTask, reading: Reading) -> Callable[[Any], Done]:
    return _ReadCall(spill, task, reading)


def _merging(work: Path, task: MergeTask) -> Callable[[Any], Done]:
    return _MergeCall(work, task)


@dataclass(frozen=True)
class _ReadCall:
    spill: Path
    task: FileTask
    reading: Reading

    def __call__(self, tell: Any) -> Done:
        return FileReader(self.spill, self.task, self.reading, tell).run()


@dataclass(frozen=True)
class _MergeCall:
    work: Path
    task: MergeTask

    def __call__(self, tell: Any) -> Done:
        return run_merge(self.work, self.task, tell)


def _file_tasks(files: Sequence[Path], inputs: Sequence[Sequence[Any]]) -> list[FileTask]:
    """Small files together, large ones alone; a task's name tells its files, as they lie on the disk."""
    tasks: list[FileTask] = []
    start, size = 0, 0
    for i, item in enumerate(inputs):
        size += item[1]
        if size >= _TASK_BYTES or i == len(inputs) - 1 or size + inputs[i + 1][1] > 2 * _TASK_BYTES:
            named = tuple(
                (str(file), item[0]) for file, item in zip(files[start : i + 1], inputs[start:], strict=False)
            )
            key = hashlib.sha256(json.dumps([start, inputs[start : i + 1]]).encode()).hexdigest()[:16]
            tasks.append(FileTask(f"files-{start:06d}-{key}", start, named))
            start, size = i + 1, 0
    return tasks


def _bytes(tasks: Sequence[FileTask], files: Sequence[Path], inputs: Sequence[Sequence[Any]]) -> int:
    sizes = {str(file): item[1] for file, item in zip(files, inputs, strict=True)}
    return sum(sizes[path] for task in tasks for path, _ in task.files)


def _merge_tasks(done: Sequence[Done], settings: Settings, elements: int) -> list[MergeTask]:
    parts = max(1, min(PARTITIONS, -(-elements // _ROWS_OF_A_PART)))
    segments = tuple(name for item in done for name in item.segments)
    late_cut = tuple(number for item in done for number in item.late_cut)
    bounds = [PARTITIONS * i // parts for i in range(parts + 1)]
    return [
        MergeTask(i, first, last, segments, settings.cleaning, settings.keep_scripted, late_cut)
        for i, (first, last) in enumerate(pairwise(bounds))
    ]


def _check_found(counts: Counts, files: Sequence[Path]) -> None:
    """Raises UserError where no file holds a comment: the source is something else."""
    if counts.elements > sum(counts.rejected.values()):
        return
    reasons = ", ".join(f"{reason} ({n})" for reason, n in counts.rejected.most_common(2)) or "nothing looks like one"
    remarks = f"; {counts.remarks[0]}" if counts.remarks else ""
    which = files[0] if len(files) == 1 else f"{files[0]} and {len(files) - 1} other files"
    broken = f"; {counts.broken_records} broken records" if counts.broken_records else ""
    raise UserError(f"{which}: no whole comment: {reasons}{broken}{remarks}; see data.format and data.danmu.joint")


# ---------------------------------------------------------------- resuming
def _journal(work: Path, wanted: dict[str, Any]) -> dict[str, Done]:
    """Finished tasks of an interrupted ingestion with the same settings, by name; else the folder is emptied.

    Raises:
        UserError: the folder holds what no ingestion wrote, such as an interrupted training run.
    """
    done: dict[str, Done] = {}
    if foreign := sorted({path.name for path in work.iterdir()} - _OURS) if work.is_dir() else []:
        raise UserError(
            f"{work}: holds {foreign[0]!r}, which no reading of danmu left; name another folder, or move it"
        )
    try:
        lines = (work / _JOURNAL).read_text(encoding="utf-8").splitlines()
        head = json.loads(lines[0])
        if head == {"settings": wanted["settings"], "version": VERSION}:
            for line in lines[1:]:
                with contextlib.suppress(ValueError):  # the last line of a killed process
                    item = Done(**json.loads(line))
                    names = (*item.segments, f"{item.stem}.rejects.jsonl", f"{item.stem}.collections.parquet")
                    if all((work / SPILL_FOLDER / name).is_file() for name in names):
                        done[item.stem] = item
    except (OSError, ValueError, IndexError, TypeError):
        pass
    if not done and work.exists():
        shutil.rmtree(work)
    return done


def _clear(spill: Path, segments: set[str], stems: set[str]) -> None:
    """Take away what an interrupted task left."""
    for path in spill.iterdir():
        if path.name not in segments and path.name.split(".")[0] not in stems:
            path.unlink()


def _append(work: Path, line: dict[str, Any]) -> None:
    with (work / _JOURNAL).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


# ---------------------------------------------------------------- what is joined at the end
def _join_rejects(work: Path, stems: Sequence[str]) -> None:
    with (work / REJECTS).open("wb") as target:
        for stem in stems:
            with (work / SPILL_FOLDER / f"{stem}.rejects.jsonl").open("rb") as part:
                shutil.copyfileobj(part, target)


def _join_collections(work: Path, stems: Sequence[str]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetWriter(work / COLLECTIONS_FILE, COLLECTIONS) as writer:
        for stem in stems:
            with pq.ParquetFile(work / SPILL_FOLDER / f"{stem}.collections.parquet") as file:
                for batch in file.iter_batches():
                    writer.write_table(pa.Table.from_batches([batch], COLLECTIONS))
