"""The terms of a label set (names and aliases as tokens), and where they stand in a text.

A term is found where all its tokens, or those that make most of its rarity, stand in one sentence, in any order, as in
Annif's MLLM (Suominen et al. 2022, "Annif and Finto AI: Developing and Implementing Automated Subject Indexing");
single characters of scripts without spaces must follow each other. The longest term comes first: what stands inside a
longer one is not found again. By a hash from each term's rarest tokens, a text costs what its tokens cost, whatever the
number of labels.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from categorize.errors import UserError
from categorize.features.tfidf import UNSPACED
from categorize.labels import LabelSet

_WORD = re.compile(rf"[{UNSPACED}]+|[^\W_{UNSPACED}]+")
UNSPACED_TEXT = re.compile(f"[{UNSPACED}]")
_SENTENCE_END = re.compile(r"[.!?]+(?=\s)|[。！？；…\n]+")
_MOST_STEMS = 1_000_000  # remembered; texts with more distinct words than that are stemmed again


class Segmenter:
    """Texts as tokens: NFKC, case folded, plural endings off, Chinese cut into words or characters.

    Args:
        segmentation: `jieba` or `characters`; None: jieba where it is installed.
        stemming: of English words.
        words: that jieba keeps whole.

    Raises:
        UserError: jieba is asked for and missing.

    >>> Segmenter("characters").tokens("Lost credit_cards 银行")
    ['lost', 'credit', 'card', '银', '行']
    """

    def __init__(self, segmentation: str | None, stemming: bool = True, words: Iterable[str] = ()) -> None:
        installed = has_jieba()
        if segmentation == "jieba" and not installed:
            raise UserError(
                "model.segmentation: jieba is not installed: pip install 'categorize[chinese]', or write characters"
            )
        self.segmentation = segmentation or ("jieba" if installed else "characters")
        self.stemming = stemming
        self._words = [folded(word) for word in words]
        self._jieba: Any = None
        self._stems: dict[str, str] = {}

    def sentences(self, text: str) -> list[list[str]]:
        """The tokens of each sentence that has any."""
        found = (self.tokens(part) for part in _SENTENCE_END.split(text))
        return [tokens for tokens in found if tokens]

    def tokens(self, text: str) -> list[str]:
        """Tokens in order."""
        words = _WORD.findall(folded(text))
        if not text.isascii():
            words = [word for run in words for word in (self._cut(run) if UNSPACED_TEXT.match(run) else (run,))]
        if not self.stemming:
            return words
        known = self._stems
        if len(known) > _MOST_STEMS:
            known.clear()
        return [known.get(word) or known.setdefault(word, stem(word)) for word in words]

    def _cut(self, run: str) -> list[str]:
        if self.segmentation == "characters":
            return list(run)
        if self._jieba is None:
            import logging

            import jieba

            jieba.setLogLevel(logging.WARNING)
            self._jieba = jieba.Tokenizer()
            for word in self._words:
                if len(word) > 1 and UNSPACED_TEXT.match(word):
                    self._jieba.add_word(word)
        # Its hidden Markov model joins unknown characters by their neighbours: a label and a text would differ.
        return list(self._jieba.cut(run, HMM=False))


def has_jieba() -> bool:
    """Whether it is installed."""
    try:
        return find_spec("jieba") is not None
    except ValueError:  # taken out of the process
        return False


def folded(text: str) -> str:
    """NFKC and case folded."""
    return text.casefold() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


def stem(word: str) -> str:
    """An English word without its plural ending (Harman 1991, "How Effective Is Suffixing?").

    >>> [stem(word) for word in ("cards", "queries", "pies", "status", "boss")]
    ['card', 'query', 'pie', 'status', 'boss']
    """
    if len(word) < 4 or not word.endswith("s") or not word.isascii():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word if word[-4] in "ae" else word[:-3] + "y"
    if word.endswith("es"):
        return word if word[-3] in "aeo" else word[:-1]
    return word if word[-2] in "us" else word[:-1]


@dataclass(frozen=True)
class Term:
    """Distinct tokens that stand for one label or several.

    Attributes:
        tokens: numbers of its tokens, in order.
        labels: position of each label, and whether it is the label's name (else an alias).
        together: whether the tokens must follow each other.
        rarity: sum of its tokens' rarities among the terms.
    """

    tokens: tuple[int, ...]
    labels: tuple[tuple[int, bool], ...]
    together: bool
    rarity: float


@dataclass
class Find:
    """One label in one text, by that of its terms of which the most was found.

    Attributes:
        term: number of the term.
        is_name: whether it is the label's name.
        share: of the term's rarity that was found.
        adjacent: whether its tokens follow each other.
        count: times, over all terms of the label.
        first, last: token positions of the first and the last time.
        length: tokens of the text.
    """

    term: int
    is_name: bool
    share: float
    adjacent: bool
    count: int
    first: int
    last: int
    length: int = 0


class Terms:
    """Names and aliases of the labels, then names of the groups, as terms to find.

    Args:
        coverage: share of a term, by the rarity of its tokens, that a sentence must hold.

    Attributes:
        terms: distinct ones.
        spelled: tokens of every term, as written by the segmenter.
        unnamed: labels of which no term has a token.
    """

    def __init__(self, label_set: LabelSet, segmenter: Segmenter, coverage: float = 1.0) -> None:
        self.coverage = coverage - 1e-9  # sums are not exact
        written = [(i, True, label.name) for i, label in enumerate(label_set.labels)]
        written += [(i, False, alias) for i, label in enumerate(label_set.labels) for alias in label.aliases]
        written += [(len(label_set) + i, True, group.name) for i, group in enumerate(label_set.groups)]
        holders: defaultdict[tuple[str, ...], dict[int, bool]] = defaultdict(dict)
        for position, is_name, text in written:
            if tokens := tuple(segmenter.tokens(text)):
                holders[tokens].setdefault(position, is_name)
        self.spelled = list(holders)
        holding = Counter(token for tokens in holders for token in set(tokens))
        self._number = {token: i for i, token in enumerate(holding)}
        # Never 0: a token that all terms have is still worth a little.
        self._rarity = [math.log((len(holders) + 1) / (n + 0.5)) + 0.01 for n in holding.values()]
        self.terms = [self._term(tokens, labels) for tokens, labels in holders.items()]
        self._sets = [frozenset(term.tokens) for term in self.terms]
        self._index: defaultdict[int, list[int]] = defaultdict(list)
        for number, term in enumerate(self.terms):
            for token in self._needed(term):
                self._index[token].append(number)
        named = {label for term in self.terms for label, _ in term.labels}
        self.unnamed = [name for i, name in enumerate(label_set.names) if i not in named]

    def _term(self, tokens: tuple[str, ...], labels: dict[int, bool]) -> Term:
        numbers = tuple(self._number[token] for token in tokens)
        together = any(len(token) == 1 and UNSPACED_TEXT.match(token) for token in tokens)
        return Term(numbers, tuple(labels.items()), together, sum(self._rarity[token] for token in set(numbers)))

    def _needed(self, term: Term) -> list[int]:
        """The rarest tokens, one of which any sentence must have that holds enough of the term: what remains without
        them is too little (prefix filtering; Chaudhuri et al. 2006). All of a term needs its rarest token alone."""
        rest, needed = term.rarity, []
        for token in sorted(set(term.tokens), key=lambda one: (-self._rarity[one], one)):
            if rest < self.coverage * term.rarity:
                break
            needed.append(token)
            rest -= self._rarity[token]
        return needed

    def find(self, sentences: list[list[str]]) -> dict[int, Find]:
        """What was found in a text, by position of the label (behind them, of the group)."""
        found: dict[int, Find] = {}
        offset, number, index = 0, self._number, self._index
        for tokens in sentences:
            ids = [number.get(token, -1) for token in tokens]
            present = set(ids)
            if hits := {term for token in present if token in index for term in index[token]}:
                self._add(ids, present, hits, offset, found)
            offset += len(ids)
        for one in found.values():
            one.length = offset
        return found

    def _add(self, ids: list[int], present: set[int], hits: set[int], offset: int, found: dict[int, Find]) -> None:
        """Adds the terms of one sentence, the longest of those that stand there whole first."""
        whole: list[int] = []
        parts: list[int] = []
        for number in hits:
            (whole if self._sets[number] <= present else parts).append(number)
        taken: list[tuple[int, int]] = []
        for number in sorted(whole, key=lambda one: (-len(self.terms[one].tokens), one)):
            term = self.terms[number]
            width, starts = len(term.tokens), _places(ids, term.tokens)
            if not starts:
                parts.append(number)
                continue
            starts = [at for at in starts if not any(a <= at and at + width <= b and b - a > width for a, b in taken)]
            taken += [(at, at + width) for at in starts]
            if starts:
                self._note(number, 1.0, True, starts, offset, found)
        for number in sorted(parts):
            term = self.terms[number]
            held = _longest_run(ids, term.tokens) if term.together else self._sets[number] & present
            share = sum(self._rarity[token] for token in set(held)) / term.rarity
            if share >= self.coverage:
                rarest = max(held, key=lambda token: (self._rarity[token], token))
                self._note(number, share, False, _places(ids, (rarest,)), offset, found)

    def _note(
        self, number: int, share: float, adjacent: bool, starts: list[int], offset: int, found: dict[int, Find]
    ) -> None:
        term = self.terms[number]
        for label, is_name in term.labels:
            one = found.get(label)
            if one is None:
                one = found[label] = Find(number, is_name, share, adjacent, 0, offset + starts[0], 0)
            elif share * term.rarity > one.share * self.terms[one.term].rarity:
                one.term, one.is_name, one.share, one.adjacent = number, is_name, share, adjacent
            one.count += len(starts)
            one.first, one.last = min(one.first, offset + starts[0]), max(one.last, offset + starts[-1])


def _places(ids: list[int], tokens: tuple[int, ...]) -> list[int]:
    """Where the tokens follow each other."""
    first, width = tokens[0], len(tokens)
    if width == 1:
        return [at for at, token in enumerate(ids) if token == first]
    return [at for at, token in enumerate(ids) if token == first and tuple(ids[at : at + width]) == tokens]


def _longest_run(ids: list[int], tokens: tuple[int, ...]) -> tuple[int, ...]:
    """The longest part of the tokens that stands in the sentence as it is."""
    for width in range(len(tokens), 0, -1):
        for at in range(len(tokens) - width + 1):
            if _places(ids, tokens[at : at + width]):
                return tokens[at : at + width]
    return tokens[:1]
