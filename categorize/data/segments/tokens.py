"""Tokens as segments count them: of a model's tokenizer, or plain ones where a method has none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from categorize.data.rows import IntArray


class TokenCounter(Protocol):
    """Where the tokens of a text stand, and how many a text takes."""

    room: int | None  # tokens of a row's own text that the model reads; None: as many as there are

    def spans(self, texts: Sequence[str]) -> list[IntArray]:
        """Begin and end of every token in characters, [tokens, 2], in order; special tokens are left out."""

    def lengths(self, texts: Sequence[str]) -> IntArray:
        """Tokens of each text by itself, [texts]; what must fit into `room`."""


_PLAIN = re.compile(r"[\u2e80-\u9fff\uac00-\ud7ff\U00020000-\U0003ffff]|[^\W\u2e80-\u9fff\uac00-\ud7ff]+|[^\w\s]")


class PlainTokens:
    """Words, single Chinese characters and single marks: the tokens of methods that read texts without a tokenizer.

    A run of letters and digits is a token, as is every Chinese, Japanese or Korean character and every mark that is no
    white space.
    """

    room: int | None = None

    def spans(self, texts: Sequence[str]) -> list[IntArray]:
        """Begin and end of every token in characters."""
        found = ([match.span() for match in _PLAIN.finditer(text)] for text in texts)
        return [np.array(spans, dtype=np.int64).reshape(-1, 2) for spans in found]

    def lengths(self, texts: Sequence[str]) -> IntArray:
        """Tokens of each text."""
        return np.array([sum(1 for _ in _PLAIN.finditer(text)) for text in texts], dtype=np.int64)
