"""The trainer of heads."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from categorize.nn.tokenizer import TokenizedTexts, pad
from categorize.predictions import FloatArray
from categorize.training.arguments import building_trainer
from categorize.training.step_batches import ROWS, WEIGHTS, StepBatches, StepRows

if TYPE_CHECKING:
    from categorize.training.balance import Balance

Measures = Callable[["FloatArray"], dict[str, float]]
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]  # logits, targets, weights: a sum over rows


class _Items:
    """Token ids and target of each row."""

    def __init__(self, tokens: TokenizedTexts, targets: FloatArray) -> None:
        self.tokens, self.targets = tokens, targets

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {"ids": self.tokens[i], "target": self.targets[i]}


class EncodedRows(StepRows):
    """Tokenized rows with targets [n, labels] and loss weights [n]."""

    def __init__(self, tokens: TokenizedTexts, targets: FloatArray, weights: FloatArray) -> None:
        super().__init__(_Items(tokens, targets), tokens.lengths, weights)
        self.tokens, self.targets = tokens, targets


class Collator:
    """Pads a micro-batch on the right; gives input_ids, attention_mask, labels [rows, labels], weights and
    positions."""

    def __init__(self, pad_token_id: int, multiple: int = 1) -> None:
        self.pad_token_id, self.multiple = pad_token_id, multiple

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of these items."""
        batch = pad([item["ids"] for item in items], self.pad_token_id, self.multiple)
        batch["labels"] = torch.from_numpy(np.stack([item["target"] for item in items]).astype(np.float32))
        batch[WEIGHTS] = torch.tensor([item["weight"] for item in items], dtype=torch.float32)
        batch[ROWS] = torch.tensor([item["row"] for item in items], dtype=torch.int64)
        return batch


class HeadTrainer(StepBatches, Trainer):  # type: ignore[misc]
    """Trains a head.

    Args:
        objective: the loss, as a sum over rows.
        measures: from logits [n, labels] of the evaluation rows, in their order, to what is logged.
        grouping: batches of rows of like length.
        balance: draws the rows of each epoch.
    """

    def __init__(
        self,
        *args: Any,
        objective: Loss,
        measures: Measures,
        train_dataset: EncodedRows,
        eval_dataset: EncodedRows | None = None,
        grouping: bool = True,
        balance: Balance | None = None,
        **kwargs: Any,
    ) -> None:
        with building_trainer():
            super().__init__(*args, train_dataset=train_dataset, eval_dataset=eval_dataset, **kwargs)
        self.objective = objective
        self.measures = measures
        self.init_steps(train_dataset, eval_dataset, grouping, balance)

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This micro-batch's share of the step's mean loss."""
        targets, weights, rows = inputs.pop("labels"), inputs.pop(WEIGHTS), inputs.pop(ROWS)
        self.record_seen(rows)
        outputs = model(**inputs)
        loss = self.share_of_step(self.objective(outputs.logits, targets, weights), weights, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def evaluation_pass(self, model: Any, batch: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits of a batch, and (weighted loss, weights) as sums."""
        targets, weights = batch.pop("labels"), batch.pop(WEIGHTS)
        batch.pop(ROWS, None)
        with torch.no_grad(), self.compute_loss_context_manager():
            output = model(**batch).logits.float()
        return output, torch.stack([self.objective(output, targets, weights), weights.sum()]).double().cpu()

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Logits of every evaluation row once, gathered from all processes, and the measures of them.

        Only logits are kept, so memory does not grow with hidden states (transformers#12878).
        """
        model = self.evaluation_model()
        model.eval()
        rows: list[int] = []
        logits: list[torch.Tensor] = []
        sums = torch.zeros(2, dtype=torch.float64)
        for batch in dataloader:
            batch = self._prepare_inputs(batch)
            positions = batch.pop(ROWS)
            kept = positions >= 0
            output, of_batch = self.evaluation_pass(model, batch)
            sums += of_batch
            rows.extend(positions[kept].tolist())
            logits.append(output[kept].cpu())
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        parts = self.gather_parts((rows, torch.cat(logits).numpy() if logits else None, sums))
        dataset: Any = dataloader.dataset
        gathered = np.full((len(dataset), len(dataset.targets[0])), np.nan)
        for positions, values, _ in parts:
            gathered[positions] = values
        loss, weight = sum(part[2] for part in parts).tolist()
        metrics = {"loss": loss / weight if weight else 0.0, **self.measures(gathered)}
        prefixed = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(predictions=gathered, label_ids=None, metrics=prefixed, num_samples=len(dataset))
