"""Tables of text: aligned for a terminal, where a Chinese character is two columns wide, or as Markdown."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

GAP = "  "
ELLIPSIS = "…"


def display_width(text: str) -> int:
    """Terminal columns that a text takes: 2 for a wide character, 0 for a combining or format one."""
    return sum(_character_width(character) for character in text)


def fit(text: str, width: int) -> str:
    """The text on one line, cut with an ellipsis where it is wider than `width` columns."""
    text = one_line(text)
    if display_width(text) <= width:
        return text
    kept, used = "", 0
    for character in text:
        used += _character_width(character)
        if used > width - 1:
            break
        kept += character
    return kept + ELLIPSIS


def wrap(text: str, width: int) -> str:
    """The text in lines of at most `width` columns, broken at spaces; a longer word keeps a line of its own."""
    lines = [""]
    for word in one_line(text).split():
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if display_width(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(f"  {word}")
    return "\n".join(line for line in lines if line)


def text_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    align: str,
    *,
    width: int,
    shrink: Sequence[int] = (0,),
    shortest: int = 8,
) -> str:
    """An aligned table, at most `width` columns wide where cutting the cells allows.

    Args:
        align: one letter a column, l or r.
        shrink: positions of the columns that may be cut, the widest first, down to `shortest` columns.
    """
    cells = [[one_line(cell) for cell in row] for row in (header, *rows)]
    widths = [max(display_width(row[j]) for row in cells) for j in range(len(header))]
    while sum(widths) + len(GAP) * (len(widths) - 1) > width:
        widest = max(shrink, key=lambda j: widths[j])
        if widths[widest] <= shortest:
            break
        widths[widest] -= 1
    lines = [GAP.join(_pad(row[j], widths[j], align[j]) for j in range(len(header))).rstrip() for row in cells]
    lines.insert(1, GAP.join("-" * w for w in widths))
    return "\n".join(lines)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str) -> str:
    """A Markdown table, aligned as `text_table` is; cells are escaped, but for the emphasis that the caller put in."""
    rule = ["---:" if side == "r" else "---" for side in align]
    lines = [[_escape(cell) for cell in header], rule, *([_escape(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def one_line(text: str) -> str:
    """The text without line breaks, tabs and other control characters, which would break a table."""
    return "".join(" " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character for character in text)


def _pad(text: str, width: int, align: str) -> str:
    text = fit(text, width)
    space = " " * (width - display_width(text))
    return space + text if align == "r" else text + space


def _escape(text: str) -> str:
    return one_line(text).strip().replace("|", "\\|")


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
