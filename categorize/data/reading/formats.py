"""Parsers by format, and those of json, JSON lines and Parquet: one file in, blocks of its rows out.

Each parser takes an `InputFile` and `ReadOptions`, and raises UserError with the file and the row or line that is
wrong; what the user should know of the file stands in its notes once the last block was taken. `delimited` holds csv
and tsv, `sheets` holds xlsx.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from categorize.data.reading.delimited import csv_blocks, tsv_blocks
from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.raw import LARGEST_CELL, Block, RawTable, TableBuilder, batches, check_columns
from categorize.data.reading.sheets import xlsx_blocks
from categorize.errors import UserError

Parser = Callable[[InputFile, ReadOptions], Iterator[Block]]
_ROWS = 10_000  # of a block of Parquet


def jsonl_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """JSON lines: one object a line, keys as columns; a row without a key has null there. Blank lines are skipped."""
    # Lines end at "\n" alone: U+2028 and the like are ordinary characters inside a JSON string.
    lines = enumerate(file.lines(options.encoding, "\n"), 1)
    objects = ((n, _object(line, file.name, n), len(line)) for n, line in lines if line.strip())
    numbers: list[int] = []
    for numbers, some in batches(objects):
        yield Block(file.name, _columns(some), numbers)
    if not numbers:
        raise UserError(f"{file.name}: the file holds no row")


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


def json_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
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
    for numbers, some in batches((number, item, 0) for number, item in enumerate(value, 1)):
        yield Block(name, _columns(some), numbers)


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


def parquet_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """A Parquet file; nested values become JSON, lists stay lists. Not read as a whole, unless it is gzipped."""
    numbers: Sequence[int] | npt.NDArray[np.int64] = ()
    for block in parquet_rows(file):
        numbers = block.numbers
        yield block
    if not len(numbers):
        raise UserError(f"{file.name}: the file holds no row")


def parquet_rows(file: InputFile) -> Iterator[Block]:
    """The rows of a Parquet file, of which there may be none."""
    import pyarrow.parquet as pq

    in_memory = file.content is not None or file.is_zipped
    content = pa.BufferReader(file.read()) if in_memory else file.path
    number = 1
    try:
        with pq.ParquetFile(content) as stored:
            check_columns(stored.schema_arrow.names, file.name)
            for batch in stored.iter_batches(_ROWS):
                if batch.num_rows:
                    yield Block(file.name, pa.Table.from_batches([batch]), np.arange(number, number + batch.num_rows))
                    number += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{file.name}: not a Parquet file ({str(error).splitlines()[0]})") from None


PARSERS: dict[str, Parser] = {
    "csv": csv_blocks,
    "tsv": tsv_blocks,
    "json": json_blocks,
    "jsonl": jsonl_blocks,
    "parquet": parquet_blocks,
    "xlsx": xlsx_blocks,
}


def parse(form: str, file: InputFile, options: ReadOptions) -> RawTable:
    """The rows of a file as one table."""
    return whole_table(PARSERS[form](file, options), file)


def whole_table(blocks: Iterator[Block], file: InputFile) -> RawTable:
    """One table of all blocks of a file; there is at least one."""
    first = next(blocks)
    builder = TableBuilder(first.name)
    builder.add_block(first)
    for block in blocks:
        builder.add_block(block)
    return builder.finish(file.notes)
