"""Speaker labels at the beginning of lines, and the turns of a transcript."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import lru_cache

from categorize.data.segments.stamps import STAMP_MARK

LONGEST_LABEL = 160  # with what stands in brackets behind a name: party, office, constituency
_CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff"
_HAS_CJK = re.compile(f"[{_CJK}]")
_BRACKETS = re.compile(r"\s*(?:\(.*\)|（.*）|\[.*\])$", re.DOTALL)
_LATIN_WORD = re.compile(r"[^\W_][\w'’.&#/-]*|&")
_CJK_NAME = re.compile(rf"[{_CJK}A-Za-z0-9·_\- ]{{1,10}}$")
_OPENS = re.compile(r"[\[(【（<]\d")
_NUMBERED = re.compile(r"(?i)(speaker|spk|spkr)[ _#-]*0*(\d{1,3})$")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_PARTICLES = _words("of the and de del der den van von da di du la le el al bin ibn y e for in")
# Written in small letters they are speakers, too.
_ROLES = _words(
    """
    q a question answer speaker spk audience interviewer interviewee moderator host guest user assistant system agent
    customer client caller operator doctor patient teacher student narrator participant respondent man woman unknown
    chair chairman ceo cfo
    """
)
_NO_SPEAKERS = _words(
    """
    note notes nb ps re fw fwd subject warning example eg ie ok okay yes no so and but well today tip edit update
    source url link http https ftp date time from to cc bcc agenda summary conclusion because first second third finally
    also however remember important attention what that this it
    注 注意 例如 比如 地址 时间 日期 电话 说明 备注 提示 链接 来源 总结 结论 首先 其次 最后 另外 标题 内容
    价格 评分 车牌 车牌号 车型 手机
    """
)
# Words of sentences: "我想说的是：" is not a speaker.
_CJK_SENTENCE = re.compile("[的是了在有我你他她它这那说就都也不要会能没很吗吧呢]")


@dataclass(frozen=True)
class Label:
    """A speaker label at the beginning of a line: `line[:start]` stands before it, `line[end:]` is what is said."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Turn:
    """What one speaker says, `text[start:end]` with the label; no speaker where the text names none."""

    start: int
    end: int
    speaker: str | None = None


def read_label(line: str, names: Collection[str] = ()) -> Label | None:
    """The speaker label that a line begins with, a time stamp before it allowed; None where there is none.

    A label is one to six words before a colon that begin with capitals or digits (`Project Manager:`, `Mr. Jagmeet
    Singh (Burnaby South, NDP):`), a role such as `speaker 3:`, or a short Chinese name or role (`用户：`), but no such
    word as `Note:`. With `names` these alone count, as they are written but for case.
    """
    start = len(line) - len(line.lstrip())
    if stamp := STAMP_MARK.match(line, start):
        start = stamp.end() + len(line[stamp.end() :]) - len(line[stamp.end() :].lstrip(" \t-–—"))
    head = line[: start + LONGEST_LABEL]
    if _OPENS.search(head, start):  # Speaker 3 (00:12): the colon of a stamp ends no label
        head = head[:start] + STAMP_MARK.sub(lambda stamp: "_" * len(stamp.group()), head[start:])
    colon = min((at for at in (head.find(":", start), head.find("：", start)) if at > start), default=None)
    if colon is None:
        return None
    written = line[start:colon].strip()
    name = STAMP_MARK.sub("", written).strip()
    after = line[colon + 1 : colon + 2]
    if names:
        if name.casefold() not in {one.casefold() for one in names}:
            return None
    elif not is_speaker(name) or not _ends_label(name, line[colon], after):
        return None
    return Label(name, start, len(line) - len(line[colon + 1 :].lstrip(" \t")))


def _ends_label(name: str, colon: str, after: str) -> bool:
    """Whether a colon ends a label: not that of an address, a path or a time."""
    if after in ("/", "\\"):
        return False
    spaced = colon == "：" or not after or after.isspace()
    return spaced or bool(_HAS_CJK.search(name + after)) or name.casefold() in _ROLES  # Q:What is it?


@lru_cache(maxsize=65536)
def is_speaker(name: str) -> bool:
    """Whether what stands before a colon looks like the name or role of a speaker."""
    core = _BRACKETS.sub("", name).strip()
    if not core or len(core) > 60 or core.casefold() in _NO_SPEAKERS:
        return False
    if _HAS_CJK.search(core):
        return bool(_CJK_NAME.match(core)) and not _CJK_SENTENCE.search(core)
    words = core.replace("_", " ").split()
    if not 1 <= len(words) <= 6 or not all(_LATIN_WORD.fullmatch(word) for word in words):
        return False
    if not any(character.isalpha() for character in core) or words[0].casefold() in _NO_SPEAKERS:
        return False  # 12:31
    return _begins_name(words[0]) and all(
        _begins_name(word) or word in _PARTICLES or word == "&" or "'" in word[:3] for word in words[1:]
    )


def _begins_name(word: str) -> bool:
    return word[0].isupper() or word[0].isdigit() or word.casefold() in _ROLES


@lru_cache(maxsize=65536)
def uniform_name(name: str) -> str:
    """One spelling of a speaker: `Speaker 3` for `SPEAKER_03`, `John Smith` for `JOHN SMITH`; brackets go."""
    core = " ".join(_BRACKETS.sub("", name).replace("_", " ").split()) or name
    if numbered := _NUMBERED.match(core):
        return f"Speaker {numbered[2]}"
    words = core.split(" ")
    if words[0].casefold() in _ROLES and words[0].islower() and len(words[0]) > 1:
        words[0] = words[0].capitalize()
    if core.isupper() and max(map(len, words)) > 4:  # CEO and PHD A stay
        words = [word.capitalize() if len(word) > 3 and word.isalpha() else word for word in words]
    return " ".join(words)


def relabel(text: str, rename: Callable[[str], str], names: Collection[str] = ()) -> str:
    """The text with every speaker label as `rename` gives it; an empty name takes the label away."""
    lines = text.split("\n")
    for i, line in enumerate(lines):
        label = read_label(line, names)
        if label is not None:
            new = rename(label.name)
            said = line[label.end :]
            lines[i] = line[: label.start] + (f"{new}: {said}" if new and said else f"{new}:" if new else said)
    return "\n".join(lines)


def find_turns(text: str, names: Collection[str] = ()) -> list[Turn]:
    """The turns of a text, in order, white space between them left out; `names` as in `read_label`.

    A line with a speaker label begins a turn, and lines without one go on with it. Where no line has a label, every
    line is a turn. An empty text has none.
    """
    lines: list[tuple[int, int, str | None]] = []
    start = 0
    for line in text.split("\n"):
        if line.strip():
            label = read_label(line, names)
            lines.append((start, start + len(line), label.name if label else None))
        start += len(line) + 1
    labelled = any(speaker is not None for _, _, speaker in lines)
    turns: list[Turn] = []
    for begin, end, speaker in lines:
        if turns and labelled and speaker is None:
            turns[-1] = Turn(turns[-1].start, end, turns[-1].speaker)
        else:
            turns.append(Turn(begin, end, speaker))
    return turns
