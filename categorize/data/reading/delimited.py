"""Comma- and tab-separated files, read record by record into columns."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.raw import LARGEST_CELL, Block, batches_of, check_columns, chunk_rows
from categorize.errors import UserError


def csv_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """Comma-separated values with a header (RFC 4180). An empty cell is null."""
    return _blocks(file, _records(file, options, delimiter=",", strict=True), is_csv=True)


def tsv_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """Tab-separated values with a header, quoted as csv is or not at all: then quotation marks are characters.

    Which of the two shows at the end of the file alone, so that it is read twice.
    """

    def read(**quoting: Any) -> Iterator[Block]:
        file.notes.clear()
        return _blocks(file, _records(file, options, delimiter="\t", strict=True, **quoting))

    try:
        deque(read(), maxlen=0)
    except UserError as quoted:
        try:
            deque(read(quoting=csv.QUOTE_NONE), maxlen=0)
        except UserError:
            raise quoted from None
        yield from read(quoting=csv.QUOTE_NONE)
        file.notes.append(f"{file.name}: quotation marks are read as characters of the text")
    else:
        yield from read()


def _records(file: InputFile, options: ReadOptions, **dialect: Any) -> Iterator[list[list[str]]]:
    """All records, some at a time, blank ones as []; the header alone. Strict: an unclosed quotation mark would else
    swallow the rest of the file.

    Raises UserError, with the line where the record begins, for broken quoting and a cell larger than any text.
    """
    started = 1
    problem: UserError | None = None
    size = chunk_rows()
    reader = csv.reader(file.lines(options.encoding, ""), **dialect)
    while problem is None:
        chunk: list[list[str]] = []
        limit = csv.field_size_limit(LARGEST_CELL)  # of the whole interpreter; set back below
        try:
            for row in islice(reader, size if started > 1 else 1):  # the header comes alone
                chunk.append(row)
                started = reader.line_num + 1
        except csv.Error as error:
            problem = _broken(str(error), file.name, started)
        except UserError as error:
            problem = error
        finally:
            csv.field_size_limit(limit)
        if chunk:
            yield chunk  # what is wrong in it comes first
        elif problem is None:
            return
    raise problem


def _broken(reason: str, name: str, line: int) -> UserError:
    """The error for what csv words as "unexpected end of data" and "field larger than field limit", or otherwise."""
    if "field limit" in reason:
        reason = f"a cell of more than {LARGEST_CELL:,} characters: a quotation mark that opens here may never close"
    elif "end of data" in reason:
        reason = "a quotation mark that opens in this record never closes"
    return UserError(
        f"{name}: line {line}: {reason}; a cell with a comma, a line break or a quotation mark at its start needs "
        'quoting: "say ""so"""'
    )


def _blocks(file: InputFile, chunks: Iterator[list[list[str]]], is_csv: bool = False) -> Iterator[Block]:
    """Records, the first a header, in blocks. Row numbers count every record, as a spreadsheet does."""
    chunk = next(chunks, [])
    first = chunk[0] if chunk else []
    if not any(cell.strip() for cell in first):
        raise UserError(f"{file.name}: the first line is not a header; it must name the columns")
    if is_csv and len(first) == 1:
        _check_separator(first[0], file.name)
    header = [cell.strip() for cell in first]
    while header and not header[-1]:
        header.pop()
    width = len(header)
    columns = [cell or f"column {i}" for i, cell in enumerate(header, 1)]
    check_columns(columns, file.name)
    blank: list[int] = []
    numbers: list[int] = []
    for numbers, rows in batches_of(_checked(chain([chunk[1:]], chunks), width, file.name, blank)):
        yield Block.of_rows(file.name, columns, rows, numbers)
    if not numbers:
        raise UserError(f"{file.name}: there is a header but no row")
    if blank:
        file.notes.append(f"{file.name}: {len(blank)} rows of separators alone were left out")


def _checked(
    chunks: Iterable[list[list[str]]], width: int, name: str, blank: list[int]
) -> Iterator[tuple[list[int], list[list[str]], int]]:
    """Records as `batches_of` takes them; those of separators alone, which a spreadsheet writes for rows that once held
    something, go to `blank`. Raises UserError for a record of another width."""
    start = 2
    for chunk in chunks:
        numbers, rows = list(range(start, start + len(chunk))), chunk
        start += len(chunk)
        if set(map(len, chunk)) != {width} or not all(map(any, chunk)):  # quick where all is well
            numbered = zip(numbers, chunk, strict=True)
            numbers, rows = [], []
            for number, row in numbered:
                if not row:
                    continue
                if len(row) != width:
                    if len(row) < width or any(row[width:]):
                        raise UserError(
                            f"{name}: row {number} has {len(row)} cells, the header has {width}; check commas and "
                            "quoting"
                        )
                    row = row[:width]
                if width > 1 and not any(row):
                    blank.append(number)
                else:
                    numbers.append(number)
                    rows.append(row)
        yield numbers, rows, sum(map(len, chain.from_iterable(rows)))


def _check_separator(header: str, name: str) -> None:
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if separator in header:
            way_out = "data.format: tsv" if separator == "\t" else "save it with commas"
            raise UserError(f"{name}: the header {header[:80]!r} is separated by {called}, not commas; {way_out}")
