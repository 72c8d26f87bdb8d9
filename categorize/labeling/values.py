"""What the values of an answer mean: labels by name, alias or code, and scores."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from categorize.label_rules import RuleBroken
from categorize.labels import LabelSet
from categorize.prompts.spellings import normal, spellings_of

_SEPARATORS = re.compile(r"[,，、;；|\n]")
SHOWN = 40  # characters of a value that a reason shows


class Unreadable(Exception):
    """A value that gives no certain label; the message is the reason, short and stable."""


class LabelReader:
    """Reads the value that an answer gives for one label set.

    >>> from categorize.labels import Label
    >>> read = LabelReader(LabelSet("multi_label", (Label("joy", aliases=("喜悦",)), Label("Fear"))))
    >>> read(["喜悦", "fear"]), read("joy、Fear"), read([])
    (('joy', 'Fear'), ('joy', 'Fear'), ())
    """

    def __init__(self, label_set: LabelSet) -> None:
        self.label_set = label_set
        self._spellings = spellings_of(label_set, tuple(label_set.names)) if not label_set.is_regression else None
        self._known = {name: name for name in label_set.names}

    def __call__(self, value: Any) -> tuple[str, ...]:
        """Label names in label-set order; of a regression, its number as text.

        Raises:
            Unreadable: with the reason.
        """
        if self.label_set.is_regression:
            return (repr(self._score(value)),)
        if not isinstance(value, list):
            value = self._parts(value)
        names = {self._name(one) for one in value}
        if not self.label_set.is_multi_label and len(names) != 1:
            raise Unreadable("several labels" if names else "no label")
        try:
            return tuple(self.label_set.settle(names))
        except RuleBroken as error:
            raise Unreadable(str(error)) from None

    def _parts(self, value: Any) -> Sequence[Any]:
        """The labels of a text: the whole of it, else each part."""
        if not isinstance(value, str) or not value.strip():
            if isinstance(value, int) and not isinstance(value, bool):
                return [value]
            raise Unreadable("no label")
        if not self.label_set.is_multi_label or self._resolved(value) is not None:
            return [value]
        return [part for part in _SEPARATORS.split(value) if part.strip()]

    def _name(self, value: Any) -> str:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)  # a code
        if not isinstance(value, str):
            raise Unreadable("a label that is not text")
        if (name := self._resolved(value)) is None:
            raise Unreadable(f"unknown label {value[:SHOWN]!r}")
        return name

    def _resolved(self, value: str) -> str | None:
        """The one label that a text spells, by name, alias or code."""
        name = self._known.get(value)
        if name is None and self._spellings is not None:
            mention = self._spellings.alone(normal(value))
            name = mention.label if mention is not None else None
            if name is not None and len(value) < 2 * SHOWN:
                self._known[value] = name
        return name

    def _score(self, value: Any) -> float:
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise Unreadable("no score")
        try:
            score = float(value)
        except (ValueError, OverflowError):
            raise Unreadable("no score") from None
        low, high = self.label_set.rules.minimum, self.label_set.rules.maximum
        if not math.isfinite(score):
            raise Unreadable("no score")
        if (low is not None and score < low) or (high is not None and score > high):
            raise Unreadable("score out of bounds")
        return score
