"""A progress line on stderr for what takes long."""

from __future__ import annotations

import sys
import time
from typing import TextIO

_EVERY = 0.5
_EVERY_IN_A_LOG = 30.0
_PATIENCE = 5.0  # what is done by then needs no line in a log


class Progress:
    """`reading 12 of 480 MB, 31%, 812,000 comments, 140,000/s`: in place on a terminal, now and then in a log."""

    def __init__(self, what: str, total: int, unit: str, stream: TextIO | None = None) -> None:
        """`total` is in bytes where `unit` is "MB", else in comments."""
        self.what = what
        self.total = total
        self.unit = unit
        self.done = 0
        self.comments = 0
        self._stream = stream if stream is not None else sys.stderr
        self._live = self._stream.isatty()
        self._start = time.monotonic()
        self._last = self._start if not self._live else 0.0
        self._shown = False

    def tell(self, done: int, comments: int) -> None:
        """Count what was done since; shows the line when it is time."""
        self.done += done
        self.comments += comments
        now = time.monotonic()
        every = _EVERY if self._live else (_EVERY_IN_A_LOG if self._shown else _PATIENCE)
        if now - self._last >= every:
            self._last = now
            self._show(now)

    def _show(self, now: float) -> None:
        self._shown = True
        share = min(1.0, self.done / self.total) if self.total else 1.0
        rate = self.comments / max(now - self._start, 1e-9)
        if self.unit == "MB":
            amount = f"{self.done / 1e6:,.0f} of {self.total / 1e6:,.0f} MB"
        else:
            amount = f"{self.done:,} of {self.total:,} {self.unit}"
        line = f"{self.what} {amount}, {share:.0%}, {self.comments:,} comments, {rate:,.0f}/s"
        self._stream.write(f"\r\x1b[K{line}" if self._live else line + "\n")
        self._stream.flush()

    def close(self) -> None:
        """Take the line away."""
        if self._live and self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
