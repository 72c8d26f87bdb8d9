"""The objects of JSON, the rows of csv and Parquet, one at a time, and the raw text of what is neither."""

from __future__ import annotations

import csv
import json
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from categorize.danmu.fields import LIST
from categorize.danmu.opening import TextFile, lines
from categorize.danmu.rows import naming
from categorize.errors import UserError

_BATCH = 8 << 20  # characters
_LONGEST = 256 << 20  # what does not end by then is given up
_LONGEST_CELL = 1 << 20  # of a row that is one comment: a quotation mark is not closed
_PARQUET_ROWS = 16  # of collections
_DECODER = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=lambda _: None)
_AROUND = "\0 \t\r\n\ufeff"
_SPACE = re.compile(r"[\s,\]\[\x00]*")
_NEXT = re.compile(r"\{\s*\"")
_NEXT_LINE = re.compile(r"\n[\s,]*(?=\{\s*\")|(?<=\})\s*,\s*(?=\{\s*\")")

# A list that was cut off, or holds bare quotation marks: up to the keys that may follow it, or to the end.
_LIST = re.compile(r'"danmu_list"\s*:\s*"')
_LIST_END = re.compile(
    r'"\s*(?P<after>(?:,\s*"(?:video_id|collect_YMDH|chat_id|maxlimit)"\s*:[^{}]*)?)\}\s*\]?,?\s*\Z', re.DOTALL
)
_ESCAPE_AT_END = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")


@dataclass(frozen=True)
class Item:
    """One object or row of the file, or the damaged text that stands in its place."""

    number: int  # line in JSON lines and csv, position in JSON and Parquet; from 1
    value: dict[str, Any] | None  # numbers stay as they were written; None where there is no object
    reason: str = ""  # what is wrong with the item; empty where nothing is
    raw: str = ""  # the text of a damaged item
    truncated: bool = False  # the object was cut off, and `value` holds what came before


# ---------------------------------------------------------------- JSON
def json_lines(source: TextFile) -> Iterator[Item]:
    """One object a line; blank lines are none."""
    for number, line in enumerate(lines(source), 1):
        if line.strip(_AROUND):
            yield _item(number, line)


def json_values(source: TextFile) -> Iterator[Item]:
    """The objects of an array, or objects that follow each other; read piece by piece."""
    chunks, text, number, at_end = source.chunks(), "", 0, False
    while not at_end:
        pieces, missing = [text], max(_BATCH - len(text), len(text))
        while missing > 0 and not at_end:
            chunk = next(chunks, None)
            at_end = chunk is None
            pieces.append(chunk or "")
            missing -= len(pieces[-1])
        text, place = "".join(pieces), 0
        while (place := _SPACE.match(text, place).end()) < len(text):  # type: ignore[union-attr]
            try:
                value, end = _DECODER.raw_decode(text, place)
            except (ValueError, RecursionError):
                if not at_end and (len(text) - place <= _LONGEST or not _NEXT.search(text, place + 1)):
                    break
                # A broken object ends where the next line begins one.
                match = _NEXT_LINE.search(text, place + 1)
                end = match.end() if match else len(text)
                item = _item(number + 1, text[place:end].rstrip(" \t\r\n,]"))
            else:
                if end == len(text) and not at_end:
                    break
                item = _checked(number + 1, value, "" if isinstance(value, dict) else text[place:end])
            number, place = number + 1, end
            yield item
        text = text[place:]


def _item(number: int, text: str) -> Item:
    try:
        value = _DECODER.decode(text.strip(_AROUND))
    except RecursionError:
        return Item(number, None, "the JSON is nested too deeply", text)
    except ValueError as error:
        where = f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        return _salvaged(number, text) or Item(number, None, f"broken JSON ({where})", text)
    return _checked(number, value, text)


def _checked(number: int, value: Any, raw: str) -> Item:
    return Item(number, value) if isinstance(value, dict) else Item(number, None, "not an object {...}", raw)


def _salvaged(number: int, text: str) -> Item | None:
    """A record of which the list can be had although the JSON is broken: cut off, or with bare quotation marks."""
    start = _LIST.search(text)
    if start is None:
        return None
    end = _LIST_END.search(text, start.end())
    inner = text[start.end() : end.start() if end else len(text)]
    around = text[: start.start()] + '"danmu_list": ""' + (end["after"] if end else "") + "}"
    try:
        value = _DECODER.decode(around.strip(_AROUND + "[,"))
    except (ValueError, RecursionError):
        value = {}
    if end is None and (escape := _ESCAPE_AT_END.search(inner)):
        inner = inner[: escape.start(1)]
    value[LIST] = _unquoted(inner)
    return Item(number, value, "broken JSON", text, truncated=end is None)


def _unquoted(inner: str) -> str:
    """A JSON string's content; bare quotation marks inside are characters."""
    bare = re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', inner)
    try:
        return str(_DECODER.decode(f'"{bare}"'))
    except ValueError:
        return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t", "r": "\r"}.get(m.group(1), m.group(1)), inner)


# ---------------------------------------------------------------- tables
def csv_rows(source: TextFile, delimiter: str) -> Iterator[Item]:
    """Rows below the header, blank ones left out; a quotation mark that never closes costs its own line, not the file.

    Raises:
        UserError: the header names neither lists nor the fields of comments.
    """
    fresh = lines(source, keep_return=True)
    again: deque[str] = deque()
    row: list[str] = []  # lines of the row that is being read

    def taken() -> Iterator[str]:
        while (line := again.popleft() if again else next(fresh, None)) is not None:
            row.append(line)
            yield line + "\n"

    done = 0  # lines
    header: list[str] = []
    limit = csv.field_size_limit(_LONGEST)  # of the whole interpreter
    try:
        while True:
            try:
                for cells in csv.reader(taken(), delimiter=delimiter, strict=True):
                    number, done = done + 1, done + len(row)
                    row.clear()
                    if not cells:
                        continue
                    if header and len(cells) != len(header):
                        reason = f"{len(cells)} cells, the header has {len(header)}"
                        yield Item(number, None, reason, ",".join(cells))
                    elif header:
                        yield Item(number, dict(zip(header, cells, strict=True)))
                    else:
                        header = [cell.strip() for cell in cells]
                        if LIST not in header:
                            csv.field_size_limit(_LONGEST_CELL)
                            if wrong := naming(tuple(header)).wrong:
                                raise UserError(f"{source.path}: {wrong}")
                return
            except csv.Error as error:
                # Only the first line is lost; those that the open quotation mark swallowed are read again.
                done += 1
                yield Item(done, None, f"a quotation mark is open or misplaced ({error})", row[0])
                again.extendleft(reversed(row[1:]))
                row.clear()
    finally:
        csv.field_size_limit(limit)


def parquet_rows(source: TextFile) -> Iterator[Item]:
    """The rows of a Parquet file. Raises UserError where it cannot be read as one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(source.path) as file:
            done, size = 0, source.path.stat().st_size
            for batch in file.iter_batches(_PARQUET_ROWS if LIST in file.schema_arrow.names else 10_000):
                yield from (Item(number, value) for number, value in enumerate(batch.to_pylist(), done + 1))
                done += len(batch)
                source.bytes_read = size * done // file.metadata.num_rows
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{source.path}: not a readable Parquet file ({str(error).splitlines()[0]})") from None
