"""The objects of a JSON or JSON lines file, one at a time, and the raw text of what is no object."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from categorize.danmu.opening import TextFile, lines

_BATCH = 8 << 20
_LONGEST = 256 << 20  # characters; what does not end by then is given up
_DECODER = json.JSONDecoder(strict=False, parse_int=str, parse_float=str, parse_constant=lambda _: None)
_SPACE = re.compile(r"[\s,\]\[\x00]*")
_NEXT = re.compile(r"\{\s*\"")

# A list that was cut off, or holds bare quotation marks: up to the keys that may follow it, or to the end.
_LIST = re.compile(r'"danmu_list"\s*:\s*"')
_LIST_END = re.compile(
    r'"\s*(?P<after>(?:,\s*"(?:video_id|collect_YMDH|chat_id|maxlimit)"\s*:[^{}]*)?)\}\s*\]?,?\s*\Z', re.DOTALL
)
_ESCAPE_AT_END = re.compile(r"(?<!\\)(?:\\\\)*(\\(?:u[0-9a-fA-F]{0,3})?)\Z")


@dataclass(frozen=True)
class Item:
    """An object of the file, or what stands where one should.

    Attributes:
        number: line in JSON lines, position in JSON; from 1.
        value: the object, with numbers as they are written; None where there is none.
        reason: what is wrong with it.
        raw: then, the text.
        truncated: the object was cut off, and `value` holds what came before.
    """

    number: int
    value: dict[str, Any] | None
    reason: str = ""
    raw: str = ""
    truncated: bool = False


def json_lines(source: TextFile) -> Iterator[Item]:
    """One object a line; blank lines are none."""
    for number, line in enumerate(lines(source), 1):
        if line.strip("\0 \t\r\ufeff"):
            yield _item(number, line)


def json_values(source: TextFile) -> Iterator[Item]:
    """The objects of an array, or objects that follow each other; read piece by piece."""
    text, number, more = "", 0, iter(source.chunks())
    at_end = False
    wanted = _BATCH
    while not at_end or text:
        pieces = [text]
        length = len(text)
        while length < wanted and not at_end:
            chunk = next(more, None)
            at_end = chunk is None
            pieces.append(chunk or "")
            length += len(chunk or "")
        text, place = "".join(pieces), 0
        while True:
            place = _SPACE.match(text, place).end()  # type: ignore[union-attr]
            if place == len(text):
                text = ""
                break
            try:
                value, end = _DECODER.raw_decode(text, place)
            except (ValueError, RecursionError):
                following = _NEXT.search(text, place + 1) if at_end or len(text) - place > _LONGEST else None
                if not at_end and following is None:
                    text = text[place:]
                    break
                # A broken object ends where the next line begins one.
                end = _next_line(text, place)
                number += 1
                yield _item(number, text[place:end].rstrip(" \t\r\n,]"))
                place = end
                continue
            if end == len(text) and not at_end:
                text = text[place:]
                break
            number += 1
            yield Item(number, value) if isinstance(value, dict) else _no_object(number, text[place:end])
            place = end
        wanted = _BATCH if len(text) < _BATCH // 2 else 2 * len(text)


def _next_line(text: str, place: int) -> int:
    match = re.compile(r"\n[\s,]*(?=\{\s*\")|(?<=\})\s*,\s*(?=\{\s*\")").search(text, place + 1)
    return match.end() if match else len(text)


def _item(number: int, text: str) -> Item:
    try:
        value = _DECODER.decode(text.strip("\0 \t\r\n\ufeff"))
    except RecursionError:
        return Item(number, None, "the JSON is nested too deeply", text)
    except ValueError as error:
        return salvage(number, text) or Item(number, None, f"broken JSON ({_reason(error)})", text)
    return Item(number, value) if isinstance(value, dict) else _no_object(number, text)


def _reason(error: ValueError) -> str:
    return f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _no_object(number: int, text: str) -> Item:
    return Item(number, None, "not an object {...}", text)


def salvage(number: int, text: str) -> Item | None:
    """A record of which the list can be had although the JSON is broken: cut off, or with bare quotation marks."""
    start = _LIST.search(text)
    if start is None:
        return None
    end = _LIST_END.search(text, start.end())
    inner = text[start.end() : end.start() if end else len(text)]
    before = text[: start.start()] + '"danmu_list": ""' + (end["after"] if end else "") + "}"
    try:
        value = _DECODER.decode(before.strip("\0 \t\r\n\ufeff[,"))
    except (ValueError, RecursionError):
        value = {}
    if end is None and (escape := _ESCAPE_AT_END.search(inner)):
        inner = inner[: escape.start(1)]
    value["danmu_list"] = _plain(inner)
    return Item(number, value, "broken JSON", text, truncated=end is None)


def _plain(inner: str) -> str:
    """A JSON string's content; bare quotation marks inside are characters."""
    bare = re.sub(r'(?<!\\)((?:\\\\)*)"', r'\1\\"', inner)
    try:
        return str(_DECODER.decode(f'"{bare}"'))
    except ValueError:
        return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t", "r": "\r"}.get(m.group(1), m.group(1)), inner)
