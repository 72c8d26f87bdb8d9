"""Tables of text: aligned for a terminal, where a Chinese character is two columns wide, or as Markdown."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

GAP = "  "
ELLIPSIS = "…"


class Value(NamedTuple):
    """A cell that may be the best of its kind; `interval` stands behind it, outside the mark."""

    text: str
    is_best: bool = False
    interval: str = ""


Cell = str | Value


class Table(NamedTuple):
    """What `text_table` and `markdown_table` take. `align`: one letter a column, l or r."""

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    align: str


def display_width(text: str) -> int:
    """Terminal columns that a text takes: 2 for a wide character, 0 for a combining or format one.

    >>> display_width("微调 bert")
    9
    """
    return sum(map(_character_width, text))


def fit(text: str, width: int) -> str:
    """The text on one line, cut with an ellipsis where it is wider than `width` columns.

    >>> fit("微调 bert", 6)
    '微调 …'
    """
    text = one_line(text)
    if display_width(text) <= width:
        return text
    ends = accumulate(map(_character_width, text))
    return "".join(character for character, end in zip(text, ends, strict=True) if end < width) + ELLIPSIS


def wrap(text: str, width: int) -> str:
    """The text in lines of at most `width` columns, broken at spaces; a longer word keeps a line of its own.

    >>> print(wrap("trained on fewer rows", 12))
    trained on
      fewer rows
    """
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
    rows: Sequence[Sequence[Cell]],
    align: str,
    *,
    width: int,
    shrink: Sequence[int] = (0,),
    shortest: int = 8,
) -> str:
    """An aligned table, at most `width` columns wide where cutting the cells allows; `*` marks the best values.

    Args:
        align: one letter a column, l or r.
        shrink: positions of the columns that may be cut, the widest first, down to `shortest` columns.

    >>> print(text_table(["run", "F1"], [["微调", Value("0.9", True)], ["qwen", Value("0.8")]], "lr", width=40))
    run     F1
    ----  ----
    微调  0.9*
    qwen  0.8
    """
    starred = {j for row in rows for j, cell in enumerate(row) if isinstance(cell, Value) and cell.is_best}
    cells = [list(header), *([_text(cell, j in starred) for j, cell in enumerate(row)] for row in rows)]
    widths = _widths(cells)
    while sum(widths) + len(GAP) * (len(widths) - 1) > width:
        widest = max(shrink, key=lambda j: widths[j])
        if widths[widest] <= shortest:
            break
        widths[widest] -= 1
    lines = _lines(cells, widths, align)
    lines.insert(1, GAP.join("-" * w for w in widths))
    return "\n".join(lines)


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, without a header: the first column to the left, the others to the right. Rows may end
    early.

    >>> print("\\n".join(aligned([["", "train"], ["微调", "12"], ["qwen"]])))
          train
    微调     12
    qwen
    """
    columns = max(map(len, rows))
    cells = [[*row, *[""] * (columns - len(row))] for row in rows]
    return _lines(cells, _widths(cells), "l" + "r" * (columns - 1))


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[Cell]], align: str) -> str:
    """A Markdown table, aligned as `text_table` is; cells are escaped, but for the emphasis that the caller put in.

    >>> print(markdown_table(["run", "F1"], [["a|b", Value("0.9", True, " [0.8, 1.0]")]], "lr"))
    | run | F1 |
    | --- | ---: |
    | a\\|b | **0.9** [0.8, 1.0] |
    """
    rule = ["---:" if side == "r" else "---" for side in align]
    lines = [[_escape(cell) for cell in header], rule, *([_escape(cell) for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def one_line(text: str) -> str:
    """The text without line breaks, tabs and other control characters, which would break a table."""
    return "".join(" " if unicodedata.category(character) in ("Cc", "Zl", "Zp") else character for character in text)


def _text(cell: Cell, starred: bool) -> str:
    """A cell for the terminal; in a column with a star, digits stand under each other."""
    if isinstance(cell, str):
        return cell
    return cell.text + ("*" if cell.is_best else " " if starred else "") + cell.interval


def _widths(cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(display_width, column)) for column in zip(*cells, strict=True)]


def _lines(cells: Sequence[Sequence[str]], widths: Sequence[int], align: str) -> list[str]:
    return [GAP.join(map(_pad, row, widths, align)).rstrip() for row in cells]


def _pad(text: str, width: int, align: str) -> str:
    text = fit(text, width)
    space = " " * (width - display_width(text))
    return space + text if align == "r" else text + space


def _escape(cell: Cell) -> str:
    if isinstance(cell, Value):
        cell = (f"**{cell.text}**" if cell.is_best else cell.text) + cell.interval
    return one_line(cell).strip().replace("|", "\\|")


def _character_width(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1
