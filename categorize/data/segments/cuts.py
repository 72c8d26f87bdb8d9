"""Documents cut into segments: by tokens, turns, questions, minutes, or turns packed up to a number of tokens; and the
cuts that keep a part of a document, to compare them with."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice

import numpy as np
import numpy.typing as npt

from categorize.data.rows import digest
from categorize.data.segments.stamps import stamps
from categorize.data.segments.textrank import textrank
from categorize.data.segments.tokens import TokenCounter
from categorize.data.segments.turns import LONGEST_LABEL, Turn, find_turns, read_label
from categorize.recipe.data_sections import Segments

Span = tuple[int, int]
NEED_A_LIMIT = ("tokens", "packed", "head", "tail", "head_tail", "random_sentences", "textrank")
ROUNDS = 12  # of cutting a document again with less, until every part fits
DOCUMENTS_AT_ONCE = 512
# A sentence ends at its mark and the quotes behind it, where white space follows; Chinese marks need none.
_SENTENCE_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s)|[。！？…]+[”’」』）\"']*|\n+")
_ASKING_NAME = re.compile(r"(?:^|\s)(?:q|question)[ .#]*\d*$|^(?:问|提问|提问者|问题) ?\d*$", re.IGNORECASE)


@dataclass(frozen=True)
class Segment:
    """A part of a document as the model reads it; `speaker` where the part is a turn that has one."""

    text: str
    speaker: str | None = None


@dataclass(frozen=True)
class Document:
    """What is cut: pieces of a document's text, in order, that no segment joins; one for all cuts but by minutes."""

    id: str
    pieces: Sequence[str]


def limit_of(settings: Segments, tokens: TokenCounter) -> int | None:
    """Most tokens of a segment: the recipe's number, but no more than the model has room for; None: no limit."""
    given = [number for number in (settings.max_tokens, tokens.room) if number is not None]
    return min(given) if given else None


def cut_documents(
    documents: Sequence[Document],
    settings: Segments,
    tokens: TokenCounter,
    *,
    speaker_names: Collection[str] = (),
    drop_labels: bool = False,
) -> list[list[Segment]]:
    """The segments of each document, in order; at least one each, that of an empty document is empty.

    No segment has more tokens than `limit_of` says, counted by itself: tokens merge otherwise where a text was cut, so
    a document of which a part is too long is cut again with less. Raises ValueError where a limit is missing.

    Args:
        speaker_names: the labels that count as speakers; by default told from their form.
        drop_labels: take the speaker's label out of the text of a turn.
    """
    limit = limit_of(settings, tokens)
    if limit is None and settings.by in NEED_A_LIMIT:
        raise ValueError(f"data.segments.by: {settings.by} needs a number of tokens")
    result: list[list[Segment]] = []
    for start in range(0, len(documents), DOCUMENTS_AT_ONCE):
        block = documents[start : start + DOCUMENTS_AT_ONCE]
        pieces = [piece for document in block for piece in document.pieces]
        spans = tokens.spans(pieces) if limit is not None else [np.zeros((0, 2), np.int64)] * len(pieces)
        texts = iter([_Text(piece, at, speaker_names) for piece, at in zip(pieces, spans, strict=True)])
        of_documents = [list(islice(texts, len(document.pieces))) for document in block]
        result += _cut_block(block, of_documents, settings, tokens, limit, drop_labels)
    return result


def _cut_block(
    block: Sequence[Document],
    texts: list[list[_Text]],
    settings: Segments,
    tokens: TokenCounter,
    limit: int | None,
    drop_labels: bool,
) -> list[list[Segment]]:
    def cut(i: int, budget: int | None) -> list[Segment]:
        parts = [segment for text in texts[i] for segment in text.cut(settings, budget, block[i].id, drop_labels)]
        return [part for part in parts if part.text] or [Segment("")]

    result = [cut(i, limit) for i in range(len(block))]
    if limit is None:
        return result
    budgets = dict.fromkeys(range(len(block)), limit)  # of the documents that may still have a part that is too long
    for _ in range(ROUNDS):
        if not budgets:
            break
        lengths = iter(tokens.lengths([part.text for i in budgets for part in result[i]]).tolist())
        longest = {i: max(islice(lengths, len(result[i]))) for i in budgets}
        budgets = {i: max(1, budgets[i] - (n - limit)) for i, n in longest.items() if n > limit and budgets[i] > 1}
        for i, budget in budgets.items():
            result[i] = cut(i, budget)
    return result


