"""Comments on their way from files to merged rows: Arrow tables, spilled to disk in partitions of the row id.

A partition holds every appearance of its row ids, so that partitions are merged one by one in bounded memory.
"""

from __future__ import annotations

import hashlib
import zlib
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
from categorize.danmu.fields import LOW_BITS, MODES, POOLS, ROUNDED, count_unnamed, sent_milliseconds
from categorize.data.reading.raw import text_array

PARTITIONS = 64
FILE_BITS, RECORD_BITS = 40, 32
_FLUSH_ROWS = 250_000  # rows of a segment
_TABLE_ROWS = 20_000  # rows that are Python strings at a time
_FEW = 8  # row ids that end in 00 by chance
_IDENTITY = ("record", "video_id", "onset_time", "sent_at", "sender_id", "text")
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
        self._chunks: list[tuple[Chunk, int, int, bool]] = []
        self._rows = 0
        self._identities = Identities()

    def add(self, chunk: Chunk, start: int, record: int, cut: bool) -> None:
        """Add the whole comments of a chunk, the first with `order` `start`.

        `record` is the number of the collection among all, `cut` whether it reached its `maxlimit`.
        """
        if chunk.texts:
            self._chunks.append((chunk, start, record, cut))
            self._rows += len(chunk.texts)

    def __len__(self) -> int:
        return self._rows

    @property
    def is_full(self) -> bool:
        """Whether it is time to make a table: Python strings are large."""
        return self._rows >= _TABLE_ROWS

    def table(self) -> pa.Table:
        """What was added, as a table; then there is nothing."""
        chunks, starts, records, cuts = zip(*self._chunks, strict=True)
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
        units = np.array([chunk.unit for chunk in chunks])
        if np.any(units != 1):
            times = pc.multiply(arrays["onset_time"], pa.array(units).take(pa.array(which)))
            arrays["onset_time"] = pc.round(times, 6)
        self._identify(arrays, which, lengths)
        sent, unknown = arrays["sent_at"], arrays["sent_at"].null_count
        arrays["sent_at"] = sent_milliseconds(sent)
        self.odd["the time of sending is 0 or beyond the year 5000: null"] += arrays["sent_at"].null_count - unknown
        self._count_unknown(arrays, unknown)
        colors = pc.fill_null(arrays["color"], 0).to_numpy(zero_copy_only=False)
        self.odd["the colour is beyond #FFFFFF: its low 24 bits count"] += int(np.sum(colors & LOW_BITS != colors))
        for name, names in (("mode", MODES), ("pool", POOLS)):
            unnamed = count_unnamed(arrays[name], names)
            self.odd.update({f"{name} {code} has no name": n for code, n in unnamed.items()})
        return pa.table(arrays)

    def _identify(self, arrays: dict[str, Any], which: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> None:
        """Give comments without an id of their own one of sender, time and text."""
        ids = arrays["row_id"]
        zero = pc.equal(pc.utf8_ltrim(ids, "0"), "")
        rounded = _rounded(ids, which, lengths)
        lost = pc.or_(zero, rounded)
        if not pc.any(lost).as_py():
            return
        none = pc.sum(pc.equal(ids, "")).as_py()
        made = "the identity is made of sender, time and text"
        self.odd[f"no row_id: {made}"] += none
        self.odd[f"the row_id is 0: {made}"] += pc.sum(zero).as_py() - none
        self.odd[f"the row_id lost its last digits in a spreadsheet: {made}"] += pc.sum(rounded).as_py() or 0
        at = pa.array(np.flatnonzero(lost))
        columns = [arrays[name].take(at).to_pylist() for name in _IDENTITY]
        new = [self._identities.of(*values) for values in zip(*columns, strict=True)]
        arrays["row_id"] = pc.replace_with_mask(ids, lost, pa.array(new, pa.string()))

    def _count_unknown(self, arrays: dict[str, Any], sent: int) -> None:
        """Count what files do not say; fields that are unknown together are told together."""
        empty = pc.equal(arrays["sender_id"], "")
        if senders := pc.sum(empty).as_py():
            arrays["sender_id"] = pc.if_else(empty, None, arrays["sender_id"])
        counts = {name: arrays[name].null_count for name in _HEAD} | {"sent_at": sent, "sender_id": senders or 0}
        for n in {*counts.values()} - {0}:
            self.odd[f"unknown: {', '.join(name for name, count in counts.items() if count == n)}"] += n


class Identities:
    """Identities of comments that have no id of their own.

    With sender and time of sending, who says the same at the same time says it once. Without, equal comments of one
    collection are several, and the nth of them in one collection is the nth in another.
    """

    def __init__(self) -> None:
        self._file = -1
        self._seen: Counter[tuple[int, int]] = Counter()

    def of(
        self, record: int, video: str | None, onset: float | None, sent: float | None, sender: str, text: str
    ) -> str:
        """The identity of one more comment: `made` and 18 digits, of which the last tell its partition."""
        key = f"{video}\x1f{onset!r}\x1f{sent!r}\x1f{sender}\x1f{text}"
        if not (sender and sent):
            if record >> RECORD_BITS != self._file:
                self._file, self._seen = record >> RECORD_BITS, Counter()
            place = record, hash(key)
            self._seen[place] += 1
            key += f"\x1f{self._seen[place]}"
        digest = hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return f"made{int.from_bytes(digest, 'big') % 10**18:018d}"


def _rounded(ids: pa.Array, which: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> pa.Array:
    """Which row ids a spreadsheet took for numbers: `5.43E+16`, or long ones of which most end in 00."""
    ends = pc.ends_with(ids, "00").to_numpy(zero_copy_only=False)
    often = np.bincount(which, ends, len(lengths)) * 2 > np.maximum(lengths, _FEW)
    bare = pc.utf8_is_decimal(ids).to_numpy(zero_copy_only=False)
    odd = ~bare | (ends & often[which]) if often.any() else ~bare
    if not odd.any():
        return pa.array(odd)
    return pc.and_(pa.array(odd), pc.match_substring_regex(ids, f"^(?:{ROUNDED.pattern})$"))


def _fields(heads: list[str]) -> dict[str, pa.Array]:
    """The eight fields of comments as typed columns. Their shapes were checked: what stands there is a row of a csv."""
    from pyarrow import csv

    table = csv.read_csv(
        pa.BufferReader("\n".join(heads).encode()),
        csv.ReadOptions(use_threads=False, column_names=list(_HEAD)),
        csv.ParseOptions(quote_char=False),
        csv.ConvertOptions(column_types=_HEAD, null_values=[""], strings_can_be_null=False),
    )
    return {name: pa.concat_arrays(table[name].chunks) for name in _HEAD}


# ---------------------------------------------------------------- segments
def partition_of(row_ids: pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """Partition of each row id, from its last six digits: an id is in the same one wherever it comes."""
    tails = pc.utf8_slice_codeunits(row_ids, -6)
    try:
        tails = tails.cast(pa.uint64()).to_numpy()
    except pa.ArrowInvalid:  # ids that are not digits
        numbers = (int(tail) if tail.isdecimal() else zlib.crc32(tail.encode()) for tail in tails.to_pylist())
        tails = np.fromiter(numbers, np.uint64, len(tails))
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
