"""Collections: one record an hour and video, `video_id, collect_YMDH, chat_id, maxlimit, danmu_list`."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from categorize.danmu.fields import ALIASES, collect_time, wrong_field
from categorize.danmu.json_objects import Item
from categorize.danmu.tuples import Style, Tuples, cut, learn

LIST = "danmu_list"
COLUMNS = ("video_id", "collect_YMDH", "chat_id", "maxlimit", LIST)
_LEARNED_FROM = 32  # records of a file


@dataclass
class Chunk:
    """Comments that one collection holds, or some of them.

    Attributes:
        number: of the record in its file; 0 where the whole file is one collection.
        video_id, chat_id: as written; None where the file does not say.
        collected: seconds since 1970 (UTC); None where it is not known.
        maxlimit: most comments that the collection could hold; None where it is not known.
        heads: the eight fields of each comment as written, joined by commas.
        texts: of the same length.
        rejected: (element in the record, reason, raw text).
        notes: what was odd, for the counts.
        scattered: whether the collection may come again behind others, as rows of a table do.
    """

    number: int
    video_id: str | None = None
    chat_id: str | None = None
    collected: int | None = None
    maxlimit: int | None = None
    heads: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    rejected: list[tuple[int, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    scattered: bool = False

    @property
    def elements(self) -> int:
        """Comments found, whole or not."""
        return len(self.texts) + len(self.rejected)


@dataclass(frozen=True)
class Rejected:
    """A record of which nothing could be had."""

    number: int
    reason: str
    raw: str


def chunks_of_records(items: Iterable[Item], joint: str | None, utc_offset: float) -> Iterator[Chunk | Rejected]:
    """The collections of one file, in its order.

    Args:
        items: objects with the keys of `COLUMNS`.
        joint: what stands between two tuples; None: learned from the first records of the file.
        utc_offset: hours that the zone of `collect_YMDH` is ahead of UTC.
    """
    more = iter(items)
    first = list(islice(more, _LEARNED_FROM))
    texts = [item.value[LIST] for item in first if item.value is not None and isinstance(item.value.get(LIST), str)]
    style = learn(texts, joint)
    for start in (first, more):
        for item in start:
            if item.value is None or LIST not in item.value:
                reason = item.reason or f"no key {LIST!r}; keys: {', '.join(map(repr, item.value or {}))}"
                yield Rejected(item.number, reason, item.raw or str(item.value))
            else:
                yield _chunk(item, style, joint, utc_offset)


def described(record: Mapping[str, Any], number: int, utc_offset: float) -> Chunk:
    """What a record or a row says about its collection, without comments."""
    chunk = Chunk(number, _text(record.get("video_id")), _text(record.get("chat_id")))
    written = record.get("collect_YMDH")
    chunk.collected = collect_time(written, utc_offset)
    if chunk.collected is None and _text(written) is not None:
        chunk.notes.append("collect_YMDH is no time such as 2021071218")
    limit = _text(record.get("maxlimit"))
    if limit is not None:
        limit = limit.removesuffix(".0")
        if limit.isascii() and limit.isdigit():
            chunk.maxlimit = int(limit)
        else:
            chunk.notes.append("maxlimit is no number")
    return chunk


def _chunk(item: Item, style: Style | None, joint: str | None, utc_offset: float) -> Chunk:
    assert item.value is not None
    chunk = described(item.value, item.number, utc_offset)
    if chunk.video_id is None:
        chunk.notes.append("the record has no video_id")
    if item.reason:
        chunk.notes.append(f"salvaged from {item.reason}")
    written = item.value[LIST]
    strings = _written_list(written) if isinstance(written, str) and joint is None else None
    if strings is not None:
        found = _of_values(strings)
    elif isinstance(written, str):
        found = cut(written, style, joint, item.truncated)
    else:
        found = _of_values(written if isinstance(written, list) else [] if written is None else [written])
    chunk.heads, chunk.texts, chunk.rejected = found.heads, found.texts, found.rejected
    if found.embedded:
        chunk.notes += ["a text holds the eight fields of a comment"] * found.embedded
    return chunk


def _written_list(text: str) -> list[Any] | None:
    """The strings of a list as JSON or Python write it, `['12.3,1,...', ...]`; None where the text is no such list."""
    start = text.lstrip()[:12]
    if re.match(r"\[\s*[\"']\s*-?\d", start) is None:
        return None
    try:
        values = json.loads(text, strict=False) if '"' in start else ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        try:
            values = ast.literal_eval(text.strip())  # Python, too, begins with "..." where a text holds an apostrophe
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return None
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        return None
    # ['12.3', '1', ...] is a tuple in square brackets.
    return values if any(_split(one) is not None for one in values) else None


def _split(text: str) -> list[str] | None:
    """Eight fields of the right shapes and the text, as they are usually written."""
    parts = text.split(",", 8)
    return parts if len(parts) == 9 and wrong_field(parts[:8]) is None else None


def _of_values(values: list[Any]) -> Tuples:
    """A list that is a list already: of tuples, of their texts, or of objects."""
    result = Tuples()
    for number, value in enumerate(values, 1):
        text: str | None
        if isinstance(value, str) and (parts := _split(value)) is not None:
            fields, text = parts[:8], parts[8]
        elif isinstance(value, str):
            one = cut(value, Style(joint="", separator=","))
            whole = len(one.texts) == 1
            fields, text = (one.heads[0] if whole else value).split(",")[:8], one.texts[0] if whole else None
        elif isinstance(value, list):
            fields, text = [_text(item) or "" for item in value[:8]], _joined(value[8:])
        elif isinstance(value, dict):
            fields, text = _of_object(value)
        else:
            fields, text = [], None
        wrong = wrong_field(fields) if len(fields) == 8 else f"{len(fields)} fields before the text, not 8"
        if wrong is None and text is None:
            wrong = "no text"
        if wrong is not None:
            result.rejected.append((number, wrong, str(value)))
            continue
        result.heads.append(",".join(fields))
        result.texts.append(text or "")
    return result


def _of_object(value: dict[str, Any]) -> tuple[list[str], str | None]:
    """The fields of a comment that is an object, and its text; keys as exports call them."""
    folded = {key.strip().casefold(): item for key, item in value.items()}
    found = [next((folded[alias] for alias in aliases if alias in folded), None) for aliases in ALIASES.values()]
    text = found.pop()
    return [str(_text(item) or "").strip() for item in found], None if text is None else str(text)


def _joined(rest: list[Any]) -> str | None:
    """The text of a tuple whose text was split at its commas, too."""
    return ",".join(_text(item) or "" for item in rest) if rest else None


def _text(value: Any) -> str | None:
    """A value as written; None for nothing."""
    if value is None or isinstance(value, dict | list):
        return None
    text = str(value).strip() if not isinstance(value, str) else value
    return text if text.strip() else None
