"""One line on stderr that says how far something long has come; nothing where it is short."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from categorize.processes import is_main_process

_TERMINAL_AFTER, _TERMINAL_EVERY = 1.0, 0.5  # seconds
_LOG_AFTER, _LOG_EVERY = 5.0, 30.0


class Progress:
    """`reading a.csv: 31%, 812,000 rows, 140,000/s`: in place on a terminal, now and then in a log.

    `total` is what `done` counts up to, in any unit, 0 where that is not known; `alike`: all processes of a distributed
    start do this, and one of them speaks.
    """

    def __init__(
        self, what: str, total: int, things: str = "rows", *, alike: bool = True, stream: TextIO | None = None
    ) -> None:
        self.what, self.total, self.things = what, total, things
        self.done = self.count = 0
        self._stream = stream if stream is not None else sys.stderr
        self._in_place = self._stream.isatty()
        self._silent = alike and not is_main_process()
        self._start = time.monotonic()
        self._last: float | None = None  # when the line was shown

    def advance(self, done: int, count: int) -> None:
        """Tell what was done since."""
        self.update(self.done + done, self.count + count)

    def update(self, done: int, count: int) -> None:
        """Tell what is done by now; shows the line when it is time."""
        self.done, self.count = done, count
        now = time.monotonic()
        after, every = (_TERMINAL_AFTER, _TERMINAL_EVERY) if self._in_place else (_LOG_AFTER, _LOG_EVERY)
        due = now - self._start >= after if self._last is None else now - self._last >= every
        if self._silent or not due:
            return
        self._last = now
        share = f"{min(done / self.total, 1):.0%}, " if self.total else ""
        rate = count / max(now - self._start, 1e-9)
        line = f"{self.what}: {share}{count:,} {self.things}, {rate:,.0f}/s"
        self._stream.write(f"\r\x1b[K{line}" if self._in_place else line + "\n")
        self._stream.flush()

    def finish(self) -> None:
        """Clear the line of a terminal."""
        if self._in_place and self._last is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
