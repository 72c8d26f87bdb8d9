"""What an answer says of each item: JSON that is whole, JSON that can be read with certainty, and nothing else.

The order: the whole text as JSON; each complete object that stands in it, behind thoughts, prose and fences; where the
answer is in another dialect, the same with its full-width marks and quotes made plain; and last json-repair for single
objects that close. json-repair never sees an object that is cut off: of `"id": 17` that breaks it would make `1`,
another row.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

from json_repair import repair_json

from categorize.labeling.wire import COMMENTS, ID, LABELS, RATIONALE

Entry = dict[str, Any]  # one item, as an answer has it

_TAG = re.compile(r"<(/?)think>")
_QUOTE = re.compile(r'(?<!\\)"')
_OPEN_STRING = re.compile(r'[:\[,]\s*"(?:[^"\\]|\\.)*\Z')
_PLAIN_ITEM = re.compile(r'\{(?=\s*"(?:comment_id|id)"\s*:)')
_ITEM = re.compile(r"\{(?=\s*[\"']?(?:comment_id|id)[\"']?\s*:)")
_CLOSINGS = 8  # braces within one object, such as those of a rationale, that are tried as its end
_MARKS = str.maketrans("｛｝［］：，、＂；", '{}[]:,,";')
_QUOTES = str.maketrans("“”‘’", "\"\"''")
_IDS = (ID, "id")
_TRIES = 4000  # braces that begin no object: an answer of nothing else would take minutes


def read_entries(text: str) -> tuple[list[Entry], bool]:
    """The objects of an answer that have an id, and whether any JSON was found at all.

    An object that names a key twice is left out: it may be two items that ran into each other.
    """
    try:
        whole = _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        pass
    else:
        return list(_entries(whole)), True
    values, left = _complete_objects(_without_thoughts(text))
    chunks: list[str] = []
    if _PLAIN_ITEM.search(text):
        # Strings within plain JSON escape their quotes: the text of a comment cannot begin as an item there.
        for part in left:
            chunks += _from_starts(part, _PLAIN_ITEM)
    else:
        for table in (_MARKS, _QUOTES):
            parts, left = left, []
            for part in parts:
                more, rest = _complete_objects(part.translate(table))
                values += more
                left += rest
        for part in left:
            chunks += _from_starts(part, _ITEM)
    found = [entry for value in values for entry in _entries(value)]
    repaired = [entry for chunk in chunks if (entry := _first_repaired(chunk)) is not None]
    return found + repaired, bool(values or repaired)


def _without_thoughts(text: str) -> str:
    """The text behind the last thoughts, up to any that do not end. Templates that open them leave only their end; a
    tag within a JSON string is a comment's text."""
    begin, end = 0, len(text)
    for tag in _TAG.finditer(text):
        line = text[text.rfind("\n", begin, tag.start()) + 1 : tag.start()]
        if len(_QUOTE.findall(line)) % 2 and _OPEN_STRING.search(line):
            continue
        if tag.group(1):
            begin, end = tag.end(), len(text)
        elif end == len(text):
            end = tag.start()
    return text[begin:end]


def _from_starts(text: str, start: re.Pattern[str]) -> list[str]:
    """The stretches of a text that begin as items."""
    starts = [match.start() for match in start.finditer(text)]
    return [text[first:last] for first, last in pairwise([*starts, len(text)])]


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any] | None:
    value = dict(pairs)
    return value if len(value) == len(pairs) else None


_DECODER = json.JSONDecoder(object_pairs_hook=_no_key_twice)


def _complete_objects(text: str) -> tuple[list[Any], list[str]]:
    """The objects that are complete JSON, outermost first, and the stretches of text between them."""
    values: list[Any] = []
    rest: list[str] = []
    begin, at, failed = 0, text.find("{"), 0
    while at >= 0 and failed < _TRIES:
        try:
            value, end = _DECODER.raw_decode(text, at)
        except RecursionError:  # a loop of opening brackets
            break
        except ValueError:
            end, failed = at + 1, failed + 1
        else:
            values.append(value)
            rest.append(text[begin:at])
            begin = end
        at = text.find("{", end)
    return values, [*rest, text[begin:]]


def _entries(value: Any, depth: int = 3) -> Iterator[Entry]:
    """The objects with an id in lists and objects around them; nothing within such an object is one."""
    if isinstance(value, dict):
        if any(key in value for key in _IDS):
            yield value
        elif depth:
            for inner in value.values():
                yield from _entries(inner, depth - 1)
    elif isinstance(value, list) and depth:
        for inner in value:
            yield from _entries(inner, depth - 1)


def _first_repaired(text: str) -> Entry | None:
    """The object that begins a text, up to the first brace at which it ends with an id and something more."""
    end = -1
    for _ in range(_CLOSINGS):
        if (end := text.find("}", end + 1)) < 0:
            return None
        chunk = text[: end + 1]
        if (entry := _repaired(chunk) or _repaired(chunk.translate(_MARKS))) is not None:
            return entry
    return None


def _repaired(chunk: str) -> Entry | None:
    """One closed object by json-repair, where all that it says stands in the text as a word of its own."""
    before = re.split(rf"[\"']?{RATIONALE}[\"']?\s*:", chunk)[0]
    if before.count("[") != before.count("]"):
        return None
    keys = (*_IDS, LABELS, "label", RATIONALE, COMMENTS)
    if any(len(re.findall(rf"(?<!\w){key}[\"']?\s*:", chunk)) > 1 for key in keys):
        return None
    try:
        value = repair_json(chunk, return_objects=True, skip_json_loads=True)
    except Exception:  # whatever it stumbles over, the answer stays unread
        return None
    if not isinstance(value, dict) or not any(key in value for key in _IDS):
        return None
    said = {key: values for key, values in value.items() if key != RATIONALE}
    certain = len(said) > 1 and all(_stands_in(one, chunk) for values in said.values() for one in _texts(values))
    return value if certain else None


def _texts(value: Any) -> list[str]:
    return [str(one) for one in (value if isinstance(value, list) else [value])]


def _stands_in(word: str, chunk: str) -> bool:
    return bool(word) and re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", chunk) is not None


def entry_id(entry: Entry) -> str | None:
    """The id of an object as it is compared: width, case and blanks around it do not matter."""
    values = [entry[key] for key in _IDS if key in entry]
    if len(values) != 1 or not isinstance(values[0], str):
        return None
    return unicodedata.normalize("NFKC", values[0]).strip().casefold()


def answer_value(entry: Entry, key: str) -> Any:
    """What an object says under a key of the wire format; `label` counts as `labels`.

    Raises:
        KeyError: it says nothing, or both.
    """
    keys = [one for one in ((LABELS, "label") if key == LABELS else (key,)) if one in entry]
    if len(keys) != 1:
        raise KeyError(key)
    return entry[keys[0]]


def says_anything(entry: Entry, keys: Iterable[str]) -> bool:
    """Whether an object answers: an echo of the question has ids and texts alone."""
    return any(key in entry for key in keys) or (LABELS in keys and "label" in entry)
