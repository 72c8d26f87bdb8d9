"""A reason for a label, cut to its bound."""

from __future__ import annotations

import re

from categorize.recipe.labeling_sections import Rationale

# A character of a script without spaces, or a word of any other with the marks that hold it together.
_UNIT = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af])|[^\W_]+(?:['’.-][^\W_]+)*")


def bounded(text: str, bound: Rationale) -> str:
    """The beginning of a reason that keeps within `words` English words or `characters` Chinese characters.

    In a text of both, each word takes its share of the words and each character its share of the characters.

    >>> bounded("thanks the uploader because the video helped with the exam", Rationale())
    'thanks the uploader because the video helped with'
    >>> bounded("感谢老师讲得这么清楚，终于听懂了", Rationale())
    '感谢老师讲得这么清楚，终于'
    """
    text = " ".join(text.split())
    used = end = 0
    for unit in _UNIT.finditer(text):
        used += bound.words if unit.group(1) else bound.characters
        if used > bound.words * bound.characters:
            return text[:end]
        end = unit.end()
    return text
