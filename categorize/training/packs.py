"""Sequences as one batch, padded or behind one copy of what they all begin with, and logits where they are read.

Rows of causal models begin with the same instruction, which separate sequences would compute once a row.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from categorize.engines.scoring_plan import Ids
from categorize.nn.adapters import virtual_tokens
from categorize.nn.tokenizer import pad
from categorize.predictions import IntArray
from categorize.training.packed_attention import LAYOUT, layout
from categorize.training.step_batches import Collator

READ = "read"


class PackingCollator(Collator):
    """A micro-batch of sequences that are read at some of their places.

    Attributes:
        share: compute what the sequences begin with once; else they are padded.
    """

    share = False

    @abstractmethod
    def sequences(self, items: list[dict[str, Any]]) -> tuple[list[Ids], IntArray, IntArray]:
        """Token ids, and of every place that is read the sequence and the position there, [places] each. Every sequence
        has one; positions rise within it."""

    def inputs(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """What the model reads, for `logits_at`."""
        sequences, lines, positions = self.sequences(items)
        return self.pack(sequences, lines, positions) if self.share else self.padded(sequences, lines, positions)

    def padded(self, sequences: Sequence[Ids], lines: IntArray, positions: IntArray) -> dict[str, Any]:
        """Sequences [sequences, longest], padded on the right; the output layer is computed of every position that is
        read of any of them."""
        columns, at = np.unique(positions, return_inverse=True)
        return {
            **pad(sequences, self.pad_token_id, self.multiple),
            READ: torch.from_numpy(columns),
            "lines": torch.from_numpy(lines),
            "at": torch.from_numpy(at.reshape(-1)),
        }

    def pack(self, sequences: Sequence[Ids], lines: IntArray, positions: IntArray) -> dict[str, Any]:
        """The same sequences as a pack [1, tokens]. No place lies in the shared prefix, for each has logits of its
        own."""
        prefix = shared_tokens(sequences, positions)
        lengths = [len(ids) - prefix for ids in sequences]
        starts = np.cumsum([prefix, *lengths])
        steps = [np.arange(prefix), *(np.arange(prefix, prefix + length) for length in lengths)]
        tokens = [*sequences[0][:prefix], *(token for ids in sequences for token in ids[prefix:])]
        return {
            "input_ids": torch.tensor([tokens]),
            "position_ids": torch.from_numpy(np.concatenate(steps))[None],
            READ: torch.from_numpy(starts[lines] + positions - prefix),
            LAYOUT: layout(prefix, lengths),
        }

    def sizes(self, items: list[dict[str, Any]]) -> Sizes:
        """What a batch of these items has, packed and padded."""
        sequences, _, positions = self.sequences(items)
        prefix, longest = shared_tokens(sequences, positions), max(map(len, sequences))
        heads = len(sequences) * self.columns_of_head(positions, longest)
        return Sizes(prefix, len(sequences), sum(map(len, sequences)), longest, len(positions), heads)

    def columns_of_head(self, positions: IntArray, longest: int) -> int:
        """Of how many tokens of each padded sequence the output layer is computed."""
        return len(np.unique(positions))


@dataclass(frozen=True)
class Sizes:
    """Sequences of a batch.

    Attributes:
        prefix: tokens that all begin with.
        sequences: how many.
        tokens: of all of them.
        longest: tokens of the longest.
        places: tokens that are read; `heads`: of how many the output layer is computed when sequences are padded.
    """

    prefix: int
    sequences: int
    tokens: int
    longest: int
    places: int
    heads: int

    @property
    def packed(self) -> int:
        """Tokens that are computed with one prefix."""
        return self.tokens - (self.sequences - 1) * self.prefix

    @property
    def padded(self) -> int:
        """Tokens that are computed otherwise, padding counted."""
        return self.sequences * self.longest


def shared_tokens(sequences: Sequence[Ids], positions: IntArray) -> int:
    """Tokens that all sequences begin with, before the first place that is read."""
    first, last = min(sequences), max(sequences)  # what these begin with, all between them do
    same = (i for i, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return min(next(same, min(len(first), len(last))), int(positions.min()))


def computed_tokens(batch: Mapping[str, Any]) -> tuple[int, int]:
    """Tokens of a batch, and what the same sequences have when they are padded."""
    tokens = batch["input_ids"].numel()
    if LAYOUT not in batch:
        return tokens, tokens
    sequences, longest = batch[LAYOUT]["rests"].shape
    return tokens, sequences * (batch[LAYOUT]["prefix"] + longest)


def logits_at(model: Any, batch: Mapping[str, Any]) -> torch.Tensor:
    """Logits [places, vocabulary] of a batch of a `PackingCollator`, in the order of its places. A pack is read within
    `packed_attention`."""
    wanted, ids = batch[READ], batch["input_ids"]
    if LAYOUT in batch:
        inputs = {name: batch[name] for name in ("position_ids", LAYOUT)}
        logits: torch.Tensor = model(input_ids=ids, use_cache=False, logits_to_keep=wanted, **inputs).logits[0]
        return logits if len(logits) == len(wanted) else logits[wanted]  # of a model that leaves no position out
    mask, kept = batch["attention_mask"], wanted + virtual_tokens(model)
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False, logits_to_keep=kept).logits
    at = batch["at"]
    if logits.shape[1] > len(wanted):
        at = wanted[at] + logits.shape[1] - ids.shape[1]
    read: torch.Tensor = logits[batch["lines"], at]
    return read
