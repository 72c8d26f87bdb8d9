"""Comments on their way from files to merged rows: Arrow tables, spilled to disk in partitions of the row id.

A partition holds every appearance of its row ids, so that partitions are merged one by one in bounded memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from categorize.danmu.collections import Chunk
from categorize.danmu.fields import count_unnamed, odd_colors, sent_milliseconds

PARTITIONS = 64
SCHEMA = pa.schema(
    [
        ("order", pa.int64()),  # place among all comments: file, then place in the file
        ("record", pa.int64()),  # the collection: file, then number in the file
        ("row_id", pa.string()),
        ("video_id", pa.string()),
        ("chat_id", pa.string()),
        ("text", pa.string()),
        ("onset_time", pa.float64()),
        ("mode", pa.int16()),
        ("font_size", pa.int32()),
        ("color", pa.int64()),
        ("sent_at", pa.int64()),  # milliseconds
        ("pool", pa.int16()),
        ("sender_id", pa.string()),
        ("collected", pa.int64()),  # seconds
        ("cut", pa.bool_()),
    ]
)
FILE_BITS, RECORD_BITS = 40, 32
_FLUSH_ROWS = 250_000  # rows of a segment
_TABLE_ROWS = 20_000  # rows that are Python strings at a time
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = {
    "onset_time": pa.float64(), "mode": pa.int16(), "font_size": pa.int32(), "color": pa.int64(),
    "sent_at": pa.float64(), "pool": pa.int16(), "sender_id": pa.string(), "row_id": pa.string(),
}  # fmt: skip


class Columns:
    """Chunks of files gathered into tables of `SCHEMA`.

    Attributes:
        odd: what was odd about values, by kind.
    """

    def __init__(self) -> None:
        self.odd: dict[str, int] = {}
        self._heads: list[str] = []
        self._texts: list[str] = []
        self._repeated: list[tuple[int, str | None, str | None, int | None, bool]] = []
        self._lengths: list[int] = []
        self._starts: list[int] = []
        self._prefixes: list[str] = []

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, chunk: Chunk, start: int, record: int, cut: bool, prefix: str) -> None:
        """Add the whole comments of a chunk.

        Args:
            start: `order` of the first one.
            record: number of the collection among all.
            cut: whether the collection reached its `maxlimit`.
            prefix: stands before the made id of a comment that has none.
        """
        if not chunk.texts:
            return
        self._heads += chunk.heads
        self._texts += chunk.texts
        self._repeated.append((record, chunk.video_id, chunk.chat_id, chunk.collected, cut))
        self._lengths.append(len(chunk.texts))
        self._starts.append(start)
        self._prefixes.append(prefix)

    @property
    def is_full(self) -> bool:
        """Whether it is time to make a table: Python strings are large."""
        return len(self._texts) >= _TABLE_ROWS

    def table(self) -> pa.Table:
        """What was added, as a table; then there is nothing."""
        arrays = _fields(self._heads)
        arrays["text"] = self._text_array()
        lengths = np.array(self._lengths)
        which = np.repeat(np.arange(len(lengths)), lengths)
        first = np.repeat(np.cumsum(lengths) - lengths, lengths)
        arrays["order"] = pa.array(np.array(self._starts, dtype=np.int64)[which] + np.arange(len(which)) - first)
        taken = pa.array(which)
        kinds = (("record", pa.int64()), ("video_id", pa.string()), ("chat_id", pa.string()),
                 ("collected", pa.int64()), ("cut", pa.bool_()))  # fmt: skip
        for (name, kind), values in zip(kinds, zip(*self._repeated, strict=True), strict=True):
            arrays[name] = pa.array([_valid(v) if isinstance(v, str) else v for v in values], kind).take(taken)
        arrays["row_id"] = self._with_made_ids(arrays["row_id"], arrays["order"], which)
        arrays["sent_at"] = sent_milliseconds(arrays["sent_at"])
        self._count(arrays)
        self._heads, self._texts, self._repeated, self._lengths, self._starts, self._prefixes = [], [], [], [], [], []
        return pa.table([arrays[name] for name in SCHEMA.names], schema=SCHEMA)

    def _text_array(self) -> pa.Array:
        try:
            return pa.array(self._texts, pa.string())
        except UnicodeEncodeError:
            fixed = [_valid(text) for text in self._texts]
            self._note(
                "a text holds half a character (a lone surrogate), now U+FFFD",
                sum(a != b for a, b in zip(fixed, self._texts, strict=True)),
            )
            return pa.array(fixed, pa.string())

    def _with_made_ids(self, ids: pa.Array, order: pa.Array, which: npt.NDArray[np.int64]) -> pa.Array:
        """Ids, with one made from the place for a comment whose id is 0: such are no duplicates of each other."""
        missing = pc.equal(pc.utf8_ltrim(ids, "0"), "")
        places = np.flatnonzero(missing.to_numpy(zero_copy_only=False))
        if not len(places):
            return ids
        self._note("the row_id is 0: the comment has an id made of file and place, and is never merged", len(places))
        made = [
            f"{_valid(self._prefixes[which[i]])}#{order[int(i)].as_py() & ((1 << FILE_BITS) - 1):06d}" for i in places
        ]
        return pc.replace_with_mask(ids, missing, pa.array(made, pa.string()))

    def _count(self, arrays: dict[str, pa.Array]) -> None:
        from categorize.danmu.fields import MODES, POOLS

        for name, names in (("mode", MODES), ("pool", POOLS)):
            for code, n in count_unnamed(arrays[name], names).items():
                self._note(f"{name} {code} has no name", n)
        self._note("the colour is beyond #FFFFFF: its low 24 bits count", odd_colors(arrays["color"]))
        self._note("the time of sending is 0 or beyond the year 5000: null", arrays["sent_at"].null_count)

    def _note(self, what: str, n: int) -> None:
        if n:
            self.odd[what] = self.odd.get(what, 0) + n


def _fields(heads: list[str]) -> dict[str, pa.Array]:
    """The eight fields of comments as typed columns. Their shapes were checked: what stands there is a row of a csv."""
    from pyarrow import csv

    table = csv.read_csv(
        pa.BufferReader("\n".join(heads).encode()),
        csv.ReadOptions(use_threads=False, column_names=list(_KINDS)),
        csv.ParseOptions(quote_char=False),
        csv.ConvertOptions(column_types=_KINDS, null_values=[], strings_can_be_null=False),
    )
    return {name: pa.concat_arrays(table[name].chunks) for name in _KINDS}


def _valid(text: str) -> str:
    return _LONE_SURROGATE.sub("\ufffd", text)


# ---------------------------------------------------------------- segments
def partition_of(row_ids: pa.Array) -> npt.NDArray[np.int64]:
    """Partition of each row id, from its last six digits: an id is in the same one wherever it comes."""
    tails = pc.utf8_slice_codeunits(row_ids, -6).cast(pa.uint64()).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        mixed = (tails * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(48)
    return np.asarray(mixed % np.uint64(PARTITIONS), dtype=np.int64)


class Spill:
    """Writes tables into segments: Arrow files of `PARTITIONS` record batches each."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder = folder
        self.stem = stem
        self.segments: list[str] = []
        self._tables: list[pa.Table] = []
        self._rows = 0

    def add(self, table: pa.Table) -> None:
        """Add rows of `SCHEMA`; full segments go to the disk."""
        self._tables.append(table)
        self._rows += table.num_rows
        if self._rows >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was added."""
        if not self._rows:
            return
        table = pa.concat_tables(self._tables)
        self._tables, self._rows = [], 0
        parts = np.concatenate([partition_of(chunk) for chunk in table["row_id"].chunks])
        ordered = table.take(pa.array(np.argsort(parts, kind="stable"))).combine_chunks()
        bounds = np.searchsorted(np.sort(parts), np.arange(PARTITIONS + 1))
        name = f"{self.stem}-{len(self.segments):04d}.arrow"
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        with pa.OSFile(str(self.folder / name), "wb") as file, pa.ipc.new_file(file, SCHEMA, options=options) as writer:
            for start, end in pairwise(bounds):
                part = ordered.slice(start, end - start).combine_chunks()
                batches = part.to_batches()
                writer.write_batch(batches[0] if batches else _EMPTY)
        self.segments.append(name)


_EMPTY = pa.RecordBatch.from_pylist([], schema=SCHEMA)


def read_partitions(folder: Path, segments: Sequence[str], first: int, last: int) -> pa.Table:
    """All rows of the partitions `first` to `last` (left out)."""

    def batches() -> Iterator[Any]:
        for name in segments:
            with pa.OSFile(str(folder / name)) as file, pa.ipc.open_file(file) as reader:
                for i in range(first, last):
                    batch = reader.get_batch(i)
                    if batch.num_rows:
                        yield batch

    return pa.Table.from_batches(batches(), SCHEMA)
