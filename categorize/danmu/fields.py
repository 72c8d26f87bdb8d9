"""The fields of a danmu: their shapes, and what their codes mean.

A comment is eight fields and a text: onset time in seconds, mode, font size, colour, time of sending, pool, sender id
and row id. Files write them as `12.3,1,25,16777215,1486615832,0,f4b0b794,2978414126`, some with a ninth, the weight.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

FIELDS = ("onset_time", "mode", "font_size", "color", "sent_at", "pool", "sender_id", "row_id")
# What exports call the fields.
ALIASES: dict[str, tuple[str, ...]] = {
    "onset_time": ("onset_time", "time", "onset"),
    "mode": ("mode",),
    "font_size": ("font_size", "size", "fontsize"),
    "color": ("color", "colour"),
    "sent_at": ("sent_at", "timestamp", "ctime", "date"),
    "pool": ("pool",),
    "sender_id": ("sender_id", "user_hash", "midhash", "sender", "uid"),
    "row_id": ("row_id", "rowid", "dmid", "id"),
    "text": ("text", "content", "message"),
}
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

_LARGEST_COLOR = 0xFFFFFF
_YMDH = re.compile(r"(\d{4})\D?(\d{2})\D?(\d{2})\D?(\d{2})(?:\D.*)?", re.ASCII | re.DOTALL)


def wrong_field(values: list[str]) -> str | None:
    """What is wrong with eight fields as written, in words; None where each has its shape."""
    for name, value, shape, word in zip(FIELDS, values, _CHECKED, _WORDS, strict=True):
        if shape.fullmatch(value) is None:
            return f"{name} is not {word}: {value[:40]!r}" if value else f"{name} is empty"
    return None


def collect_time(written: object, utc_offset: float) -> int | None:
    """Seconds since 1970 (UTC) of a `collect_YMDH` such as 2021071218, written in a zone that is `utc_offset` hours
    ahead; None where it is no such time."""
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
    times = values.to_numpy(zero_copy_only=False)
    # 1e11 seconds are the year 5138, 1e11 milliseconds are 1973: before there was any comment.
    scale = np.select([times < 1e11, times < 1e14, times < 1e17], [1e3, 1.0, 1e-3], default=0.0)
    result = np.rint(times * scale).astype(np.int64)
    return pa.array(result, mask=(result <= 0))


def color_hex(values: pa.Array) -> pa.Array:
    """Strings `#RRGGBB` of colour numbers; the low 24 bits where a file wrote more (an alpha channel, a sign)."""
    encoded = values.dictionary_encode()
    names = [f"#{code & _LARGEST_COLOR:06X}" for code in encoded.dictionary.to_pylist()]
    return pa.array(names, pa.string()).take(encoded.indices)


def named(codes: pa.Array, names: dict[int, str], other: str) -> pa.Array:
    """Names of codes; a code without a name becomes `other` with the code in the place of `{}`."""
    encoded = codes.dictionary_encode()
    words = [names.get(code, other.format(code)) for code in encoded.dictionary.to_pylist()]
    return pa.array(words, pa.string()).take(encoded.indices)


def odd_colors(values: pa.Array) -> int:
    """How many colour numbers are outside of 24 bits."""
    return int(pc.sum(pc.or_(pc.less(values, 0), pc.greater(values, _LARGEST_COLOR))).as_py() or 0)


def count_unnamed(codes: pa.Array, names: dict[int, str]) -> dict[int, int]:
    """How often each code without a name comes."""
    found = {int(item["values"]): int(item["counts"]) for item in codes.value_counts().to_pylist()}
    return {code: n for code, n in sorted(found.items()) if code not in names}
