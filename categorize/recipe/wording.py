"""How messages speak of values: what was found, what was meant."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence
from typing import Any

from categorize.recipe.scalars import resolve

LONGEST_QUOTE = 60


def quote(text: str) -> str:
    """A text in quotes, cut where it is long."""
    return repr(text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "...")


def found(value: Any) -> str:
    """What the recipe holds, in words: "the text 'x'", "the number 3", "a list"."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value).replace("nan", ".nan").replace("inf", ".inf")
    if isinstance(value, (int, float)):
        return f"the number {_number(value)}"
    if isinstance(value, str):
        return f"the text {quote(value)}"
    return "a list" if isinstance(value, list) else "a mapping"


def _number(value: int | float) -> str:
    text = str(value)
    return text if len(text) <= LONGEST_QUOTE else text[: LONGEST_QUOTE - 3] + "..."


def join(words: Sequence[str], last: str = "or") -> str:
    """`a, b or c`."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def first_few(words: Sequence[str], shown: int = 8) -> str:
    """`a, b, c`; of many, the first and how many more there are."""
    return ", ".join(words[:shown]) + (f" and {len(words) - shown} more" if len(words) > shown else "")


def counted(count: int, noun: str) -> str:
    """`1 row`, `1,200 rows`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def similar(word: str, known: Iterable[str], cutoff: float = 0.75) -> str | None:
    """The known word that was most likely meant, or None."""
    candidates = list(known)
    folded = {candidate.lower().replace("-", "_"): candidate for candidate in reversed(candidates)}
    close = difflib.get_close_matches(word.lower().replace("-", "_"), list(folded), n=1, cutoff=cutoff)
    return folded[close[0]] if close else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or nothing."""
    guess = similar(word, known, cutoff=0.6)
    return f"; did you mean {guess}?" if guess else ""


def way_out(value: Any, kinds: Iterable[str], text: str | None = None) -> str:
    """How a value of the wrong type is fixed: quotes to remove or to add, true for yes, 10000 for 1e4.

    `kinds` are the types that were expected, in the words of `upstream_fields.json`: bool, int, float, string, ...;
    `text` is the value as it was written, where that is known.
    """
    expected = set(kinds)
    if isinstance(value, str):
        plain = resolve(value)
        number = isinstance(plain, (int, float)) and not isinstance(plain, bool)
        if (number and expected & {"int", "float"}) or (isinstance(plain, bool) and "bool" in expected):
            return "; remove the quotes"
        if "bool" in expected and value.lower() in ("yes", "no", "on", "off"):
            return "; YAML 1.2 knows only true and false"
        if "list" in expected:
            return f"; write [{value}]"
    elif isinstance(value, dict) and "string" in expected and value and all(item is None for item in value.values()):
        return f'; quote it: "{{{", ".join(value)}}}"'  # a template without quotes
    elif value is not None and not isinstance(value, (list, dict)):
        if "int" in expected and isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
            return f"; write {int(value)}"
        if "string" in expected:
            written = text or (str(value).lower() if isinstance(value, bool) else _number(value))
            return f'; quote it: "{written}"'
    return ""
