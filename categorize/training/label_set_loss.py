"""Rows, batches and loss of a causal model that learns labels among each other: the cross-entropy of what predicting by
scoring gives.

Every row is read with each context of its `ScoringPlan` behind it, in one forward pass. With single-token codes that is
one sequence a row, and the loss a softmax over the codes where the answer begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from categorize.engines.scoring_plan import Ids, Reading, ScoringPlan, token_log_probabilities
from categorize.nn.head_output import Output
from categorize.predictions import FloatArray, IntArray, Predictions
from categorize.prompts.tokens import EncodedPrompt
from categorize.training.packs import PackingCollator, logits_at
from categorize.training.step_batches import StepRows

READING = ("place", "sequence", "column", "token")


class LabelSetRows(StepRows):
    """Prompts with targets [n, labels] and loss weights [n]."""

    def __init__(
        self, rows: Sequence[EncodedPrompt], targets: FloatArray, weights: FloatArray, plan: ScoringPlan
    ) -> None:
        longest = max(map(len, plan.contexts))
        super().__init__(np.array([len(row.prompt_ids) + longest for row in rows], dtype=np.int64), weights)
        self.rows, self.targets = rows, targets

    def item(self, row: int) -> dict[str, Any]:
        """Token ids of the prompt, and the target."""
        return {"input_ids": self.rows[row].prompt_ids, "target": self.targets[row]}

    @property
    def truncated(self) -> int:
        """Rows whose text was shortened."""
        return sum(row.truncated for row in self.rows)


class LabelSetCollator(PackingCollator):
    """Puts every context behind every row, row by row; adds the targets as labels, float32 [rows, labels], and the
    tensors of a `Reading` of what is beyond its places."""

    def __init__(self, pad_token_id: int, plan: ScoringPlan, multiple: int | None = None) -> None:
        super().__init__(pad_token_id, multiple)
        self.plan = plan

    def sequences(self, items: list[dict[str, Any]]) -> tuple[list[Ids], IntArray, IntArray]:
        """Every row with each context behind it."""
        sequences = [(*item["input_ids"], *context) for item in items for context in self.plan.contexts]
        reading = self._reading(items)
        return sequences, reading.lines, reading.positions[reading.at]

    def inputs(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """Sequences, where they are read, and the targets."""
        reading = self._reading(items)
        return {
            **super().inputs(items),
            **{name: torch.from_numpy(np.asarray(getattr(reading, name))) for name in READING},
            "labels": torch.from_numpy(np.stack([item["target"] for item in items]).astype(np.float32)),
        }

    def _reading(self, items: list[dict[str, Any]]) -> Reading:
        contexts = range(len(self.plan.contexts))
        starts = [len(item["input_ids"]) for item in items for _ in contexts]
        return self.plan.reading(starts, [context for _ in items for context in contexts])


class LabelSetLoss:
    """Minus the log-probability of the label among the labels, or of yes and no for each of them.

    Args:
        plan: of the prompt.
        output: reads scores as a head's logits: softmax, or a sigmoid for each label.
    """

    def __init__(self, plan: ScoringPlan, output: Output) -> None:
        self.plan, self.output = plan, output

    def __call__(self, model: Any, batch: dict[str, Any], weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum of the rows' losses, and the scores that it is of [rows, labels]."""
        targets = batch["labels"]
        found = token_log_probabilities(logits_at(model, batch), batch["place"], batch["token"])
        row = batch["sequence"] // len(self.plan.contexts)
        scores = found.new_zeros(len(targets), len(self.plan.labels))
        logits = self.plan.logits(scores.index_put((row, batch["column"]), found, accumulate=True))
        return self.output.loss(logits, targets, weights), logits

    def read(self, ids: list[str], scores: list[Any]) -> Predictions:
        """Undecided predictions from the scores of rows."""
        return self.output.predictions(ids, np.stack(scores).astype(np.float64))
