"""By what rows are told apart: length, script, whether the text stands in train, metadata, and the words that they
hold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from categorize.analysis.inputs import Inputs
from categorize.data.columns import to_number
from categorize.data.rows import fields_of
from categorize.data.splitting.times import parse_date
from categorize.features.tfidf import UNSPACED
from categorize.predictions import BoolArray, FloatArray

LENGTH, HAN, LATIN, SEEN, WORD = "length", "Han characters", "Latin letters", "text in train", "word"
EMPTY = "(empty)"
VALUES = 40  # of a column that are looked at, the most frequent first
WORDS = 100  # that are looked at
FEWEST = 20  # rows of a value that are worth a figure
LENGTH_PARTS = 5
_HAN = re.compile(r"[\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
_VISIBLE = re.compile(r"\S")
_PIECES = re.compile(rf"[{UNSPACED}]+|[^\W\d_{UNSPACED}]{{2,}}(?:['’][^\W\d_{UNSPACED}]+)?")
_UNSPACED = re.compile(f"[{UNSPACED}]")


@dataclass(frozen=True)
class Condition:
    """Rows with one value of one trait; `rows` is bool [rows]."""

    column: str
    value: str
    rows: BoolArray

    @property
    def text(self) -> str:
        """In words: `length 5 to 32 characters`, `month = 2024-03`, `with the word 'not'`."""
        return condition_text(self.column, self.value)


def condition_text(column: str, value: str) -> str:
    """A condition in words."""
    if column == WORD:
        return f"with the word {value!r}"
    return f"{column} {value}" if column == LENGTH else f"{column} = {value}"


def conditions(inputs: Inputs) -> list[Condition]:
    """All values that at least 20 rows have and 20 have not, of every trait but words."""
    texts, n = inputs.texts, len(inputs.known)
    found = _ranges(LENGTH, np.array([len(text) for text in texts], dtype=np.float64), LENGTH_PARTS, "characters")
    for name, pattern in ((HAN, _HAN), (LATIN, _LATIN)):
        found += _by_share(name, np.array([_share(pattern, text) for text in texts]))
    if len(inputs.overlap):
        seen = [inputs.overlap[i] for i in inputs.known]
        found += _values(SEEN, [one or "no" for one in seen])
    found += columns_of(inputs.rows, inputs.columns)
    return [one for one in found if FEWEST <= one.rows.sum() <= n - FEWEST]


def columns_of(rows: pa.Table, columns: Sequence[str]) -> list[Condition]:
    """The values of raw columns: dates by month, many numbers as ranges, else the most frequent ones."""
    fields = fields_of(rows)
    there = {child.name for child in fields.type}
    parts = (_of_column(one, fields.field(one).to_pylist()) for one in columns if one in there)
    return [condition for part in parts for condition in part]


def word_conditions(inputs: Inputs) -> list[Condition]:
    """The most frequent words that at least 20 rows and at most half of them hold; of scripts without spaces, pairs of
    characters."""
    sets = [words(text) for text in inputs.texts]
    counts = Counter(word for one in sets for word in one)
    usual = [(-n, word) for word, n in counts.items() if FEWEST <= n <= len(sets) / 2]
    chosen = {word: j for j, (_, word) in enumerate(sorted(usual)[:WORDS])}
    holds = np.zeros((len(sets), len(chosen)), dtype=bool)
    for i, one in enumerate(sets):
        holds[i, [chosen[word] for word in one if word in chosen]] = True
    return [Condition(WORD, word, holds[:, j]) for word, j in chosen.items()]


def words(text: str) -> set[str]:
    """The words of a text in lower case; of scripts without spaces, pairs of characters.

    >>> sorted(words("My card, 信用卡"))
    ['card', 'my', '信用', '用卡']
    """
    found: set[str] = set()
    for piece in _PIECES.findall(text.casefold()):
        pairs = len(piece) > 1 and _UNSPACED.match(piece)
        found.update([piece[i : i + 2] for i in range(len(piece) - 1)] if pairs else [piece])
    return found


def _share(pattern: re.Pattern[str], text: str) -> float:
    visible = len(_VISIBLE.findall(text))
    return len(pattern.findall(text)) / visible if visible else 0.0


def _by_share(column: str, shares: FloatArray) -> list[Condition]:
    parts = (("none", shares == 0), ("under half", (shares > 0) & (shares < 0.5)), ("half or more", shares >= 0.5))
    return [Condition(column, value, rows) for value, rows in parts]


def _ranges(column: str, numbers: FloatArray, parts: int, unit: str = "") -> list[Condition]:
    """Ranges with about as many rows each; of few distinct numbers each by itself."""
    finite = np.isfinite(numbers)
    if not finite.any():
        return []
    edges = np.unique(np.quantile(numbers[finite], np.linspace(0, 1, parts + 1)[1:-1], method="lower"))
    code = np.searchsorted(edges, numbers)  # up to and with the edge
    found = []
    for j in range(len(edges) + 1):
        rows = finite & (code == j)
        if rows.any():
            low, high = f"{numbers[rows].min():g}", f"{numbers[rows].max():g}"
            value = low if low == high else f"{low} to {high}"
            found.append(Condition(column, f"{value} {unit}".strip(), rows))
    return found


def _of_column(column: str, cells: Sequence[str | None]) -> list[Condition]:
    """Dates by month (by year where there are many), many numbers as ranges, else the most frequent values."""
    filled = [cell for cell in cells if cell and cell.strip()]
    distinct = set(filled)
    if len(distinct) > VALUES:
        dates = {cell: parse_date(cell) for cell in distinct}
        if all(value is not None for value in dates.values()):
            return _by_time(column, [dates.get(cell or "") for cell in cells])
        numbers = {cell: to_number(cell) for cell in distinct}
        if all(value is not None for value in numbers.values()):
            read = (numbers.get(cell or "") for cell in cells)
            return _ranges(column, np.array([np.nan if one is None else one for one in read]), LENGTH_PARTS)
    return _values(column, cells)


def _by_time(column: str, seconds: Sequence[float | None]) -> list[Condition]:
    for form in ("%Y-%m", "%Y"):
        written = [None if one is None else datetime.fromtimestamp(one, UTC).strftime(form) for one in seconds]
        if len(set(written)) <= VALUES:
            break
    return _values(column, written)


def _values(column: str, cells: Iterable[str | None]) -> list[Condition]:
    values = np.array([cell.strip() if cell else "" for cell in cells], dtype=object)
    usual = Counter(values.tolist()).most_common(VALUES)
    return [Condition(column, value or EMPTY, np.asarray(values == value, dtype=bool)) for value, _ in usual]


def telling_columns(rows: pa.Table, taken: Sequence[str]) -> list[str]:
    """Raw columns whose values are worth a look where a recipe names none: those with 2 to 40 distinct values.

    Args:
        taken: columns that hold text, label or ids.
    """
    fields = fields_of(rows)
    names = [child.name for child in fields.type if child.name not in taken]
    return [name for name in names if 2 <= len(set(fields.field(name).to_pylist()) - {None, ""}) <= VALUES]
