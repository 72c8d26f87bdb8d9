"""Which tokens behind a prompt are read to score its labels, and where a forward pass gives their probabilities.

Prediction and the loss on the label set (`training.loss: label_set`) both read by this plan: what is learned is what is
predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import repeat
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from categorize.engines.label_tree import Tree
from categorize.predictions import FloatArray
from categorize.prompts.tokens import PromptFormat

if TYPE_CHECKING:
    import torch

Ids = tuple[int, ...]
Scores = TypeVar("Scores", "torch.Tensor", FloatArray)


@dataclass(frozen=True)
class ScoringPlan:
    """Which sequences behind a row give every answer's tokens their probabilities.

    Attributes:
        contexts: token ids that are put behind the prompt; none begins another.
        labels: for each answer, a column of scores, the number of its context and its token ids. An answer is a label;
            where each label is asked about by itself, yes and no of each label in turn.
        unread: leading tokens of each answer that do not count: the question about a label.
        yes_no: whether each label is asked about by itself.
    """

    contexts: tuple[Ids, ...]
    labels: tuple[tuple[int, Ids], ...]
    unread: tuple[int, ...] = ()
    yes_no: bool = False
    by_context: list[list[int]] = field(init=False, repr=False, compare=False)  # columns

    def __post_init__(self) -> None:
        by_context: list[list[int]] = [[] for _ in self.contexts]
        for column, (context, _) in enumerate(self.labels):
            by_context[context].append(column)
        object.__setattr__(self, "by_context", by_context)

    @classmethod
    def of(cls, prompt: PromptFormat) -> ScoringPlan:
        """The plan of a prompt format's labels."""
        if prompt.yes_no:
            questions = prompt.question_ids
            wanted = [(*question, *word) for question in questions for word in prompt.yes_no_ids]
            unread = tuple(len(question) for question in questions for _ in prompt.yes_no_ids)
            return cls(*_behind(wanted), unread, yes_no=True)
        whole = [prompt.completions[name] for name in prompt.label_set.names]
        bare = [ids[:-1] for ids in whole]
        distinct = set(bare)
        begins_another = any(ids[:end] in distinct for ids in distinct for end in range(len(ids)))
        return cls(*_behind(whole if begins_another else bare))

    @cached_property
    def one_place(self) -> Ids:
        """The answers' tokens, rising, where those that are compared are one token each at one place: their other
        logits tell nothing. None elsewhere."""
        answers = [ids for _, ids in self.labels]
        size = 2 if self.yes_no else len(answers)
        compared = [answers[start : start + size] for start in range(0, len(answers), size)]
        alone = all(len(ids) - skipped == 1 for ids, skipped in zip(answers, self.unread or repeat(0), strict=False))
        together = all(len({ids[:-1] for ids in group}) == 1 for group in compared)
        return tuple(sorted({ids[-1] for ids in answers})) if alone and together else ()

    @property
    def of_one_length(self) -> bool:
        """Whether the scores of all labels are sums over equally many tokens, so that to divide by them puts no label
        before another."""
        return self.yes_no or len({len(ids) for _, ids in self.labels}) == 1

    def logits(self, scores: Scores) -> Scores:
        """What softmax (one label) or a sigmoid (yes or no a label) makes the labels' probabilities of, [rows, labels],
        from the scores of all answers."""
        return scores[:, ::2] - scores[:, 1::2] if self.yes_no else scores

    def reading(self, starts: Sequence[int], contexts: Sequence[int]) -> Reading:
        """Where the tokens of answers are read in a forward pass.

        Args:
            starts: of each sequence, its tokens before the context.
            contexts: of each sequence, which context is behind them.
        """
        return Reading.of(
            [
                (line, start - 1 + step, column, token)
                for line, (start, context) in enumerate(zip(starts, contexts, strict=True))
                for column in self.by_context[context]
                for step, token in enumerate(self.labels[column][1])
                if not self.unread or step >= self.unread[column]
            ]
        )

    def reading_in_trees(self, trees: Sequence[tuple[Tree, int, Sequence[int]]]) -> Reading:
        """The same where each sequence is a tree and a row: a tree, the row's tokens, and the columns that are read."""
        return Reading.of(
            [
                (line, tree.places[ids[:step]] if step else len(tree.places) + length - 1, column, ids[step])
                for line, (tree, length, columns) in enumerate(trees)
                for column, ids in ((column, self.labels[column][1]) for column in columns)
                for step in range(self.unread[column] if self.unread else 0, len(ids))
            ]
        )


def _behind(wanted: Sequence[Ids]) -> tuple[tuple[Ids, ...], tuple[tuple[int, Ids], ...]]:
    """The fewest contexts in which every answer's tokens can be read, and which of them each answer has."""
    kept: list[Ids] = []
    beginnings: dict[Ids, int] = {}  # of the contexts that were kept: the first that begins so
    for context in sorted({ids[:-1] for ids in wanted}, key=len, reverse=True):
        if context not in beginnings:
            for end in range(len(context) + 1):
                beginnings.setdefault(context[:end], len(kept))
            kept.append(context)
    return tuple(kept), tuple((beginnings[ids[:-1]], ids) for ids in wanted)


@dataclass(frozen=True)
class Reading:
    """Where a forward pass over padded sequences gives the tokens of answers their probabilities; arrays, or tensors
    of a batch.

    Attributes:
        positions: int64, of which the output layer is computed, rising.
        lines, at: int64 [places], sequence and number of the position of every place that is read.
        place, sequence, column, token: int64 [tokens], of every token of an answer: its place, its sequence, its column
            of scores, itself.
    """

    positions: Any
    lines: Any
    at: Any
    place: Any
    sequence: Any
    column: Any
    token: Any

    @classmethod
    def of(cls, tokens: Sequence[tuple[int, int, int, int]]) -> Reading:
        """Of every token of an answer: its sequence, the position that is read, its column of scores, itself."""
        wanted = np.array(tokens, dtype=np.int64).reshape(-1, 4)
        places, place = np.unique(wanted[:, :2], axis=0, return_inverse=True)
        positions, at = np.unique(places[:, 1], return_inverse=True)
        return cls(positions, places[:, 0], at, place.reshape(-1), wanted[:, 0], wanted[:, 2], wanted[:, 3])

    def log_probabilities(self, logits: torch.Tensor, width: int, only: Ids = ()) -> torch.Tensor:
        """Float32 log-probability of every token of an answer [tokens].

        Args:
            logits: [sequences, positions, vocabulary]; [sequences, width or more, vocabulary] of a model that cannot
                leave positions out.
            width: tokens of the padded sequences.
            only: tokens, rising, that the logits are of, if not of the vocabulary.
        """
        import torch

        tokens = np.searchsorted(only, self.token) if only else self.token
        lines, at, place, token = (
            torch.as_tensor(one, device=logits.device) for one in (self.lines, self.at, self.place, tokens)
        )
        if logits.shape[1] > len(self.positions):
            at = torch.as_tensor(self.positions, device=logits.device)[at] + logits.shape[1] - width
        return token_log_probabilities(logits[lines, at], place, token)


def token_log_probabilities(logits: torch.Tensor, place: torch.Tensor, token: torch.Tensor) -> torch.Tensor:
    """Float32 log-probability of each token [tokens] by the logits [places, vocabulary] of its place."""
    import torch

    read = logits.float()
    return read[place, token] - torch.logsumexp(read, dim=-1)[place]
