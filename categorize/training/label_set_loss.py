"""Rows, batches and loss of a causal model that learns labels among each other: the cross-entropy of what predicting by
scoring gives.

Every row is read with each context of its `ScoringPlan` behind it, in one forward pass. With single-token codes that is
one sequence a row, and the loss a softmax over the codes where the answer begins. The instruction that all rows begin
with is computed once a batch, and its gradient with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from categorize.engines.scoring_plan import Reading, ScoringPlan
from categorize.engines.shared_prefix import is_repeatable
from categorize.nn.adapters import virtual_tokens
from categorize.nn.head_output import Output
from categorize.nn.tokenizer import pad
from categorize.predictions import FloatArray, Predictions
from categorize.prompts.tokens import EncodedPrompt
from categorize.training.step_batches import ROWS, WEIGHTS, Collator, StepRows

READING = ("positions", "lines", "at", "place", "sequence", "column", "token")


class LabelSetRows(StepRows):
    """Prompts with targets [n, labels] and loss weights [n]."""

    def __init__(
        self, rows: Sequence[EncodedPrompt], targets: FloatArray, weights: FloatArray, plan: ScoringPlan
    ) -> None:
        longest = max(map(len, plan.contexts))
        super().__init__(np.array([len(row.prompt_ids) + longest for row in rows], dtype=np.int64), weights)
        self.rows, self.targets = rows, targets

    def item(self, row: int) -> dict[str, Any]:
        """Token ids of the prompt, in two parts, and the target."""
        one = self.rows[row]
        return {"prefix_ids": one.prefix_ids, "input_ids": one.row_ids, "target": self.targets[row]}

    @property
    def truncated(self) -> int:
        """Rows whose text was shortened."""
        return sum(row.truncated for row in self.rows)


class LabelSetCollator(Collator):
    """Puts every context behind every row, row by row; adds the targets as labels, float32 [rows, labels], and the
    tokens that all sequences begin with as prefix, int64 [tokens]."""

    def __init__(self, pad_token_id: int, plan: ScoringPlan, multiple: int | None = None) -> None:
        super().__init__(pad_token_id, multiple)
        self.plan = plan

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of these items; tensors of a `Reading` under its names."""
        contexts = [context for _ in items for context in range(len(self.plan.contexts))]
        prefixes = {item["prefix_ids"] for item in items}
        prefix = prefixes.pop() if len(prefixes) == 1 else ()
        rows = [item["input_ids"] if prefix else item["prefix_ids"] + item["input_ids"] for item in items]
        before = [ids for ids in rows for _ in self.plan.contexts]
        sequences = [[*ids, *self.plan.contexts[context]] for ids, context in zip(before, contexts, strict=True)]
        reading = self.plan.reading(list(map(len, before)), contexts)
        return {
            **pad(sequences, self.pad_token_id, self.multiple),
            **{name: torch.from_numpy(np.asarray(getattr(reading, name))) for name in READING},
            "prefix": torch.tensor(prefix, dtype=torch.int64),
            "labels": torch.from_numpy(np.stack([item["target"] for item in items]).astype(np.float32)),
            WEIGHTS: torch.tensor([item["weight"] for item in items], dtype=torch.float32),
            ROWS: torch.tensor([item["row"] for item in items], dtype=torch.int64),
        }


class LabelSetLoss:
    """Minus the log-probability of the label among the labels, or of yes and no for each of them.

    Args:
        plan: of the prompt.
        output: reads scores as a head's logits: softmax, or a sigmoid for each label.
        share_prefix: compute what all rows begin with once a batch. Not with wrappers that allow one pass a step, nor
            with learned prompts, nor where activations are computed again: those take whole sequences.
    """

    def __init__(self, plan: ScoringPlan, output: Output, share_prefix: bool = True) -> None:
        self.plan, self.output, self.share_prefix = plan, output, share_prefix

    def __call__(self, model: Any, batch: dict[str, Any], weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted sum of the rows' losses, and the scores that it is of [rows, labels]."""
        ids, prefix, targets = batch["input_ids"], batch["prefix"], batch["labels"]
        reading = Reading(**{name: batch[name] for name in READING})
        mask = torch.nn.functional.pad(batch["attention_mask"], (len(prefix), 0), value=1)
        kept, inputs = reading.positions, {}
        if (cache := self._cache(model, prefix)) is not None:
            cache.batch_repeat_interleave(len(ids))
            places = torch.arange(len(prefix), len(prefix) + ids.shape[1], device=ids.device)
            inputs = {"past_key_values": cache, "position_ids": places.expand(len(ids), -1)}
        else:
            ids, kept = torch.cat([prefix.expand(len(ids), -1), ids], dim=1), kept + len(prefix) + virtual_tokens(model)
        output = model(input_ids=ids, attention_mask=mask, use_cache=cache is not None, logits_to_keep=kept, **inputs)
        found = reading.log_probabilities(output.logits, batch["input_ids"].shape[1])
        row = reading.sequence // len(self.plan.contexts)
        scores = found.new_zeros(len(targets), len(self.plan.labels))
        logits = self.plan.logits(scores.index_put((row, reading.column), found, accumulate=True))
        return self.output.loss(logits, targets, weights), logits

    def _cache(self, model: Any, prefix: torch.Tensor) -> Any:
        """Keys and values of the prefix, one row; None where it is not shared."""
        if not self.share_prefix or not len(prefix):
            return None
        cache = model(input_ids=prefix[None], use_cache=True, logits_to_keep=1).past_key_values
        self.share_prefix = is_repeatable(cache)
        return cache if self.share_prefix else None

    def read(self, ids: list[str], scores: list[Any]) -> Predictions:
        """Undecided predictions from the scores of rows."""
        return self.output.predictions(ids, np.stack(scores).astype(np.float64))
