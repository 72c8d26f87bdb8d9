"""Times of rows, for a split by time: dates as people and programs write them, or plain numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from categorize.data.columns import to_number
from categorize.errors import UserError
from categorize.recipe.wording import quote

# 2024-03-05, 2024/3/5, 2024.03.05, 2024年3月5日, 2024-03; with a time of day and an offset or not.
_DATE = re.compile(
    r"(\d{4})[-/.年](\d{1,2})(?:[-/.月](\d{1,2})日?)?"
    r"(?:[T\s]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?)?\s*(Z|UTC|[+-]\d{2}:?\d{2})?"
)


def parse_date(cell: str) -> float | None:
    """Seconds since 1970 of a date with or without a time of day, in UTC unless it has an offset; None for other text.

    >>> parse_date("2024年3月5日") == parse_date("2024-03-05T08:00+08:00")
    True
    """
    match = _DATE.fullmatch(cell.strip())
    if match is None:
        return None
    *parts, fraction, offset = match.groups()
    year, month, day, hour, minute, second = (
        int(part) if part else least for part, least in zip(parts, (1, 1, 1, 0, 0, 0), strict=True)
    )
    try:
        zone = datetime.strptime("Z" if offset in (None, "UTC") else offset, "%z").tzinfo
        moment = datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError:
        return None
    return moment.timestamp() + float(f"0.{fraction or 0}")


def read_times(cells: Sequence[str | None], where: Callable[[int], str], key: str) -> npt.NDArray[np.float64]:
    """float64 [rows]: what orders the rows; NaN where the cell is empty. `where(row)` and `key` are for messages.

    Raises UserError where a cell is neither date nor number, or the column holds both.
    """
    dates, numbers = (np.full(len(cells), np.nan) for _ in range(2))
    parsed = {cell: (parse_date(cell), to_number(cell)) for cell in set(cells) if cell and cell.strip()}
    for row, cell in enumerate(cells):
        if cell is None or cell not in parsed:
            continue
        date, number = parsed[cell]
        if date is not None:
            dates[row] = date
        elif number is not None:
            numbers[row] = number
        else:
            raise UserError(
                f"{key}: {where(row)}: {cell[:40]!r} is neither a date (2024-03-05 14:30) nor a number; "
                "fix it, or leave the cell empty"
            )
    dated, numbered = np.flatnonzero(~np.isnan(dates)), np.flatnonzero(~np.isnan(numbers))
    if len(dated) and len(numbered):
        one, other = (f"({quote(cells[row])})" for row in (dated[0], numbered[0]))
        said = f"{where(int(dated[0]))} holds a date {one}, {where(int(numbered[0]))} a number {other}"
        raise UserError(f"{key}: {said}; write all in one form")
    return dates if len(dated) else numbers


def shown(seconds: float, is_date: bool) -> str:
    """A time as messages and reports write it."""
    if not math.isfinite(seconds):
        return "-"
    if not is_date:
        return f"{seconds:.15g}"
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    return moment.strftime("%Y-%m-%d" if seconds % 86400 == 0 else "%Y-%m-%d %H:%M:%S")
