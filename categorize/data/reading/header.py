"""The first row of a table: names of columns, or a row of its own; and what columns are usually called."""

from __future__ import annotations

import re
from collections.abc import Sequence

from categorize.data.reading.raw import check_columns
from categorize.data.reading.ways_out import WayOut, said
from categorize.errors import UserError
from categorize.recipe.wording import quote


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


TEXT_NAMES = _names(
    "text texts comment comments content contents message messages review reviews body sentence tweet utterance query "
    "question description document post 文本 内容 评论 弹幕 正文 评价 句子"
)
LABEL_NAMES = _names(
    "label labels class classes category categories topic topics sentiment target intent emotion tag tags type 标签 "
    "类别 分类 情感 主题"
)
ID_NAMES = _names("id ids nr no index key uuid guid idx 编号 序号")
_OTHER_NAMES = _names("title date time user name source score rating url lang split 标题 时间 日期 用户")
_NAMES = TEXT_NAMES | LABEL_NAMES | ID_NAMES | _OTHER_NAMES

_TYPES = {
    "a number": re.compile(r"[-+]?\d+([.,]\d+)?([eE][-+]?\d+)?"),
    "a date": re.compile(r"\d{1,4}[-/.年]\d{1,2}([-/.月]\d{1,4})?.{0,20}|.{0,16}\d{1,2}:\d{2}(:\d{2})?.{0,16}"),
    "an address": re.compile(r"https?://\S+"),
}
_ALIKE = 0.9  # share of a column's cells that are of the type of its first
_LONG, _WORDS = 60, 9  # what is longer is a text, not a name
_RECURS, _ROWS = 2, 5  # times that a name stands below itself, of so many rows or more


def folded(name: str) -> str:
    """A name as the sets above have it.

    >>> folded(" Tweet_ID "), folded("Comments")
    ('tweet_id', 'comments')
    """
    return name.strip().strip("#:*").strip().casefold()


def header_of(
    first: Sequence[str], below: Sequence[Sequence[str]], wanted: bool | list[str] | None, name: str, number: int
) -> tuple[list[str], bool]:
    """Names of the columns, some of them empty, and whether the first row is one of the rows.

    Args:
        below: some of the rows that follow.
        wanted: `data.header`.

    Raises:
        UserError: the names that the recipe gives do not fit the row.
        WayOut: it looks like a row, and the recipe does not say that it is a header.
    """
    if isinstance(wanted, list):
        return _given(wanted, first, name, number), list(map(str.strip, first)) != list(map(str.strip, wanted))
    if wanted is False:
        return [str(i) for i in range(len(first))], True
    if wanted is None:
        check_header(first, below, name, number)
    header = [cell.strip() for cell in first]
    check_columns([cell for cell in header if cell], name)
    return header, False


def check_header(record: Sequence[str], below: Sequence[Sequence[str]], name: str, number: int) -> None:
    """Raises WayOut where a first row looks like data; `below` are some of the rows that follow."""
    if (why := _looks_like_data(record, below)) is None:
        return
    shown = ", ".join(quote(cell) for cell in record[:3]) + (", ..." if len(record) > 3 else "")
    raise WayOut(
        f"{name}: row {number}: {shown} looks like a row, not like the names of the columns: {why}; set "
        f"{said(header=False)} (columns '0', '1', ...) or give the names there ([label, text]); where it is the "
        f"header, {said(header=True)}",
        {"header": False},
        {"header": True},
    )


def _looks_like_data(record: Sequence[str], below: Sequence[Sequence[str]]) -> str | None:
    """Why a first row seems to be no header, or None."""
    if any(folded(cell) in _NAMES for cell in record):
        return None
    why, long = None, None
    rows = [row for row in below if len(row) == len(record) and list(row) != list(record)]
    for i, cell in enumerate(map(str.strip, record)):
        if not cell:
            continue
        under = [row[i].strip() for row in rows if row[i].strip()]
        kind = next((kind for kind in _TYPES if under and _share(kind, under) >= _ALIKE), None)
        if kind is not None and not _TYPES[kind].fullmatch(cell):
            return None  # a word above numbers
        if kind is not None:
            why = why or f"{quote(cell)} is {kind} as those below it"
        elif len(under) >= _ROWS and under.count(cell) >= _RECURS:
            why = why or f"{quote(cell)} stands below itself {under.count(cell)} times"
        elif len(cell) > _LONG or len(cell.split()) >= _WORDS:
            long = long or f"{quote(cell)} is as long as a text"
    return why or long


def _share(kind: str, cells: Sequence[str]) -> float:
    return sum(_TYPES[kind].fullmatch(cell) is not None for cell in cells) / len(cells)


def _given(names: Sequence[str], record: Sequence[str], name: str, number: int) -> list[str]:
    """The names that the recipe gives. Raises UserError where the first row has another number of cells."""
    if len(names) != len(record):
        raise UserError(
            f"{name}: data.header names {len(names)} columns, row {number} has {len(record)} cells, the first "
            f"{quote(record[0]) if record else 'none'}; name each of them, or set {said(header=False)} to look at them"
        )
    check_columns(names, name)
    return [one.strip() for one in names]
