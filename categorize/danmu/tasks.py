"""Tasks of an ingestion, each run in one process: some files to segments, or some partitions to a part of the rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from categorize.danmu.chunks import Chunk
from categorize.danmu.counts import Counts
from categorize.danmu.files import Settings, read_chunks, stem_of
from categorize.danmu.items import Item
from categorize.danmu.merge import merge
from categorize.danmu.opening import TextFile
from categorize.danmu.spill import FILE_BITS, RECORD_BITS, Columns, Spill, read_partitions
from categorize.writing import whole_file

COMMENTS_FOLDER, APART_FOLDER, SPILL_FOLDER = "comments", "apart", "spill"
REJECTS, COLLECTIONS = "{}.rejects.jsonl", "{}.collections.jsonl"  # of a task
_EXCERPT = 200  # characters of a rejected text that are kept

Tell = Callable[[int, int], None]  # bytes and comments since it was last told


@dataclass(frozen=True)
class FileTask:
    """Files to read, in order."""

    stem: str  # of the names of what is written
    first: int  # number of the first file among all
    files: tuple[tuple[str, str], ...]  # (path, name in messages)
    size: int  # bytes of all


@dataclass(frozen=True)
class MergeTask:
    """Partitions `first` to `last` (left out) of all segments, to merge into part `number`; `late_cut`: see `Done`."""

    number: int
    first: int
    last: int
    segments: tuple[str, ...]
    late_cut: tuple[int, ...] = ()


@dataclass
class Done:
    """What a task gave."""

    stem: str
    segments: list[str]
    counts: dict[str, Any]
    # Numbers of collections that reached their `maxlimit` when some of their comments were spilled already.
    late_cut: list[int] = field(default_factory=list)


def _write(target: TextIO, raw: str | None = None, /, **values: Any) -> None:
    """One JSON line; of a raw text, its beginning and length."""
    if raw is not None:
        values |= {"raw": raw[:_EXCERPT], "characters": len(raw)}
    target.write(json.dumps(values, ensure_ascii=False) + "\n")


def _lines_file(path: Path) -> TextIO:
    return path.open("w", encoding="utf-8", errors="replace")


def read_files(folder: Path, settings: Settings, task: FileTask, tell: Tell) -> Done:
    """Read files into segments, a rejects file and one of collections, all in the spill folder.

    Raises UserError where a file cannot be read at all.
    """
    return _FileReader(folder / SPILL_FOLDER, settings, task, tell).run()


class _FileReader:
    def __init__(self, folder: Path, settings: Settings, task: FileTask, tell: Tell) -> None:
        self.settings, self.task, self.tell = settings, task, tell
        self.counts = Counts()
        self._spill = Spill(folder, task.stem)
        self._columns = Columns()
        self._rejects = _lines_file(folder / REJECTS.format(task.stem))
        self._collections = _lines_file(folder / COLLECTIONS.format(task.stem))
        self._open: dict[int, dict[str, Any]] = {}  # collections of this file, by number: more of them may follow
        self._late_cut: list[int] = []

    def run(self) -> Done:
        for number, (path, name) in enumerate(self.task.files, self.task.first):
            self._read(number, Path(path), name)
        self._spill.flush()
        self._rejects.close()
        self._collections.close()
        self.counts.notes += self._columns.odd
        return Done(self.task.stem, self._spill.segments, self.counts.to_dict(), self._late_cut)

    def _read(self, number: int, path: Path, name: str) -> None:
        source = TextFile(path)
        records, place, told, found = self.counts.records, 0, 0, 0
        remarks: list[str] = []
        for chunk in read_chunks(source, self.settings):
            if isinstance(chunk, Item):
                self.counts.broken_records += 1
                _write(self._rejects, chunk.raw, file=name, record=chunk.number, element=None, reason=chunk.reason)
                continue
            if chunk.video_id is None and chunk.number == 0:
                chunk.video_id = stem_of(path)  # the file is the video's
            remarks += chunk.remarks
            record = (number << RECORD_BITS) + chunk.number
            cut = self._count(chunk, record, name)
            self._columns.add(chunk, (number << FILE_BITS) + place, record, cut)
            place += len(chunk.texts)
            found += chunk.elements
            if self._columns.is_full:
                self._spill.add(self._columns.table())
                self.tell(source.bytes_read - told, found)
                told, found = source.bytes_read, 0
        if len(self._columns):
            self._spill.add(self._columns.table())
        self._close()
        self.tell(path.stat().st_size - told, found)
        self.counts.files += 1
        remarks += [f"{damage}; what came before was read; copy the file again" for damage in source.damage]
        if source.encoding != "utf-8":
            remarks.append(f"read as {source.encoding}")
        if source.replaced:
            self.counts.notes["a character is not UTF-8 or GB 18030: U+FFFD"] += source.replaced
            remarks.append(f"{source.replaced} broken characters are now U+FFFD")
        if self.counts.records == records and not source.damage and path.stat().st_size:
            remarks.append("no comment in it")
        self.counts.remarks += [f"{name}: {remark}" for remark in remarks]

    def _count(self, chunk: Chunk, record: int, name: str) -> bool:
        """Count a chunk and what it lost; whether its collection has reached its `maxlimit` by now."""
        about = self._open.get(chunk.number)
        if about is None:
            if not chunk.scattered:
                self._close()
            self.counts.records += 1
            about = self._open[chunk.number] = {
                "file": name, "record": chunk.number, "video_id": chunk.video_id, "chat_id": chunk.chat_id,
                "collected": None if chunk.collected is None else chunk.collected * 1000, "maxlimit": chunk.maxlimit,
                "elements": 0, "rejected": 0, "possibly_cut": False,
            }  # fmt: skip
        spilled = about["elements"] > 0
        about["elements"] += chunk.elements
        about["rejected"] += len(chunk.rejected)
        self.counts.elements += chunk.elements
        if chunk.maxlimit and about["elements"] >= chunk.maxlimit and not about["possibly_cut"]:
            about["possibly_cut"] = True
            self.counts.cut_collections += 1
            if spilled:
                self._late_cut.append(record)
        for element, reason, raw in chunk.rejected:
            self.counts.rejected[reason.partition(": ")[0]] += 1
            _write(self._rejects, raw, file=name, record=chunk.number, element=element, reason=reason)
        self.counts.notes.update(chunk.notes)
        return bool(about["possibly_cut"])

    def _close(self) -> None:
        """No more of the open collections will follow."""
        for about in self._open.values():
            _write(self._collections, **about)
        self._open.clear()


def merge_part(folder: Path, settings: Settings, task: MergeTask, tell: Tell) -> Done:
    """Merge some partitions and write their rows; files appear whole or not at all."""
    import pyarrow.parquet as pq

    spilled = read_partitions(folder / SPILL_FOLDER, task.segments, task.first, task.last)
    found = len(spilled)
    rows, apart, conflicts, counts = merge(spilled, settings.cleaning, settings.keep_scripted, task.late_cut)
    del spilled
    name = f"part-{task.number:03d}"
    for where, table in ((COMMENTS_FOLDER, rows), (APART_FOLDER, apart)):
        if len(table) or (where == COMMENTS_FOLDER and task.number == 0):
            with whole_file(folder / where / f"{name}.parquet") as file:
                pq.write_table(
                    table, file, compression="zstd", compression_level=1,
                    use_dictionary=["video_id", "chat_id", "mode", "font_size_name", "color", "pool", "font_size"],
                )  # fmt: skip
    with _lines_file(folder / SPILL_FOLDER / REJECTS.format(name)) as rejects:
        for row_id, text in conflicts:
            _write(rejects, text, row_id=row_id, reason="the row_id comes again with another text")
    tell(0, found)
    return Done(name, [], counts.to_dict())
