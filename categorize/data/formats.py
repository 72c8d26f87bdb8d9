"""Parsers of csv, tsv, json, JSON lines, Parquet and xlsx: the bytes of one file in, a `RawTable` out.

Each parser takes (content, name, sheet) and raises UserError with the file and the row or line that is wrong.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from categorize.data.raw import RawTable, check_columns, from_arrow, from_columns, scalar
from categorize.errors import UserError

Sheet = str | int | None
Parser = Callable[[bytes, str, Sheet], RawTable]

# More than any real cell and within a C long everywhere; the csv module's own limit is 131072 characters.
_LARGEST_CELL = 2**31 - 1


def decode(content: bytes, name: str) -> str:
    """Text of UTF-8 bytes, with or without a byte order mark.

    Raises:
        UserError: the bytes are not UTF-8; names the line, the byte offset and what the file may be instead.
    """
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise UserError(f"{name}: byte 0, line 1: the file is UTF-16; save it as UTF-8 (in a spreadsheet: 'CSV UTF-8')")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        hint = "save it as UTF-8"
        try:
            content.decode("gb18030")
            hint = f"it may be GBK: iconv -f gb18030 -t utf-8 {name}"
        except UnicodeDecodeError:
            pass
        byte = content[error.start]
        raise UserError(f"{name}: byte {error.start}, line {line}: 0x{byte:02x} is not UTF-8; {hint}") from None


# ---------------------------------------------------------------- csv and tsv
def parse_csv(content: bytes, name: str, sheet: Sheet = None) -> RawTable:
    """Comma-separated values with a header (RFC 4180). An empty cell is null."""
    text = decode(content, name)
    rows = _csv_rows(text, name, delimiter=",", strict=True)
    if rows and len(rows[0]) == 1:
        for separator, called in ((";", "semicolons"), ("\t", "tabs")):
            if separator in rows[0][0]:
                way_out = "data.format: tsv" if separator == "\t" else "save it with commas"
                raise UserError(f"{name}: the header {rows[0][0]!r} is separated by {called}, not commas; {way_out}")
    return _table_of_rows(rows, name)


def parse_tsv(content: bytes, name: str, sheet: Sheet = None) -> RawTable:
    """Tab-separated values with a header, quoted as csv is or not at all: then quotation marks are characters."""
    text = decode(content, name)
    try:
        return _table_of_rows(_csv_rows(text, name, delimiter="\t", strict=True), name)
    except UserError as quoted:
        try:
            plain = _csv_rows(text, name, delimiter="\t", strict=True, quoting=csv.QUOTE_NONE)
            table = _table_of_rows(plain, name)
        except UserError:
            raise quoted from None
    return RawTable(
        table.table, name, table.row_numbers, (f"{name}: quotation marks are read as characters of the text",)
    )


def _csv_rows(text: str, name: str, **dialect: Any) -> list[list[str]]:
    """All records, blank ones as []. Strict: an unclosed quotation mark would else swallow the rest of the file."""
    limit = csv.field_size_limit(_LARGEST_CELL)
    reader = csv.reader(io.StringIO(text, newline=""), **dialect)
    rows: list[list[str]] = []
    started = 1
    try:
        for row in reader:
            rows.append(row)
            started = reader.line_num + 1
    except csv.Error as error:
        raise UserError(
            f"{name}: line {started}: {error}; a cell with a comma, a line break or a quotation mark at its start "
            'needs quoting: "say ""so"""'
        ) from None
    finally:
        csv.field_size_limit(limit)
    return rows


def _table_of_rows(rows: list[list[str]], name: str) -> RawTable:
    """Records, the first a header, as a raw table. Row numbers count every record, as a spreadsheet does."""
    if not rows or not any(cell.strip() for cell in rows[0]):
        raise UserError(f"{name}: the first line is no header; it must name the columns")
    header = [cell.strip() for cell in rows[0]]
    while header and not header[-1]:
        header.pop()
    width = len(header)
    columns = [cell or f"column {i}" for i, cell in enumerate(header, 1)]
    check_columns(columns, name)
    numbers, kept = [], []
    for number, row in enumerate(rows[1:], 2):
        if len(row) != width:
            if not row:
                continue
            if len(row) < width or any(row[width:]):
                raise UserError(
                    f"{name}: row {number} has {len(row)} cells, the header has {width}; check commas and quoting"
                )
            row = row[:width]
        numbers.append(number)
        kept.append(row)
    if not kept:
        raise UserError(f"{name}: there is a header but no row")
    cells = zip(*kept, strict=True)
    return from_columns(
        {c: [v if v else None for v in values] for c, values in zip(columns, cells, strict=True)}, name, numbers
    )


