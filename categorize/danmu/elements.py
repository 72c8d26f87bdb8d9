"""XML files of comments, `<d p="time,mode,size,colour,sent,pool,sender,row id[,weight]">text</d>`.

Read by scanning for elements, not by an XML parser, which gives up at the first control character, bare `&` or missing
end of the file and takes all later comments with it. Comments and CDATA sections are understood; nesting is not needed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from html import escape

from categorize.danmu.fields import Comments, head
from categorize.danmu.opening import TextFile

_BATCH = 4 << 20  # characters that are cut at once
_LONGEST = 64 << 20  # an element that does not end by then is given up

_START = re.compile(r"<d(?=[\s/>])")
_LAST_START = re.compile(r".*(?=<d[\s/>])", re.DOTALL)
_SPECIAL = re.compile(r"<!--.*?-->|<!\[CDATA\[(.*?)\]\]>", re.DOTALL)
_P = r"\s(?:[^<>]*?\s)?p\s*=\s*(?:\"([^\"<]*)\"|'([^'<]*)')"
_ELEMENT = re.compile(rf"{_P}[^<>]*?(?:/>|(?<!/)>(.*?)</d\s*>)", re.DOTALL)
_ATTRIBUTE = re.compile(_P)
_REFERENCE = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6}));")
_NAMED = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_NAME = re.compile(r"<([A-Za-z_][\w.:-]*)")
_ROOT = re.compile(r"<([A-Za-z_][\w.:-]*)[^<>]*>")
# What stands in the head of such files.
_HEAD = {
    "i", "d", "chatserver", "chatid", "cid", "oid", "mission", "maxlimit", "source", "ds", "de", "max_count", "state",
    "real_name", "text_side",
}  # fmt: skip
_TAIL = 200  # characters
_HEADER = re.compile(r"<(chatid|maxlimit|cid|oid)>\s*([^<\s]{1,64})\s*</")


class ElementReader:
    """The elements of one XML file."""

    def __init__(self, source: TextFile) -> None:
        self.source = source
        self.found = 0  # elements that began
        self.header: dict[str, str] = {}  # what stands before the first one: chatid, maxlimit
        self.others: Counter[str] = Counter()  # elements that are not comments, by name
        self._root: str | None = None

    def batches(self) -> Iterator[Comments]:
        """Elements in the order of the file, some thousands at a time."""
        pieces: list[str] = []
        length = 0
        for chunk in self.source.chunks():
            pieces.append(chunk)
            length += len(chunk)
            if length >= _BATCH:
                whole, rest = _cut("".join(pieces))
                if whole:
                    yield self._elements(whole, at_end=False)
                pieces, length = [rest], 0
        text = _plain("".join(pieces))
        yield self._elements(text, at_end=True)
        if self._root is not None and f"</{self._root}" not in text[-_TAIL:]:
            self.source.damage.append(f"the file ends without </{self._root}>: it is cut off")

    def _elements(self, text: str, at_end: bool) -> Comments:
        before, *starts = _START.split(text)
        if not self.found:
            self.header |= dict(_HEADER.findall(before))
            if self._root is None and (root := _ROOT.search(before)):
                self._root = root.group(1)
        # Texts hold no bare "<", so that two of them are one comment each.
        if text.count("<") != 2 * len(starts):
            self.others += Counter(name for name in _NAME.findall(text) if name not in {*_HEAD, self._root})
        result = Comments()
        for i, start in enumerate(starts):
            self.found += 1
            match = _ELEMENT.match(start)
            if match is None:
                reason = _why(start, at_end and i == len(starts) - 1)
                result.rejected.append((self.found, reason, f"<d{start}"))
                continue
            fields, wrong = head(match.group(1) if match.group(1) is not None else match.group(2))
            if wrong:
                result.rejected.append((self.found, wrong, f"<d{match.group()}"))
                continue
            text = match.group(3) or ""
            result.heads.append(fields)
            result.texts.append(_REFERENCE.sub(_character, text) if "&" in text else text)
        return result


def _cut(text: str) -> tuple[str, str]:
    """A text in two, before its last element, which may go on in the next piece."""
    # So may a comment, a CDATA section or a line break.
    end = len(text) - text.endswith("\r")
    special = max(text.rfind("<!--"), text.rfind("<![CDATA["))
    if special >= 0 and _SPECIAL.match(text, special) is None:
        end = special
    plain = _plain(text[:end])
    match = _LAST_START.match(plain)
    last = match.end() if match else 0
    if not last and len(text) >= _LONGEST:
        last = len(plain)
    return plain[:last], plain[last:] + text[end:]


def _plain(text: str) -> str:
    """Without comments, CDATA sections as escaped text, every line break a line feed (XML 1.0, 2.11)."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "<!" in text:
        text = _SPECIAL.sub(lambda m: escape(m.group(1), quote=False) if m.group(1) is not None else "", text)
    return text


def _why(start: str, last: bool) -> str:
    if last:
        return "the file ends within an element"
    return "the element has no end" if _ATTRIBUTE.match(start) else "the element has no attribute p"


def _character(match: re.Match[str]) -> str:
    name, decimal, hexadecimal = match.groups()
    if name:
        return _NAMED[name]
    code = int(decimal) if decimal else int(hexadecimal, 16)
    return "\ufffd" if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF else chr(code)
