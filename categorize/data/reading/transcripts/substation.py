"""Advanced SubStation Alpha (ass, ssa): the lines `Dialogue:` of `[Events]`, whose `Format:` names the fields."""

from __future__ import annotations

import re

from categorize.data.reading.transcripts.cues import Cue, Heard, seconds, without_repeats

_FIELDS = "layer, start, end, style, name, marginl, marginr, marginv, effect, text"
_DRAWING = re.compile(r"\{[^{}]*\\p[1-9][^{}]*\}.*?(?:\{[^{}]*\\p0[^{}]*\}|\Z)")
_OVERRIDE = re.compile(r"\{[^{}]*\}")
_LINE_BREAK = re.compile(r"\\[Nn]")


def read_substation(text: str) -> Heard:
    """The lines of dialogue in order of time; drawings and comments are none."""
    heard = Heard()
    fields = [name.strip() for name in _FIELDS.split(",")]
    for number, line in enumerate(text.split("\n"), 1):
        kind, _, rest = line.partition(":")
        if kind == "Format":
            named = [name.strip().lower() for name in rest.split(",")]
            fields = named if {"start", "end", "text"} <= {*named} else fields
        if kind != "Dialogue":
            continue
        values = dict(zip(fields, (value.strip() for value in rest.split(",", len(fields) - 1)), strict=False))
        start, end = (seconds(values.get(name, "")) for name in ("start", "end"))
        if len(values) < len(fields) or start is None or end is None:
            heard.damaged.append(f"line {number}: {line.strip()[:60]!r} lacks fields or times, left out")
            continue
        shown = _OVERRIDE.sub("", _DRAWING.sub("", values["text"])).replace("\\h", " ")
        if shown := "\n".join(part.strip() for part in _LINE_BREAK.split(shown) if part.strip()):
            heard.cues.append(Cue(start, end, shown, values.get("name") or values.get("actor") or None))
    # The order of the lines is that of the layers, or of the editor.
    heard.cues.sort(key=lambda cue: cue.start or 0.0)
    heard.cues = without_repeats(heard.cues, heard.done)
    return heard
