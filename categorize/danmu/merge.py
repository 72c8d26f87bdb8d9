"""Partitions of spilled comments become rows: one a row id, cleaned, with named codes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from categorize.danmu.clean import Cleaning, clean
from categorize.danmu.counts import Counts
from categorize.danmu.fields import CUSTOM_SIZE, FONT_SIZES, MODES, POOLS, SCRIPTED_MODES, color_hex, named

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


def merge(
    spilled: pa.Table, cleaning: Cleaning, keep_scripted: bool, late_cut: Sequence[int] = ()
) -> tuple[pa.Table, pa.Table, list[tuple[str, str]], Counts]:
    """Merge comments with one row id into their first appearance, by time of collection and then by place.

    Gives rows of `SCHEMA` in the order of first appearance, positioned and scripted ones apart from the others; (row
    id, text) of comments that came again with another text; counts.

    Args:
        spilled: spilled rows that hold every appearance of their ids.
        keep_scripted: whether modes 7 to 9 are rows as others.
        late_cut: numbers of collections that are cut whatever the rows say.
    """
    spilled = spilled.combine_chunks()
    late = pc.is_in(spilled["record"], pa.array(late_cut, pa.int64()))
    found = spilled.select(["row_id", "mode", "record", "collected"])
    found = found.append_column("cut", pc.or_(spilled["cut"], late)).append_column("place", [np.arange(len(spilled))])
    ids = found.take(pc.sort_indices(spilled, [("collected", "ascending"), ("order", "ascending")])).group_by(
        "row_id", use_threads=False
    )
    ids = ids.aggregate(
        [
            ("place", "first"), ("mode", "first"), ("place", "count"), ("record", "count_distinct"),
            ("collected", "max"), ("cut", "any"),
        ]
    ).rename_columns(["row_id", "place", "mode", "seen", "collections", "last_collected", "possibly_cut"])  # fmt: skip
    again = np.ones(len(spilled), dtype=bool)
    again[ids["place"]] = False
    repeated = spilled.select(["row_id", "text"]).filter(pa.array(again))
    first = ids["place"].take(pc.index_in(repeated["row_id"], ids["row_id"].combine_chunks()))
    repeated = repeated.filter(pc.not_equal(repeated["text"], spilled["text"].take(first)))

    ids = ids.take(pc.sort_indices(spilled["order"].take(ids["place"])))
    scripted = pc.and_(pc.is_in(ids["mode"], pa.array(SCRIPTED_MODES, pa.int16())), pa.scalar(not keep_scripted))
    kept, apart = ids.filter(pc.invert(scripted)), ids.filter(scripted)
    counts = Counts(rows=len(kept), rows_apart=len(apart), parsed=_sum(kept["seen"]), conflicts=len(repeated))
    counts.merged, counts.merged_apart = counts.parsed - len(kept), _sum(apart["seen"]) - len(apart)
    counts.repeated = len(spilled) - _sum(ids["collections"])
    for one in apart.group_by("mode").aggregate([("seen", "sum")]).to_pylist():
        counts.set_apart[MODES[one["mode"]]] += one["seen_sum"]
    rows = _rows(spilled, kept, cleaning)
    counts.changed = _sum(pc.not_equal(rows["text"], rows["clean_text"]))
    counts.emptied = _sum(pc.equal(rows["clean_text"], ""))
    conflicts = list(zip(repeated["row_id"].to_pylist(), repeated["text"].to_pylist(), strict=True))
    return rows, _rows(spilled, apart, cleaning), conflicts, counts


def _sum(values: pa.ChunkedArray) -> int:
    return int(pc.sum(values).as_py() or 0)


def _rows(spilled: pa.Table, ids: pa.Table, cleaning: Cleaning) -> pa.Table:
    """Rows of `SCHEMA` from the first appearance of each comment, and what all of them say."""
    table = spilled.take(ids["place"])
    columns = {name: table[name].combine_chunks() for name in table.column_names}
    columns |= {name: ids[name].combine_chunks() for name in ("collections", "last_collected", "possibly_cut")}
    texts = columns["text"].dictionary_encode()
    columns |= {
        "clean_text": clean(texts.dictionary, cleaning).take(texts.indices),
        "mode": named(columns["mode"], lambda code: MODES.get(code, f"mode {code}")),
        "font_size_name": named(columns["font_size"], lambda size: FONT_SIZES.get(size, CUSTOM_SIZE)),
        "color": named(columns["color"], color_hex),
        "pool": named(columns["pool"], lambda code: POOLS.get(code, f"pool {code}")),
        "first_collected": columns["collected"].cast(pa.timestamp("s", "UTC")),
        "last_collected": columns["last_collected"].cast(pa.timestamp("s", "UTC")),
    }
    return pa.table([columns[name].cast(SCHEMA.field(name).type) for name in SCHEMA.names], schema=SCHEMA)
