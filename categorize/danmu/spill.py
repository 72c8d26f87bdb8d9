"""Comments on their way from files to merged rows: Arrow tables, spilled to disk in partitions of the row id.

A partition holds every appearance of its row ids, so that partitions are merged one by one in bounded memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from categorize.danmu.chunks import Chunk
from categorize.danmu.fields import LOW_BITS, MODES, POOLS, count_unnamed, sent_milliseconds
from categorize.data.reading.raw import text_array

PARTITIONS = 64
FILE_BITS, RECORD_BITS = 40, 32
_FLUSH_ROWS = 250_000  # rows of a segment
_TABLE_ROWS = 20_000  # rows that are Python strings at a time
_HEAD = {
    "onset_time": pa.float64(), "mode": pa.int16(), "font_size": pa.int32(), "color": pa.int64(),
    "sent_at": pa.float64(), "pool": pa.int16(), "sender_id": pa.string(), "row_id": pa.string(),
}  # fmt: skip


class Columns:
    """Chunks of files gathered into tables.

    Their columns: the eight fields (`sent_at` in milliseconds) and `text`; `video_id`, `chat_id`, `collected` (in
    seconds), `record` and `cut` of the collection, see `add`; `order`, the place among all comments.
    """

    def __init__(self) -> None:
        self.odd: Counter[str] = Counter()  # what was odd about values, by kind
        self._chunks: list[tuple[Chunk, int, int, bool, str]] = []
        self._rows = 0

    def add(self, chunk: Chunk, start: int, record: int, cut: bool, file: str) -> None:
        """Add the whole comments of a chunk, the first with `order` `start`.

        `record` is the number of the collection among all, `cut` whether it reached its `maxlimit`; `file` stands
        before the made id of a comment that has none.
        """
        if chunk.texts:
            self._chunks.append((chunk, start, record, cut, file))
            self._rows += len(chunk.texts)

    def __len__(self) -> int:
        return self._rows

    @property
    def is_full(self) -> bool:
        """Whether it is time to make a table: Python strings are large."""
        return self._rows >= _TABLE_ROWS

    def table(self) -> pa.Table:
        """What was added, as a table; then there is nothing."""
        chunks, starts, records, cuts, files = zip(*self._chunks, strict=True)
        self._chunks, self._rows = [], 0
        arrays = _fields([head for chunk in chunks for head in chunk.heads])
        arrays["text"], broken = text_array([text for chunk in chunks for text in chunk.texts])
        self.odd["a text holds half a character (a lone surrogate), now U+FFFD"] += broken
        lengths = np.array([len(chunk.texts) for chunk in chunks])
        which = np.repeat(np.arange(len(lengths)), lengths)
        order = np.array(starts)[which] + np.arange(len(which)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        of_chunks = {
            name: text_array([getattr(chunk, name) for chunk in chunks])[0] for name in ("video_id", "chat_id")
        }
        of_chunks["collected"] = pa.array([chunk.collected for chunk in chunks], pa.int64())
        of_chunks |= {"record": pa.array(records), "cut": pa.array(cuts)}
        arrays |= {name: values.take(pa.array(which)) for name, values in of_chunks.items()}
        arrays["order"] = pa.array(order)
        # Comments without an id are not duplicates of each other.
        missing = pc.equal(pc.utf8_ltrim(arrays["row_id"], "0"), "")
        made = [f"{files[which[i]]}#{order[i] & ((1 << FILE_BITS) - 1):06d}" for i in np.flatnonzero(missing)]
        self.odd["the row_id is 0: the comment has an id made of file and place, and is never merged"] += len(made)
        arrays["row_id"] = pc.replace_with_mask(arrays["row_id"], missing, text_array(made)[0])
        arrays["sent_at"] = sent_milliseconds(arrays["sent_at"])
        self.odd["the time of sending is 0 or beyond the year 5000: null"] += arrays["sent_at"].null_count
        colors = arrays["color"].to_numpy()
        self.odd["the colour is beyond #FFFFFF: its low 24 bits count"] += int(np.sum(colors & LOW_BITS != colors))
        for name, names in (("mode", MODES), ("pool", POOLS)):
            unnamed = count_unnamed(arrays[name], names)
            self.odd.update({f"{name} {code} has no name": n for code, n in unnamed.items()})
        return pa.table(arrays)


def _fields(heads: list[str]) -> dict[str, pa.Array]:
    """The eight fields of comments as typed columns. Their shapes were checked: what stands there is a row of a csv."""
    from pyarrow import csv

    table = csv.read_csv(
        pa.BufferReader("\n".join(heads).encode()),
        csv.ReadOptions(use_threads=False, column_names=list(_HEAD)),
        csv.ParseOptions(quote_char=False),
        csv.ConvertOptions(column_types=_HEAD, null_values=[], strings_can_be_null=False),
    )
    return {name: pa.concat_arrays(table[name].chunks) for name in _HEAD}


# ---------------------------------------------------------------- segments
def partition_of(row_ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Partition of each row id, from its last six digits: an id is in the same one wherever it comes."""
    tails = pc.utf8_slice_codeunits(row_ids, -6).cast(pa.uint64()).to_numpy()
    mixed: npt.NDArray[np.uint64] = (tails * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(48)
    return mixed % np.uint64(PARTITIONS)


class Spill:
    """Writes tables into segments: Arrow files of `PARTITIONS` record batches each."""

    def __init__(self, folder: Path, stem: str) -> None:
        self.folder = folder
        self.stem = stem
        self.segments: list[str] = []
        self._tables: list[pa.Table] = []

    def add(self, table: pa.Table) -> None:
        """Add rows; full segments go to the disk."""
        self._tables.append(table)
        if sum(len(one) for one in self._tables) >= _FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was added."""
        if not self._tables:
            return
        table, self._tables = pa.concat_tables(self._tables), []
        parts = partition_of(table["row_id"])
        (ordered,) = table.take(pa.array(np.argsort(parts, kind="stable"))).combine_chunks().to_batches()
        name = f"{self.stem}-{len(self.segments):04d}.arrow"
        options = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
        path = str(self.folder / name)
        with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, ordered.schema, options=options) as writer:
            for start, end in pairwise(np.searchsorted(np.sort(parts), np.arange(PARTITIONS + 1))):
                writer.write_batch(ordered.slice(start, end - start))
        self.segments.append(name)


def read_partitions(folder: Path, segments: Sequence[str], first: int, last: int) -> pa.Table:
    """All rows of the partitions `first` to `last` (left out)."""

    def batches() -> Iterator[Any]:
        for name in segments:
            with pa.OSFile(str(folder / name)) as file, pa.ipc.open_file(file) as reader:
                yield from (reader.get_batch(i) for i in range(first, last))

    return pa.Table.from_batches(batches())
