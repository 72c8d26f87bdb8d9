"""Changes of a text that should not change what is said of it, as CheckList has them (Ribeiro et al. 2020, "Beyond
Accuracy: Behavioral Testing of NLP Models with CheckList")."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np

from categorize.data.rows import digest
from categorize.errors import UserError

TYPO_EVERY = 100  # characters of a text; a typo for each of them that is begun
_HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}


def punctuation(text: str) -> str:
    """Without its last punctuation marks; with a full stop where it ends without one.

    >>> punctuation("Where is it?!"), punctuation("Where is it"), punctuation("在哪里")
    ('Where is it', 'Where is it.', '在哪里。')
    """
    kept = text.rstrip()
    bare = kept
    while bare and unicodedata.category(bare[-1]).startswith("P"):
        bare = bare[:-1]
    if not bare:
        return text
    if bare != kept:
        return bare.rstrip() or text
    return kept + ("。" if _HAN.match(kept[-1]) else ".")


def typos(text: str) -> str:
    """Two neighbouring letters of a word (or Chinese characters) swapped, once for every 100 characters begun; where
    depends on the text alone.

    >>> typos("card"), typos("1 2 3")
    ('cadr', '1 2 3')
    """
    letters = list(text)
    places = [
        i for i, (a, b) in enumerate(pairwise(text)) if a.isalpha() and b.isalpha() and a.casefold() != b.casefold()
    ]
    if not places:
        return text
    generator = np.random.default_rng(int(digest(text), 16))
    for i in generator.choice(places, min(len(places), 1 + len(text) // TYPO_EVERY), replace=False).tolist():
        letters[i], letters[i + 1] = letters[i + 1], letters[i]
    return "".join(letters)


def full_width(text: str) -> str:
    """Latin letters, digits and marks as an East Asian keyboard writes them.

    >>> full_width("VIP 5!")
    'ＶＩＰ ５！'
    """
    return text.translate(_WIDE)


def script(text: str) -> str:
    """Simplified Chinese characters as traditional ones, and a text of traditional ones as simplified (by OpenCC).

    Raises:
        UserError: OpenCC is not installed.
    """
    if not _HAN.search(text):
        return text
    traditional = _converter("s2t").convert(text)
    return str(traditional if traditional != text else _converter("t2s").convert(text))


CHANGES: dict[str, Callable[[str], str]] = {
    "punctuation": punctuation,
    "typos": typos,
    "full_width": full_width,
    "script": script,
}


@cache
def _converter(name: str) -> Any:
    try:
        import opencc
    except ImportError:
        raise UserError(
            "evaluation.invariance: script needs OpenCC: pip install 'categorize[chinese]', or take script out"
        ) from None
    return opencc.OpenCC(name)
