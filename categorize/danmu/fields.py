"""The fields of a danmu: their shapes, and what their codes mean.

A comment is eight fields and a text: onset time in seconds, mode, font size, colour, time of sending, pool, sender id
and row id. Files write them as `12.3,1,25,16777215,1486615832,0,f4b0b794,2978414126`, some with a ninth, the weight,
some four of them, `12.3,1,16777215,f4b0b794`. A field that is unknown is empty.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa

LIST = "danmu_list"  # the key of a collection's comments
FIELDS = ("onset_time", "mode", "font_size", "color", "sent_at", "pool", "sender_id", "row_id")
# Shapes of the eight fields, in order. Digits are bounded by what 64 bits hold; row ids stay strings.
SHAPES = (
    r"-?\d{1,9}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,3})?",
    r"\d{1,3}",
    r"\d{1,4}",
    r"-?\d{1,10}",
    r"\d{1,17}(?:\.\d{1,9})?",
    r"\d{1,3}",
    r"[0-9A-Fa-f]{1,32}",
    r"\d{1,20}",
)
_WORDS = ("a number of seconds", "a mode", "a font size", "a colour", "a time", "a pool", "a hexadecimal id", "digits")
_CHECKED = tuple(re.compile(shape, re.ASCII) for shape in SHAPES)
# A row id that a spreadsheet took for a number: its last digits are lost.
ROUNDED = re.compile(r"\d(?:\.\d+)?[eE]\+?\d\d|\d{14,}00|\d{16,}\.0*")
_WHOLE = re.compile(r"(-?\d+)\.0*", re.ASCII)
_SEPARATORS = re.compile(r"[,\s\"]+")
_HEX_COLOR = re.compile("(?:#|0x)([0-9a-f]{6})", re.IGNORECASE)
_P = re.compile("(" + ",".join(SHAPES) + r")(?:,-?\d{1,9})?", re.ASCII)
# row id, 0, milliseconds, mode, size, colour, sent, pool, sender: another order, seen in newer archives.
_P_ROW_ID_FIRST = re.compile(
    rf"({SHAPES[7]}),\d,(\d{{1,12}}),({SHAPES[1]}),({SHAPES[2]}),({SHAPES[3]}),({SHAPES[4]}),({SHAPES[5]}),({SHAPES[6]})",
    re.ASCII,
)

MODES = {
    1: "scroll", 2: "scroll", 3: "scroll", 4: "bottom", 5: "top", 6: "reverse",
    7: "positioned", 8: "scripted", 9: "bas",
}  # fmt: skip
# Their text is JSON or code, not language.
SCRIPTED_MODES = (7, 8, 9)
POOLS = {0: "normal", 1: "subtitle", 2: "special"}
FONT_SIZES = {
    12: "very small", 16: "extra small", 18: "small", 25: "medium", 36: "large", 45: "very large", 64: "extra large",
}  # fmt: skip
CUSTOM_SIZE = "custom"

LOW_BITS = 0xFFFFFF  # of a colour number
_YMDH = re.compile(r"(\d{4})\D?(\d{2})\D?(\d{2})\D?(\d{2})(?:\D.*)?", re.ASCII | re.DOTALL)


@dataclass
class Comments:
    """Comments that were found together."""

    heads: list[str] = field(default_factory=list)  # the eight fields of each as written, joined by commas
    texts: list[str] = field(default_factory=list)  # of the same length
    rejected: list[tuple[int, str, str]] = field(default_factory=list)  # (number, reason, raw text) of broken ones
    embedded: int = 0  # texts that hold eight whole fields without the joint before them; they stay texts

    @property
    def elements(self) -> int:
        """Comments found, whole or not."""
        return len(self.texts) + len(self.rejected)


def wrong_field(values: list[str]) -> str | None:
    """What is wrong with eight fields as written, in words; None where each has its shape."""
    for name, value, shape, word in zip(FIELDS, values, _CHECKED, _WORDS, strict=True):
        if shape.fullmatch(value) is None:
            return f"{name} is not {word}: {value[:40]!r}" if value else f"{name} is empty"
    return None


def joined(values: list[str]) -> tuple[str, str]:
    """Fields as written, `25.0` as 25 and `#FFFFFF` as a number, joined; and what is wrong with one, or nothing."""
    if len(values) != 8:
        return "", f"{len(values)} fields before the text, not 8"
    if wrong_field(values) is not None:
        values = [values[0], *(match.group(1) if (match := _WHOLE.fullmatch(v)) else v for v in values[1:7]), values[7]]
        if len(values[7]) < 16:
            values[7] = _WHOLE.sub(r"\1", values[7])
        if match := _HEX_COLOR.fullmatch(values[3]):
            values[3] = str(int(match.group(1), 16))
        wrong = wrong_field([*values[:7], "0"] if ROUNDED.fullmatch(values[7]) else values)
        if wrong:
            return "", wrong
    return ",".join(values), ""


def head(written: str) -> tuple[str, str]:
    """The eight fields of a `p` attribute in our order, joined by commas; and what is wrong with it, or nothing."""
    if match := _P.fullmatch(written):
        return match.group(1), ""
    if match := _P_ROW_ID_FIRST.fullmatch(written):
        row_id, milliseconds, *rest, sender = match.groups()
        return ",".join((str(int(milliseconds) / 1000), *rest, sender, row_id)), ""
    values = [value.strip() for value in html.unescape(written).split(",")]
    if len(values) == 4 and (four := _four(values)):
        return four, ""
    if len(values) not in (8, 9):
        return "", f"p has {len(values)} fields, not 8 or 9"
    if wrong := wrong_field(values[:8]):
        return "", wrong
    if len(values) == 9 and not re.fullmatch(r"-?\d{1,9}", values[8]):
        return "", f"the weight is not a number: {values[8][:40]!r}"
    return ",".join(values[:8]), ""


def _four(values: list[str]) -> str | None:
    """The head of `time,mode,colour,user`; None where it is not, or may be eight fields that were cut off."""
    time, mode, color, user = values
    is_cut = color.isdecimal() and int(color) in FONT_SIZES and user.isdecimal()
    fields, wrong = joined([time, mode, "25", color, "0", "0", "0", "0"])
    if wrong or is_cut:
        return None
    time, mode, _, color = fields.split(",")[:4]
    return f"{time},{mode},,{color},,,{one_word(user)},"


def one_word(text: str) -> str:
    """A sender or an id as it may stand in a head."""
    return _SEPARATORS.sub(" ", text)[:128]


def as_text(value: Any) -> str | None:
    """A value as written; None for nothing."""
    if value is None or isinstance(value, dict | list):
        return None
    text = value if isinstance(value, str) else str(value).strip()
    return text if text.strip() else None


def collect_time(written: object, utc_offset: float) -> int | None:
    """Seconds since 1970 (UTC) of a `collect_YMDH` such as 2021071218, written in a zone that is `utc_offset` hours
    ahead; None where it is not such a time."""
    match = _YMDH.fullmatch(str(written).strip()) if written is not None else None
    if match is None:
        return None
    try:
        local = datetime(*map(int, match.groups()), tzinfo=timezone(timedelta(hours=utc_offset)))  # type: ignore[arg-type, misc]
    except ValueError:
        return None
    return int(local.timestamp())


# ---------------------------------------------------------------- columns
def sent_milliseconds(values: pa.Array) -> pa.Array:
    """int64 milliseconds since 1970 of times (float64) in seconds, milliseconds or microseconds, told by magnitude.

    0 and what lies beyond the year 5000 in any unit is null: nobody sent a comment then.
    """
    times = np.nan_to_num(values.to_numpy(zero_copy_only=False))
    # 1e11 seconds are the year 5138, 1e11 milliseconds are 1973: before there was any comment.
    scale = np.select([times < 1e11, times < 1e14, times < 1e17], [1e3, 1.0, 1e-3], default=0.0)
    result = np.rint(times * scale).astype(np.int64)
    return pa.array(result, mask=(result <= 0))


def named(codes: pa.Array, name: Callable[[int], str]) -> pa.Array:
    """Strings that `name` gives the codes."""
    encoded = codes.dictionary_encode()
    return pa.array(map(name, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)


def color_hex(code: int) -> str:
    """`#RRGGBB` of a colour number; the low 24 bits where a file wrote more (an alpha channel, a sign)."""
    return f"#{code & LOW_BITS:06X}"


def count_unnamed(codes: pa.Array, names: dict[int, str]) -> dict[int, int]:
    """How often each code without a name comes."""
    found = {int(item["values"]): int(item["counts"]) for item in codes.drop_null().value_counts().to_pylist()}
    return {code: n for code, n in sorted(found.items()) if code not in names}
