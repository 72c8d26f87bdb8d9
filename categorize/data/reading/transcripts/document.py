"""A transcript as a document: its text in lines that segments understand, and what is told of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from categorize.data.reading.transcripts.cues import Cue, Heard
from categorize.data.reading.transcripts.speakers import labeller, with_speakers
from categorize.data.segments.stamps import stamps
from categorize.data.segments.turns import find_turns, read_label

UNKNOWN = "Unknown"  # who speaks where others have a name
_PAUSE = 3.0  # seconds of silence that begin a line
_LINE, _LONGEST_LINE = 15.0, 30.0  # seconds after which one ends with a sentence, or with a cue
_ENDS = tuple(".?!…。？！")


@dataclass(frozen=True)
class Transcript:
    """A document.

    Attributes:
        text: a line a turn, `[00:01:05] Jane Doe: what is said`; a long one goes on in lines with stamps of their own.
        speakers: as the file names them, in order of appearance.
        duration: seconds from the first cue to the end of the last; None where there are no times.
        cues: how many the file has.
        heard: what was odd, see `Heard`.
        relabelled: speakers that have another name in the text, with that one.
    """

    text: str
    speakers: tuple[str, ...]
    duration: float | None
    cues: int
    heard: Heard
    relabelled: dict[str, str] = field(default_factory=dict)


def as_document(heard: Heard) -> Transcript:
    """The document that the cues of a file are."""
    if heard.prose is not None:
        names = dict.fromkeys(turn.speaker for turn in find_turns(heard.prose) if turn.speaker)
        times = [time for _, time in stamps(heard.prose)]
        return Transcript(heard.prose, tuple(names), max(times) - min(times) if times else None, 0, heard)
    cues = with_speakers(heard.cues)
    speakers = tuple(dict.fromkeys(cue.speaker for cue in cues if cue.speaker))
    label = labeller(speakers)
    times = [time for cue in cues for time in (cue.start, cue.end) if time is not None]
    return Transcript(
        "\n".join(_lines(cues, {name: label(name) for name in speakers})),
        speakers,
        max(times) - min(times) if times else None,
        len(heard.cues),
        heard,
        {name: label(name) for name in speakers if label(name) != name},
    )


def _lines(cues: list[Cue], labels: dict[str, str]) -> list[str]:
    """Cues of one speaker joined to lines."""
    lines: list[str] = []
    begun: float | None = None  # when the line began
    ended: float | None = None  # when the last cue did
    speaker: str | None = None
    named = False  # whether a speaker was
    for cue in cues:
        said = " ".join(cue.text.split())
        name = labels[cue.speaker] if cue.speaker else UNKNOWN if named else None
        changes = name != speaker or (cue.begins and name is None)
        if not lines or changes or (_is_due(lines[-1], begun, ended, cue.start) and read_label(said) is None):
            stamp = f"[{_clock(cue.start)}] " if cue.start is not None else ""
            lines.append(f"{stamp}{name}: {said}" if name is not None and (changes or not lines) else stamp + said)
            begun = cue.start
        else:
            lines[-1] += f" {said}"
        speaker, named = name, named or cue.speaker is not None
        ended = cue.end if cue.end is not None else cue.start
    return lines


def _is_due(line: str, begun: float | None, ended: float | None, start: float | None) -> bool:
    """Whether a line of one speaker should end before a cue that starts now."""
    if start is None or begun is None or ended is None:
        return False
    longest = _LINE if line.rstrip("\"'”’」』)）").endswith(_ENDS) else _LONGEST_LINE
    return start < begun or start - ended >= _PAUSE or start - begun >= longest


def _clock(time: float) -> str:
    minutes, seconds = divmod(int(time), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}"


class Tally:
    """What was read from some transcripts, for the notes."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files = self.cues = 0
        self.length = 0.0
        self.nameless = 0  # transcripts that name no speaker
        self.silent: list[str] = []  # those without a word
        self.timeless: list[str] = []  # those of text without times
        self.counts: Counter[str] = Counter()
        self.damaged: list[str] = []
        self.relabelled: dict[str, str] = {}

    def add(self, name: str, transcript: Transcript) -> None:
        """Count one more, the file `name`."""
        self.files += 1
        self.cues += transcript.cues
        self.length += transcript.duration or 0.0
        self.nameless += bool(transcript.text) and not transcript.speakers
        self.silent += [] if transcript.text else [name]
        is_timeless = transcript.heard.prose is not None and transcript.duration is None
        self.timeless += [name] if is_timeless else []
        self.counts += transcript.heard.done
        self.damaged += [f"{name}: {where}" for where in transcript.heard.damaged]
        self.relabelled |= transcript.relabelled

    def notes(self) -> list[str]:
        """What there was, what was odd and what was done, one line each."""
        notes = [f"{self.name}: transcripts read: {self.files:,}; cues: {self.cues:,}; speech: {_clock(self.length)}"]
        if self.nameless:
            notes[0] += f"; no speaker is named in {self.nameless:,}"
        notes += [f"{self.name}: {what}: {n:,}" for what, n in self.counts.most_common()]
        if self.silent:
            notes.append(f"{self.name}: without a word ({len(self.silent):,}): {_some(self.silent)}")
        if self.timeless:
            notes.append(f"{self.name}: text without times ({len(self.timeless):,}): {_some(self.timeless)}")
        if self.damaged:
            notes.append(f"{self.name}: damaged places ({len(self.damaged):,}): {_some(self.damaged)}")
        if self.relabelled:
            pairs = [f"{old!r} is {new!r}" for old, new in self.relabelled.items()]
            notes.append(f"{self.name}: speakers written as labels that segments find: {_some(pairs)}")
        return notes


def _some(items: list[Any]) -> str:
    return "; ".join(map(str, items[:3])) + (f"; and {len(items) - 3} more" if len(items) > 3 else "")
