"""Spreadsheets: one sheet of an xlsx file, row by row, and what a sheet hides: merged cells, formulas and errors."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any
from xml.etree import ElementTree

from categorize.data.reading.header import header_of
from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.progress import Progress
from categorize.data.reading.raw import Block, batches, check_columns, scalar
from categorize.errors import UserError
from categorize.recipe.wording import counted, first_few, quote

_CHUNK = 1 << 22
_LOOKED_AT = 200  # rows by which a header is told
_SHOWN = 5  # cells that a note names
_EMPTY = ("", None)
_RELATION = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"
# A cell with a formula, whether it is a text, and the value that was saved with it.
_FORMULA = re.compile(
    rb'<c r="([A-Z]+\d+)"([^>]*)><f(?:[^>]*/>|[^>]*>[^<]*</f>)\s*(<v(?:\s[^>]*)?>[^<]+</v>)?', re.ASCII
)
# A cell that holds an error such as #N/A or #REF!, which reads empty.
_ERROR = re.compile(rb'<c r="([A-Z]+\d+)"[^>]* t="e"', re.ASCII)


def xlsx_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """One sheet of a spreadsheet, its first filled row as header. Whole numbers read "2", dates as ISO 8601.

    A formula gives the value that was saved with it.
    """
    import python_calamine

    content = file.read()
    try:
        book = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(content))
        page = _sheet(book, options.sheet, file.name)
        title = f"{file.name}, sheet {page.name!r}"
        if page.start is None:
            raise UserError(f"{title}: the sheet is empty; sheets: {', '.join(map(repr, book.sheet_names))}")
        if options.sheet is None and len(book.sheet_names) > 1:
            others = first_few([quote(name) for name in book.sheet_names[1:]])
            file.notes.append(
                f"{title}: the first of {len(book.sheet_names)} sheets; data.sheet names another: {others}"
            )
        has_header = options.header in (None, True)
        file.notes += [*_merged(page, title, has_header), *_hidden(content, page.name, title)]
        yield from _blocks(page, title, file, options)
    except (python_calamine.CalamineError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        way_out = "save it as .xlsx without a password"
        raise UserError(f"{file.name}: not a readable spreadsheet ({reason}); {way_out}") from None


def _blocks(page: Any, title: str, file: InputFile, options: ReadOptions) -> Iterator[Block]:
    top = page.start[0]
    rows = ((number, row) for number, row in enumerate(page.iter_rows(), 1) if number > top)
    number, start = next(rows)
    first, *below = (_texts(row) for row in islice(page.iter_rows(), top, top + _LOOKED_AT))
    header, is_row = header_of(first, below, options.header, title, number)
    # A column without a header is kept where it holds something.
    nameless = [i for i, name in enumerate(header) if not name]
    held = {i for row in (page.iter_rows() if nameless else ()) for i in nameless if row[i] not in _EMPTY}
    kept = [i for i, name in enumerate(header) if name or i in held]
    columns = [header[i] or f"column {i + page.start[1] + 1}" for i in kept]
    check_columns(columns, title)
    progress = Progress(f"reading {title}", page.total_height)
    again = 0

    def filled() -> Iterator[tuple[int, list[Any], int]]:
        nonlocal again
        for at, row in chain([(number, start)] if is_row else [], rows):
            if not is_row and len(row) > 1 and row == start:
                again += 1
            elif any(cell not in _EMPTY for cell in row):
                yield at, [row[i] for i in kept], 0

    numbers: list[int] = []
    for numbers, some in batches(filled()):
        yield Block.of_rows(title, columns, some, numbers, top if is_row else top + 1)
        progress.update(numbers[-1], numbers[-1])
    progress.finish()
    if not numbers:
        raise UserError(f"{title}: there is a header but no row")
    if again:
        file.notes.append(f"{title}: the header comes again {counted(again, 'time')}; these rows were left out")


def _texts(row: Sequence[Any]) -> list[str]:
    return [(scalar(cell) or "").strip() for cell in row]


def _merged(page: Any, title: str, has_header: bool) -> list[str]:
    """A note on merged cells. Raises UserError where the header has some."""
    ranges = page.merged_cell_ranges or []
    top = page.start[0]
    for (first_row, first), (last_row, last) in ranges:
        if has_header and first_row <= top <= last_row:
            across = f"columns {_letters(first)} to {_letters(last)}" if last > first else ""
            down = f"rows {first_row + 1} to {last_row + 1}" if last_row > first_row else ""
            raise UserError(
                f"{title}: row {top + 1}: the header is merged over {' and '.join(filter(None, (across, down)))}; "
                "unmerge it: one row must name every column"
            )
    if ranges:
        return [f"{title}: {len(ranges)} merged areas: their value stands in the first cell, the others read empty"]
    return []


def _hidden(content: bytes, sheet: str, title: str) -> list[str]:
    """Notes on formulas and on cells with an error. Raises UserError where a formula was saved without a value, as
    programs do that compute none."""
    formulas = 0
    errors: list[str] = []
    try:
        for part in _parts(content, sheet):
            errors += [cell.decode() for cell in (_ERROR.findall(part) if b't="e"' in part else ())]
            for cell, attributes, value in _FORMULA.findall(part) if b"<f" in part else ():
                if not value and b't="str"' not in attributes:  # a text may be empty
                    way_out = "open the file in a spreadsheet program and save it"
                    raise UserError(f"{title}: cell {cell.decode()} is a formula without a saved value; {way_out}")
                formulas += 1
    except (zipfile.BadZipFile, KeyError, ElementTree.ParseError, NotImplementedError):
        # The cells themselves are read; zipfile raises NotImplementedError for a compression that it does not know.
        is_xlsx = content.startswith(b"PK") and b"xl/" in content
        why = "the file is built in an unusual way" if is_xlsx else "which the format does not tell"
        why += "; one without a saved value, and a cell with an error, reads empty"
        return [f"{title}: formulas could not be looked for, {why}"]
    notes = [f"{title}: {formulas} formulas read as the values that were saved with them"] if formulas else []
    if errors:
        shown = ", ".join(errors[:_SHOWN]) + (", ..." if len(errors) > _SHOWN else "")
        notes.append(f"{title}: {len(errors)} cells hold an error such as #N/A and read empty: {shown}")
    return notes


def _parts(content: bytes, sheet: str) -> Iterator[bytes]:
    """The XML of a sheet, cut between cells. Raises what zipfile and the XML parser raise, and KeyError where a part of
    the archive is missing."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        rest = b""
        with archive.open(_member(archive, sheet)) as stream:
            while chunk := stream.read(_CHUNK):
                text = rest + chunk
                cut = text.rfind(b"<c ")
                cut = len(text) if cut < 0 else cut
                yield text[:cut]
                rest = text[cut:]
        yield rest


def _member(archive: zipfile.ZipFile, sheet: str) -> str:
    """The part of the archive that holds a sheet. Raises KeyError where none is named."""
    book = ElementTree.fromstring(archive.read("xl/workbook.xml"))
    relation = next(
        (e.get(_RELATION) for e in book.iter() if e.tag.endswith("}sheet") and e.get("name") == sheet), None
    )
    links = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    target = next((link.get("Target") for link in links if link.get("Id") == relation), None)
    if target is None:
        raise KeyError(sheet)
    return target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _letters(column: int) -> str:
    """The letters of a column, counted from 0."""
    before, rest = divmod(column, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + rest)


def _sheet(book: Any, sheet: str | int | None, name: str) -> Any:
    names = list(book.sheet_names)
    number = names.index(sheet) if sheet in names else sheet or 0
    if isinstance(number, int) and 0 <= number < len(names):
        return book.get_sheet_by_index(number)
    there = ", ".join(map(repr, names))
    raise UserError(f"{name}: data.sheet: there is no sheet {sheet!r}; sheets, from 0: {there}")
