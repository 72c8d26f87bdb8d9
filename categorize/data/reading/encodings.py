"""What bytes that are not UTF-8 may be: told by the characters that would result, so that no file is offered an
encoding that turns it into nonsense."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

# Stands for what an encoding cannot read, until it is counted and becomes U+FFFD. No text holds it by itself.
BROKEN = "\udcff"
COUNTED_ERRORS = "categorize.counted"
_SAMPLE = 1 << 20  # bytes of the lines that are looked at
_SHOWN = 5  # lines that a message names

codecs.register_error(COUNTED_ERRORS, lambda error: (BROKEN, error.end))  # type: ignore[attr-defined]

# Lead bytes of the characters in everyday use, by which text of these encodings is known.
_EVERYDAY = {"gb18030": ("gb2312", 0xB0, 0xD7), "big5": ("big5", 0xA4, 0xC6)}
_CALLED = {"gb18030": "GBK", "big5": "Big5", "cp1252": "Western European (Windows-1252)"}


@dataclass
class Damage:
    """How far bytes are text of an encoding: characters beyond ASCII that are good, broken ones, and their lines."""

    good: int = 0
    broken: int = 0
    lines: list[int] = field(default_factory=list)
    sample: bytes = b""

    @property
    def is_small(self) -> bool:
        """Whether the text is otherwise good."""
        return 0 < self.broken <= self.good  # of GBK, UTF-8 makes a fifth

    def shown(self) -> str:
        """`4 broken characters in 2 lines (3, 7)`."""
        return broken_characters(self.broken, self.lines)


def broken_characters(count: int, lines: list[int]) -> str:
    """How many there are, and in which lines."""
    where = ", ".join(map(str, lines[:_SHOWN])) + (", ..." if len(lines) > _SHOWN else "")
    characters = "1 broken character" if count == 1 else f"{count:,} broken characters"
    return f"{characters} in {f'line {where}' if len(lines) == 1 else f'{len(lines):,} lines ({where})'}"


def damage(lines: Iterable[bytes], encoding: str) -> Damage:
    """Look at lines of bytes that are not all text of an encoding."""
    result = Damage()
    for number, line in enumerate(lines, 1):
        if line.isascii():
            continue
        text = line.decode(encoding, COUNTED_ERRORS)
        count = text.count(BROKEN)
        result.good += sum(not char.isascii() for char in text) - count
        if count:
            result.broken += count
            result.lines.append(number)
            if len(result.sample) < _SAMPLE:
                result.sample += line
    return result


def likely_encoding(sample: bytes) -> tuple[str, str] | None:
    """An encoding that makes sense of lines which are not UTF-8, as Python and as people call it; None: unknown.

    >>> likely_encoding("这个很好".encode("gb18030")), likely_encoding("déjà vu, très près".encode("latin-1"))
    (('gb18030', 'GBK'), ('cp1252', 'Western European (Windows-1252)'))
    """
    for encoding in _EVERYDAY:
        if _is_chinese(sample, encoding):
            return encoding, _CALLED[encoding]
    return ("cp1252", _CALLED["cp1252"]) if _is_western(sample) else None


def _is_chinese(sample: bytes, encoding: str) -> bool:
    """Whether what results are mostly Han characters in everyday use, which do not stand between Latin letters."""
    try:
        text = sample.decode(encoding)
    except UnicodeDecodeError:
        return False
    narrow, low, high = _EVERYDAY[encoding]
    han = re.findall("[\u4e00-\u9fff]", text)
    everyday = sum(low <= char.encode(narrow, "ignore")[:1].ljust(1, b"\0")[0] <= high for char in han)
    between = len(re.findall("[A-Za-z][\u4e00-\u9fff](?=[A-Za-z])", text))
    beyond = sum(not char.isascii() for char in text)
    return 2 * len(han) > beyond > 0 and 10 * everyday > 6 * len(han) and 2 * between < len(han)


def _is_western(sample: bytes) -> bool:
    """Whether what results is text in Latin letters, of which some have accents."""
    try:
        text = sample.decode("cp1252")
    except UnicodeDecodeError:
        return False
    letters = [char for char in text if char.isalpha()]
    beyond = [char for char in text if not char.isascii()]
    accented = sum(char.isalpha() or char in "‘’“”–—…•€£«»°§©®™´¡¿ " for char in beyond)
    return 10 * accented >= 9 * len(beyond) and 10 * sum(not c.isascii() for c in letters) <= 4 * max(len(letters), 1)
