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
BETWEEN = re.compile(r"[,;/|\n、]|\band\b|(?<=[^a-z])[和及与](?=[^a-z])")
# Scripts that are written without spaces, or glue particles to words: a label may stand anywhere in them.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"
LETTER = rf"[^\W_{UNSPACED}]"
JOINED = rf"[^\W\d_{UNSPACED}]"
# A label behind one of these is named, but as what the answer is not.
NEGATION = re.compile(
    r"(?:\b(?:not|isn['’]t|no|non|nor|neither|never|without)(?: an?| the)?[ -]|[不非无]是?)[\"'“‘\[(*]*$"
)


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

    Case, full-width forms, brackets and marks around a label do not matter; names, aliases and codes all count. Where a
    single label is wanted, an answer that names several is not valid: which was meant is unknown. Nor is one that only
    says what it is not. A label that stands only inside another one that was named (`social` in `social presence`) is
    not counted.
    """
    spoken = _spoken(text)
    for exact in (parse_strict(text, label_set, words), parse_strict(spoken, label_set, words)):
        if exact.valid:
            return exact
    answer = unicodedata.normalize("NFKC", spoken)
    if label_set.is_regression:
        numbers = NUMBER.findall(answer)
        return _score(numbers[0], label_set) if len(numbers) == 1 else INVALID
    spellings = _spellings(label_set, words)
    bare = _fold(answer.strip(EDGES))
    if bare in spellings:
        return Answer((spellings[bare],))
    if label_set.is_multi_label:
        if bare == NONE:
            return Answer()
        listed = {_fold(part.strip(EDGES)) for part in BETWEEN.split(_fold(answer.strip(EDGES)))} - {""}
        if listed and listed <= spellings.keys():
            return Answer(_in_order({spellings[part] for part in listed}, label_set))
    found, negated = _mentions(_fold(answer), spellings)
    if negated or not found or (len(found) > 1 and not label_set.is_multi_label):
        return INVALID
    return Answer(_in_order(found, label_set))


def _spoken(text: str) -> str:
    """The answer behind the thinking; templates that open the block themselves leave only its end."""
    head, closed, tail = text.rpartition("</think>")
    return THINKING.sub("", tail if closed and "<think>" not in head else text).strip()


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
    return {spelling: name for spelling, name in spellings.items() if spelling}


def _mentions(text: str, spellings: dict[str, str]) -> tuple[set[str], bool]:
    """Labels that the text names as whole words, longest spellings first, each part of the text read once; and
    whether any of them was negated."""
    found: set[str] = set()
    negated = False
    for spelling in sorted(spellings, key=len, reverse=True):
        pattern = _whole(spelling)
        for match in pattern.finditer(text):
            found.add(spellings[spelling])
            negated |= NEGATION.search(text[: match.start()]) is not None
        text = pattern.sub("\0", text)
    return found, negated


def _whole(spelling: str) -> re.Pattern[str]:
    """Finds a spelling as a word of its own: no letter or digit touches it, no hyphen joins it to another word."""
    escaped = re.escape(spelling)
    if len(spelling) == 1 and spelling.isascii():
        # Codes of one character are words as well (a, I, 1 apple): they count within brackets or marks, or alone.
        # The 4 of 4.5, or of a time such as 4:30, is no word.
        alone = rf"{escaped}(?![.,:]\d)"
        return re.compile(rf"[\[(<\"'*]{alone}[\])>\"'*.:]|(?:^|[:=] ?){alone}(?=$|[\n.,:)])")
    spaced = re.compile(LETTER)
    before = rf"(?<!{LETTER})(?<!{JOINED}-)" if spaced.match(spelling[0]) else ""
    behind = rf"(?!{LETTER}|-{JOINED})" if spaced.match(spelling[-1]) else ""
    return re.compile(before + escaped + behind)


def _score(text: str, label_set: LabelSet) -> Answer:
    value = float(text.replace(",", "."))
    low, high = label_set.rules.minimum, label_set.rules.maximum
    inside = (low is None or value >= low) and (high is None or value <= high)
    return Answer(score=value) if inside else INVALID


def _in_order(names: set[str], label_set: LabelSet) -> tuple[str, ...]:
    return tuple(name for name in label_set.names if name in names)
