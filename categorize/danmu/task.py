"""One task of an ingestion, run in a process of its own: some files to segments, or some partitions to rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from categorize.danmu.collections import Chunk, Rejected
from categorize.danmu.counts import Counts
from categorize.danmu.files import Reading, read_chunks, stem_of
from categorize.danmu.merge import SCHEMA, merge
from categorize.danmu.opening import TextFile
from categorize.danmu.spill import FILE_BITS, RECORD_BITS, Columns, Spill, read_partitions
from categorize.recipe.data_sections import CleaningOptions

COLLECTIONS = pa.schema(
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
COMMENTS_FOLDER, APART_FOLDER, SPILL_FOLDER = "comments", "apart", "spill"
_EXCERPT = 200  # characters of a rejected text that are kept
_FLUSH_COLLECTIONS = 20_000

Tell = Callable[[int, int], None]  # bytes and comments since it was last told


@dataclass(frozen=True)
class FileTask:
    """Files to read, in order.

    Attributes:
        stem: of the names of what is written.
        first: number of the first file among all.
        files: (path, name in messages).
    """

    stem: str
    first: int
    files: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class MergeTask:
    """Partitions to merge: `first` to `last` (left out) of all segments, into part `number`.

    Attributes:
        late_cut: see `Done`, of all files.
    """

    number: int
    first: int
    last: int
    segments: tuple[str, ...]
    cleaning: tuple[str | CleaningOptions, ...]
    keep_scripted: bool
    late_cut: tuple[int, ...] = ()


@dataclass
class Done:
    """What a task gave.

    Attributes:
        late_cut: numbers of collections that reached their `maxlimit` when some of their comments were spilled already.
    """

    stem: str
    segments: list[str]
    counts: dict[str, Any]
    late_cut: list[int] = field(default_factory=list)


class _Rejects:
    """Writes JSON lines: what was rejected, where it stands and why."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8", errors="replace")

    def write(self, **about: Any) -> None:
        raw = about["raw"]
        about["raw"], about["characters"] = raw[:_EXCERPT], len(raw)
        self._file.write(json.dumps(about, ensure_ascii=False) + "\n")

    def close(self) -> None:
        self._file.close()


