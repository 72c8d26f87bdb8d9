"""Comma- and tab-separated files, read record by record into columns."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from typing import Any

from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.raw import LARGEST_CELL, RawTable, TableBuilder, batches, check_columns
from categorize.errors import UserError


def parse_csv(file: InputFile, options: ReadOptions) -> RawTable:
    """Comma-separated values with a header (RFC 4180). An empty cell is null."""
    return _table(file, _records(file, options, delimiter=",", strict=True), is_csv=True)


def parse_tsv(file: InputFile, options: ReadOptions) -> RawTable:
    """Tab-separated values with a header, quoted as csv is or not at all: then quotation marks are characters."""
    try:
        return _table(file, _records(file, options, delimiter="\t", strict=True))
    except UserError as quoted:
        file.notes.clear()
        try:
            plain = _table(file, _records(file, options, delimiter="\t", strict=True, quoting=csv.QUOTE_NONE))
        except UserError:
            raise quoted from None
    note = f"{file.name}: quotation marks are read as characters of the text"
    return RawTable(plain.table, plain.name, plain.row_numbers, (*plain.notes, note))


def _records(file: InputFile, options: ReadOptions, **dialect: Any) -> Iterator[list[str]]:
    """All records, blank ones as []. Strict: an unclosed quotation mark would else swallow the rest of the file.

    Raises UserError, with the line where the record begins, for broken quoting and a cell larger than any text.
    """
    started = 1
    limit = csv.field_size_limit(LARGEST_CELL)  # of the whole interpreter; set back below
    try:
        reader = csv.reader(file.lines(options.encoding, ""), **dialect)
        for row in reader:
            yield row
            started = reader.line_num + 1
    except csv.Error as error:
        # csv words these two as "unexpected end of data" and "field larger than field limit".
        reason = str(error)
        if "field limit" in reason:
            reason = (
                f"a cell of more than {LARGEST_CELL:,} characters: a quotation mark that opens here may never close"
            )
        elif "end of data" in reason:
            reason = "a quotation mark that opens in this record never closes"
        raise UserError(
            f"{file.name}: line {started}: {reason}; a cell with a comma, a line break or a quotation mark at its "
            'start needs quoting: "say ""so"""'
        ) from None
    finally:
        csv.field_size_limit(limit)


def _table(file: InputFile, records: Iterator[list[str]], is_csv: bool = False) -> RawTable:
    """Records, the first a header, as a raw table. Row numbers count every record, as a spreadsheet does."""
    first = next(records, None)
    if first is None or not any(cell.strip() for cell in first):
        raise UserError(f"{file.name}: the first line is not a header; it must name the columns")
    if is_csv and len(first) == 1:
        _check_separator(first[0], file.name)
    header = [cell.strip() for cell in first]
    while header and not header[-1]:
        header.pop()
    width = len(header)
    columns = [cell or f"column {i}" for i, cell in enumerate(header, 1)]
    check_columns(columns, file.name)
    builder = TableBuilder(file.name)
    blank: list[int] = []
    for numbers, rows in batches(_checked(records, width, file.name, blank)):
        builder.add_rows(columns, rows, numbers)
    if blank:
        file.notes.append(f"{file.name}: {len(blank)} rows of separators alone were left out")
    return builder.finish(file.notes, empty="there is a header but no row")


def _checked(
    records: Iterator[list[str]], width: int, name: str, blank: list[int]
) -> Iterator[tuple[int, list[str], int]]:
    """Records as `batches` takes them; those of separators alone, which a spreadsheet writes for rows that once held
    something, go to `blank`. Raises UserError for a record of another width."""
    for number, row in enumerate(records, 2):
        if len(row) != width:
            if not row:
                continue
            if len(row) < width or any(row[width:]):
                raise UserError(
                    f"{name}: row {number} has {len(row)} cells, the header has {width}; check commas and quoting"
                )
            row = row[:width]
        if width > 1 and not any(row):
            blank.append(number)
        else:
            yield number, row, sum(map(len, row))


def _check_separator(header: str, name: str) -> None:
    for separator, called in ((";", "semicolons"), ("\t", "tabs")):
        if separator in header:
            way_out = "data.format: tsv" if separator == "\t" else "save it with commas"
            raise UserError(f"{name}: the header {header[:80]!r} is separated by {called}, not commas; {way_out}")
