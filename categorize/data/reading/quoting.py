"""Whether quotation marks quote: cells that begin with one, and rows that one may have swallowed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.records import Layout, records_of
from categorize.data.reading.ways_out import said
from categorize.errors import UserError

_NUMBER = re.compile(r"\d+([.,]\d+)?")


@dataclass(frozen=True)
class Marks:
    """Quotation marks of a file as it is written.

    Attributes:
        begin: whether any cell begins with one: where none does, both ways of reading give the same rows.
        doubled: whether one stands doubled inside a cell, as quoting writes it.
    """

    begin: bool
    doubled: bool


def look_for_marks(lines: Iterable[str], delimiter: str) -> Marks:
    """The quotation marks of some lines."""
    start, doubled = delimiter + '"', re.compile(f'[^{re.escape(delimiter)}"\n]""')
    begin = twice = False
    for line in lines:
        if '"' in line:
            begin = begin or start in line or line.startswith('"')
            twice = twice or doubled.search(line) is not None
    return Marks(begin, twice)


def told_quoting(file: InputFile, options: ReadOptions, layout: Layout) -> tuple[Layout, list[str]]:
    """Whether quotation marks quote, which nothing tells outside of csv: the file is read both ways and the rows are
    compared. With a note where they differ."""
    plain, name = replace(layout, quoting=False), file.name
    marks = look_for_marks(file.lines(options.encoding, "", options.replaces), layout.delimiter)
    file.notes.clear()
    if not marks.begin:
        return plain, []
    quoted, without = (_tried(file, options, one) for one in (layout, plain))
    if isinstance(quoted, UserError):
        if isinstance(without, UserError):
            raise quoted
        return plain, [f"{name}: quotation marks are read as characters of the text: {_reason(quoted, name)}"]
    if isinstance(without, UserError):
        return layout, []
    if quoted.rows == without.rows:
        off = f"{name}: quotation marks around cells are taken off; {said(quoting=False)} keeps them"
        return layout, [] if marks.doubled else [off]
    number, last = quoted.longest
    fewer = f"{without.rows - quoted.rows:,} rows less, such as those of lines {number} to {last}"
    if marks.doubled or without.width == 1:  # the way that quoting writes; or nothing tells a line from a row
        return layout, [f"{name}: quotation marks quote, which gives {fewer}; {said(quoting=False)} reads a row a line"]
    each = f"though every line has {without.width} cells by itself"
    marks_are_text = f"{name}: quotation marks are read as characters of the text"
    return plain, [f"{marks_are_text}: with {said(quoting=True)} there are {fewer}, {each}"]


def _reason(error: UserError, name: str) -> str:
    return "as quotes they would break: " + str(error).removeprefix(f"{name}: ").partition(";")[0]


@dataclass(frozen=True)
class Tried:
    """What a way of reading gives: rows, cells of each, and first and last line of the longest row."""

    rows: int
    width: int
    longest: tuple[int, int]


def _tried(file: InputFile, options: ReadOptions, layout: Layout) -> Tried | UserError:
    before = list(file.notes)
    rows = width = 0
    longest = (1, 1)
    spans: list[tuple[int, int]] = []
    try:
        chunks = records_of(file, options, layout, spans)
        for chunk in islice(chunks, layout.before, None):
            width = width or len(chunk[0])
            for row in chunk:
                if row and (len(row) < width or any(row[width:])):
                    raise UserError(f"{file.name}: a row has {len(row)} cells, the first has {width}")
                rows += bool(row)
            longest = max([longest, *spans], key=lambda span: span[1] - span[0])
            spans.clear()
    except UserError as error:
        return error
    finally:
        file.notes[:] = before
    return Tried(rows, width, longest)


def swallowed(rows: Sequence[Sequence[str]], delimiter: str) -> list[int]:
    """Places of rows with a cell of several lines, each of which would be a row like the others by itself: what a
    quotation mark makes of a text that only begins with one.

    >>> swallowed([["neg", "a"], ["pos", 'Great,\\nneg,Bad\\npos,good'], ["pos", "b"]], ",")
    []
    >>> swallowed([["neg", "a"], ["pos", 'Great\\nneg,Bad\\npos,good'], ["pos", "b"]], ",")
    [1]
    """
    found = []
    for at, row in enumerate(rows):
        places = [i for i, cell in enumerate(row) if "\n" in cell]
        if len(places) != 1:
            continue
        before, after = row[: places[0]], row[places[0] + 1 :]
        first, *inner, last = row[places[0]].replace("\r", "").split("\n")
        pieces = [line.split(delimiter) for line in (first, *inner, last)]
        parts = [[*before, *pieces[0]], *pieces[1:-1], [*pieces[-1], *after]]
        if any(len(part) != len(row) for part in parts):
            continue
        others = [other for i, other in enumerate(rows) if i != at]
        if any(_are_rows(parts, others, i, places[0]) for i in range(len(row)) if i != places[0]):
            found.append(at)
    return found


def _are_rows(parts: Sequence[Sequence[str]], others: Sequence[Sequence[str]], column: int, place: int) -> bool:
    """Whether the cells of a column that parts of a row would have are mostly cells of that column elsewhere. One of
    them is certainly: the first where the column stands before the text, else the last."""
    doubtful = list(parts[1:] if column < place else parts[:-1])
    fit = 0
    for part in doubtful:
        elsewhere = [row[column] for row in (*others, *parts) if row is not part]
        numbers = all(map(_NUMBER.fullmatch, elsewhere)) and _NUMBER.fullmatch(part[column]) is not None
        fit += numbers or part[column] in elsewhere
    return 3 * fit >= 2 * len(doubtful)
