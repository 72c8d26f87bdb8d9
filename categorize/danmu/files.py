"""One input file, whatever its form, as chunks of comments; and which files a source means."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from categorize.danmu.collections import LIST, Chunk, Rejected, chunks_of_records
from categorize.danmu.csv_rows import CsvRows
from categorize.danmu.elements import ElementReader
from categorize.danmu.json_objects import Item, json_lines, json_values
from categorize.danmu.opening import TextFile
from categorize.danmu.table_rows import Naming, chunks_of_rows
from categorize.errors import UserError

FORMS = {
    ".xml": "xml", ".csv": "csv", ".tsv": "tsv", ".tab": "tsv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl",
    ".parquet": "parquet",
}  # fmt: skip
_LONGEST_ROW = 1 << 20  # characters of a row that is one comment
_PARQUET_ROWS = 16


@dataclass(frozen=True)
class Reading:
    """How raw files are read.

    Attributes:
        joint: what stands between two tuples of a list; None: learned.
        utc_offset: hours that the zone of `collect_YMDH` is ahead of UTC.
    """

    joint: str | None = None
    utc_offset: float = 8.0


def find_files(source: str) -> tuple[Path, list[Path]]:
    """The files of a source (a file, a folder or a pattern) in order of name, and the folder that names them.

    Raises:
        UserError: there is none.
    """
    path = Path(source)
    if path.is_file():
        return path.parent, [path]
    if path.is_dir():
        files = [f for f in path.rglob("*") if f.is_file() and form_of(f) and not f.name.startswith(".")]
        if not files:
            raise UserError(f"data.source: {path} holds no danmu file; known: {', '.join(FORMS)} (or .gz of each)")
        return path, sorted(files)
    base = Path(*path.parts[: _first_pattern(path)])
    pattern = Path(*path.parts[_first_pattern(path) :]).as_posix()
    files = sorted(f for f in base.glob(pattern) if f.is_file()) if base.is_dir() else []
    if not files:
        raise UserError(f"data.source: {source}: no such file, folder or pattern (from {Path.cwd()})")
    return base, files


def _first_pattern(path: Path) -> int:
    return next((i for i, part in enumerate(path.parts) if glob.has_magic(part)), len(path.parts) - 1)


def form_of(path: Path) -> str | None:
    """The form that a file's name tells."""
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    return FORMS.get(suffixes[-1]) if suffixes else None


def stem_of(path: Path) -> str:
    """The file's name without `.xml.gz` and the like."""
    name = path.name
    while Path(name).suffix.lower() in {*FORMS, ".gz"}:
        name = Path(name).stem
    return name or path.name


def read_chunks(path: Path, source: TextFile, reading: Reading) -> Iterator[Chunk | Rejected]:
    """The comments of one file.

    Args:
        source: the same file, for its counts; a Parquet file is read past it.

    Raises:
        UserError: the file cannot be read, its form is not known, or a table lacks columns.
    """
    form = form_of(path)
    if form == "parquet":
        return _of_items(_parquet_items(path, source), reading)
    if form is None:
        raise UserError(f"{path}: the name does not tell the form; name it one of {', '.join(FORMS)} (or .gz of each)")
    if form == "xml":
        return _of_xml(source)
    if form in ("csv", "tsv"):
        return _of_csv(path, source, form, reading)
    return _of_items(json_lines(source) if form == "jsonl" else json_values(source), reading)


def _of_xml(source: TextFile) -> Iterator[Chunk]:
    reader = ElementReader(source)
    for elements in reader.batches():
        limit = reader.header.get("maxlimit", "")
        yield Chunk(
            0,
            chat_id=reader.header.get("chatid") or reader.header.get("cid") or reader.header.get("oid"),
            maxlimit=int(limit) if limit.isascii() and limit.isdigit() else None,
            heads=elements.heads,
            texts=elements.texts,
            rejected=elements.rejected,
        )


def _of_items(items: Iterator[Item], reading: Reading) -> Iterator[Chunk | Rejected]:
    """Records of collections or rows of comments; the first object tells which."""
    before: list[Item] = []
    for item in items:
        before.append(item)
        if item.value is not None:
            break
    whole = chain(before, items)
    if not before or before[-1].value is None or LIST in before[-1].value:
        yield from chunks_of_records(whole, reading.joint, reading.utc_offset)
        return
    broken: list[Item] = []
    yield from chunks_of_rows(_good(whole, broken), reading.utc_offset)
    yield from (Rejected(item.number, item.reason, item.raw) for item in broken)


def _good(items: Iterable[Item], broken: list[Item]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for item in items:
        if item.value is None:
            broken.append(item)
        else:
            yield item.number, item.value


def _of_csv(path: Path, source: TextFile, form: str, reading: Reading) -> Iterator[Chunk | Rejected]:
    rows = CsvRows(source, "\t" if form == "tsv" else ",")
    each = iter(rows)
    header = [cell.strip() for cell in next(each, [])]
    if not header:
        return
    ragged: list[tuple[int, str, str]] = []

    def numbered() -> Iterator[tuple[int, dict[str, str]]]:
        for row in each:
            if len(row) != len(header):
                reason = f"{len(row)} cells, the header has {len(header)}"
                ragged.append((rows.number, reason, ",".join(row)))
                continue
            yield rows.number, dict(zip(header, row, strict=True))

    if LIST in header:
        items = (Item(number, value) for number, value in numbered())
        yield from chunks_of_records(items, reading.joint, reading.utc_offset)
    else:
        rows.longest = _LONGEST_ROW
        try:
            Naming(header)
        except UserError as error:
            raise UserError(f"{path}: {error}") from None
        yield from chunks_of_rows(numbered(), reading.utc_offset)
    yield from (Rejected(*broken) for broken in sorted([*rows.broken, *ragged]))


def _parquet_items(path: Path, source: TextFile) -> Iterator[Item]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            whole = file.metadata.num_rows or 1
            size = path.stat().st_size
            number = 0
            many = _PARQUET_ROWS if LIST in file.schema_arrow.names else 10_000
            for batch in file.iter_batches(batch_size=many):
                for value in batch.to_pylist():
                    number += 1
                    yield Item(number, value)
                source.bytes_read = size * number // whole
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
