"""Partitions of spilled comments become rows: one a row id, cleaned, with named codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from categorize.danmu.clean import Cleaning, clean
from categorize.danmu.counts import Counts
from categorize.danmu.fields import (
    CUSTOM_SIZE,
    FONT_SIZES,
    MODES,
    POOLS,
    SCRIPTED_MODES,
    color_hex,
    named,
)

SCHEMA = pa.schema(
    [
        ("row_id", pa.string()),
        ("video_id", pa.string()),
        ("chat_id", pa.string()),
        ("text", pa.string()),
        ("clean_text", pa.string()),
        ("onset_time", pa.float64()),
        ("mode", pa.string()),
        ("font_size", pa.int32()),
        ("font_size_name", pa.string()),
        ("color", pa.string()),
        ("sent_at", pa.timestamp("ms", "UTC")),
        ("pool", pa.string()),
        ("sender_id", pa.string()),
        ("collections", pa.int32()),
        ("first_collected", pa.timestamp("ms", "UTC")),
        ("last_collected", pa.timestamp("ms", "UTC")),
        ("possibly_cut", pa.bool_()),
    ]
)
_NEVER = np.iinfo(np.int64).max


@dataclass
class Merged:
    """The rows of some partitions.

    Attributes:
        rows, apart: of `SCHEMA`, in the order of first appearance; `apart` are positioned and scripted comments.
        conflicts: (row id, text) of comments that came again with another text.
    """

    rows: pa.Table
    apart: pa.Table
    counts: Counts
    conflicts: list[tuple[str, str]]


def merge(spilled: pa.Table, cleaning: Cleaning, keep_scripted: bool, late_cut: Sequence[int] = ()) -> Merged:
    """Merge comments with one row id into their first appearance, by time of collection and then by place.

    Args:
        spilled: rows of `spill.SCHEMA` that hold every appearance of their ids.
        cleaning: names of cleaning steps.
        keep_scripted: whether modes 7 to 9 are rows as others.
        late_cut: numbers of collections that are cut whatever the rows say.
    """
    counts = Counts()
    if not spilled.num_rows:
        empty = SCHEMA.empty_table()
        return Merged(empty, empty, counts, [])
    spilled = spilled.combine_chunks()
    order = spilled["order"].to_numpy()
    collected = spilled["collected"].fill_null(_NEVER).to_numpy()
    group = _codes(spilled["row_id"])
    by = np.lexsort((order, collected, group))
    starts = np.flatnonzero(np.r_[True, np.diff(group[by]) != 0])
    first = by[starts]
    texts, text_code = _encoded(spilled["text"])

    seen = np.diff(np.r_[starts, len(by)])
    records = spilled["record"].to_numpy()[by]
    new_record = np.r_[True, np.diff(records) != 0]
    new_record[starts] = True
    in_collections = np.add.reduceat(new_record.astype(np.int64), starts)
    known = np.where(collected == _NEVER, np.iinfo(np.int64).min, collected)[by]
    last_collected = np.maximum.reduceat(known, starts)
    cut_rows = spilled["cut"].to_numpy()[by]
    if late_cut:
        cut_rows = cut_rows | np.isin(records, np.array(late_cut, dtype=np.int64))
    cut = np.logical_or.reduceat(cut_rows, starts)
    other_text = by[text_code[by] != np.repeat(text_code[first], seen)]

    modes = spilled["mode"].to_numpy()
    scripted = np.isin(modes[first], SCRIPTED_MODES) & (not keep_scripted)
    seen_scripted = int(seen[scripted].sum())
    counts.merged = int(seen[~scripted].sum() - (~scripted).sum())
    counts.merged_apart = seen_scripted - int(scripted.sum())
    counts.repeated = int(len(by) - new_record.sum())
    counts.conflicts = len(other_text)
    counts.rows, counts.rows_apart = int((~scripted).sum()), int(scripted.sum())
    counts.parsed = int(seen[~scripted].sum())
    for mode, n in zip(
        *np.unique(np.repeat(modes[first], seen)[np.repeat(scripted, seen)], return_counts=True), strict=True
    ):
        counts.set_apart[MODES[int(mode)]] += int(n)

    back = np.argsort(order[first], kind="stable")
    table = _rows(
        spilled.take(pa.array(first[back])), texts, text_code[first][back], cleaning, in_collections[back],
        last_collected[back], cut[back],
    )  # fmt: skip
    apart = scripted[back]
    rows = table.filter(pa.array(~apart)) if apart.any() else table
    counts.changed = rows.num_rows - int(pc.sum(pc.equal(rows["text"], rows["clean_text"])).as_py() or 0)
    counts.emptied = int(pc.sum(pc.equal(rows["clean_text"], "")).as_py() or 0)
    ids, words = spilled["row_id"].take(pa.array(other_text)), spilled["text"].take(pa.array(other_text))
    conflicts = list(zip(ids.to_pylist(), words.to_pylist(), strict=True))
    return Merged(rows, table.filter(pa.array(apart)), counts, conflicts)


def _codes(column: pa.ChunkedArray) -> npt.NDArray[np.int64]:
    return _encoded(column)[1]


def _encoded(column: pa.ChunkedArray) -> tuple[pa.Array, npt.NDArray[np.int64]]:
    """Distinct values and the code of each."""
    encoded = pa.concat_arrays(column.chunks).dictionary_encode()
    return encoded.dictionary, encoded.indices.to_numpy().astype(np.int64)


def _rows(
    first: pa.Table,
    texts: pa.Array,
    text_code: npt.NDArray[np.int64],
    cleaning: Cleaning,
    collections: npt.NDArray[np.int64],
    last_collected: npt.NDArray[np.int64],
    cut: npt.NDArray[np.bool_],
) -> pa.Table:
    """Rows of `SCHEMA` from the first appearance of each comment."""
    column = {name: pa.concat_arrays(first[name].chunks) for name in first.column_names}
    codes = pa.array(text_code)
    unknown = last_collected == np.iinfo(np.int64).min
    arrays = {
        **{
            name: column[name]
            for name in ("row_id", "video_id", "chat_id", "text", "onset_time", "font_size", "sender_id")
        },
        "clean_text": clean(texts, cleaning).take(codes),
        "mode": named(column["mode"], MODES, "mode {}"),
        "font_size_name": named(column["font_size"], FONT_SIZES, CUSTOM_SIZE),
        "color": color_hex(column["color"]),
        "sent_at": column["sent_at"].cast(pa.timestamp("ms", "UTC")),
        "pool": named(column["pool"], POOLS, "pool {}"),
        "collections": pa.array(collections.astype(np.int32)),
        "first_collected": column["collected"].cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("ms", "UTC")),
        "last_collected": pa.array(last_collected, mask=unknown)
        .cast(pa.timestamp("s", "UTC"))
        .cast(pa.timestamp("ms", "UTC")),
        "possibly_cut": pa.array(cut),
    }
    return pa.table([arrays[name] for name in SCHEMA.names], schema=SCHEMA)
