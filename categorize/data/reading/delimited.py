"""Comma- and tab-separated files and their like, read record by record into columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice

from categorize.data.reading.header import header_of
from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.quoting import swallowed, told_quoting
from categorize.data.reading.raw import Block, batches_of, check_columns
from categorize.data.reading.records import NAMES, Layout, Records, records_of
from categorize.data.reading.ways_out import WayOut, said
from categorize.errors import UserError
from categorize.recipe.wording import counted, quote

_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\r?\n?', re.IGNORECASE)


@dataclass
class Odd:
    """What was met and is not a row."""

    blank: int = 0  # records of separators alone
    headers: int = 0  # the header again
    swallowed: list[int] = field(default_factory=list)  # rows that may be several, see `quoting.swallowed`


def csv_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """Comma-separated values with a header (RFC 4180). An empty cell is null."""
    return _blocks(file, options, ",")


def tsv_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """Tab-separated values with a header, quoted as csv is or not at all: then quotation marks are characters."""
    return _blocks(file, options, "\t")


def _blocks(file: InputFile, options: ReadOptions, usual: str) -> Iterator[Block]:
    layout = _layout(file, options, usual)
    if options.quoting is None and layout.delimiter != ",":
        layout, note = told_quoting(file, options, layout)
        yield from _rows(file, options, layout)
        file.notes += note
    else:
        yield from _rows(file, options, layout)


def _layout(file: InputFile, options: ReadOptions, usual: str) -> Layout:
    quoting = options.quoting is not False
    line = next(file.lines(options.encoding, "", options.replaces), "")
    if (match := _SEPARATOR_LINE.fullmatch(line)) is None:
        return Layout(options.delimiter or usual, quoting, 0, options.delimiter is not None)
    return Layout(options.delimiter or match[1], quoting, 1, True)


# ---------------------------------------------------------------- rows
def _rows(file: InputFile, options: ReadOptions, layout: Layout) -> Iterator[Block]:
    """Records as blocks. Row numbers count every record, as a spreadsheet does."""
    chunks = records_of(file, options, layout)
    first = next(islice(chunks, layout.before, None), [[]])[0]
    second = next(chunks, [])
    header, is_row = _header(file, options, layout, first, second)
    width, number = len(header), layout.before + (1 if is_row else 2)
    nameless = [] if is_row else [i for i, cell in enumerate(first) if not cell.strip()]
    held = _held(file, options, layout, nameless) if nameless else set()
    kept = [i for i in range(width) if i not in nameless or i in held]
    columns = [header[i] for i in kept]
    needed = 1 + max((i for i in kept if i not in nameless), default=0)
    rows = chain([[first]] if is_row else [], [second] if second else [], chunks)
    odd, numbers = Odd(), list[int]()
    cut = None if len(kept) == width else kept
    shape = Shape(file.name, layout, None if is_row else first, header, needed)
    for numbers, some in batches_of(_checked(rows, shape, number, odd)):
        cells = some if cut is None else [[row[i] for i in cut] for row in some]
        yield Block.of_rows(file.name, columns, cells, numbers, number - 1)
    if not numbers:
        raise UserError(f"{file.name}: there is a header but no row")
    file.notes += _notes(file.name, layout, odd, [header[i] for i in nameless if i in held])


def _header(
    file: InputFile, options: ReadOptions, layout: Layout, first: list[str], second: Records
) -> tuple[list[str], bool]:
    """Names of the columns, and whether the first record is a row. Raises UserError where there is none, and WayOut
    where it looks like a row or is separated otherwise."""
    number = layout.before + 1
    if options.header is None or options.header is True:
        if not any(cell.strip() for cell in first):
            raise UserError(f"{file.name}: the first line is not a header; it must name the columns")
        if not layout.is_told:
            _check_separator([first, *second], file.name, layout.delimiter)
    header, is_row = header_of(first, second, options.header, file.name, number)
    columns = [cell or f"column {i}" for i, cell in enumerate(header, 1)]
    check_columns(columns, file.name)
    return columns, is_row


def _held(file: InputFile, options: ReadOptions, layout: Layout, nameless: Sequence[int]) -> set[int]:
    """Which columns without a name hold something; as in a sheet, the others are none."""
    before, held = list(file.notes), set[int]()
    for row in chain.from_iterable(records_of(file, options, layout)):
        held |= {i for i in nameless if i < len(row) and row[i].strip()}
        if len(held) == len(nameless):
            break
    file.notes[:] = before
    return held


def _notes(name: str, layout: Layout, odd: Odd, unnamed: Sequence[str]) -> list[str]:
    notes = []
    if layout.before:
        notes.append(f"{name}: the first line names the separator {layout.delimiter!r}")
    if unnamed:
        shown = ", ".join(map(repr, unnamed[:5])) + (", ..." if len(unnamed) > 5 else "")
        notes.append(f"{name}: columns without a name are called by their place: {shown}")
    if odd.blank:
        notes.append(f"{name}: {odd.blank} rows of separators alone were left out")
    if odd.headers:
        notes.append(f"{name}: the header comes again {counted(odd.headers, 'time')}; these rows were left out")
    if odd.swallowed:
        shown = ", ".join(map(str, odd.swallowed[:3])) + (", ..." if len(odd.swallowed) > 3 else "")
        notes.append(
            f"{name}: {counted(len(odd.swallowed), 'row')} of several lines (rows {shown}), each of which looks like a "
            f"row by itself: where quotation marks are characters of the text, set {said(quoting=False)}"
        )
    return notes


@dataclass(frozen=True)
class Shape:
    """What a record must be.

    Attributes:
        again: the header as it stands in the file; None where it is a row.
        needed: cells that a row has at least; the others have no name.
    """

    name: str
    layout: Layout
    again: list[str] | None
    header: list[str]
    needed: int


def _checked(chunks: Iterable[Records], shape: Shape, start: int, odd: Odd) -> Iterator[tuple[list[int], Records, int]]:
    """Records as `batches_of` takes them; those of separators alone, which a spreadsheet writes for rows that once held
    something, are counted. Raises UserError for a record of another width."""
    width, again = len(shape.header), shape.again if len(shape.header) > 1 else None
    for chunk in chunks:
        numbers, rows = list(range(start, start + len(chunk))), chunk
        start += len(chunk)
        # Quick where all is well.
        if set(map(len, chunk)) != {width} or not all(map(any, chunk)) or again in chunk:
            numbered = zip(numbers, chunk, strict=True)
            numbers, rows = [], []
            for number, row in numbered:
                if not row:
                    continue
                if width > 1 and not any(row):
                    odd.blank += 1
                elif row == again:
                    odd.headers += 1
                else:
                    numbers.append(number)
                    rows.append(row if len(row) == width else _of_width(row, number, shape))
        joined = "".join(chain.from_iterable(rows))
        if shape.layout.quoting and width > 1 and "\n" in joined:
            odd.swallowed += [numbers[i] for i in swallowed(rows, shape.layout.delimiter)]
        yield numbers, rows, len(joined)


def _of_width(row: list[str], number: int, shape: Shape) -> list[str]:
    """A row with as many cells as the header; what is filled up or left out is empty and has no name."""
    width = len(shape.header)
    if len(row) >= shape.needed and not any(row[width:]):
        return row[:width] + [""] * (width - len(row))
    separator = NAMES.get(shape.layout.delimiter, repr(shape.layout.delimiter))
    whose = "the header" if shape.again is not None else "the first row"
    stray = f"a {separator} or a line break inside a cell" + (" that is not quoted" if shape.layout.quoting else "")
    raise UserError(
        f"{shape.name}: row {number} has {len(row)} cells, {whose} has {width}: look for {stray}; its first cell is "
        f"{quote(row[0])}"
    )


def _check_separator(records: Records, name: str, delimiter: str) -> None:
    """Raises WayOut where the one cell of a header holds another separator, or each of the first rows holds another as
    often while they have different numbers of cells."""
    header = delimiter.join(records[0])
    counts = {one: header.count(one) for one in NAMES if one != delimiter and one in header}
    if len(records[0]) > 1:
        lines = [delimiter.join(row) for row in records if row]
        is_even = len({len(row) for row in records if row}) == 1
        counts = {one: n for one, n in counts.items() if not is_even and {line.count(one) for line in lines} == {n}}
    if not counts:
        return
    other = max(counts, key=counts.__getitem__)
    way = {"\t": {"format": "tsv"}, ",": {"format": "csv"}}.get(other, {"delimiter": other})
    raise WayOut(
        f"{name}: the header {quote(header.strip())} is separated by {NAMES[other]}s, not {NAMES[delimiter]}s; set "
        f"{said(**way)}; where {NAMES[delimiter]}s do, {said(delimiter=delimiter)}",
        way,
        {"delimiter": delimiter},
    )
