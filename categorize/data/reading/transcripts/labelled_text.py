"""Transcripts as plain text: who speaks and when above or before what is said, as Zoom, Rev and others write it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from categorize.data.reading.transcripts.cues import CLOCK, Cue, Heard, seconds

_HEADS = tuple(
    re.compile(pattern)
    for pattern in (
        # Zoom's captions, "[Jane Doe] 14:05:12", and its chat, "14:05:12 From Jane Doe to Everyone:"
        rf"\[(?P<name>[^\[\]\n]{{1,80}})\]\s+(?P<clock>{CLOCK})\s*(?P<said>)\Z",
        rf"(?P<clock>{CLOCK})\s+From\s+(?P<name>.{{1,80}}?)(?:\s+[Tt]o\s+[^:]{{1,80}})?\s*:(?P<said>.*)\Z",
        rf"(?P<clock>{CLOCK})\t\s*(?P<name>[^:\t]{{1,80}}?):\s*\t(?P<said>.*)\Z",
        # Rev, "Speaker 1 (00:12):" or "Speaker 1: (00:12)", the text below or behind it
        rf"(?P<name>[^\n()\[\]:]{{1,80}}?):?\s*[(\[](?P<clock>{CLOCK})[)\]]:?(?P<said>(?:\s.*)?)\Z",
        # Otter, "Jane Doe  0:12"
        rf"(?P<name>[^\n:]{{1,80}}?)(?:\s{{2,}}|\t)(?P<clock>{CLOCK})\s*(?P<said>)\Z",
    )
)


def read_labelled_text(text: str) -> Heard | None:
    """The turns of such a text; None where its lines are of no known form.

    What stands above the first turn is a cue without a speaker.
    """
    lines = text.split("\n")
    form = max(_HEADS, key=lambda head: sum(head.match(line.strip()) is not None for line in lines))
    if not any(form.match(line.strip()) for line in lines):
        return None
    return Heard(list(_turns(lines, form)))


def _turns(lines: list[str], form: re.Pattern[str]) -> Iterator[Cue]:
    start: float | None = None
    speaker: str | None = None
    said: list[str] = []
    for line in [*lines, None]:
        head = form.match(line.strip()) if line is not None else None
        if line is None or head is not None:
            if text := "\n".join(part.strip() for part in said if part.strip()):
                yield Cue(start, None, text, speaker)
            said = []
        if head is not None:
            start, speaker = seconds(head["clock"]), " ".join(head["name"].split()).rstrip(":")
            said = [head["said"]]
        elif line is not None:
            said.append(line)
