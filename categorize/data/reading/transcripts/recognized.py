"""The JSON that speech recognizers write: Whisper and what builds on it, and Amazon Transcribe."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from categorize.data.reading.transcripts.cues import Cue, Heard, seconds

# Lists of what was said: Whisper's, that of pipelines, that of whisper.cpp.
_LISTS = ("segments", "chunks", "transcription")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u9fff\uff00-\uffef]")
Word = tuple[str, float | None, float | None, str | None]  # as it is joined to the others, times, speaker


def read_recognized(value: Any, *, any_list: bool = False) -> Heard | None:
    """What JSON of a recognizer holds; None where it is something else.

    Args:
        any_list: whether a bare list of segments is one, too; else it is a table.
    """
    heard = Heard()
    if isinstance(value, list) and any_list:
        items: Any = value
    elif not isinstance(value, Mapping):
        return None
    elif isinstance(results := value.get("results"), Mapping) and isinstance(results.get("items"), list):
        heard.cues = list(_cues_of_words(_of_amazon(results, heard)))
        return heard
    else:
        items = next((value[name] for name in _LISTS if isinstance(value.get(name), list)), None)
        if not items and isinstance(value.get("words"), list) and "text" in value:
            items = value["words"]
    if not isinstance(items, list) or not any(_is_segment(item) for item in items):
        is_silence = items == [] and isinstance(value, Mapping) and isinstance(value.get("text"), str)
        return heard if is_silence else None
    for number, item in enumerate(items, 1):
        if _is_segment(item):
            heard.cues += _of_segment(item, number, heard)
        else:
            heard.damaged.append(f"segment {number}: {str(item)[:40]!r} has no text, left out")
    return heard


def is_recognized(value: Any) -> bool:
    """Whether JSON is of a recognizer, with times that other lists of texts have not."""
    heard = read_recognized(value)
    return heard is not None and any(cue.start is not None for cue in heard.cues)


def _is_segment(item: Any) -> bool:
    return isinstance(item, Mapping) and any(isinstance(item.get(name), str) for name in ("text", "word"))


def _of_segment(item: Mapping[str, Any], number: int, heard: Heard) -> Iterator[Cue]:
    """A segment, in parts where its words have several speakers."""
    words = [word for word in item.get("words") or () if _is_segment(word)]
    if len({_speaker(word) for word in words}) > 1:
        yield from _cues_of_words((_text(word), *_times(word), _speaker(word)) for word in words)
        return
    start, end = _times(item)
    if start is None:
        heard.damaged.append(f"segment {number}: no time")
    speaker = _speaker(item) or next(map(_speaker, words), None)
    if text := _text(item).strip():
        yield Cue(start, end, text, speaker)


def _text(item: Mapping[str, Any]) -> str:
    word = item.get("word")
    return str(item["text"]) if not isinstance(word, str) else word


def _speaker(item: Mapping[str, Any]) -> str | None:
    value = item.get("speaker", item.get("speaker_label"))
    value = f"Speaker {value}" if str(value).isdigit() else value
    return " ".join(str(value).split()) or None if isinstance(value, str | int) else None


def _times(item: Mapping[str, Any]) -> tuple[float | None, float | None]:
    """Start and end in seconds: two keys, a pair, or clocks."""
    pair = item.get("timestamp")
    if isinstance(pair, list) and len(pair) == 2:
        return _number(pair[0]), _number(pair[1])
    clocks = item.get("timestamps")
    if isinstance(clocks, Mapping):
        return _clock(clocks.get("from")), _clock(clocks.get("to"))
    start, end = (item.get(name, item.get(f"{name}_time")) for name in ("start", "end"))
    return _number(start), _number(end)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return _clock(value)
    return number if math.isfinite(number) and number >= 0 else None


def _clock(value: Any) -> float | None:
    return seconds(value) if isinstance(value, str) else None


def _of_amazon(results: Mapping[str, Any], heard: Heard) -> Iterator[Word]:
    """The words of a job, with their speakers or channels; punctuation goes with the word before it."""
    items = list(_with_channels(results))
    by_time = {
        start: segment.get("speaker_label")
        for segment in _maps(_get(results, "speaker_labels", "segments"))
        for start in [item.get("start_time") for item in _maps(segment.get("items"))]
    }
    speaker: str | None = None
    for number, item in enumerate(items, 1):
        said = next((one.get("content") for one in _maps(item.get("alternatives"))), None)
        if not isinstance(said, str):
            heard.damaged.append(f"item {number}: no content, left out")
            continue
        is_word = item.get("type") != "punctuation"
        if is_word:
            label = item.get("speaker_label") or by_time.get(item.get("start_time")) or item.get("channel_label")
            speaker = str(label) if label is not None else None
        yield (f" {said}" if is_word else said, *_times(item), speaker)


def _with_channels(results: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    """The items of a job in order of time; those of several channels know theirs."""
    channels = list(_maps(_get(results, "channel_labels", "channels")))
    if len(channels) < 2:
        return _maps(results["items"])
    items: list[tuple[float, Mapping[str, Any]]] = []
    for channel in channels:
        start = 0.0
        for item in _maps(channel.get("items")):
            start = found if (found := _times(item)[0]) is not None else start
            items.append((start, {**item, "channel_label": channel.get("channel_label")}))
    return [item for _, item in sorted(items, key=lambda pair: pair[0])]


def _get(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _maps(value: Any) -> Iterator[Mapping[str, Any]]:
    return (item for item in value if isinstance(item, Mapping)) if isinstance(value, list) else iter(())


def _cues_of_words(words: Iterable[Word]) -> Iterator[Cue]:
    """Sentences of one speaker each."""
    for speaker, group in groupby(words, key=lambda word: word[3]):
        held: list[Word] = []
        some = list(group)
        for i, word in enumerate(some):
            held.append(word)
            ends = word[0].strip()[-1:] in tuple(".?!。？！") and (i + 1 == len(some) or some[i + 1][1] is not None)
            if ends or i + 1 == len(some):
                times = [time for _, start, end, _ in held for time in (start, end) if time is not None]
                if text := _joined([one[0] for one in held]):
                    yield Cue(times[0] if times else None, times[-1] if times else None, text, speaker)
                held = []


def _joined(words: list[str]) -> str:
    """Words with a space between them, none between Chinese or Japanese ones; Whisper's bring their own."""
    if not any(word.startswith(" ") for word in words):
        words = [f" {word}" for word in words]
    text = ""
    for word in words:
        bare = word.lstrip()
        together = bool(_CJK.match(text[-1:]) and _CJK.match(bare[:1]))
        text += bare if together else word
    return " ".join(text.split())
