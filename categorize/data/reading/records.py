"""The records of a delimited file, as the csv module cuts them; one-line errors for broken quoting."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.raw import LARGEST_CELL, chunk_rows
from categorize.data.reading.ways_out import WayOut, said
from categorize.errors import UserError

NAMES = {",": "comma", "\t": "tab", ";": "semicolon", "|": "vertical bar"}

Records = list[list[str]]


@dataclass(frozen=True)
class Layout:
    """How a file is cut into records and cells.

    Attributes:
        before: records that stand before the header: a line `sep=;`.
        is_told: whether the delimiter was named, by the recipe or by the file.
    """

    delimiter: str
    quoting: bool = True
    before: int = 0
    is_told: bool = False


def records_of(
    file: InputFile, options: ReadOptions, layout: Layout, spans: list[tuple[int, int]] | None = None
) -> Iterator[Records]:
    """All records, some at a time, blank ones as []; those up to the header alone. Strict: an unclosed quotation mark
    would else swallow the rest of the file. `spans` gets first and last line of those that have several.

    Raises UserError, with the line where the record begins, for broken quoting and a cell larger than any text.
    """
    started, seen = 1, 0
    problem: UserError | None = None
    size = chunk_rows()
    lines = file.lines(options.encoding, "", options.replaces)
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if layout.quoting else csv.QUOTE_NONE
    reader = csv.reader(lines, delimiter=layout.delimiter, strict=True, quoting=quoting)
    while problem is None:
        chunk: Records = []
        limit = csv.field_size_limit(LARGEST_CELL)  # of the whole interpreter; set back below
        try:
            for row in islice(reader, size if seen > layout.before else 1):
                chunk.append(row)
                if spans is not None and reader.line_num > started:
                    spans.append((started, reader.line_num))
                started = reader.line_num + 1
        except csv.Error as error:
            problem = _broken(str(error), started, file, options, layout)
        except UserError as error:
            problem = error
        finally:
            csv.field_size_limit(limit)
        seen += len(chunk)
        if chunk:
            yield chunk  # what is wrong in it comes first
        elif problem is None:
            return
    raise problem


def _broken(reason: str, line: int, file: InputFile, options: ReadOptions, layout: Layout) -> UserError:
    """The error for what csv words as "unexpected end of data" and "field larger than field limit", or otherwise."""
    if "field limit" in reason:
        reason = f"a cell of more than {LARGEST_CELL:,} characters: a quotation mark that opens here may never close"
    elif "end of data" in reason:
        reason = "a quotation mark that opens in this record never closes"
    separator = NAMES.get(layout.delimiter, repr(layout.delimiter))
    problem = (
        f"{file.name}: line {line}: {reason}; a cell with a {separator}, a line break or a quotation mark at its start "
        'needs quoting: "say ""so"""'
    )
    if not layout.quoting or not _is_even(file, options, replace(layout, quoting=False)):
        return UserError(problem)
    way = {"quoting": False}
    return WayOut(f"{problem}; where quotation marks are characters of the text, set {said(**way)}", way)


def _is_even(file: InputFile, options: ReadOptions, layout: Layout) -> bool:
    """Whether all records have as many cells as the first."""
    notes, width = list(file.notes), 0
    try:
        for chunk in islice(records_of(file, options, layout), layout.before, None):
            width = width or len(chunk[0])
            if any(row and (len(row) < width or any(row[width:])) for row in chunk):
                return False
    except UserError:
        return False
    finally:
        file.notes[:] = notes
    return True
