"""Parsers by format, and those of json, JSON lines and Parquet: one file in, blocks of its rows out.

Each parser takes an `InputFile` and `ReadOptions`, and raises UserError with the file and the row or line that is
wrong; what the user should know of the file stands in its notes once the last block was taken. `delimited` holds csv
and tsv, `sheets` spreadsheets, `plain_text` fastText lines, `statistics` Stata and SPSS.
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
from categorize.data.reading.plain_text import fasttext_blocks
from categorize.data.reading.raw import LARGEST_CELL, Block, RawTable, TableBuilder, batches, check_columns
from categorize.data.reading.sheets import xlsx_blocks
from categorize.data.reading.statistics import dta_blocks, sav_blocks
from categorize.data.reading.transcripts.recognized import is_recognized
from categorize.data.reading.ways_out import WayOut, said
from categorize.errors import UserError
from categorize.recipe.wording import counted, first_few, quote

Parser = Callable[[InputFile, ReadOptions], Iterator[Block]]
_ROWS = 10_000  # of a block of Parquet


def jsonl_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """JSON lines: one object a line, keys as columns; a row without a key has null there. Blank lines are skipped."""
    # Lines end at "\n" alone: U+2028 and the like are ordinary characters inside a JSON string.
    lines = enumerate(file.lines(options.encoding, "\n", options.replaces), 1)
    objects = ((n, _object(line, n, file, options), len(line)) for n, line in lines if line.strip())
    numbers: list[int] = []
    some: list[dict[str, Any]] = []
    rows = 0
    for numbers, some in batches(objects):
        rows += len(some)
        yield Block(file.name, _columns(some), numbers)
    if not numbers:
        raise UserError(f"{file.name}: the file holds no row")
    if rows == 1 and (inside := lists_in(some[0])):
        listed = ", ".join(f"{path} ({len(items)})" for path, items in inside.items())
        file.notes.append(
            f"{file.name}: the file is one object, read as one row; it holds lists of objects: {listed}; "
            f"{said(format='json')} reads their objects as rows"
        )


def _object(line: str, number: int, file: InputFile, options: ReadOptions) -> dict[str, Any]:
    where = f"{file.name}: line {number}"
    if len(line) > 2 * LARGEST_CELL:
        raise UserError(f"{where}: {len(line):,} characters in one line; is it JSON lines, one object a line?")
    wrong = ""
    try:
        value = _load_json(line, where)
    except json.JSONDecodeError as error:
        value, wrong = None, f"broken JSON: {error.msg} at character {error.colno}"
    if isinstance(value, dict):
        return value
    problem = f"{where}: {wrong or f'{quote(line.strip())} is not an object {{...}}'}"
    if number == 1 and _reads_as_json(file, options):
        raise WayOut(f"{problem}; the file is one JSON text: set {said(format='json')}", {"format": "json"})
    raise UserError(problem)


def _reads_as_json(file: InputFile, options: ReadOptions) -> bool:
    """Whether a file that is not JSON lines can be read as one array, or one object around one."""
    again = InputFile(file.path, file.content)
    again.name, again.is_silent = file.name, True
    try:
        next(json_blocks(again, options))
    except UserError:
        return False
    return True


def json_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """A JSON array of objects, keys as columns, or an object around one. The format has no lines, so that it is read as
    a whole."""
    name, text = file.name, file.text(options.encoding, options.replaces)
    try:
        value = _load_json(text, name)
    except json.JSONDecodeError as error:
        problem = f"{name}: line {error.lineno}: broken JSON: {error.msg} at character {error.colno}"
        if error.msg == "Extra data" and _begins_with_an_object(text):
            way = {"format": "jsonl"}
            raise WayOut(f"{problem}; for one object a line, set {said(**way)}", way) from None
        raise UserError(problem) from None
    value, note = rows_of_json(value, name, options.records, is_line="\n" not in text.strip())
    for number, item in enumerate(value, 1):
        if not isinstance(item, dict):
            raise UserError(f"{name}: row {number}: {quote(str(item))} is not an object {{...}}")
    if not value:
        raise UserError(f"{name}: the file holds no row")
    for numbers, some in batches((number, item, 0) for number, item in enumerate(value, 1)):
        yield Block(name, _columns(some), numbers)
    file.notes += note


def _begins_with_an_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text.lstrip().partition("\n")[0]), dict)
    except (ValueError, RecursionError):
        return False


def rows_of_json(value: Any, name: str, records: str | None, is_line: bool = False) -> tuple[list[Any], list[str]]:
    """The rows of a JSON text: an array, or the one list of objects that an object holds, with a note.

    Args:
        records: key of that list, `result.items`; by default there must be one.
        is_line: whether the text is one line, which JSON lines can be.

    Raises:
        UserError: there is none, or several and none is named.
    """
    if isinstance(value, list) and records is None:
        return value, []
    if not isinstance(value, dict):
        key = f", and data.records: {records} is for an object" if records is not None else ""
        raise UserError(f"{name}: the file must hold an array of objects, [{{...}}, ...]{key}")
    found = lists_in(value)
    if records is None and is_recognized(value):
        way = {"format": "transcript"}
        raise WayOut(
            f"{name}: speech as a recognizer writes it; set {said(**way)} for a row a recording, or data.records to "
            f"one of its lists: {first_few([*found])}",
            way,
        )
    if records is None and len(found) == 1:
        records = next(iter(found))
        others = ", ".join(map(quote, [key for key in value if key != records.partition(".")[0]])) or "none"
        note = f"{name}: the rows are those of {said(records=records)}; other keys of the object, not read: {others}"
        return found[records], [note]
    if records in found:
        return found[records], []
    keys = first_few([quote(key) for key in value])
    if not found:
        if is_line and not any(isinstance(one, dict | list) for one in value.values()):
            way = {"format": "jsonl"}
            raise WayOut(f"{name}: the file is one object with the keys {keys}; is it a row: set {said(**way)}", way)
        raise UserError(
            f"{name}: the file is one object with the keys {keys}, and none holds a list of objects; write the rows as "
            "an array, [{...}, ...] (in pandas: orient='records')"
        )
    listed = first_few([f"{said(records=path)} ({counted(len(items), 'object')})" for path, items in found.items()])
    which = f"no list of objects under data.records: {records}" if records is not None else "several lists of objects"
    raise WayOut(
        f"{name}: the file is one object with the keys {keys} and {which}; set {listed}",
        *({"records": path} for path in found),
    )


def lists_in(value: dict[str, Any], depth: int = 4) -> dict[str, list[Any]]:
    """Lists of objects that an object holds, by their keys joined by dots.

    >>> lists_in({"job": "7", "result": {"items": [{"text": "a"}]}})
    {'result.items': [{'text': 'a'}]}
    """
    found: dict[str, list[Any]] = {}
    for key, one in value.items():
        if isinstance(one, list) and one and all(isinstance(item, dict) for item in one):
            found[key] = one
        elif isinstance(one, dict) and depth > 1:
            found |= {f"{key}.{path}": items for path, items in lists_in(one, depth - 1).items()}
    return found


def _load_json(text: str, where: str) -> Any:
    """Numbers keep their spelling; NaN is null; a key that comes twice is an error."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
            raise UserError(f"{where}: the key {quote(twice)} comes twice in one object; rename one")
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
    "fasttext": fasttext_blocks,
    "dta": dta_blocks,
    "sav": sav_blocks,
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
