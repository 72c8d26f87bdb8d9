"""Records and rows become chunks of comments: a record is a collection, `video_id, collect_YMDH, chat_id, maxlimit` and
a `danmu_list`; a row is a comment, with the same four beside it or not."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from categorize.danmu.fields import LIST, Comments, as_text, collect_time, joined
from categorize.danmu.items import Item
from categorize.danmu.rows import RowReader, collection_of, is_comment, naming
from categorize.danmu.tuples import Style, cut, learn
from categorize.data.columns import parse_literal

_DEEPEST = 3  # objects around a list of comments
_LEARNED_FROM = 32  # records of a file
_BATCH = 20_000  # rows that are held


@dataclass
class Chunk(Comments):
    """Comments that one collection holds, or some of them; None is what the file does not say."""

    number: int = 0  # of the record in its file; 0 where the whole file is one collection
    video_id: str | None = None
    chat_id: str | None = None
    collected: int | None = None  # seconds since 1970 (UTC)
    maxlimit: int | None = None  # most comments that the collection could hold
    unit: float = 1.0  # seconds of a unit of the onset times
    notes: Counter[str] = field(default_factory=Counter)  # what was odd, for the counts
    remarks: list[str] = field(default_factory=list)  # what is worth saying of the file
    scattered: bool = False  # whether the collection may come again behind others, as rows of a table do


def chunks_of_items(items: Iterator[Item], joint: str | None, utc_offset: float) -> Iterator[Chunk | Item]:
    """The comments of one file, in its order, and the items that hold none; see `files.Settings`.

    Items are records or rows, and the first object tells which. A joint that is not named is learned from the first
    records of the file.
    """
    start: list[Item] = []
    rows = RowReader(utc_offset)
    items = map(_unwrapped, items)
    for item in items:
        start.append(item)
        if item.value is not None:
            break
    whole = chain(start, items)
    if start and start[-1].value is not None and LIST not in start[-1].value:
        yield from _of_rows(whole, rows, utc_offset)
        return
    first = list(islice(whole, _LEARNED_FROM))
    lists = [item.value[LIST] for item in first if item.value is not None and isinstance(item.value.get(LIST), str)]
    style = learn(lists, joint)
    for item in chain(first, whole):
        if item.value is not None and LIST in item.value:
            yield _of_record(item, item.value, style, joint, rows, utc_offset)
        elif item.value is None:
            yield item
        else:
            reason = f"no key {LIST!r}; keys: {', '.join(map(repr, item.value))}"
            yield Item(item.number, None, reason, str(item.value))


def _unwrapped(item: Item) -> Item:
    """An object around a list of comments, such as the answer of a server, as a record with that list."""
    value = item.value
    if value is None or LIST in value or not naming(tuple(value)).wrong:
        return item
    found = _list_of_comments(value, _DEEPEST)
    if found is None:
        return item
    # Parts of the comments of one video, which is the file's where they do not say.
    number = item.number if collection_of(value)[0] else 0
    return replace(item, number=number, value={**value, LIST: found})


def _list_of_comments(value: Any, depth: int) -> list[Any] | None:
    if isinstance(value, list):
        first = next((one for one in value if isinstance(one, dict)), None)
        return value if first is not None and is_comment(first) else None
    inner = value.values() if isinstance(value, dict) and depth else ()
    return next((found for one in inner if (found := _list_of_comments(one, depth - 1)) is not None), None)


def _described(record: Mapping[str, Any], number: int, utc_offset: float) -> Chunk:
    """What a record or a row says about its collection, without comments."""
    video_id, written, chat_id, limit = collection_of(record)
    chunk = Chunk(number=number, video_id=video_id, chat_id=chat_id, collected=collect_time(written, utc_offset))
    if chunk.collected is None and written is not None:
        chunk.notes["collect_YMDH is not a time such as 2021071218"] += 1
    if limit is not None:
        limit = limit.removesuffix(".0")
        if limit.isascii() and limit.isdigit():
            chunk.maxlimit = int(limit)
        else:
            chunk.notes["maxlimit is not a number"] += 1
    return chunk


# ---------------------------------------------------------------- rows
def _of_rows(items: Iterable[Item], rows: RowReader, utc_offset: float) -> Iterator[Chunk | Item]:
    """A chunk of each collection at a time; rows of several collections may stand mixed."""
    numbers: dict[tuple[str | None, ...], int] = {}
    held: dict[tuple[str | None, ...], Chunk] = {}
    for count, item in enumerate(items, 1):
        if item.value is None:
            yield item
            continue
        here = collection_of(item.value)
        if here not in held:
            held[here] = _described(item.value, numbers.setdefault(here, len(numbers)), utc_offset)
            held[here].scattered = True
        _add(held[here], item.number, *rows.comment(item.value), item.value)
        if not count % _BATCH:
            yield from _settled(held, rows)
            held.clear()
    yield from _settled(held, rows)


def _settled(held: Mapping[Any, Chunk], rows: RowReader) -> Iterator[Chunk]:
    """Chunks with the units that the longest of them tells."""
    for chunk in sorted(held.values(), key=lambda chunk: -len(chunk.heads)):
        _settle(chunk, rows)
    return iter(held.values())


def _settle(chunk: Chunk, rows: RowReader) -> None:
    chunk.heads, chunk.unit = rows.settle(chunk.heads)
    chunk.remarks, rows.remarks = rows.remarks, []


def _add(comments: Comments, number: int, head: str, text: str, wrong: str, raw: Any) -> None:
    if wrong:
        comments.rejected.append((number, wrong, str(raw)))
    else:
        comments.heads.append(head)
        comments.texts.append(text)


# ---------------------------------------------------------------- records
def _of_record(
    item: Item, record: dict[str, Any], style: Style | None, joint: str | None, rows: RowReader, utc_offset: float
) -> Chunk:
    chunk = _described(record, item.number, utc_offset)
    if chunk.video_id is None and chunk.number:
        chunk.notes["the record has no video_id"] += 1
    if item.reason:
        chunk.notes[f"salvaged from {item.reason}"] += 1
    written = record[LIST]
    if isinstance(written, str) and joint is None:
        written = _written_list(written) or written
    if isinstance(written, str):
        found = cut(written, style, joint, item.truncated)
    else:
        found = _of_values(written if isinstance(written, list) else [] if written is None else [written], rows)
    chunk.heads, chunk.texts, chunk.rejected = found.heads, found.texts, found.rejected
    if found.embedded:
        chunk.notes["a text holds the eight fields of a comment"] += found.embedded
    if isinstance(written, list) and all(isinstance(value, dict) for value in written):
        _settle(chunk, rows)
    return chunk


def _written_list(text: str) -> list[Any] | None:
    """The strings of a list as JSON or Python write it, `['12.3,1,...', ...]`; None where the text is not such."""
    if re.match(r"\s*\[\s*[\"']\s*-?\d", text) is None:
        return None
    values = parse_literal(text.strip())
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        return None
    # ['12.3', '1', ...] is a tuple in square brackets.
    return values if any(not joined(one.split(",", 8)[:8])[1] for one in values if one.count(",") >= 8) else None


def _of_values(values: list[Any], rows: RowReader) -> Comments:
    """A list that is a list already: of tuples, of their texts, or of objects."""
    result = Comments()
    for number, value in enumerate(values, 1):
        if isinstance(value, dict):
            head, text, wrong = rows.comment(value)
        else:
            head, text, wrong = _of_parts(value.split(",", 8) if isinstance(value, str) else value)
        if wrong and isinstance(value, str):
            one = cut(value, Style(joint="", separator=","))
            if len(one.texts) == 1:
                head, text, wrong = one.heads[0], one.texts[0], ""
        _add(result, number, head, text, wrong, value)
    return result


def _of_parts(parts: Any) -> tuple[str, str, str]:
    """The fields, the text and what is wrong of a tuple whose text may have been split at its commas, too."""
    if not isinstance(parts, list):
        return "", "", "not a tuple of eight fields and a text"
    head, wrong = joined([(as_text(part) or "").strip() for part in parts[:8]])
    text = ",".join("" if part is None else str(part) for part in parts[8:])
    return head, text, wrong or ("" if len(parts) > 8 else "no text")
