"""How far a job is: a line every few seconds, and `status.json` for a script that watches."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from categorize.errors import UserError
from categorize.labeling.budget import Spent
from categorize.writing import json_text, whole_file

EVERY = 5.0  # seconds between two lines
WINDOW = 60.0  # seconds whose rate tells the time that is left


@dataclass
class Progress:
    """Counts of the distinct texts that this start of a job asks about.

    Attributes:
        total: to be asked.
        labelled, failed: have their answer.
        retried: rows that were put into a smaller request, counted each time.
        requests: of this start.
        spent: what all starts have spent.
        file: `status.json`.
        say: shows a line to the user.
        facts: of the job, for the file.
        watch: is told what the file says, each time.
        trouble: says why no answers come just now; empty where they do.
    """

    total: int = 0
    currency: str = "USD"
    spent: Callable[[], Spent] = Spent
    file: Path | None = None
    say: Callable[[str], None] = print
    facts: dict[str, Any] = field(default_factory=dict)
    watch: Callable[[dict[str, Any]], None] | None = None
    trouble: Callable[[], str] = str
    labelled: int = 0
    failed: int = 0
    retried: int = 0
    requests: int = 0
    _asked: int = 0
    _asking: float = 0.0
    _end: float | None = None
    _start: float = field(default_factory=time.monotonic)
    _shown: float = field(default_factory=time.monotonic)
    _marks: deque[tuple[float, int]] = field(default_factory=deque)

    def begin(self, total: int) -> None:
        """Begin with the texts of one vote."""
        self._asked, self._asking = self.asked, self.asking_seconds
        self.total, self.labelled, self.failed = total, 0, 0
        self._start = self._shown = time.monotonic()
        self._end = None
        self._marks.clear()
        self.write("asking")

    @property
    def asked(self) -> int:
        """Texts that got their answer, over all votes of this start."""
        return self._asked + self.done

    @property
    def asking_seconds(self) -> float:
        """That asking took, over all votes of this start."""
        return self._asking + (self.seconds if self.total else 0.0)

    def add(self, labelled: int, failed: int, retried: int) -> None:
        """Count one request, and say how far the job is where that is due."""
        self.labelled += labelled
        self.failed += failed
        self.retried += retried
        self.requests += 1
        self.tick()

    def tick(self) -> None:
        """Say how far the job is, where that is due."""
        now = time.monotonic()
        if now - self._shown >= EVERY:
            self._shown = now
            self.show()

    def show(self, state: str = "asking") -> None:
        """Say it now, and write the status file; any other state than asking ends the vote."""
        if state != "asking":
            self._end = time.monotonic()
        self._marks.append((time.monotonic(), self.done))
        while len(self._marks) > 2 and self._marks[0][0] < self._marks[-1][0] - WINDOW:
            self._marks.popleft()
        self.say(self.line())
        self.write(state)

    @property
    def done(self) -> int:
        """Texts that have their answer, by this start."""
        return self.labelled + self.failed

    @property
    def seconds(self) -> float:
        """Of the asking, of this vote."""
        return (self._end or time.monotonic()) - self._start

    @property
    def rate(self) -> float:
        """Rows a second, over the last minute."""
        marks = [(self._start, 0), *self._marks] if len(self._marks) < 2 else list(self._marks)
        (then, before), (now, after) = marks[0], marks[-1]
        if now <= then:
            now, after = time.monotonic(), self.done
        return (after - before) / max(now - then, 1e-9)

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take; None where nothing tells."""
        return (self.total - self.done) / self.rate if self.rate > 0 else None

    def line(self) -> str:
        """Where the job is, for people."""
        share = f" ({self.done / self.total:.1%})" if self.total else ""
        left = "unknown" if self.left is None else duration(self.left)
        money = self.spent().money
        cost = f", cost {money:.2f} {self.currency}" if money else ""
        waits = f"; waits: {self.trouble()}" if self._end is None and self.trouble() else ""
        return (
            f"{self.done:,} of {self.total:,} texts{share}, {self.rate:,.1f} rows/s, {self.failed:,} failed, "
            f"{self.requests:,} requests{cost}, {left} left{waits}"
        )

    def write(self, state: str) -> None:
        """Write the status file, whole.

        Args:
            state: asking, waiting (for a provider's results), asked, writing, finished, stopped, out_of_budget or
                failed.
        """
        if self.file is None:
            return
        total = self.spent()
        status = {
            "state": state,
            **self.facts,
            "to_ask": self.total,
            "labelled": self.labelled,
            "failed": self.failed,
            "left": self.total - self.done,
            "retried": self.retried,
            "requests": total.requests,
            "tokens": {"input": total.tokens.input, "cached_input": total.tokens.cached_input,
                       "output": total.tokens.output},
            "cost": total.money,
            "currency": self.currency,
            "rows_per_second": round(self.rate, 2),
            "seconds": round(self.seconds, 1),
            "seconds_left": None if self.left is None else round(self.left),
            "trouble": self.trouble() if self._end is None else "",
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
        }  # fmt: skip
        try:
            with whole_file(self.file) as file:
                file.write_text(json_text(status), encoding="utf-8")
        except OSError as error:
            raise UserError(f"{self.file}: cannot be written ({error.strerror})") from error
        if self.watch is not None:
            self.watch(status)


def duration(seconds: float) -> str:
    """Time for people.

    >>> duration(75), duration(7000), duration(200_000)
    ('1 min 15 s', '1 h 56 min', '2 d 7 h')
    """
    whole = round(seconds)
    parts = {"d": whole // 86400, "h": whole // 3600 % 24, "min": whole // 60 % 60, "s": whole % 60}
    shown = list(parts.items())
    first = next((i for i, (_, value) in enumerate(shown) if value), 3)
    return " ".join(
        f"{value} {unit}" for unit, value in shown[first : first + 2] if value or (unit == "s" and first == 3)
    )
