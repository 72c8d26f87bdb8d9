"""From what a model wrote to labels: to the letter, or as a careful reader would."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from categorize.label_rules import RuleBroken
from categorize.labels import LabelSet
from categorize.prompts.spellings import EDGE, JOINED, UNSPACED, Mention, Spellings, normal, spellings_of

NONE = "none"  # the answer of a multi-label row without labels
THINKING = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
STRICT_NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
# A number by itself: no letter or digit touches it, no percent sign or word makes it another number. Behind a dash of
# another kind it may be negative, or the end of a range.
NUMBER = re.compile(
    rf"(?<![^\W{UNSPACED}])(?<![.,+–—±^/-])[-+]?(?:\d+(?:[.,]\d+)?|[.]\d+)"
    rf"(?![.,'’:^/–—-]?\d|{JOINED}|[%‰^]| ?[十百千万亿萬億]| (?:hundred|thousand|[mb]illion|k\b))",
    re.IGNORECASE,
)
BELOW_ZERO = re.compile(r"(?:minus|negative|[负負]|零下|[–—-]) ?\Z", re.IGNORECASE)
# 1,000 is a thousand to some writers and one to others.
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2},\d{3}")
BETWEEN = re.compile(r"[,;/|\n、]|\band\b|[和及与]", re.IGNORECASE)
# A label behind one of these is named, but as what the answer is not.
NEGATION = re.compile(
    r"(?:\b(?:not|isn['’]t|no|non|nor|neither|never|without)(?: an?| the)?[ -]|[不非无]是?)[\"'“‘\[(*]*\Z",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Answer:
    """What was read from one text: labels, or a score; `valid` is False where nothing certain could be read."""

    labels: tuple[str, ...] = ()
    score: float | None = None
    valid: bool = True


INVALID = Answer(valid=False)


def settled(answer: Answer, label_set: LabelSet) -> Answer:
    """An answer as the rules of the label set have it; not valid where it breaks one."""
    if not answer.valid or not label_set.row_rules:
        return answer
    try:
        return Answer(tuple(label_set.settle(answer.labels)))
    except RuleBroken:
        return INVALID


def parse_strict(text: str, label_set: LabelSet, words: Sequence[str]) -> Answer:
    """The answer as it was asked for, to the letter: one of `words`, several separated by commas, or a number.

    Args:
        words: what stands for each label in an answer (`PromptFormat.words`), in label-set order.
    """
    answer = text.strip()
    if label_set.is_regression:
        return _score(answer, label_set) if STRICT_NUMBER.fullmatch(answer) else INVALID
    names = {word.strip(): name for word, name in zip(words, label_set.names, strict=True)}
    if not label_set.is_multi_label:
        return Answer((names[answer],)) if answer in names else INVALID
    if answer == NONE:
        return Answer()
    parts = [part.strip() for part in answer.split(",")]
    if any(part not in names for part in parts) or len(set(parts)) != len(parts):
        return INVALID
    return Answer(_in_order({names[part] for part in parts}, label_set))


def parse_tolerant(text: str, label_set: LabelSet, words: Sequence[str]) -> Answer:
    """The label that an answer names, however it is wrapped: `(1)`, `[Positive]`, `Label: positive.`, a sentence.

    Case, full-width forms, brackets and marks around a label do not matter where they tell no two labels apart; names,
    aliases and codes all count. A label in its own spelling wins over one that another case would give, and a longer
    label over one that it holds (`social` in `social presence`, `C` in `C#`). What could still be two labels is not
    valid, nor is an answer that only says what it is not, nor one of several labels with a part that names none.

    >>> from categorize.labels import Label, LabelSet
    >>> moods = LabelSet("single_label", (Label("good"), Label("bad", aliases=("awful",))))
    >>> [parse_tolerant(text, moods, moods.names).labels for text in ("**Good**.", "Answer: awful", "not bad")]
    [('good',), ('bad',), ()]
    """
    spoken = _spoken(text)
    for exact in (parse_strict(text, label_set, words), parse_strict(spoken, label_set, words)):
        if exact.valid:
            return exact
    answer = normal(spoken)
    if label_set.is_regression:
        return _number(answer, label_set)
    spellings = spellings_of(label_set, tuple(words))
    whole = spellings.alone(answer)
    says_none = label_set.is_multi_label and EDGE.sub("", answer).casefold() == NONE
    if whole is not None:
        exact_label = whole.exact or not says_none
        return Answer((whole.label,)) if whole.label is not None and exact_label else INVALID
    if says_none:
        return Answer()
    mentions = spellings.mentions(answer)
    found = {one.label for one in mentions}
    if label_set.is_multi_label:
        found |= _unmentioned(answer, mentions, spellings)
    certain = None not in found and (len(found) == 1 or (label_set.is_multi_label and found))
    if not certain or any(NEGATION.search(answer[: one.start]) for one in mentions):
        return INVALID
    return Answer(_in_order({name for name in found if name is not None}, label_set))


def _spoken(text: str) -> str:
    """The answer behind the thinking; templates that open the block themselves leave only its end."""
    head, closed, tail = text.rpartition("</think>")
    return THINKING.sub("", tail if closed and "<think>" not in head else text).strip()


def _unmentioned(answer: str, mentions: Sequence[Mention], spellings: Spellings) -> set[str | None]:
    """What the parts of a list stand for that mention no label: a code (`A, C`), or None for a label that the set does
    not have, so that none is dropped.

    A line that leads in (`Labels:`) or opens a block of code is not part of it. A number before another label is its
    place in the list or a code: which, is unknown.
    """
    found: set[str | None] = set()
    marked, end = "", 0
    for number, one in enumerate(mentions):
        marked, end = f"{marked}{answer[end : one.start]}\0{number}\0", one.end
    lines = [line for line in (marked + answer[end:]).split("\n") if not re.match(r"\s*```|[^\0]*:\W*\Z", line)]
    for part in BETWEEN.split("\n".join(lines)):
        named = [mentions[int(number)] for number in re.findall(r"\0(\d+)\0", part)]
        if not named and EDGE.sub("", part):
            code = spellings.alone(part.strip())
            found.add(code.label if code else None)
        if len({one.label for one in named}) > 1 and len({one.end - one.start == 1 for one in named}) > 1:
            found.add(None)
    return found


def _number(answer: str, label_set: LabelSet) -> Answer:
    """The one number of a text."""
    numbers = list(NUMBER.finditer(answer))
    if len(numbers) != 1:
        return INVALID
    before, behind = answer[: numbers[0].start()], answer[numbers[0].end() :]
    if re.search(r"\d", before + behind) or BELOW_ZERO.search(before):
        return INVALID
    return _score(numbers[0].group(), label_set)


def _score(text: str, label_set: LabelSet) -> Answer:
    if THOUSANDS.fullmatch(text):
        return INVALID
    value = float(text.replace(",", "."))
    low, high = label_set.rules.minimum, label_set.rules.maximum
    inside = (low is None or value >= low) and (high is None or value <= high)
    return Answer(score=value) if inside else INVALID


def _in_order(names: set[str], label_set: LabelSet) -> tuple[str, ...]:
    return tuple(name for name in label_set.names if name in names)
