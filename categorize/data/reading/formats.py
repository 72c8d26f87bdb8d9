"""Parsers by format, and those of json, JSON lines and Parquet: one file in, a `RawTable` out.

Each parser takes an `InputFile` and `ReadOptions`, and raises UserError with the file and the row or line that is
wrong. `delimited` holds csv and tsv, `sheets` holds xlsx.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from categorize.data.reading.delimited import parse_csv, parse_tsv
from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.raw import LARGEST_CELL, RawTable, TableBuilder, batches, from_arrow, from_columns
from categorize.data.reading.sheets import parse_xlsx
from categorize.errors import UserError

Parser = Callable[[InputFile, ReadOptions], RawTable]


def parse_jsonl(file: InputFile, options: ReadOptions) -> RawTable:
    """JSON lines: one object a line, keys as columns; a row without a key has null there. Blank lines are skipped."""
    builder = TableBuilder(file.name)
    # Lines end at "\n" alone: U+2028 and the like are ordinary characters inside a JSON string.
    lines = enumerate(file.lines(options.encoding, "\n"), 1)
    objects = ((n, _object(line, file.name, n), len(line)) for n, line in lines if line.strip())
    for numbers, some in batches(objects):
        builder.add(_columns(some), numbers)
    return builder.finish(file.notes, empty="the file holds no row")


def _object(line: str, name: str, number: int) -> dict[str, Any]:
    where = f"{name}: line {number}"
    if len(line) > 2 * LARGEST_CELL:
        raise UserError(f"{where}: {len(line):,} characters in one line; is it JSON lines, one object a line?")
    try:
        value = _load_json(line, where)
    except json.JSONDecodeError as error:
        hint = "; the file looks like one JSON array: data.format: json" if number == 1 and line.strip() == "[" else ""
        raise UserError(f"{where}: broken JSON: {error.msg} at character {error.colno}{hint}") from None
    if not isinstance(value, dict):
        hint = "; for one JSON array: data.format: json" if isinstance(value, list) else ""
        raise UserError(f"{where}: {line.strip()[:40]!r} is not an object {{...}}{hint}")
    return value


def parse_json(file: InputFile, options: ReadOptions) -> RawTable:
    """A JSON array of objects, keys as columns. The format has no lines, so that it is read as a whole."""
    name, text = file.name, file.text(options.encoding)
    try:
        value = _load_json(text, name)
    except json.JSONDecodeError as error:
        hint = "; for one object a line: data.format: jsonl" if error.msg == "Extra data" else ""
        where = f"{name}: line {error.lineno}"
        raise UserError(f"{where}: broken JSON: {error.msg} at character {error.colno}{hint}") from None
    if not isinstance(value, list):
        hint = "; for one object a line: data.format: jsonl" if "\n" not in text.strip() else ""
        raise UserError(f"{name}: the file must hold an array of objects, [{{...}}, ...]{hint}")
    for number, item in enumerate(value, 1):
        if not isinstance(item, dict):
            raise UserError(f"{name}: row {number}: {str(item)[:40]!r} is not an object {{...}}")
    if not value:
        raise UserError(f"{name}: the file holds no row")
    return from_columns(_columns(value), name, range(1, len(value) + 1), file.notes)


def _load_json(text: str, where: str) -> Any:
    """Numbers keep their spelling; NaN is null; a key that comes twice is an error."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise UserError(f"{where}: the key {twice!r} comes twice in one object; rename one")
        return result

    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda _: None, object_pairs_hook=unique)
    except RecursionError:
        raise UserError(f"{where}: JSON is nested too deeply") from None


def _columns(objects: list[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(key for item in objects for key in item)
    return {name: [item.get(name) for item in objects] for name in names}


def parse_parquet(file: InputFile, options: ReadOptions) -> RawTable:
    """A Parquet file; nested values become JSON, lists stay lists."""
    import pyarrow.parquet as pq

    name = file.name
    try:
        in_memory = file.content is not None or file.is_zipped
        table = pq.ParquetFile(pa.BufferReader(file.read()) if in_memory else file.path).read()
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: not a Parquet file ({str(error).splitlines()[0]})") from None
    if not table.num_rows:
        raise UserError(f"{name}: the file holds no row")
    return from_arrow(table, name)


PARSERS: dict[str, Parser] = {"csv": parse_csv, "tsv": parse_tsv, "json": parse_json, "jsonl": parse_jsonl}
PARSERS |= {"parquet": parse_parquet, "xlsx": parse_xlsx}
