"""From what a model wrote to labels: to the letter, or as a careful reader would."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from categorize.labels import LabelSet
from categorize.prompts import NONE

THINKING = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
NUMBER = re.compile(r"[-+]?\d+(?:[.,]\d+)?")
EDGES = " \t\r\n\"'`*_#.,;:!?()[]{}<>«»“”‘’、。，；：！？（）【】《》「」-"


@dataclass(frozen=True)
class Answer:
    """What was read from one text: labels, or a score; `valid` is False where nothing certain could be read."""

    labels: tuple[str, ...] = ()
    score: float | None = None
    valid: bool = True


INVALID = Answer(valid=False)


def parse_strict(text: str, label_set: LabelSet, words: Sequence[str]) -> Answer:
    """The answer as it was asked for, to the letter: one of `words`, several separated by commas, or a number.

    Args:
        words: what stands for each label in an answer (`PromptFormat.words`), in label-set order.
    """
    answer = text.strip()
    if label_set.is_regression:
        return _score(answer, label_set) if NUMBER.fullmatch(answer) else INVALID
    names = dict(zip(words, label_set.names, strict=True))
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

    Case, full-width forms, brackets and marks around a label do not matter; names, aliases and codes all count. Where a
    single label is wanted, an answer that names several is not valid: which was meant is unknown. A label that
    stands only
    inside another one that was named (`social` in `social presence`) is not counted.
    """
    answer = unicodedata.normalize("NFKC", THINKING.sub("", text)).strip()
    if label_set.is_regression:
        numbers = NUMBER.findall(answer)
        return _score(numbers[0], label_set) if len(numbers) == 1 else INVALID
    spellings = _spellings(label_set, words)
    bare = _fold(answer.strip(EDGES))
    if bare in spellings:
        return Answer((spellings[bare],))
    found = _mentions(_fold(answer), spellings)
    if label_set.is_multi_label:
        if not found and bare == NONE:
            return Answer()
        return Answer(_in_order(found, label_set)) if found else INVALID
    return Answer(tuple(found)) if len(found) == 1 else INVALID


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().replace("_", " ").split())


def _spellings(label_set: LabelSet, words: Sequence[str]) -> dict[str, str]:
    """Folded spelling -> label: the words that were asked for win over names, names over aliases and codes."""
    spellings: dict[str, str] = {}
    for label in label_set.labels:
        for word in (*label.aliases, *([label.code] if label.code else [])):
            spellings[_fold(word)] = label.name
    for name in label_set.names:
        spellings[_fold(name)] = name
    for word, name in zip(words, label_set.names, strict=True):
        spellings[_fold(word)] = name
    return spellings


def _mentions(text: str, spellings: dict[str, str]) -> set[str]:
    """Labels that the text names as whole words, longest spellings first, each part of the text read once."""
    found: set[str] = set()
    for spelling in sorted(spellings, key=len, reverse=True):
        # A letter or digit beside it makes it part of another word; Chinese is written without spaces.
        edge = r"[0-9a-z]" if spelling.isascii() else r"(?!)"
        pattern = re.compile(rf"(?<!{edge}){re.escape(spelling)}(?!{edge})")
        # Codes of one character are words of their own (a, I, 1 apple): they count only within brackets or as an
        # answer.
        if len(spelling) == 1 and spelling.isascii():
            pattern = re.compile(
                rf"[\[(<\"'*]{re.escape(spelling)}[\])>\"'*.:]|(?:^|[:=] ?){re.escape(spelling)}(?=$|[\n.,:)])"
            )
        if pattern.search(text):
            found.add(spellings[spelling])
            text = pattern.sub("\0", text)
    return found


def _score(text: str, label_set: LabelSet) -> Answer:
    value = float(text.replace(",", "."))
    low, high = label_set.rules.minimum, label_set.rules.maximum
    inside = (low is None or value >= low) and (high is None or value <= high)
    return Answer(score=value) if inside else INVALID


def _in_order(names: set[str], label_set: LabelSet) -> tuple[str, ...]:
    return tuple(name for name in label_set.names if name in names)
