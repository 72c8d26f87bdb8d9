"""Where a text spells a label: names, aliases and codes of a label set, found in what a model wrote."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise

from categorize.labels import LabelSet

# Marks that stand around a label without being a part of it.
LEFT = "\\s\"'`*_#.,;:!?()\\[\\]{}<>«»“”‘’、。•·…【】《》「」-"
RIGHT = LEFT.replace("#", "").removesuffix("-")
EDGE = re.compile(rf"^[{LEFT}]+|[{LEFT}]+\Z")
# Scripts that are written without spaces, or glue particles to words: a label may stand anywhere in them.
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uac00-\ud7af"
LETTER = rf"[^\W_{UNSPACED}]"
JOINED = rf"[^\W\d_{UNSPACED}]"
_SIGNS = str.maketrans({"\u2212": "-", **{power: f"^{digit}" for digit, power in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}})
# The digits of a label are not part of a longer number, of a time or a range, and have no sign in front.
_NO_NUMBER_BEFORE = r"(?<!\d[.,:/'’ –—-])(?<![.+±–—^\d-])"
_NO_NUMBER_BEHIND = r"(?![.,:/'’ –—^-]?\d|[%‰^])"


@dataclass(frozen=True)
class Mention:
    """A place in a text that spells a label.

    Attributes:
        start, end: in characters.
        label: None where it may be one of several labels.
        exact: whether it is spelled so, case included.
    """

    start: int
    end: int
    label: str | None
    exact: bool


def normal(text: str) -> str:
    """A text in the form that is compared: NFKC, one kind of minus sign, single spaces within lines."""
    text = unicodedata.normalize("NFKC", text.translate(_SIGNS)).replace("\0", " ")
    return "\n".join(" ".join(line.split()) for line in text.splitlines()).strip()


def _fold(text: str) -> str:
    return " ".join(normal(text).casefold().replace("_", " ").split())


class Spellings:
    """All spellings of a label set.

    Of those that are the same, the words that were asked for win over names, and names over aliases and codes.

    Args:
        words: what stands for each label in an answer, in label-set order.
    """

    def __init__(self, label_set: LabelSet, words: Iterable[str]) -> None:
        others = [
            (word, label.name) for label in label_set.labels for word in (*label.aliases, *filter(None, [label.code]))
        ]
        ranks = (list(zip(words, label_set.names, strict=True)), [(name, name) for name in label_set.names], others)
        self._exact = [_by_spelling(pairs, normal) for pairs in ranks]
        self._folded = [_by_spelling(pairs, _fold) for pairs in ranks]
        spelled = {normal(word) for pairs in ranks for word, _ in pairs} - {""}
        self._marks = [word for word in spelled if not _has_words(word)]
        apart = {word.lower(): word for word in spelled}  # one pattern finds all that differ in case alone
        self._spelled = [(_fold(word), word) for word in apart.values()]

    def alone(self, text: str) -> Mention | None:
        """The label that a `normal` text is, but for marks around it; None where there is more to the text."""
        matches = [_alone(word).match(text) for word in self._candidates(text)]
        found = _longest(text, [self._mention(match) for match in matches if match])
        if not found:
            return None
        first = found[0]
        # A mark around it that is itself a label, or two labels that differ in their marks: which, is unknown.
        unsure = len(found) > 1 or any(mark in text[: first.start] or mark in text[first.end :] for mark in self._marks)
        return replace(first, label=None) if unsure else first

    def mentions(self, text: str) -> list[Mention]:
        """The labels that a `normal` text names as words of their own, in order; none that stands inside a longer one.

        Where some overlap, none of them has a label.
        """
        found = _longest(
            text,
            [
                mention
                for word in self._candidates(text)
                for match in _within(word).finditer(text)
                if not self._is_other_word(mention := self._mention(match), text)
            ],
        )
        overlap = any(first.end > second.start for first, second in pairwise(found))
        return [replace(one, label=None) for one in found] if overlap else found

    def _candidates(self, text: str) -> Iterator[str]:
        folded = _fold(text)
        return (word for spelling, word in self._spelled if spelling in folded)

    def _mention(self, match: re.Match[str]) -> Mention:
        group = match.lastindex or 0
        spelled = match.group(group)
        for exact, ranks, key in ((True, self._exact, normal(spelled)), (False, self._folded, _fold(spelled))):
            for labels in ranks:
                if found := labels.get(key):
                    return Mention(*match.span(group), next(iter(found)) if len(found) == 1 else None, exact)
        return Mention(*match.span(group), None, False)

    def _is_other_word(self, mention: Mention, text: str) -> bool:
        """Whether vowel signs follow, which make another word of it, or it is a short word (us) that another case would
        make an acronym (US)."""
        spelled = text[mention.start : mention.end]
        short = 1 < len(spelled) < 4 and spelled.isascii() and spelled.isalpha() and spelled.islower()
        acronym = short and not mention.exact
        return unicodedata.category(text[mention.end : mention.end + 1] or " ").startswith("M") or (
            acronym and any(spelled.upper() in labels for labels in self._exact)
        )


@lru_cache(maxsize=16)
def spellings_of(label_set: LabelSet, words: tuple[str, ...]) -> Spellings:
    """The spellings of a label set, made once."""
    return Spellings(label_set, words)


def _by_spelling(pairs: Iterable[tuple[str, str]], form: Callable[[str], str]) -> dict[str, set[str]]:
    labels: dict[str, set[str]] = {}
    for word, name in pairs:
        labels.setdefault(form(word), set()).add(name)
    return labels


def _has_words(text: str) -> bool:
    return any(map(str.isalnum, text))


def _longest(text: str, mentions: Iterable[Mention]) -> list[Mention]:
    """The mentions that no longer one holds, in order.

    One that only another case spells, and that has nothing but marks more than a label in its own spelling (Good. and
    good), may be either.
    """
    kept: list[Mention] = []
    for one in sorted(mentions, key=lambda one: (one.start, -one.end)):
        if not kept or one.end > kept[-1].end:
            kept.append(one)
            continue
        longer = kept[-1]
        more = text[longer.start : one.start] + text[one.end : longer.end]
        if one.exact and not longer.exact and one.label != longer.label and not _has_words(more):
            kept[-1] = replace(longer, label=None)
    return kept


def _literal(spelling: str) -> str:
    """The spelling as a pattern, in any case; its words may be joined by spaces or underscores. The flag is for it
    alone: compiling the classes of scripts with it takes long."""
    return "(?i:" + re.sub(r"(?<=\w)(?:\\ |_)(?=\w)", "[ _]", re.escape(spelling)) + ")"


@lru_cache(maxsize=4096)
def _alone(spelling: str) -> re.Pattern[str]:
    """Matches a text that is the spelling but for marks around it; but not where they make another number of it."""
    unsigned = r"(?<![.,+-])" if spelling[0].isdigit() else ""
    return re.compile(rf"[{LEFT}]*{unsigned}({_literal(spelling)})[{RIGHT}]*(?:\s[{RIGHT}#-]*)?\Z")


@lru_cache(maxsize=4096)
def _within(spelling: str) -> re.Pattern[str]:
    """Finds a spelling as a word of its own, as the last group that matched: no letter or digit touches it, no hyphen
    joins it to another word, no mark makes another one of it (C#, R&B, Node.js)."""
    literal, first, last = _literal(spelling), spelling[0], spelling[-1]
    if len(spelling) == 1 and spelling.isascii():
        # Codes of one character are words as well (a, I, 1 apple): they count within brackets or marks, or alone.
        # The 4 of 4.5, or of a time such as 4:30, is not a word.
        code = rf"({literal})(?![.,:]\d)"
        return re.compile(
            rf"[\[(<>\"'*【「“‘]{code}[\])<>\"'*.:】」”’]|(?:^|(?<!\d)[:=] ?){code}(?=$|[\n.,:)。])",
        )
    if len(spelling) == 1 and re.match(rf"[{UNSPACED}]", spelling):
        # As a part of another word (the 好 of 好奇) it says nothing.
        return re.compile(rf"(?:(?<![{UNSPACED}])|(?<=[是为]))({literal})(?![{UNSPACED}])")
    before, behind = r"(?<!\u200d)", r"(?!\u200d)"
    if re.match(LETTER, first):
        before += rf"(?<!{LETTER})(?<!{JOINED}-)(?<![@&+])(?<!(?<!\w)\.)"
    if re.match(LETTER, last) or unicodedata.category(last).startswith("M"):
        behind += rf"(?!{LETTER}|-{JOINED}|[@&+#]|\.{JOINED})"
    if first.isdigit():
        before += _NO_NUMBER_BEFORE
    if last.isdigit():
        behind += _NO_NUMBER_BEHIND
    return re.compile(rf"{before}({literal}){behind}")
