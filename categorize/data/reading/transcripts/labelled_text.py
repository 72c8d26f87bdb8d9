"""Transcripts as plain text: who speaks and when above or before what is said, as Zoom, Rev and others write it."""

from __future__ import annotations

import re
from collections.abc import Iterator

from categorize.data.reading.transcripts.cues import CLOCK, Cue, Heard, seconds
from categorize.data.segments.turns import is_speaker

_HEADS = tuple(
    re.compile(pattern)
    for pattern in (
        # Zoom's captions, "[Jane Doe] 14:05:12", and its chat, "14:05:12 From Jane Doe to Everyone:"
        rf"\[(?P<name>[^\[\]\n]{{1,80}})\]\s+(?P<clock>{CLOCK})\s*(?P<said>)\Z",
        rf"(?P<clock>{CLOCK})\s+From\s+(?P<name>.{{1,80}}?)(?:\s+[Tt]o\s+[^:]{{1,80}})?\s*:(?P<said>.*)\Z",
        rf"(?P<clock>{CLOCK})\t\s*(?P<name>[^:\t]{{1,80}}?):\s*\t(?P<said>.*)\Z",
        # Rev, "Speaker 1 (00:12):" or "Speaker 1: (00:12)", the text below or behind it
        rf"(?P<name>[^\n()\[\]:]{{1,80}}?)\s*[(\[](?P<clock>{CLOCK})[)\]](?::(?P<said>.*)|\Z)",
        rf"(?P<name>[^\n()\[\]:]{{1,80}}?):\s*[(\[](?P<clock>{CLOCK})[)\]](?P<said>.*)\Z",
        # Otter, "Jane Doe  0:12", older ones of Rev, "Speaker 1: 00:12", and Trint, "00:00:12 Jane Doe"
        rf"(?P<name>[^\n:]{{1,80}}?)(?::\s*|\s{{2,}}|\t)(?P<clock>{CLOCK})\s*(?P<said>)\Z",
        rf"(?P<clock>{CLOCK})[ \t]+(?P<name>[^\n:]{{1,80}}?):?\s*(?P<said>)\Z",
    )
)
_STRANGERS = 0.2  # share of the names that may look like something else


def read_labelled_text(text: str) -> Heard | None:
    """The turns of such a text; None where its lines are of no known form.

    What stands above the first turn is a cue without a speaker.
    """
    lines = text.split("\n")
    found = {form: [head for line in lines if (head := form.match(line.strip()))] for form in _HEADS}
    form, heads = max(found.items(), key=lambda pair: len(pair[1]))
    turns = list(_turns(lines, form)) if heads else []
    names = [" ".join(head["name"].split()) for head in heads]
    odd = sum(not is_speaker(name) and names.count(name) < 2 for name in {*names})
    # A list of chapters has such lines, too, and nothing below them.
    if odd > _STRANGERS * len({*names}) or len({*names}) > max(2, len(names) / 2) or 2 * len(turns) <= len(heads):
        return None
    return Heard(turns)


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
            said = [head["said"] or ""]
        elif line is not None:
            said.append(line)
