"""XML files of comments, `<d p="time,mode,size,colour,sent,pool,sender,row id[,weight]">text</d>`.

Read by scanning for elements, not by an XML parser, which gives up at the first control character, bare `&` or missing
end of the file and takes all later comments with it. Comments and CDATA sections are understood; nesting is not needed.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field

from categorize.danmu.fields import SHAPES, wrong_field
from categorize.danmu.opening import TextFile

_BATCH = 4 << 20  # characters that are cut at once
_LONGEST = 64 << 20  # an element that does not end by then is given up

_START = re.compile(r"<d(?=[\s/>])")
_SPECIAL = re.compile(r"<!--.*?-->|<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_P = r"\s(?:[^<>]*?\s)?p\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')"
_ELEMENT = re.compile(rf"{_P}[^<>]*?(?:/>|(?<!/)>(.*?)</d\s*>)", re.DOTALL)
_ATTRIBUTE = re.compile(_P)
_REFERENCE = re.compile(r"&(?:amp|lt|gt|quot|apos|#\d{1,7}|#[xX][0-9a-fA-F]{1,6});")
_NAMED = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&quot;": '"', "&apos;": "'"}
_HEADER = re.compile(r"<(chatid|maxlimit|cid|oid)>\s*([^<\s]{1,64})\s*</")

_USUAL = re.compile("(" + ",".join(SHAPES) + r")(?:,-?\d{1,9})?", re.ASCII)
# row id, 0, milliseconds, mode, size, colour, sent, pool, sender: another order, seen in newer archives.
_ROW_ID_FIRST = re.compile(
    rf"({SHAPES[7]}),\d,(\d{{1,12}}),({SHAPES[1]}),({SHAPES[2]}),({SHAPES[3]}),({SHAPES[4]}),({SHAPES[5]}),({SHAPES[6]})",
    re.ASCII,
)


@dataclass
class Elements:
    """Some elements of a file.

    Attributes:
        heads: the eight fields of each comment as written, joined by commas.
        texts: of the same length.
        rejected: (number of the element in the file, reason, raw text).
    """

    heads: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    rejected: list[tuple[int, str, str]] = field(default_factory=list)


class ElementReader:
    """The elements of one XML file.

    Attributes:
        found: elements that began.
        header: what stands before the first one: chatid, maxlimit.
    """

    def __init__(self, source: TextFile) -> None:
        self.source = source
        self.found = 0
        self.header: dict[str, str] = {}

    def batches(self) -> Iterator[Elements]:
        """Elements in the order of the file, some thousands at a time."""
        kept = ""
        pieces: list[str] = []
        length = 0
        for chunk in self.source.chunks():
            pieces.append(chunk)
            length += len(chunk)
            if length < _BATCH:
                continue
            kept = yield from self._batch(kept + "".join(pieces))
            pieces, length = [], 0
        rest = self._plain(kept + "".join(pieces))
        yield self._elements(self._starts(rest), at_end=True)

    def _batch(self, text: str) -> Generator[Elements, None, str]:
        """Hand on the elements of a text; returns what is left: the last one, which may go on."""
        # A comment, a CDATA section or a line break may go on in the next piece.
        end = len(text) - text.endswith("\r")
        special = max(text.rfind("<!--"), text.rfind("<![CDATA["))
        if special >= 0 and _SPECIAL.match(text, special) is None:
            end = special
        plain = self._plain(text[:end])
        last = _last_start(plain)
        if last <= 0:
            if len(text) < _LONGEST:
                return plain + text[end:]
            last = len(plain)
        yield self._elements(self._starts(plain[:last]), at_end=False)
        return plain[last:] + text[end:]

    def _plain(self, text: str) -> str:
        """Without comments, CDATA sections as escaped text, every line break a line feed (XML 1.0, 2.11)."""
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if "<!" in text:
            text = _SPECIAL.sub(lambda m: _escaped(m.group(1)) if m.group(1) is not None else "", text)
        return text

    def _starts(self, text: str) -> list[str]:
        before, *starts = _START.split(text)
        if not self.found:
            self.header |= dict(_HEADER.findall(before))
        return starts

    def _elements(self, starts: list[str], at_end: bool) -> Elements:
        result = Elements()
        for i, start in enumerate(starts):
            self.found += 1
            match = _ELEMENT.match(start)
            if match is None:
                result.rejected.append((self.found, _why(start, at_end and i == len(starts) - 1), f"<d{start}"))
                continue
            written = match.group(1) if match.group(1) is not None else match.group(2)
            fields, wrong = head(written)
            if wrong:
                result.rejected.append((self.found, wrong, f"<d{match.group()}"))
                continue
            result.heads.append(fields)
            text = match.group(3) or ""
            result.texts.append(_REFERENCE.sub(_character, text) if "&" in text else text)
        return result


def _last_start(text: str) -> int:
    """Where the last element begins; -1 where none does."""
    place = text.rfind("<d")
    while place >= 0 and _START.match(text, place) is None:
        place = text.rfind("<d", 0, place)
    return place


def head(written: str) -> tuple[str, str]:
    """The eight fields of a `p` attribute in our order, joined by commas; and what is wrong with it, or nothing."""
    match = _USUAL.fullmatch(written)
    if match is not None:
        return match.group(1), ""
    match = _ROW_ID_FIRST.fullmatch(written)
    if match is not None:
        row_id, milliseconds, *rest, sender = match.groups()
        mode, size, color, sent, pool = rest
        return ",".join((str(int(milliseconds) / 1000), mode, size, color, sent, pool, sender, row_id)), ""
    values = [value.strip() for value in _REFERENCE.sub(_character, written).split(",")]
    if len(values) not in (8, 9):
        return "", f"p has {len(values)} fields, not 8 or 9"
    wrong = wrong_field(values[:8])
    if wrong is not None:
        return "", wrong
    if len(values) == 9 and not re.fullmatch(r"-?\d{1,9}", values[8]):
        return "", f"the weight is not a number: {values[8][:40]!r}"
    return ",".join(values[:8]), ""


def _why(start: str, last: bool) -> str:
    if _ATTRIBUTE.match(start) is None:
        return "the file ends within an element" if last else "the element has no attribute p"
    return "the file ends within an element" if last else "the element has no end"


def _character(match: re.Match[str]) -> str:
    written = match.group()
    if written in _NAMED:
        return _NAMED[written]
    code = int(written[3:-1], 16) if written[2] in "xX" else int(written[2:-1])
    return "\ufffd" if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF else chr(code)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
