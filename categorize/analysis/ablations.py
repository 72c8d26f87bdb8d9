"""Transcripts without a part of them: what a run reads its answer from."""

from __future__ import annotations

import re
from collections.abc import Collection

import numpy as np

from categorize.data.rows import digest
from categorize.data.segments.cuts import question_spans
from categorize.data.segments.turns import find_turns

NAMES = ("no_opening", "no_questions", "shuffled_turns")
# Who opens the floor says so: "we will now begin the question-and-answer session".
_OPENS_FLOOR = re.compile(
    r"question[- ]and[- ]answer|\bQ ?(?:&|and) ?A\b|questions and answers|first question|提问环节|问答环节|答疑",
    re.IGNORECASE,
)


def ablate(name: str, text: str, opening_turns: int, names: Collection[str] = ()) -> str:
    """The transcript without the named part. It stays as it is where it has no such part, or consists of nothing else.

    Args:
        name: `no_opening`: without the first `opening_turns` turns; `no_questions`: what comes before the floor is
            opened to questions, or before the first question; `shuffled_turns`: its turns in another order, which
            depends on the text alone.
        names: of speakers, as `find_turns` takes them.

    >>> ablate("no_opening", "A: welcome\\nB: hello\\nC: thanks", 2)
    'C: thanks'
    >>> ablate("no_questions", "CEO: we grew\\nOperator: Our first question.\\nAnn: why?", 2)
    'CEO: we grew'
    """
    if name == "no_questions":
        return _before_questions(text, names)
    turns = [text[turn.start : turn.end] for turn in find_turns(text, names)]
    if len(turns) < 2:
        return text
    if name == "no_opening":
        return "\n".join(turns[opening_turns:]) or text
    order = np.random.default_rng(int(digest(text), 16)).permutation(len(turns))
    if (np.diff(order) > 0).all():
        order = np.roll(order, 1)  # another order than that of the text
    return "\n".join(turns[i] for i in order)


def _before_questions(text: str, names: Collection[str]) -> str:
    opened = (turn.start for turn in find_turns(text, names) if _OPENS_FLOOR.search(text, turn.start, turn.end))
    asked = (start for start, _ in question_spans(text, names) if start)
    first = next((start for start in opened if start), None) or next(asked, None)
    return text if first is None else text[:first].rstrip() or text
