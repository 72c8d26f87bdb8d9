"""Answers of several tokens behind a row, read in one sequence: a tree of tokens, of which each sees its own branch.

Three names of three tokens are nine tokens or fewer behind one copy of the row, in place of three copies. Each token
stands where it would stand behind the row alone. "SpecInfer" (Miao et al. 2024, arXiv:2305.09781) verifies drafts so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from categorize.predictions import BoolArray, IntArray

if TYPE_CHECKING:
    import torch

Ids = tuple[int, ...]


@dataclass(frozen=True)
class Tree:
    """Beginnings of answers.

    Attributes:
        places: of every beginning but the empty one, its place in the tree; a beginning stands behind its own.
        seen: bool [places, places], which places each one sees: its beginnings and itself.
    """

    places: dict[Ids, int]
    seen: BoolArray

    @classmethod
    def of(cls, contexts: Iterable[Ids]) -> Tree:
        """Of token ids that stand behind a row, each with all its beginnings.

        >>> Tree.of([(5, 6), (5, 7)]).places
        {(5,): 0, (5, 6): 1, (5, 7): 2}
        """
        places: dict[Ids, int] = {}
        for context in contexts:
            for end in range(1, len(context) + 1):
                places.setdefault(context[:end], len(places))
        seen = np.eye(len(places), dtype=bool)
        for beginning, place in places.items():
            if len(beginning) > 1:
                seen[place] |= seen[places[beginning[:-1]]]
        return cls(places, seen)

    @property
    def tokens(self) -> list[int]:
        """The last token of every beginning."""
        return [beginning[-1] for beginning in self.places]


@dataclass(frozen=True)
class Branches:
    """Where the tokens of padded sequences stand behind a prefix, and what they see of their own sequence.

    Attributes:
        positions: int64 [sequences, tokens], counted from the prefix's end.
        seen: bool [sequences, tokens, tokens].
    """

    positions: torch.Tensor
    seen: torch.Tensor

    @classmethod
    def of(cls, rows: Sequence[Ids], trees: Sequence[Tree]) -> tuple[list[list[int]], Branches]:
        """Sequences of a tree and a row each, in this order, so that places are the same whatever the rows' lengths."""
        import torch

        sequences = [[*tree.tokens, *row] for row, tree in zip(rows, trees, strict=True)]
        width = max(map(len, sequences))
        positions: IntArray = np.zeros((len(rows), width), dtype=np.int64)
        seen: BoolArray = np.zeros((len(rows), width, width), dtype=bool)
        for line, (row, tree) in enumerate(zip(rows, trees, strict=True)):
            start, end = len(tree.places), len(tree.places) + len(row)
            positions[line, :start] = [len(row) + len(beginning) - 1 for beginning in tree.places]
            positions[line, start:end] = np.arange(len(row))
            seen[line, :start, :start] = tree.seen
            seen[line, :start, start:end] = True
            seen[line, start:end, start:end] = np.tri(len(row), dtype=bool)
        return sequences, cls(torch.from_numpy(positions), torch.from_numpy(seen))
