"""TRL's SFTTrainer on rows that `PromptFormat` rendered and tokenized, with the project's steps, weights and
evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader
from transformers.trainer_utils import EvalLoopOutput
from trl import SFTTrainer

from categorize.prompts.tokens import EncodedPrompt
from categorize.training.arguments import building_trainer
from categorize.training.step_batches import ROWS, WEIGHTS, StepBatches, StepRows

if TYPE_CHECKING:
    from categorize.training.balance import Balance

IGNORED = -100
# From the model and rows of one process to a result for each row, which `measures` turns into what is logged.
Predict = Callable[[Any, Sequence[EncodedPrompt]], list[Any]]


class PromptItems:
    """Token ids of prompt and answer, with labels on the answer alone."""

    def __init__(self, rows: Sequence[EncodedPrompt]) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> dict[str, Any]:
        row = self.rows[i]
        prompt = list(row.prompt_ids)
        answer = list(row.completion_ids)
        return {"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer}


class PromptCollator:
    """Pads on the right: input_ids, attention_mask, labels, the weight of each row and its position.

    `loss_weights` is [rows, 1]: the row's weight times the number of its answer's tokens is what it adds to the
    step's total.
    """

    def __init__(self, pad_token_id: int, multiple: int = 1) -> None:
        self.pad_token_id, self.multiple = pad_token_id, multiple

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of these items."""
        longest = max(len(item["input_ids"]) for item in items)
        width = -(-longest // self.multiple) * self.multiple
        shape = (len(items), width)
        batch = {
            "input_ids": torch.full(shape, self.pad_token_id, dtype=torch.int64),
            "attention_mask": torch.zeros(shape, dtype=torch.int64),
            "labels": torch.full(shape, IGNORED, dtype=torch.int64),
        }
        for i, item in enumerate(items):
            length = len(item["input_ids"])
            batch["input_ids"][i, :length] = torch.tensor(item["input_ids"])
            batch["attention_mask"][i, :length] = 1
            batch["labels"][i, :length] = torch.tensor(item["labels"])
        tokens = (batch["labels"] != IGNORED).sum(dim=1)
        batch[WEIGHTS] = torch.tensor([item["weight"] for item in items], dtype=torch.float32) * tokens
        batch[ROWS] = torch.tensor([item["row"] for item in items], dtype=torch.int64)
        return batch


class LabelSFTTrainer(StepBatches, SFTTrainer):  # type: ignore[misc]
    """Tunes a causal model to answer with labels.

    Args:
        train_rows, eval_rows: encoded prompts with answers.
        weights: of each training row in the loss, [rows].
        predict: what the model answers to rows; called on each process's share with the same number of batches.
        measures: from the answers of all evaluation rows, in their order, to what is logged.
        grouping: batches of rows of like length.
        balance: draws the rows of each epoch.
    """

    def __init__(
        self,
        *,
        model: Any,
        args: Any,
        train_rows: Sequence[EncodedPrompt],
        eval_rows: Sequence[EncodedPrompt],
        weights: Any,
        predict: Predict,
        measures: Callable[[list[Any]], dict[str, float]],
        grouping: bool = True,
        balance: Balance | None = None,
        **kwargs: Any,
    ) -> None:
        from datasets import Dataset

        # TRL looks at the columns of a dataset of its own kind; batches come from `StepRows`.
        first = Dataset.from_list([PromptItems(train_rows)[0]])
        own = {name: parameter.dtype for name, parameter in model.named_parameters() if parameter.requires_grad}
        with building_trainer():
            super().__init__(
                model=model,
                args=args,
                train_dataset=first,
                eval_dataset=first if eval_rows else None,
                data_collator=PromptCollator(
                    int(kwargs["processing_class"].pad_token_id), 8 if torch.cuda.is_available() else 1
                ),
                **kwargs,
            )
        if not self.is_fsdp_enabled:  # which wants one type throughout
            # TRL casts adapters on quantized weights to bfloat16, in which small updates vanish.
            for name, parameter in self.model.named_parameters():
                if name in own:
                    parameter.data = parameter.data.to(own[name])
        self.predict_rows, self.measures = predict, measures
        self.train_rows, self.eval_rows = train_rows, eval_rows
        held_out = StepRows(PromptItems(eval_rows), _lengths(eval_rows), np.ones(len(eval_rows))) if eval_rows else None
        self.init_steps(StepRows(PromptItems(train_rows), _lengths(train_rows), weights), held_out, grouping, balance)

    def num_examples(self, dataloader: Any) -> int:
        """Training rows of an epoch."""
        return self.rows_an_epoch

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """This micro-batch's share of the step's mean loss over answer tokens, by TRL's chunked head."""
        weights, rows = inputs.pop(WEIGHTS), inputs.pop(ROWS)
        self.record_seen(rows)
        outputs = model(**inputs, use_cache=False, fused_lm_head=True)
        answer_tokens = (inputs["labels"] != IGNORED).sum(dim=1).clamp(min=1)
        per_row = -outputs.log_probs.float().sum(dim=-1)  # 0 on positions without a label
        loss = self.share_of_step((per_row * weights / answer_tokens).sum(), weights, num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

    def evaluation_pass(self, model: Any, batch: dict[str, Any]) -> tuple[list[Any], torch.Tensor]:
        """What the model answers to a batch, and (weighted loss, weights) as sums."""
        weights, positions = batch.pop(WEIGHTS), batch.pop(ROWS).tolist()
        with torch.no_grad(), self.compute_loss_context_manager():
            outputs = model(**batch, use_cache=False, fused_lm_head=True)
            tokens = (batch["labels"] != IGNORED).sum(dim=1).clamp(min=1)
            loss = (-outputs.log_probs.float().sum(dim=-1) * weights / tokens).sum()
            given = self.predict_rows(model, [self.eval_rows[max(row, 0)] for row in positions])
        return given, torch.stack([loss, weights.sum()]).double().cpu()

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Loss, and measures of what the model answers, over every evaluation row once.

        SFT has no logits to hand to `compute_metrics`: labels are scored (or answers generated) here, so that early
        stopping and the best checkpoint go by macro-F1 as they do for heads.
        """
        model = self.evaluation_model()
        model.eval()
        sums = torch.zeros(2, dtype=torch.float64)
        answers: dict[int, Any] = {}
        for batch in dataloader:
            positions = batch[ROWS].tolist()
            given, of_batch = self.evaluation_pass(model, self._prepare_inputs(batch))
            sums += of_batch
            answers |= {row: one for row, one in zip(positions, given, strict=True) if row >= 0}
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        parts = self.gather_parts((answers, sums))
        gathered = {row: one for part, _ in parts for row, one in part.items()}
        loss_sum, weight = sum(part[1] for part in parts).tolist()
        measured = self.measures([gathered[row] for row in range(len(self.eval_rows))])
        metrics = {"loss": loss_sum / weight if weight else 0.0, **measured}
        prefixed = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=prefixed, num_samples=len(self.eval_rows))


def _lengths(rows: Sequence[EncodedPrompt]) -> Any:
    return np.array([len(row) for row in rows], dtype=np.int64)
