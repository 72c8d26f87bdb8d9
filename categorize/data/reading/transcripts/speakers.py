"""Who speaks: names before what is said, marks of a change, and names as speaker labels that segments find again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from categorize.data.reading.transcripts.cues import Cue
from categorize.data.segments.turns import is_speaker, read_label

_NAMED = re.compile(r"\[([^\[\]\n:：]{1,60})\][:：]\s+|([^\n:：<>]{1,60}?)\s*[:：](?:\s+|(?<=：))")
_CHANGE = re.compile(r"(?:^|\s)>{2,3}(?=\s|\w)\s*")
_BRACKETS = re.compile(r"\s*(?:\([^()]*\)|\[[^\[\]]*\])\s*\Z")
_WORD = re.compile(r"[^\W_][\w'’.-]*")


def with_speakers(cues: list[Cue]) -> list[Cue]:
    """Cues with the speakers that their texts name, where the form had no place for them.

    Half of the cues begin with a name and a colon: so do recorders of meetings write it, and any name counts. Else a
    name counts that looks like a speaker's and comes twice, or is in capitals. Who was named goes on speaking until
    another one is.
    """
    if any(cue.speaker for cue in cues):
        return cues
    cues = [part for cue in cues for part in _at_changes(cue)]
    heads = [_NAMED.match(cue.text) for cue in cues]
    names = Counter(_name(head) for head in heads if head)
    any_name = 2 * names.total() >= len(cues) and len(names) < max(names.total() / 2, 3)
    known = {name for name, n in names.items() if any_name or (is_speaker(name) and (n > 1 or name.isupper()))}
    return list(_named(cues, known)) if known else cues


def _name(head: re.Match[str]) -> str:
    return " ".join((head.group(1) or head.group(2)).split())


def _at_changes(cue: Cue) -> Iterator[Cue]:
    """The parts of a cue between `>>`, the mark of captioners for another speaker."""
    parts = _CHANGE.split(cue.text)
    if parts[0].strip():
        yield replace(cue, text=parts[0].strip())
    for part in parts[1:]:
        if part.strip():
            yield replace(cue, text=part.strip(), begins=True)


def _named(cues: Iterable[Cue], known: set[str]) -> Iterator[Cue]:
    """Cues cut at lines that begin with one of the names."""
    speaker: str | None = None
    for cue in cues:
        speaker = None if cue.begins else speaker
        lines: list[str] = []
        for line in cue.text.split("\n"):
            head = _NAMED.match(line)
            if head is not None and _name(head) in known:
                if lines:
                    yield replace(cue, text="\n".join(lines), speaker=speaker)
                speaker, lines = _name(head), []
                line = line[head.end() :]
            lines.append(line)
        if any(line.strip() for line in lines):
            yield replace(cue, text="\n".join(lines), speaker=speaker)


def labeller(names: Iterable[str]) -> Callable[[str], str]:
    """Gives each name the label that a speaker has in the text, one that segments find again and no other has.

    >>> label = labeller(["Ann Lee", "jane doe", "אבי", "Ann: Lee"])
    >>> [label(name) for name in ("Ann Lee", "jane doe", "אבי", "Ann: Lee")]
    ['Ann Lee', 'Jane Doe', 'Speaker 1', 'Speaker 2']
    """
    labels: dict[str, str] = {}
    distinct = list(dict.fromkeys(names))
    for name in sorted(distinct, key=lambda name: not _is_label(name)):
        bare = _BRACKETS.sub("", name)
        words = " ".join(word[0].upper() + word[1:] for word in _WORD.findall(bare))
        wanted = next((one for one in (name, bare, words) if _is_label(one) and one not in labels.values()), None)
        number = 1
        while wanted is None:
            numbered = f"Speaker {number}"
            wanted = numbered if numbered not in {*labels.values(), *distinct} else None
            number += 1
        labels[name] = wanted
    return labels.__getitem__


def _is_label(name: str) -> bool:
    label = read_label(f"{name}: x")
    return label is not None and label.name == name
