"""Raw danmu as the source of a recipe: ingested to Parquet files once, read from there, labels joined by row id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from categorize.danmu.files import Settings, stem_of
from categorize.danmu.folder import REJECTS_FILE, Ingested, ingest
from categorize.danmu.tasks import APART_FOLDER, COMMENTS_FOLDER
from categorize.data.columns import rounded
from categorize.data.reading.files import SourceFile, parts_of
from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.raw import RawTable, from_arrow
from categorize.data.rows import with_columns
from categorize.errors import UserError
from categorize.recipe.data_sections import DataSection

ROW_ID = "row_id"
_EXAMPLES = 3


def default_folder(source: str, settings: Settings, outputs: str | Path) -> Path:
    """`<outputs>/danmu/<name of the source>-<12 hex digits>`: recipes with one source and settings share the folder."""
    about = json.dumps([str(Path(source).absolute()), settings.to_dict()], ensure_ascii=False, sort_keys=True)
    digest = hashlib.sha256(about.encode("utf-8", "surrogatepass")).hexdigest()
    stem = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem_of(Path(source))).strip("_.")
    return Path(outputs) / "danmu" / f"{stem or 'danmu'}-{digest[:12]}"


def read_danmu(source: str, data: DataSection, outputs: str | Path) -> RawTable:
    """The comments of raw files as a raw table, ingested if they are not yet.

    Columns: those of `merge.SCHEMA` but `clean_text` (a run cleans `text` itself), and those of `data.danmu.labels`.
    Raises UserError as `ingest`, and where the labels have no row_id, one twice, or none of these comments.
    """
    import pyarrow.parquet as pq

    folder, notes = _ingested(source, data, outputs)
    table = _comments(pq.read_table(folder / COMMENTS_FOLDER))
    if data.danmu.labels is not None:
        table, note = _with_labels(table, data.danmu.labels)
        notes.append(note)
    return from_arrow(table, source, notes)


def open_danmu(source: str, data: DataSection, outputs: str | Path) -> SourceFile | RawTable:
    """As `read_danmu`, to be read block by block, unless there are labels to join. Raises UserError as it does."""
    if data.danmu.labels is not None:
        return read_danmu(source, data, outputs)
    folder, notes = _ingested(source, data, outputs)
    file = InputFile(folder / COMMENTS_FOLDER)
    file.name = source
    parts = tuple(parts_of(file.path))
    return SourceFile(file.path, "parquet", file, ReadOptions(), "data.source", parts, _comments, tuple(notes))


def _ingested(source: str, data: DataSection, outputs: str | Path) -> tuple[Path, list[str]]:
    """The folder of the comments, ingested if they are not yet, and notes. Raises UserError where there is none."""
    import pyarrow.parquet as pq

    settings = Settings.from_section(data)
    options = data.danmu
    folder = Path(options.folder) if options.folder is not None else default_folder(source, settings, outputs)
    done = ingest(source, folder, settings)
    if not any(pq.read_metadata(part).num_rows for part in (folder / COMMENTS_FOLDER).glob("*.parquet")):
        raise UserError(f"data.source: {source}: every comment is set apart; see data.danmu.scripted")
    return folder, _notes(source, done)


def _comments(table: pa.Table) -> pa.Table:
    """The stored columns as they are read."""
    table = table.drop_columns(["clean_text"])
    for name in [field.name for field in table.schema if pa.types.is_timestamp(field.type)]:
        # "2021-07-12T04:05:06.000Z": whole seconds need no fraction.
        texts = pc.replace_substring(pc.strftime(table[name], "%Y-%m-%dT%H:%M:%SZ"), ".000Z", "Z")
        table = with_columns(table, {name: texts})
    return table


def _notes(source: str, done: Ingested) -> list[str]:
    counts = done.counts
    apart, rejected = counts.set_apart.total(), counts.rejected.total()
    notes = [
        f"{source}: {counts.elements} comments found in {counts.files} files: {counts.rows} rows, {counts.merged} came "
        f"again, {apart} set apart (positioned or scripted), {rejected} rejected"
    ]
    if rejected or counts.broken_records or counts.conflicts:
        notes.append(
            f"{done.folder / REJECTS_FILE}: {rejected} broken comments, {counts.broken_records} broken records and "
            f"{counts.conflicts} that came again with another text, each with its reason"
        )
    if counts.cut_collections:
        notes.append(f"{counts.cut_collections} of {counts.records} collections reached their maxlimit: possibly cut")
    if apart:
        notes.append(f"{done.folder / APART_FOLDER}: the {counts.rows_apart} distinct ones that are set apart")
    notes += [f"{what}: {n}" for what, n in counts.notes.most_common()]
    return notes + counts.remarks


def _with_labels(table: pa.Table, path: str) -> tuple[pa.Table, str]:
    """The comments with the columns of a table of labels, null where it says nothing."""
    from categorize.data.reading.files import read_file

    key = "data.danmu.labels"
    labels = read_file(path, key=key)
    there = labels.table.column_names
    if ROW_ID not in there:
        raise UserError(f"{key}: {labels.name} has no column {ROW_ID!r}; columns: {', '.join(map(repr, there))}")
    ids = [(row_id or "").strip() for row_id in labels.table[ROW_ID].to_pylist()]
    first: dict[str, int] = {}
    for number, row_id in zip(labels.row_numbers.tolist(), ids, strict=True):
        if not row_id:
            raise UserError(f"{labels.name}: row {number} has no {ROW_ID}; fill it or take the row out")
        if (before := first.setdefault(row_id, number)) != number:
            twice = f"{ROW_ID} {row_id!r} comes twice, first in row {before}{rounded(ids)}"
            raise UserError(f"{labels.name}: row {number}: {twice}; take one of the two out")
    places = pc.index_in(table[ROW_ID], value_set=pa.array(ids, pa.string()))
    known = table.num_rows - places.null_count
    if not known:
        raise UserError(
            f"{key}: {labels.name}: no {ROW_ID} is one of these comments, such as {ids[0]!r}{rounded(ids)}; name the "
            "labels of this collection"
        )
    note = f"{labels.name}: labels of {known} comments"
    if known < len(ids):
        comments = set(table[ROW_ID].to_pylist())
        strangers = [row_id for row_id in ids if row_id not in comments]
        shown = ", ".join(strangers[:_EXAMPLES]) + (", ..." if len(strangers) > _EXAMPLES else "")
        note += f"; {len(strangers)} are of no comment here: {shown}"
    if own := [name for name in there if name != ROW_ID and name in table.column_names]:
        note += f"; its columns {', '.join(own)} are not read, the comments have their own"
    new = {name: labels.table[name].take(places) for name in there if name not in table.column_names}
    return with_columns(table, new), note
