"""Comments that are rows of a table or objects: whatever their columns are called, and whichever of them there are.

A text is needed; what else is missing is unknown. `progress` and the like are milliseconds into the video, `time` and
the like seconds, unless the values say otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import cached_property, lru_cache
from typing import Any

from categorize.danmu.fields import FIELDS, as_text, head, joined, one_word
from categorize.recipe.wording import first_few, quote

NO_COLUMN = "no column"  # how the reason begins where a row lacks columns
# What exports call the fields, the likelier ones first; without case, blanks, hyphens and underscores.
ALIASES: dict[str, tuple[str, ...]] = {
    "p": ("p",),
    "onset_time": ("onsettime", "onset", "progress", "videotime", "dmtime", "playtime", "showtime", "stime", "time"),
    "mode": ("mode", "dmmode"),
    "font_size": ("fontsize", "size"),
    "color": ("color", "colour", "fontcolor"),
    "sent_at": (
        *("sentat", "timestamp", "ctime", "sendtime", "senttime", "createtime", "createdat", "unixtime", "datetime"),
        "date",
    ),
    "pool": ("pool", "dmpool"),
    "sender_id": ("senderid", "userhash", "midhash", "sender", "uhash", "userid", "uid", "mid", "user", "username"),
    "row_id": ("rowid", "dmid", "idstr", "id"),
    "text": ("text", "content", "message", "msg", "danmu", "danmaku", "danmutext", "comment", "body", "m"),
    "video_id": ("videoid", "bvid", "bv", "aid"),
    "chat_id": ("chatid", "cid", "oid"),
    "collect_YMDH": ("collectymdh",),
    "maxlimit": ("maxlimit",),
    "duration": ("duration", "videoduration", "videolength"),
}  # fmt: skip
_OF_COMMENTS = ("p", *FIELDS, "text")
_OF_COLLECTION = ("video_id", "collect_YMDH", "chat_id", "maxlimit")
_MILLISECONDS = ("progress",)  # columns that hold such by their name
_NOTHING = {"nan", "none", "null", "\\n", "-"}
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,2}):(\d{1,2}(?:\.\d{1,6})?)")
_DATE_PARTS = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})(.*)")
_DATE = re.compile(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}(?:[ T]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?(?:Z|[+-]\d\d:?\d\d)?")
_SINCE_1970 = re.compile(r"\d{10,16}(?:\.\d+)?")
_BARE_HEX = re.compile("(?=.*[a-fA-F])[0-9a-fA-F]{6}")
_HAN = re.compile("[\u4e00-\u9fff]")
_HAN_TEXT = re.compile("内容|文本|正文|弹幕$|评论|text|content")
# Of a video: it is hardly shorter, hardly longer, and its comments do not come faster.
_SHORTEST, _LONGEST, _DENSEST = 5.0, 6 * 3600.0, 20.0
_LONGEST_VIDEO = 48 * 3600.0
_FEW = 10  # comments that say nothing about that
_DEFAULTS = ("0", "1", "25", "0", "0", "0")  # of the shape of their fields


@dataclass(frozen=True)
class Naming:
    """Which column or key holds which field, and what is wrong with the columns, or nothing."""

    columns: Mapping[str, str]
    wrong: str = ""

    @cached_property
    def fields(self) -> tuple[str | None, ...]:
        """Those of the eight fields."""
        return tuple(self.columns.get(name) for name in FIELDS)

    @cached_property
    def collection(self) -> tuple[str | None, ...]:
        """Those of video, time of collection, chat and limit."""
        return tuple(self.columns.get(name) for name in _OF_COLLECTION)

    @cached_property
    def in_milliseconds(self) -> bool:
        """Whether the onset times are such by their name."""
        return _folded(self.columns.get("onset_time", "")) in _MILLISECONDS


def _folded(column: str) -> str:
    return re.sub(r"[\s_\-]+", "", column).casefold()


@lru_cache(maxsize=256)
def naming(columns: tuple[str, ...]) -> Naming:
    """Which column or key holds which field; `p` is all of them."""
    folded = {_folded(column): column for column in reversed(columns)}
    names = {name: next((folded[a] for a in called if a in folded), "") for name, called in ALIASES.items()}
    if names["p"] and _folded(names["text"]) == "m" and names["chat_id"]:
        names["row_id"], names["chat_id"] = names["chat_id"], ""  # cid, p, m: the cid is the comment's
    names = {name: column for name, column in names.items() if column}
    return Naming(names, "" if "text" in names else _wrong(columns))


def _wrong(columns: Sequence[str]) -> str:
    there = first_few([quote(column) for column in columns])
    if any(map(_HAN.search, columns)):
        text = next((column for column in columns if _HAN_TEXT.search(column)), columns[0])
        way_out = f"read it as a table, without data.format and with data.columns.text={quote(text)}"
        return f"{NO_COLUMN} has the name of a field of danmu, among {there}; {way_out}"
    return f"{NO_COLUMN} text, content, message or the like (and no danmu_list) among {there}"


def collection_of(row: Mapping[str, Any]) -> tuple[str | None, ...]:
    """What a row or a record says of its collection: video, time, chat and limit."""
    return tuple([None if column is None else as_text(row[column]) for column in naming(tuple(row)).collection])


def is_comment(row: Mapping[str, Any]) -> bool:
    """Whether an object is a comment."""
    found = naming(tuple(row))
    return not found.wrong and len([name for name in found.columns if name in _OF_COMMENTS]) > 1


class RowReader:
    """Reads the comments of one file; the unit of their times is told from the first ones that tell it.

    Attributes:
        remarks: what is worth saying of the file, once.
    """

    def __init__(self, utc_offset: float) -> None:
        self.zone = timezone(timedelta(hours=utc_offset))
        self.remarks: list[str] = []
        self._scale: float | None = None  # seconds of a unit of time, once that is settled
        self._named_scale = 1.0
        self._longest: float | None = None  # seconds of the longest video, where the file says so

    def comment(self, row: Mapping[str, Any]) -> tuple[str, str, str]:
        """The fields of a comment, joined by commas, its text, and what is wrong with it, or nothing.

        A field that is unknown is empty; the onset time is in the unit of the file.
        """
        found = naming(tuple(row))
        if found.wrong:
            return "", "", found.wrong
        names = found.columns
        text = "" if row[names["text"]] is None else str(row[names["text"]])
        values = ["" if column is None else (as_text(row[column]) or "").strip() for column in found.fields]
        if "p" in names:
            fields, wrong = head(str(row[names["p"]] or ""))
            return (fields + one_word(values[7]) if fields.endswith(",") else fields), text, wrong
        if found.in_milliseconds:
            self._named_scale = 1e-3
        if "duration" in names:
            self._longest = max(self._longest or 0.0, _length(as_text(row[names["duration"]])))
        fields, wrong = joined(values) if all(values) else ("", "unknown")
        if wrong:
            fields, wrong = self._loosely(values)
        return fields, text, wrong

    def _loosely(self, values: list[str]) -> tuple[str, str]:
        """Fields of which some are unknown, or written as people write them; and what is wrong with one."""
        onset, mode, size, color, sent, pool, sender, row_id = ("" if v.lower() in _NOTHING else v for v in values)
        if clock := _CLOCK.fullmatch(onset):
            hours, minutes, seconds = clock.groups()
            onset = f"{int(hours or 0) * 3600 + int(minutes) * 60 + float(seconds):.12g}"
        elif _DATE.fullmatch(onset) or _SINCE_1970.fullmatch(onset):  # a column "time" may be that of sending
            onset, sent = "", sent or onset
        sent = self._seconds_of(sent) if _DATE.fullmatch(sent) else sent
        color = f"#{color}" if _BARE_HEX.fullmatch(color) else color
        known = (onset, mode, size, color, sent, pool)
        fields, wrong = joined([value or default for value, default in zip(known, _DEFAULTS, strict=True)] + ["0", "0"])
        parts = [part if value else "" for part, value in zip(fields.split(","), known, strict=False)]
        return "" if wrong else ",".join((*parts, one_word(sender), one_word(row_id))), wrong

    def _seconds_of(self, date: str) -> str:
        """Seconds since 1970 of a date, in the zone of the files where it names none; as it stands where it is none."""
        year, month, day, rest = _DATE_PARTS.fullmatch(date).groups()  # type: ignore[union-attr]
        try:
            time = datetime.fromisoformat(f"{year}-{int(month):02d}-{int(day):02d}{rest}")
        except ValueError:
            return date
        return f"{(time if time.tzinfo else time.replace(tzinfo=self.zone)).timestamp():.0f}"

    def settle(self, heads: list[str]) -> tuple[list[str], float]:
        """Heads of comments of one video, and how many seconds the unit of their onset times has."""
        if self._named_scale < 1:  # protobuf leaves out what is 0
            heads = [f"0{head}" if head[:1] == "," else head for head in heads]
        if self._scale is not None:
            return heads, self._scale
        return heads, self._unit([head.split(",", 1)[0] for head in heads if head[:1] != ","])

    def _unit(self, times: list[str]) -> float:
        """Told by magnitude against the length of the video, known or likely; by the column's name where it fits."""
        values = list(map(float, times))
        if len(values) < _FEW and self._longest is None:
            return self._named_scale
        last = max(values, default=0.0)
        whole = all(value.is_integer() for value in values)
        end = self._longest * 1.05 + _SHORTEST if self._longest else None
        if self._named_scale < 1:
            too_short = last / 1000 < _SHORTEST or (last < 60_000 and len(values) * 1000 > _DENSEST * last)
            fits = not (20 * last / 1000 < end and last <= end if end else too_short)
            self._scale = 1e-3 if whole and fits else 1.0
        else:
            is_long = last > end and last / 1000 <= end if end else last > _LONGEST
            self._scale = 1e-3 if whole and is_long else 1.0
        if self._scale != self._named_scale:
            units = {1.0: "seconds", 1e-3: "milliseconds"}
            self.remarks.append(
                f"onset times are read as {units[self._scale]}: in {units[self._named_scale]} the last of "
                f"{len(values)} comments would stand at {last * self._named_scale:,.1f} s"
            )
        return self._scale


def _length(written: str | None) -> float:
    """Seconds of a video's length, written in seconds or milliseconds; 0 where it is neither."""
    try:
        length = float(written or 0)
    except ValueError:
        return 0.0
    return length / 1000 if length > _LONGEST_VIDEO else max(length, 0.0)