class _Text:
    """A text with where its tokens stand."""

    def __init__(self, text: str, spans: npt.NDArray[np.int64], speaker_names: Collection[str]) -> None:
        self.text, self.speaker_names = text, speaker_names
        # Several tokens may share one character (the bytes of an emoji).
        self.starts, self.ends = np.maximum.accumulate(spans[spans[:, 1] > spans[:, 0]]).T

    # ------------------------------------------------------------ the cuts
    def cut(self, settings: Segments, budget: int | None, document: str, drop_labels: bool) -> Iterator[Segment]:
        """Segments of at most `budget` of the whole text's tokens."""
        whole = (0, len(self.text))
        by = settings.by
        if by == "turns":
            for turn in self.turns:
                yield from self._turn(turn, budget, drop_labels)
        elif by == "question_answer":
            for span in self.questions():
                yield from map(self._segment, self._fit(span, budget))
        elif budget is None or by == "document":
            yield self._segment(whole)
        elif by == "tokens":
            # Overlap is given up before progress where the budget had to shrink below it.
            yield from map(self._segment, self._windows(whole, budget, min(settings.stride, budget - 1)))
        elif by in ("packed", "minutes"):
            yield from map(self._segment, self._pack(self._small_parts(whole, budget), budget))
        elif self._count(whole) <= budget:
            yield self._segment(whole)
        elif by == "head":
            yield self._segment(self._head(whole, budget))
        elif by == "tail":
            yield self._segment(self._tail(whole, budget))
        elif by == "head_tail":
            first = self._head(whole, budget - budget // 2)
            spans = [first, self._tail((first[1], whole[1]), budget // 2)] if budget > 1 else [first]
            yield Segment(self._joined(spans))
        elif by == "textrank":
            yield Segment(self._joined(self._ranked_sentences(budget)))
        else:
            yield Segment(self._joined(self._random_sentences(budget, settings.seed, document)))

    @cached_property
    def turns(self) -> list[Turn]:
        """The text's turns."""
        return find_turns(self.text, self.speaker_names)

    def questions(self) -> list[Span]:
        """A question with all that is answered to it; what comes before the first question is a part of its own.

        A turn asks if its speaker is called so (`Q:`, `Audience Q:`, `问：`) or if it holds a question mark. It
        begins a new part if there was an answer before: a turn of another speaker than who asked (without speakers: a
        turn that does not ask). Who answered asks nothing new in the same part: "which one do you mean?" belongs to the
        answer.
        """
        parts: list[Span] = []
        asker: str | None = None
        answerers: set[str | None] = set()
        asked = False
        for turn in self.turns:
            called = bool(turn.speaker and _ASKING_NAME.search(turn.speaker))
            said = self.text[turn.start : turn.end]
            asking = called or "?" in said or "？" in said
            answered = bool(answerers) and (turn.speaker is None or turn.speaker not in answerers)
            if not parts or (asking and (answered or not asked)):
                parts.append((turn.start, turn.end))
                asked, asker, answerers = asking, turn.speaker, set()
            else:
                parts[-1] = (parts[-1][0], turn.end)
                if asked and (turn.speaker != asker if turn.speaker is not None else not asking):
                    answerers.add(turn.speaker)
        return parts

    def _turn(self, turn: Turn, budget: int | None, drop_label: bool) -> Iterator[Segment]:
        start = turn.start
        if drop_label and turn.speaker is not None:
            label = read_label(self.text[turn.start : turn.end].split("\n", 1)[0], self.speaker_names)
            start += label.end if label else 0
        for span in self._fit((start, turn.end), budget):
            yield Segment(self.text[slice(*span)].strip(), turn.speaker)

    # ------------------------------------------------------------ spans
    def _segment(self, span: Span) -> Segment:
        return Segment(self.text[slice(*span)].strip())

    def _joined(self, spans: Sequence[Span]) -> str:
        """The parts one after another, on a new line where one began in the text."""
        result = ""
        end = 0
        for i, span in enumerate(spans):
            part = self.text[slice(*span)].strip()
            if i and part:
                result += "\n" if "\n" in self.text[end : span[0]] or len(spans) == 2 else " "
            result += part
            end = span[1]
        return result

    def _range(self, span: Span) -> tuple[int, int]:
        """The tokens that begin within a span."""
        return int(np.searchsorted(self.starts, span[0])), int(np.searchsorted(self.starts, span[1]))

    def _count(self, span: Span) -> int:
        first, last = self._range(span)
        return last - first

    def _fit(self, span: Span, budget: int | None) -> list[Span]:
        """The span, or its sentences packed up to the budget."""
        if budget is None or self._count(span) <= budget:
            return [span]
        return self._pack(self._small_parts(span, budget), budget)

    def _small_parts(self, span: Span, budget: int) -> list[Span]:
        """Turns; where one is too long its sentences; where one of these is too long, windows of tokens."""
        parts: list[Span] = []
        turns = [(turn.start, turn.end) for turn in self.turns if span[0] <= turn.start and turn.end <= span[1]]
        for turn in turns or [span]:
            if self._count(turn) <= budget:
                parts.append(turn)
                continue
            for sentence in sentences(self.text, *turn):
                parts += [sentence] if self._count(sentence) <= budget else self._windows(sentence, budget, 0)
        return parts

    def _pack(self, spans: Sequence[Span], budget: int) -> list[Span]:
        packed: list[Span] = []
        for span in spans:
            if packed and self._count((packed[-1][0], span[1])) <= budget:
                packed[-1] = (packed[-1][0], span[1])
            else:
                packed.append(span)
        return packed

    def _windows(self, span: Span, budget: int, overlap: int) -> list[Span]:
        """Windows of at most `budget` tokens, each sharing `overlap` with the one before it."""
        first, last = self._range(span)
        windows: list[Span] = []
        begin = first
        while begin < last:
            end = self._end(begin, min(begin + budget, last), last)
            window = (int(self.starts[begin]), int(self.ends[end - 1]))
            if not windows or self.text[windows[-1][1] : window[1]].strip():  # not for white space alone
                windows.append(window)
            if end >= last:
                break
            following = self._begin_of_word(begin + 1, end - overlap) if overlap else end
            begin = following if following > begin else end
        return windows

    def _begin_of_word(self, first: int, token: int) -> int:
        """The token moved back to where its word begins, or, where that is before `first`, its character."""
        at = self._moved_back(token, first, self._inside_a_word)
        return self._moved_back(token, first, self._inside_a_character) if self._inside_a_word(at) else at

    def _end(self, begin: int, end: int, last: int) -> int:
        """The end of a window moved back to a whole word, within its second half, or to a whole character."""
        if end >= last:
            return last
        at = self._moved_back(end, begin + (end - begin) // 2, self._inside_a_word)
        if not self._inside_a_word(at):
            return at
        at = self._moved_back(end, begin + 1, self._inside_a_character)
        while at < last and self._inside_a_character(at):
            at += 1  # one character of more tokens than the budget
        return at

    def _moved_back(self, token: int, first: int, inside: Callable[[int], bool]) -> int:
        return next((at for at in range(token, first, -1) if not inside(at)), min(first, token))

    def _inside_a_character(self, token: int) -> bool:
        return 0 < token < len(self.starts) and bool(self.starts[token] < self.ends[token - 1])

    def _inside_a_word(self, token: int) -> bool:
        if not 0 < token < len(self.starts):
            return False
        at = int(self.starts[token])
        joined = at == self.ends[token - 1] and self.text[at - 1].isalnum() and self.text[at].isalnum()
        return self._inside_a_character(token) or (joined and not "\u2e80" <= self.text[at] <= "\u9fff")

    def _head(self, span: Span, budget: int) -> Span:
        windows = self._windows(span, budget, 0)
        return windows[0] if windows else span

    def _tail(self, span: Span, budget: int) -> Span:
        first, last = self._range(span)
        begin = max(first, last - budget)
        while begin < last - 1 and self._inside_a_character(begin):
            begin += 1
        return (int(self.starts[begin]), span[1]) if begin < last else span

    def _random_sentences(self, budget: int, seed: int, document: str) -> list[Span]:
        """Sentences drawn by (seed, document) until the next one does not fit, in the order of the text."""
        found = list(sentences(self.text, 0, len(self.text)))
        rng = np.random.default_rng(int(digest(f"{seed}\x1f{document}"), 16))
        chosen: list[Span] = []
        left = budget
        for i in rng.permutation(len(found)).tolist():
            count = self._count(found[i])
            if count > left:
                if not chosen:
                    chosen.append(self._head(found[i], budget))
                break
            chosen.append(found[i])
            left -= count
        return sorted(chosen)

    @cached_property
    def _by_rank(self) -> list[Span]:
        """The sentences, the highest-ranked first, equals in the order of the text."""
        found = list(sentences(self.text, 0, len(self.text)))
        ranks = textrank([self.text[slice(*span)] for span in found])
        return [found[i] for i in np.argsort(-ranks, kind="stable")]

    def _ranked_sentences(self, budget: int) -> list[Span]:
        """The highest-ranked sentences that fit together, in the order of the text; one that does not fit is passed
        over. Where none fits by itself, the beginning of the highest-ranked one."""
        chosen: list[Span] = []
        left = budget
        for span in self._by_rank:
            if (count := self._count(span)) <= left:
                chosen.append(span)
                left -= count
        return sorted(chosen) if chosen else [self._head(span, budget) for span in self._by_rank[:1]]


def question_spans(text: str, speaker_names: Collection[str] = ()) -> list[Span]:
    """Spans of a transcript: each question with all that is answered to it, and first what comes before them.

    >>> text = "A: welcome\\nB: why?\\nA: because"
    >>> [text[begin:end] for begin, end in question_spans(text)]
    ['A: welcome', 'B: why?\\nA: because']
    """
    return _Text(text, np.zeros((0, 2), np.int64), speaker_names).questions()


def sentences(text: str, start: int, end: int) -> Iterator[Span]:
    """Spans of the sentences of `text[start:end]`, without those of white space alone."""
    begin = start
    for match in _SENTENCE_END.finditer(text, start, end):
        if text[begin : match.end()].strip():
            yield begin, match.end()
        begin = match.end()
    if text[begin:end].strip():
        yield begin, end


def cut_by_minutes(text: str, minutes: float, speaker_names: Collection[str] = ()) -> list[str]:
    """The text cut where a stamp is the first of a new stretch of `minutes`; whole where it has no stamp.

    A speaker's label before the stamp (`Speaker 2 (01:12): `) goes with it. What stands before the first stamp goes
    with that one. A clock that goes back (a second recording) begins a stretch, too.
    """
    begins = [0]
    current: int | None = None
    for at, time in stamps(text):
        stretch = int(time // (minutes * 60))
        if current is not None and stretch != current:
            line = text.rfind("\n", 0, at) + 1
            label = read_label(text[line : at + LONGEST_LABEL].split("\n", 1)[0], speaker_names)
            begins.append(line if label is not None and line + label.end >= at else at)
        current = stretch
    return [text[a:b] for a, b in zip(begins, [*begins[1:], len(text)], strict=True)]
