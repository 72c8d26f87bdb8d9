"""The form of a transcript told from its content, and the file as a document."""

from __future__ import annotations

import json
from typing import Any

from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.transcripts.captions import begins_cue, read_captions
from categorize.data.reading.transcripts.cues import Heard
from categorize.data.reading.transcripts.document import Transcript, as_document
from categorize.data.reading.transcripts.labelled_text import read_labelled_text
from categorize.data.reading.transcripts.recognized import read_recognized
from categorize.data.reading.transcripts.substation import read_substation
from categorize.errors import UserError

FORMS = "WebVTT, SubRip, ASS, JSON of Whisper or Amazon Transcribe, or text with speakers and times"


def read_transcript(file: InputFile, options: ReadOptions) -> Transcript:
    """A file as one document; one that is empty, or holds a header alone, is an empty document.

    Raises UserError where the file holds no transcript, is of another encoding, or broken as a whole.
    """
    text = file.text(options.encoding, options.replaces).replace("\r\n", "\n").replace("\r", "\n")
    return as_document(_heard(text, file))


def _heard(text: str, file: InputFile) -> Heard:
    start = text.lstrip()[:4096]
    suffix = [suffix.lower() for suffix in file.path.suffixes if suffix.lower() != ".gz"][-1:]
    if not start:
        return Heard()
    if start.startswith("{") or suffix == [".json"]:
        return _of_json(text, file.name)
    if start.startswith("[Script Info]") or "\nDialogue:" in text:
        heard = read_substation(text)
        is_whole = bool(heard.cues) or start.startswith("[Script Info]")
    elif start.startswith("WEBVTT") or any(map(begins_cue, text.split("\n"))):
        heard = read_captions(text.lstrip())
        is_whole = bool(heard.cues) or start.startswith("WEBVTT")
    else:
        found = read_labelled_text(text)
        heard = found or Heard(prose=text.strip())
        is_whole = found is not None or suffix == [".txt"]
    if not is_whole:
        damage = f" ({heard.damaged[0]})" if heard.damaged else ""
        raise UserError(f"{file.name}: no cue in it{damage}; a transcript is {FORMS}")
    return heard


def _of_json(text: str, name: str) -> Heard:
    try:
        value: Any = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{name}: line {error.lineno}: broken JSON: {error.msg} at character {error.colno}"
        raise UserError(f"{where}; copy the file again") from None
    except RecursionError:
        raise UserError(f"{name}: JSON is nested too deeply") from None
    heard = read_recognized(value, any_list=True)
    if heard is None:
        keys = f"; its keys: {', '.join(map(repr, list(value)[:8]))}" if isinstance(value, dict) else ""
        raise UserError(
            f"{name}: no segments or words of a recognizer in it{keys}; take it out, or name the others by a pattern"
        )
    return heard
