"""`danmu_list`: concatenated tuples of eight fields and a text, cut apart again.

Texts hold commas, quotes, brackets and newlines, so no separator tells where a text ends. What does is the next tuple:
the joint between tuples, followed by eight fields of the right shapes. The joint, brackets, quotes and the separator
of the fields are learned from the lists of a file, or the joint is named.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, pairwise

from categorize.danmu.fields import SHAPES as SHAPES_OF_FIELDS
from categorize.danmu.fields import Comments

# In a list, where shapes have to tell a tuple from text, a time is one that a clock gives today.
SHAPES = (*SHAPES_OF_FIELDS[:4], r"(?:0|\d{9,17})(?:\.\d{1,9})?", *SHAPES_OF_FIELDS[5:])
_SAMPLE = 64  # tuples of a list from which its style is learned
_SAMPLE_CHARACTERS = 100_000
_FEW = 8  # below so many different ends of texts, a known joint is likelier than what they have in common
_GAP = r"[\"']?\s*(?:{})\s*[\"']?"
_SEPARATOR = r"(?P<gap>[\"']?\s*(?P<sep>[,\t|，;])\s*[\"']?)"
_ANY_HEAD = re.compile(
    rf"(?<![\d.]){SHAPES[0]}{_SEPARATOR}" + r"[\"']?\s*(?P=sep)\s*[\"']?".join(SHAPES[1:])
    + r"(?P<last>[\"']?\s*(?P=sep) ?[\"']?)", re.ASCII,
)  # fmt: skip
_OPENER = re.compile(r"\s*[\[({<\"'\s]{0,8}", re.ASCII)
_MIRRORED = str.maketrans("([{<", ")]}>")
_BETWEEN = r"[\s,;|，；、]*"
_JOINTS = (
    "\r\n", "\n", "\\r\\n", "\\n", "<br>", "<br/>", "<sep>", "[SEP]", "|||", "||", "|", ";;", ";", "；",
    "###", "##", "#", "$$", "$", "\x1e", "\x1f", "\x01", "\t", ", ", ",", "，", "/", "&", "~", "^", " ",
)  # fmt: skip
_JOINT_CHARACTERS = re.compile(r"[\x00-/:-@\[-`{-\x7f，；、。｜]*\Z")
_ESCAPE = re.compile(r"\\([ntrbf\\/'\"]|x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|U0010[0-9a-fA-F]{4})")
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", "/": "/", "'": "'", '"': '"'}
_SURROGATE = re.compile("[\ud800-\udfff]")
_STRAY = (" ", "\t", ",\n", "\n,", "\r", "\f", "\v")  # white space between fields
EMPTY_LISTS = frozenset({"", "[]", "()", "{}", "[[]]", "null", "none", "nan"})


@dataclass(frozen=True)
class Style:
    """How the tuples of a file are written."""

    opener: str = ""  # before the first tuple, such as `[(`
    joint: str = "\n"  # between two tuples, closing and opening brackets included, such as `),(`
    closer: str = ""  # behind the last tuple
    separator: str = ","  # between fields
    spaced: bool = False  # whether a blank follows it
    quote: str = ""  # around texts
    terminated: bool = False  # whether the joint stands behind the last tuple too


# ---------------------------------------------------------------- learning the style
def learn(lists: Sequence[str], joint: str | None = None) -> Style | None:
    """The style of some lists of one file; None where no list holds a whole tuple. `joint` is one that was named."""
    ends: list[str] = []
    starts: list[tuple[str, str, bool]] = []
    quoted: list[bool] = []  # whether a quotation mark stands before the text, and in the fields too
    in_fields = False
    tails: list[str] = []
    for text in lists:
        heads = list(islice(_ANY_HEAD.finditer(text[:_SAMPLE_CHARACTERS]), _SAMPLE))
        if not heads:
            continue
        opener = text[: heads[0].start()]
        starts.append((opener if _OPENER.fullmatch(opener) else "", heads[0]["sep"], heads[0]["gap"].endswith(" ")))
        quoted += [head["last"][-1:] in "\"'" for head in heads]
        in_fields = in_fields or any(mark in heads[0].group()[:-1] for mark in "\"'")
        ends += [text[a.end() : b.start()] for a, b in pairwise(heads)]
        tails.append(text[-8:])
    if not starts:
        return None
    opener, separator, spaced = max(starts, key=starts.count)
    quote = ""
    if all(quoted) and (in_fields or len(quoted) > 2):  # else it may be the text's own
        # Python writes 'a' and "it's": either mark may close a text.
        ends = [_one_mark(end) for end in ends]
        opener, quote = _one_mark(opener), "'"
    closer = _closing(opener.rstrip(), quote)
    if joint is None:
        joint = _joint(ends, opener, quote)
        if joint is None:  # one tuple in every list: nothing to cut, but for a list that comes later
            joint = _usual_joint(opener, quote)
    terminated = not closer and bool(joint) and all(tail.endswith(joint[-8:]) for tail in tails)
    return Style(opener, joint, closer, separator, spaced, quote, terminated)


def _one_mark(text: str) -> str:
    return text.replace('"', "'")


def _closing(opener: str, quote: str) -> str:
    """What ends a tuple that `opener` begins and whose text stands between `quote`."""
    mirrored = opener.translate(_MIRRORED)[::-1]
    return mirrored if mirrored.startswith(quote) else quote + mirrored


def _usual_joint(opener: str, quote: str) -> str:
    inner = opener.strip()[-1:] if not opener.strip().endswith(("'", '"')) else opener.strip()[-2:]
    return f"{quote}{inner.translate(_MIRRORED)[::-1]},{inner}" if inner else f"{quote};" if quote else ";"


def _joint(ends: list[str], opener: str, quote: str) -> str | None:
    """What texts and joints in one (`ends`) have in common at their end, less what is likelier text."""
    if not ends:
        return None
    a, b = min(end[::-1] for end in ends), max(end[::-1] for end in ends)
    common = a[: next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))][::-1]
    for start in range(len(opener)):
        inner = opener[start:]
        if inner.strip() and common.endswith(inner):
            closing = re.escape(_closing(inner.strip(), quote))
            if match := re.search(closing + _BETWEEN + re.escape(inner) + r"\Z", common):
                return match.group()
            return inner if not quote else None
    if quote and (place := common.rfind(quote)) >= 0:
        return common[place:]
    known = next((joint for joint in _JOINTS if common.endswith(joint)), "")
    if len(set(ends)) < _FEW:
        return known
    punctuation: list[str] = _JOINT_CHARACTERS.findall(common)
    return max(known, *punctuation, key=len)


# ---------------------------------------------------------------- cutting
def cut(text: str, style: Style | None, joint: str | None = None, truncated: bool = False) -> Comments:
    """The tuples of one list. One that is not written in the style of its file is cut in its own way.

    With a `joint` that the recipe names no other is tried. The last text of a list that was cut off (`truncated`) may
    be cut too: it is rejected.
    """
    if len(text) < 16 and text.strip().lower() in EMPTY_LISTS:
        return Comments()
    if style is None or not _fits(text, style):
        style = learn([text], joint) or style
    if style is None:
        return Comments(rejected=[(1, "no tuple of eight fields and a text", text)])
    result = _cut(text, style, truncated)
    result.embedded = _embedded(result.texts, style.separator)
    own = learn([text]) if result.embedded and joint is None else None
    if own is not None and own.joint not in ("", style.joint):
        other = _cut(text, own, truncated)
        other.embedded = _embedded(other.texts, own.separator)
        return other if len(other.texts) > len(result.texts) else result
    return result


def _fits(text: str, style: Style) -> bool:
    start = text[: len(style.opener)]
    opens = (_one_mark(start) if style.quote else start) == style.opener
    return opens and _first_head(style).match(text, len(style.opener)) is not None


def _embedded(texts: list[str], separator: str) -> int:
    """Texts that hold eight whole fields."""
    long = [text for text, length in zip(texts, map(len, texts), strict=True) if length > 30]
    long = [text for text in long if text.count(separator) >= 8]
    return sum(_ANY_HEAD.search(text) is not None for text in long)


def _cut(text: str, style: Style, truncated: bool) -> Comments:
    """Comments as they are usually written first: a pattern without white space between fields is much faster."""
    exact = style.separator == "," and not style.quote and not style.spaced
    result = _cut_by(_whole(style, exact), text, style, truncated)
    if exact and any(_ANY_HEAD.match(raw) for _, _, raw in result.rejected):
        return _cut_by(_whole(style, False), text, style, truncated)
    return result


def _cut_by(pattern: re.Pattern[str], text: str, style: Style, truncated: bool) -> Comments:
    result = Comments()
    starts_whole = _fits(text, style)
    if style.joint:
        text = style.joint + text[len(style.opener) :] if starts_whole else text
    parts = pattern.split(text)
    stub, texts = parts[0], parts[2::2]
    result.heads = _joined(parts[1::2], style)
    result.texts = texts
    if not texts:
        result.rejected.append((1, "no tuple of eight fields and a text", text))
        return result
    # A damaged tuple behind the last one shows that the last one is whole.
    if not _take_out_broken(result, style):
        _end(result, style, truncated)
    if not starts_whole and stub.strip():
        result.rejected.insert(0, (0, "the list begins within a tuple", stub))
    if style.quote:
        result.texts = [_unescaped(item) if "\\" in item else item for item in result.texts]
    return result


def _joined(heads: list[str], style: Style) -> list[str]:
    """Heads as written, with nothing but commas between the fields."""
    whole = "\n".join(heads)
    if style.separator == "," and not style.quote and not any(gap in whole for gap in _STRAY):
        return heads
    gap = re.compile(_gap(style))
    return [gap.sub(",", head.strip("\"'")) for head in heads]


def _end(result: Comments, style: Style, truncated: bool) -> None:
    """Take the closing brackets from the last text, or the last tuple out where it is not whole."""
    last = result.texts[-1]
    number = len(result.texts)
    bare = last.rstrip() if style.closer else last
    shown = _one_mark(bare) if style.quote else bare
    if style.closer and shown.endswith(style.closer):
        result.texts[-1] = bare[: -len(style.closer)]
        return
    inner = re.split(r"[\s,;|，；、]", style.joint, maxsplit=1)[0] if style.closer else ""  # the bracket of one tuple
    if inner and not truncated and shown.endswith(inner):  # the outer bracket alone is missing
        result.texts[-1] = bare[: -len(inner)]
        return
    if style.joint and last.endswith(style.joint) and (style.terminated or style.closer or truncated):
        result.texts[-1] = last[: -len(style.joint)]
        return
    if style.closer or truncated:
        if style.closer and style.joint and style.joint in last:
            # The tuple before the joint is whole; what follows is cut.
            result.texts[-1], stub = last.rsplit(style.joint, 1)
            result.rejected.append((number + 1, "the tuple is cut off", stub))
            return
        result.texts.pop()
        result.rejected.append((number, "the tuple is cut off", f"{result.heads.pop()},{last}"))


def _take_out_broken(result: Comments, style: Style) -> bool:
    """Texts that swallowed a damaged tuple lose it: after the joint, four of the eight fields have their shapes.

    Returns whether the last text did.
    """
    match = None
    broken, stub, joint = _broken(style), _stub(style), style.joint
    for i in [i for i, text in enumerate(result.texts) if joint in text]:
        text = result.texts[i]
        match = broken.search(text) or stub.search(text)
        if match is not None:
            result.texts[i], rest = text[: match.start()], text[match.start() :]
            # Damaged tuples may follow each other.
            tells = joint and joint != style.separator
            starts = [more.start() for more in broken.finditer(rest, len(joint))] if tells else []
            for a, b in pairwise([0, *starts, len(rest)]):
                result.rejected.append((i + 2, "a field is damaged or missing", rest[a + len(joint) : b]))
    return match is not None and i == len(result.texts) - 1


def _unescaped(text: str) -> str:
    """The text of a JSON string or a Python one, as its content is written."""
    plain = _ESCAPE.sub(lambda m: _ESCAPED.get(m.group(1), "") or chr(int(m.group(1)[1:], 16)), text)
    if _SURROGATE.search(plain):  # JSON writes an emoji as two halves
        plain = plain.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return plain


# ---------------------------------------------------------------- patterns
def _gap(style: Style) -> str:
    return _GAP.format(re.escape(style.separator)) if style.quote else rf"\s*{re.escape(style.separator)}\s*"


def _last_gap(style: Style) -> str:
    """Before the text, whose own white space stays; a blank that follows every separator does not."""
    gap = re.escape(style.separator)
    return rf"[\"']?\s*{gap}\s*[\"']" if style.quote else gap + (" ?" if style.spaced else "")


@lru_cache(maxsize=256)
def _whole(style: Style, exact: bool) -> re.Pattern[str]:
    gap, joint = style.separator if exact else _gap(style), re.escape(style.joint)
    joint = joint.replace("'", "[\"']") if style.quote else joint
    return re.compile(f"{joint}({gap.join(SHAPES)}){_last_gap(style)}", re.ASCII)


@lru_cache(maxsize=256)
def _first_head(style: Style) -> re.Pattern[str]:
    return re.compile(_gap(style).join(SHAPES) + _last_gap(style), re.ASCII)


@lru_cache(maxsize=256)
def _broken(style: Style) -> re.Pattern[str]:
    gap, sep = _gap(style), re.escape(style.separator)
    # Not over a joint, which text may hold too: the damaged tuple begins behind the last one.
    any_field = rf"(?:(?!{re.escape(style.joint)})[^{sep}\n]){{0,40}}" if style.joint else rf"[^{sep}\n]{{0,40}}"
    front = gap.join((SHAPES[0], r"[1-9]", r"\d{2,3}", SHAPES[3])) + rf"(?:{gap}|\Z|(?![\d.]))"
    back = rf"(?:{any_field}{sep}){{3,4}}\s*[\"']?" + gap.join((r"\d{9,16}", r"\d", r"[0-9A-Fa-f]{1,32}", r"\d{4,20}"))
    return re.compile(re.escape(style.joint) + rf"(?:{front}|{back}{gap})", re.ASCII)


@lru_cache(maxsize=256)
def _stub(style: Style) -> re.Pattern[str]:
    """The beginning of a tuple at the end of a list, or before the next joint."""
    gap = _gap(style)
    return re.compile(re.escape(style.joint) + rf"\d+\.\d+{gap}[1-9](?:{gap}\d{{0,3}})?\Z", re.ASCII)
