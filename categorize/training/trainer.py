"""The trainer of heads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from categorize.errors import UserError
from categorize.nn.r_drop import divergence, has_dropout
from categorize.nn.tokenizer import TokenizedTexts
from categorize.predictions import FloatArray
from categorize.training.arguments import building_trainer
from categorize.training.balance import Balance
from categorize.training.step_batches import Collator, StepBatches, StepRows

Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # logits, targets, weights: a sum over rows


class EncodedRows(StepRows):
    """Tokenized rows with targets [n, labels] and loss weights [n]."""

    def __init__(self, tokens: TokenizedTexts, targets: FloatArray, weights: FloatArray) -> None:
        super().__init__(tokens.lengths, weights)
        self.tokens, self.targets = tokens, targets

    def item(self, row: int) -> dict[str, Any]:
        """Token ids and target of a row."""
        return {"input_ids": self.tokens[row], "target": self.targets[row]}

    @property
    def truncated(self) -> int:
        """Rows that were cut."""
        return self.tokens.truncated


class HeadCollator(Collator):
    """Adds the targets as labels, float32 [rows, labels]."""

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of these items."""
        labels = np.stack([item["target"] for item in items]).astype(np.float32)
        return {**super().__call__(items), "labels": torch.from_numpy(labels)}


class HeadTrainer(StepBatches):
    """Trains a head.

    Args:
        objective: the loss, as a sum over rows.
        collator: makes batches of items.
        r_drop: weight of the divergence of two passes over the same rows, see `nn.r_drop`; 0: one pass.
        measures, grouping, balance: see `StepBatches`; what is given for a row are its logits [labels].
    """

    def __init__(
        self,
        *,
        model: Any,
        objective: Loss,
        measures: Callable[[list[Any]], dict[str, float]],
        train_dataset: StepRows,
        eval_dataset: StepRows | None = None,
        collator: type[HeadCollator] = HeadCollator,
        grouping: bool = True,
        balance: Balance | None = None,
        r_drop: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if r_drop and not has_dropout(model):
            raise UserError(
                "training.r_drop: two passes are the same, for the model has no dropout; set model.dropout, or "
                "adapter.lora_dropout, or remove the key"
            )
        self.r_drop = r_drop
        kwargs |= {"train_dataset": train_dataset, "eval_dataset": eval_dataset}
        with building_trainer():
            super().__init__(model=model, data_collator=collator(model.config.pad_token_id), **kwargs)
        self.objective = objective
        self.init_steps(train_dataset, eval_dataset, measures, grouping, balance)

    def summed_loss(self, model: Any, batch: dict[str, Any], weights: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """The weighted sum of the rows' losses, and the model's outputs."""
        targets = batch.pop("labels")
        if self.r_drop and model.training:
            outputs = model(**{name: torch.cat([value, value]) for name, value in batch.items()})
            first, second = outputs.logits.chunk(2)
            apart = divergence(self.model.config.problem_type, first, second)
            mean = (self.objective(first, targets, weights) + self.objective(second, targets, weights)) / 2
            return mean + self.r_drop * (apart * weights).sum(), outputs
        outputs = model(**batch)
        return self.objective(outputs.logits, targets, weights), outputs

    def given(self, model: Any, outputs: Any, rows: list[int]) -> Sequence[Any]:
        """Logits [labels] of each row."""
        return list(outputs.logits.float().cpu().numpy())
