"""The rows of a csv or tsv file, one at a time; a quotation mark that never closes costs its own line, not the file."""

from __future__ import annotations

import csv
import sys
from collections import deque
from collections.abc import Iterator

from categorize.danmu.opening import TextFile, lines

_REFUSES_NUL = sys.version_info < (3, 11)


class CsvRows:
    """Rows of one file, blank ones left out.

    Attributes:
        longest: characters that one row may have; a longer one counts as a quotation mark that is not closed.
        number: line on which the row that was given last began; the header is on line 1.
        broken: (line, reason, raw text) of lines that are no rows.
    """

    def __init__(self, source: TextFile, delimiter: str = ",", longest: int = 256 << 20) -> None:
        self.source = source
        self.delimiter = delimiter
        self.longest = longest
        self.number = 0
        self.broken: list[tuple[int, str, str]] = []
        self._again: deque[str] = deque()
        self._row: list[str] = []  # lines of the row that is being read
        self._size = 0

    def __iter__(self) -> Iterator[list[str]]:
        number = 0  # lines that are done with
        fresh = lines(self.source, keep_return=True)
        limit = csv.field_size_limit(2**31 - 1)
        try:
            while True:
                reader = csv.reader(self._lines(fresh), delimiter=self.delimiter, strict=True)
                try:
                    for row in reader:
                        self.number = number + 1
                        number += len(self._row)
                        self._row, self._size = [], 0
                        if row:
                            yield row
                    return
                except csv.Error as error:
                    # Only the first line is lost; those that the open quotation mark swallowed are read again.
                    number += 1
                    self.broken.append((number, f"a quotation mark is open or misplaced ({error})", self._row[0]))
                    self._again.extendleft(reversed(self._row[1:]))
                    self._row, self._size = [], 0
        finally:
            csv.field_size_limit(limit)

    def _lines(self, fresh: Iterator[str]) -> Iterator[str]:
        while True:
            line = self._again.popleft() if self._again else next(fresh, None)
            if line is None:
                return
            if _REFUSES_NUL and "\0" in line:
                line = line.replace("\0", "\ufffd")
            self._row.append(line)
            self._size += len(line) + 1
            if self._size > self.longest and len(self._row) > 1:
                raise csv.Error(f"no end within {self.longest:,} characters")
            yield line + "\n"
