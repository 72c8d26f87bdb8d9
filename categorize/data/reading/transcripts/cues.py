"""What every form of transcript is read as: cues, each with its time, its speaker and what was said."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

CLOCK = r"(?:(?:\d{1,3}:)?\d{1,2}:)\d{1,2}(?:[.,:]\d{1,3})?"
_CLOCK = re.compile(rf"{CLOCK}\Z")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|\w{2,31});")


@dataclass(frozen=True)
class Cue:
    """What is said at one time.

    Attributes:
        start, end: seconds; None where the file does not say.
        text: lines as they are shown.
        speaker: who says it, as the file has it.
        begins: whether another speaker begins here, named or not.
    """

    start: float | None
    end: float | None
    text: str
    speaker: str | None = None
    begins: bool = False


@dataclass
class Heard:
    """What a file holds.

    Attributes:
        damaged: places where something cannot be read, with the reason; what can be read there is kept.
        done: what was done to the cues, by kind, with how often.
        prose: a text without cues, as it stands.
    """

    cues: list[Cue] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    prose: str | None = None


def seconds(clock: str) -> float | None:
    """`1:02:03,500`, `02:03.5` or `1:02:03:500` in seconds; None where it is not a time."""
    clock = clock.strip()
    if _CLOCK.match(clock) is None:
        return None
    parts = re.split("[:.,]", clock)
    whole = [int(part) for part in parts]
    is_fraction = "." in clock or "," in clock or len(parts) == 4
    fraction = whole.pop() / 10 ** len(parts[-1]) if is_fraction else 0.0
    total = 0
    for part in whole:
        total = total * 60 + part
    return total + fraction


def unescaped(text: str) -> str:
    """The text with its character references resolved; those without a semicolon stay."""
    return _ENTITY.sub(lambda match: html.unescape(match.group()), text) if "&" in text else text


def without_repeats(cues: Iterable[Cue], done: Counter[str]) -> list[Cue]:
    """Cues that say the same at the same time (one text in two places of the picture, layers) once."""
    seen: set[Cue] = set()
    kept = []
    for cue in cues:
        if cue.start is not None and cue in seen:
            done["cues that come twice at one time, left out"] += 1
            continue
        seen.add(cue)
        kept.append(cue)
    return kept
