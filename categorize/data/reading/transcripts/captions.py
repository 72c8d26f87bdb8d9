"""WebVTT and SubRip (srt): cues below lines such as `00:01.000 --> 00:04.000`.

WebVTT: https://www.w3.org/TR/webvtt1/. Files in use keep to neither: times with a comma in the one and a full stop in
the other, numbers or none, arrows of one hyphen, no blank line between cues, blank lines within them. So a line of
times begins a cue, and all that stands below it is its text up to the next one, less that one's number or name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

from categorize.data.reading.transcripts.cues import CLOCK, Cue, Heard, seconds, unescaped, without_repeats
from categorize.recipe.wording import counted

_ARROW = re.compile(r"-{1,3}>|[–—]>|→")
_TIMES = re.compile(rf"\s*({CLOCK})\s*(?:{_ARROW.pattern})\s*({CLOCK})(?:\s.*)?\Z")
_BLOCK = re.compile(r"(?:NOTE|STYLE|REGION)(?:[ \t].*)?\Z")  # of WebVTT, up to the next blank line
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?(?:\s+([^<>]*))?>|</v>")
_TAG = re.compile(
    r"</?(?:c|i|b|u|s|ruby|rt|lang|font|span|em|strong)(?:[.\s][^<>]*)?>|<\d[\d:.,]*>|\{\\[^{}]*\}|\{[a-zA-Z]:[^{}]*\}"
)
_BREAK = re.compile(r"<br\s*/?>")
_TOUCHING = 0.25  # seconds between cues of which one rolls on from the other


def read_captions(text: str) -> Heard:
    """The cues of a WebVTT or SubRip file, line ends `\\n`."""
    heard = Heard()
    is_vtt = text.startswith("WEBVTT")
    cues: list[Cue] = []
    for start, end, lines in _timed(text.split("\n"), is_vtt, heard):
        cues += _spoken(start, end, lines)
    heard.cues = without_repeats(_rolled_up(cues, heard), heard.done)
    return heard


def _timed(lines: list[str], is_vtt: bool, heard: Heard) -> Iterator[tuple[float | None, float | None, list[str]]]:
    """Times and text lines of each cue; what is odd goes to `heard`."""
    begins = [number for number, line in enumerate(lines) if begins_cue(line)]
    first = begins[0] if begins else len(lines)
    numbered = first > 0 and lines[first - 1].strip().isdigit()
    before = [] if is_vtt else [line for line in _without_name(lines[:first], is_vtt, numbered) if line.strip()]
    if before:
        heard.damaged.append(f"line 1: {counted(len(before), 'line')} before the first cue, left out")
    for number, following in pairwise([*begins, len(lines)]):
        match = _TIMES.match(lines[number])
        start, end = (seconds(clock) for clock in match.groups()) if match else (None, None)
        if start is None or end is None:
            heard.damaged.append(
                f"line {number + 1}: {lines[number].strip()[:60]!r} is not a pair of times; its text is kept"
            )
        elif end < start:
            heard.damaged.append(f"line {number + 1}: {lines[number].strip()[:60]!r} ends before it begins")
        body = lines[number + 1 : following]
        body = body if following == len(lines) else _without_name(body, is_vtt, numbered)
        yield start, end, _without_blocks(body) if is_vtt else body


def begins_cue(line: str) -> bool:
    """Whether a line is one of times, if a damaged one."""
    arrow = _ARROW.search(line)
    return arrow is not None and (
        _TIMES.match(line) is not None or (arrow.group() == "-->" and line[: arrow.start()].strip()[:1].isdigit())
    )


def _without_name(lines: list[str], is_vtt: bool, numbered: bool) -> list[str]:
    """Lines above one of times, without the number or the name of its cue; a number may stand directly below a text
    where the first cue has one."""
    if not lines or not lines[-1].strip():
        return lines
    behind_a_blank = len(lines) == 1 or not lines[-2].strip()
    is_number = lines[-1].strip().isdigit() and (numbered or (behind_a_blank and len(lines) > 1))
    return lines[:-1] if is_number or (is_vtt and behind_a_blank) else lines


def _without_blocks(lines: list[str]) -> list[str]:
    """The lines of a WebVTT cue without the comments and style sheets that follow it."""
    kept: list[str] = []
    inside = False
    for number, line in enumerate(lines):
        inside = (
            bool(line.strip()) if inside else bool(_BLOCK.match(line)) and (not number or not lines[number - 1].strip())
        )
        if not inside:
            kept.append(line)
    return kept


def _spoken(start: float | None, end: float | None, lines: list[str]) -> Iterator[Cue]:
    """What each voice of a cue says."""
    text = "\n".join(lines)
    pieces = _VOICE.split(text) if "<" in text else [text]
    speaker: str | None = None
    for said, voice in zip(pieces[::2], [*pieces[1::2], None], strict=True):
        if shown := _plain(said):
            yield Cue(start, end, shown, speaker)
        speaker = " ".join(unescaped(voice).split()) or None if voice is not None else None


def _plain(text: str) -> str:
    """Text without its tags; lines without white space around them, none blank."""
    if "<" in text or "{" in text:
        text = _TAG.sub("", _BREAK.sub("\n", text))
    lines = (line.strip() for line in unescaped(text).split("\n"))
    return "\n".join(line for line in lines if line)


def _rolled_up(cues: list[Cue], heard: Heard) -> list[Cue]:
    """Cues of captions that roll (each shows the last line or lines of the one before it again) with what is new alone.

    Recognizers of video platforms write such files. Where fewer than a third of the cues do so, lines that come again
    were said again.
    """
    shared = [0]
    for before, cue in pairwise(cues):
        shared.append(_shared_lines(before, cue))
    rolling = sum(count > 0 for count in shared)
    if rolling < 2 or rolling * 3 < len(cues) - 1:
        return cues
    heard.done["lines of rolling captions that come again, left out"] += sum(shared)
    kept = []
    for cue, count in zip(cues, shared, strict=True):
        if new := cue.text.split("\n")[count:]:
            kept.append(Cue(cue.start, cue.end, "\n".join(new), cue.speaker))
    return kept


def _shared_lines(before: Cue, cue: Cue) -> int:
    """How many of the first lines of a cue were the last ones of the cue before, while that was still shown."""
    if before.end is None or cue.start is None or before.start is None or before.speaker != cue.speaker:
        return 0
    if not before.start <= cue.start <= before.end + _TOUCHING:
        return 0
    old, new = before.text.split("\n"), cue.text.split("\n")
    return next((n for n in range(min(len(old), len(new)), 0, -1) if old[-n:] == new[:n]), 0)
