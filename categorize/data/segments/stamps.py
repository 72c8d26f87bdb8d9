"""Time stamps in transcripts: where they stand and how many seconds they mean."""

from __future__ import annotations

import re
from collections.abc import Iterator

_CLOCK = r"(?:\d{1,3}:)?[0-5]?\d:[0-5]\d(?:[.,]\d{1,3})?"
# In brackets anywhere; bare at the beginning of a line; and the time lines of srt and vtt with the number above them.
_PATTERN = (
    rf"(?m:^(?:\d+[ \t]*\n)?{_CLOCK}[ \t]*-->[ \t]*{_CLOCK}[^\n]*(?:\n|\Z))"
    rf"|[\[(【（<]{_CLOCK}(?:[ \t]*[-–—~][ \t]*{_CLOCK})?[\])】）>]"
    rf"|(?m:^[ \t]*){_CLOCK}(?=[ \t]|$|\n)(?:[ \t]*[-–—|](?=[ \t]))?"
)
STAMP_MARK = re.compile(_PATTERN)
_FIRST_CLOCK = re.compile(_CLOCK)


def stamps(text: str) -> Iterator[tuple[int, float]]:
    """Where each stamp begins in the text, and its time in seconds; `12:31` is 12 minutes and 31 seconds."""
    if ":" not in text:
        return
    for match in STAMP_MARK.finditer(text):
        clock = _FIRST_CLOCK.search(match.group())
        if clock is not None:
            yield match.start(), seconds(clock.group())


def seconds(clock: str) -> float:
    """`1:02:03.5` or `62:03` in seconds."""
    total = 0.0
    for part in clock.replace(",", ".").split(":"):
        total = total * 60 + float(part)
    return total
