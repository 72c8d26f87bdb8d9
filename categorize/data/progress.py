"""One line on stderr that says how far a long file has been read; nothing for a short one."""

from __future__ import annotations

import os
import sys
import time

_TERMINAL_AFTER, _TERMINAL_EVERY = 1.0, 0.5  # seconds
_PLAIN_AFTER = 5.0


class Progress:
    """Shows rows and the share of a file: in place on a terminal, else as a line every five seconds.

    Args:
        name: of the file.
        total: what `update` counts up to; 0 where that is not known.
    """

    def __init__(self, name: str, total: int) -> None:
        self.name, self.total = name, total
        self.started = self.shown = time.monotonic()
        self.printed = False
        # One process of a distributed start speaks.
        self.silent = os.environ.get("RANK", "0") not in ("", "0")

    def update(self, done: int, rows: int) -> None:
        """Tell that `done` of the total and so many rows are read."""
        now = time.monotonic()
        terminal = sys.stderr.isatty()
        after, every = (_TERMINAL_AFTER, _TERMINAL_EVERY) if terminal else (_PLAIN_AFTER, _PLAIN_AFTER)
        if self.silent or now - self.started < after or now - self.shown < every:
            return
        self.shown = now
        share = f"{min(done / self.total, 1):.0%}, " if self.total else ""
        line = f"reading {self.name}: {share}{rows:,} rows, {now - self.started:.0f} s"
        print(f"\r{line}\x1b[K" if terminal else line, end="" if terminal else "\n", file=sys.stderr, flush=True)
        self.printed = terminal

    def finish(self) -> None:
        """Clear the line of a terminal."""
        if self.printed:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