class FileReader:
    """Reads the files of one task into segments, a rejects file and a table of collections."""

    def __init__(self, folder: Path, task: FileTask, reading: Reading, tell: Tell) -> None:
        self.task = task
        self.reading = reading
        self.tell = tell
        self.counts = Counts()
        self._spill = Spill(folder, task.stem)
        self._columns = Columns()
        self._rejects = _Rejects(folder / f"{task.stem}.rejects.jsonl")
        self._collections: list[dict[str, Any]] = []  # done
        self._open: dict[int, dict[str, Any]] = {}  # of this file, by number: more of them may follow
        self._late_cut: list[int] = []
        self._folder = folder
        self._writer: Any = None

    def run(self) -> Done:
        """Read all files. Raises UserError where one cannot be read at all."""
        for number, (path, name) in enumerate(self.task.files, self.task.first):
            self._read(number, Path(path), name)
        self._flush()
        self._spill.flush()
        self._rejects.close()
        self._write_collections(last=True)
        for what, n in self._columns.odd.items():
            self.counts.notes[what] += n
        return Done(self.task.stem, self._spill.segments, self.counts.to_dict(), self._late_cut)

    def _read(self, number: int, path: Path, name: str) -> None:
        source = TextFile(path)
        place, told = 0, 0
        records = self.counts.records
        elements = 0
        for chunk in read_chunks(path, source, self.reading):
            if isinstance(chunk, Rejected):
                self.counts.broken_records += 1
                self._reject(name, chunk.number, None, chunk.reason, chunk.raw)
                continue
            if chunk.video_id is None and chunk.number == 0:
                chunk.video_id = stem_of(path)  # the file is the video's
            cut = self._count(chunk, number, name)
            self._columns.add(chunk, (number << FILE_BITS) + place, (number << RECORD_BITS) + chunk.number, cut, name)
            place += len(chunk.texts)
            elements += chunk.elements
            if self._columns.is_full:
                self._flush()
                self.tell(source.bytes_read - told, elements)
                told, elements = source.bytes_read, 0
        self._close()
        self.tell(path.stat().st_size - told, elements)
        self.counts.files += 1
        if source.encoding != "utf-8":
            self.counts.remarks.append(f"{name}: read as {source.encoding}")
        if source.replaced:
            self.counts.notes["a character is no UTF-8 or GB 18030: U+FFFD"] += source.replaced
            self.counts.remarks.append(f"{name}: {source.replaced} broken characters are now U+FFFD")
        if source.broken:
            self.counts.remarks.append(f"{name}: {source.broken}; what came before was read; copy the file again")
        if self.counts.records == records and not source.broken and path.stat().st_size:
            self.counts.remarks.append(f"{name}: no comment in it")

    def _count(self, chunk: Chunk, number: int, name: str) -> bool:
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
        elsewhere = about["elements"] > 0
        about["elements"] += chunk.elements
        about["rejected"] += len(chunk.rejected)
        self.counts.elements += chunk.elements
        if chunk.maxlimit and about["elements"] >= chunk.maxlimit and not about["possibly_cut"]:
            about["possibly_cut"] = True
            self.counts.cut_collections += 1
            if elsewhere:
                self._late_cut.append((number << RECORD_BITS) + chunk.number)
        for element, reason, raw in chunk.rejected:
            self.counts.rejected[reason.partition(": ")[0]] += 1
            self._reject(name, chunk.number, element, reason, raw)
        self.counts.notes.update(chunk.notes)
        return bool(about["possibly_cut"])

    def _close(self) -> None:
        """No more of the open collections will follow."""
        self._collections += self._open.values()
        self._open.clear()

    def _reject(self, name: str, record: int, element: int | None, reason: str, raw: str) -> None:
        self._rejects.write(file=name, record=record, element=element, reason=reason, raw=raw)

    def _flush(self) -> None:
        if len(self._columns):
            self._spill.add(self._columns.table())
        if len(self._collections) >= _FLUSH_COLLECTIONS:
            self._write_collections(last=False)  # those of the file that is being read stay open

    def _write_collections(self, last: bool) -> None:
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = pq.ParquetWriter(self._folder / f"{self.task.stem}.collections.parquet", COLLECTIONS)
        ready, self._collections = self._collections, []
        clean = [
            {k: v.encode("utf-8", "replace").decode() if isinstance(v, str) else v for k, v in item.items()}
            for item in ready
        ]
        self._writer.write_table(pa.Table.from_pylist(clean, COLLECTIONS))
        if last:
            self._writer.close()


def run_merge(folder: Path, task: MergeTask, tell: Tell) -> Done:
    """Merge some partitions and write their rows; files appear whole or not at all."""
    import pyarrow.parquet as pq

    spilled = read_partitions(folder / SPILL_FOLDER, task.segments, task.first, task.last)
    rows = spilled.num_rows
    merged = merge(spilled, task.cleaning, task.keep_scripted, task.late_cut)
    del spilled
    name = f"part-{task.number:03d}"
    for where, table in ((COMMENTS_FOLDER, merged.rows), (APART_FOLDER, merged.apart)):
        if table.num_rows or (where == COMMENTS_FOLDER and task.number == 0):
            unfinished = folder / where / f".{name}.tmp"
            pq.write_table(
                table, unfinished, compression="zstd", compression_level=1,
                use_dictionary=["video_id", "chat_id", "mode", "font_size_name", "color", "pool", "font_size"],
            )  # fmt: skip
            unfinished.replace(folder / where / f"{name}.parquet")
    rejects = _Rejects(folder / SPILL_FOLDER / f"{name}.rejects.jsonl")
    for row_id, text in merged.conflicts:
        rejects.write(row_id=row_id, reason="the row_id comes again with another text", raw=text)
    rejects.close()
    assert SCHEMA.equals(merged.rows.schema)
    tell(0, rows)
    return Done(name, [], merged.counts.to_dict())