# ---------------------------------------------------------------- json
def parse_jsonl(content: bytes, name: str, sheet: Sheet = None) -> RawTable:
    """JSON lines: one object a line, keys as columns; a row without a key has null there. Blank lines are skipped."""
    objects: list[dict[str, Any]] = []
    numbers: list[int] = []
    # Not splitlines(): U+2028 and the like are ordinary characters inside a JSON string.
    for number, line in enumerate(decode(content, name).split("\n"), 1):
        if not line.strip():
            continue
        where = f"{name}: line {number}"
        try:
            value = _load_json(line, where)
        except json.JSONDecodeError as error:
            hint = (
                "; the file looks like one JSON array: data.format: json" if number == 1 and line.strip() == "[" else ""
            )
            raise UserError(f"{where}: broken JSON: {error.msg} at character {error.colno}{hint}") from None
        if not isinstance(value, dict):
            hint = "; for one JSON array: data.format: json" if isinstance(value, list) else ""
            raise UserError(f"{where}: {str(line)[:40]!r} is not an object {{...}}{hint}")
        objects.append(value)
        numbers.append(number)
    return _table_of_objects(objects, name, numbers)


def parse_json(content: bytes, name: str, sheet: Sheet = None) -> RawTable:
    """A JSON array of objects, keys as columns."""
    text = decode(content, name)
    try:
        value = _load_json(text, name)
    except json.JSONDecodeError as error:
        hint = "; for one object a line: data.format: jsonl" if error.msg == "Extra data" else ""
        raise UserError(
            f"{name}: line {error.lineno}: broken JSON: {error.msg} at character {error.colno}{hint}"
        ) from None
    if not isinstance(value, list):
        hint = "; for one object a line: data.format: jsonl" if "\n" not in text.strip() else ""
        raise UserError(f"{name}: the file must hold an array of objects, [{{...}}, ...]{hint}")
    for number, item in enumerate(value, 1):
        if not isinstance(item, dict):
            raise UserError(f"{name}: row {number}: {str(item)[:40]!r} is not an object {{...}}")
    return _table_of_objects(value, name, list(range(1, len(value) + 1)))


def _load_json(text: str, where: str) -> Any:
    """Numbers keep their spelling; NaN is null; a key that comes twice is an error."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            seen: set[str] = set()
            twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
            raise UserError(f"{where}: the key {twice!r} comes twice in one object; rename one")
        return result

    try:
        return json.loads(text, parse_int=str, parse_float=str, parse_constant=lambda _: None, object_pairs_hook=unique)
    except RecursionError:
        raise UserError(f"{where}: JSON is nested too deeply") from None


def _table_of_objects(objects: list[dict[str, Any]], name: str, numbers: list[int]) -> RawTable:
    if not objects:
        raise UserError(f"{name}: the file holds no row")
    columns = list(dict.fromkeys(key for item in objects for key in item))
    return from_columns({column: [item.get(column) for item in objects] for column in columns}, name, numbers)


# ---------------------------------------------------------------- parquet and xlsx
def parse_parquet(content: bytes, name: str, sheet: Sheet = None) -> RawTable:
    """A Parquet file; nested values become JSON, lists stay lists."""
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(pa.BufferReader(content))
    except (pa.ArrowException, OSError) as error:
        raise UserError(f"{name}: not a Parquet file ({str(error).splitlines()[0]})") from None
    if not table.num_rows:
        raise UserError(f"{name}: the file holds no row")
    return from_arrow(table, name)


def parse_xlsx(content: bytes, name: str, sheet: Sheet = None) -> RawTable:
    """One sheet of a spreadsheet, its first filled row as header. Whole numbers read "2", dates as ISO 8601."""
    import python_calamine

    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        page = _sheet(book, sheet, name)
        rows = page.to_python()
    except (python_calamine.CalamineError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{name}: not a readable spreadsheet ({reason}); save it as .xlsx without a password") from None
    title = f"{name}, sheet {page.name!r}"
    if not rows or page.start is None:
        raise UserError(f"{title}: the sheet is empty; sheets: {_listed(book.sheet_names)}")
    top = page.start[0] + 1
    header = [(scalar(cell) or "").strip() for cell in rows[0]]
    body = rows[1:]
    keep = [i for i, head in enumerate(header) if head or any(row[i] not in ("", None) for row in body)]
    columns = [header[i] or f"column {i + 1}" for i in keep]
    check_columns(columns, title)
    filled = [i for i, row in enumerate(body) if any(cell not in ("", None) for cell in row)]
    if not filled:
        raise UserError(f"{title}: there is a header but no row")
    values: dict[str, Sequence[Any]] = {
        c: [None if body[r][i] == "" else body[r][i] for r in filled] for c, i in zip(columns, keep, strict=True)
    }
    return from_columns(values, title, [top + 1 + r for r in filled])


def _sheet(book: Any, sheet: Sheet, name: str) -> Any:
    names = list(book.sheet_names)
    if sheet is None:
        return book.get_sheet_by_index(0)
    if isinstance(sheet, str) and sheet in names:
        return book.get_sheet_by_name(sheet)
    if isinstance(sheet, int) and 0 <= sheet < len(names):
        return book.get_sheet_by_index(sheet)
    raise UserError(f"{name}: data.sheet: there is no sheet {sheet!r}; sheets, from 0: {_listed(names)}")


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name) for name in names)


PARSERS: dict[str, Parser] = {
    "csv": parse_csv,
    "tsv": parse_tsv,
    "json": parse_json,
    "jsonl": parse_jsonl,
    "parquet": parse_parquet,
    "xlsx": parse_xlsx,
}
