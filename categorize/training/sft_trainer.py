"""TRL's SFTTrainer on rows that `PromptFormat` rendered and tokenized, with the project's steps, weights and
evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from transformers.trainer_utils import EvalLoopOutput
from trl import SFTTrainer

from categorize.engines.scoring_plan import Ids
from categorize.nn.tokenizer import pad
from categorize.predictions import FloatArray, IntArray
from categorize.prompts.tokens import EncodedPrompt
from categorize.training.arguments import building_trainer
from categorize.training.balance import Balance
from categorize.training.label_set_loss import LabelSetCollator, LabelSetLoss, LabelSetRows
from categorize.training.packed_attention import LAYOUT, packed_attention
from categorize.training.packs import PackingCollator, computed_tokens, logits_at
from categorize.training.step_batches import WEIGHTS, StepBatches, StepRows

IGNORED = -100
ANSWERS = "answers"  # in a batch: tokens of each row's answer
# From the model and rows of one process to a result for each row, which `measures` turns into what is logged.
Predict = Callable[[Any, Sequence[EncodedPrompt]], list[Any]]


class PromptRows(StepRows):
    """Prompts with answers, and loss weights [n]."""

    def __init__(self, rows: Sequence[EncodedPrompt], weights: FloatArray) -> None:
        super().__init__(np.array([len(row) for row in rows], dtype=np.int64), weights)
        self.rows = rows

    def item(self, row: int) -> dict[str, Any]:
        """Token ids of prompt and answer, with labels on the answer alone."""
        prompt, answer = self.rows[row].prompt_ids, self.rows[row].completion_ids
        return {"input_ids": prompt + answer, "labels": (IGNORED,) * len(prompt) + answer}

    @property
    def truncated(self) -> int:
        """Rows whose text was shortened."""
        return sum(row.truncated for row in self.rows)


class PromptCollator(PackingCollator):
    """Adds the labels: of a pack those of its places, else one for every token. A row's weight times the number of its
    answer's tokens is what it adds to the step's total."""

    def sequences(self, items: list[dict[str, Any]]) -> tuple[list[Ids], IntArray, IntArray]:
        """Every row, read where each token of its answer is foretold."""
        learned = [(i, at - 1) for i, item in enumerate(items) for at, one in enumerate(item["labels"]) if one >= 0]
        lines, positions = np.array(learned, dtype=np.int64).reshape(-1, 2).T
        return [item["input_ids"] for item in items], lines, positions

    def inputs(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """A pack, or padded rows for TRL's head."""
        labels = [item["labels"] for item in items]
        if self.share:
            return {**super().inputs(items), "labels": torch.tensor([one for row in labels for one in row if one >= 0])}
        return {
            **pad([item["input_ids"] for item in items], self.pad_token_id, self.multiple),
            "labels": pad(labels, IGNORED, self.multiple)["input_ids"],
        }

    def columns_of_head(self, positions: IntArray, longest: int) -> int:
        """TRL's head is computed of all tokens, but on a GPU."""
        return super().columns_of_head(positions, longest) if torch.cuda.is_available() else longest

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, Any]:
        """The batch of these items."""
        batch = super().__call__(items)
        answers = torch.tensor([sum(one != IGNORED for one in item["labels"]) for item in items])
        batch[WEIGHTS] *= answers
        return batch | {ANSWERS: answers}


class LabelSFTTrainer(StepBatches, SFTTrainer):  # type: ignore[misc]
    """Tunes a causal model to answer with labels.

    SFT has no logits to hand to `compute_metrics`: labels are scored (or answers generated) in the evaluation, so that
    early stopping and the best checkpoint go by macro-F1 as they do for heads.

    Args:
        train_rows, eval_rows: encoded prompts with answers.
        weights: of each training row in the loss, [rows].
        predict: what the model answers to rows; called on each process's share with the same number of batches.
        begin_evaluation: is called before each evaluation, whose weights are not those of the last.
        label_set_loss: learns labels among each other; None: the answers' tokens are learned.
        targets: of training and of evaluation rows, [rows, labels] each; read by `label_set_loss`.
        measures, grouping, balance: see `StepBatches`; what is given for a row is its answer, or its scores [labels]
            where `label_set_loss` computes them.
    """

    def __init__(
        self,
        *,
        model: Any,
        train_rows: Sequence[EncodedPrompt],
        eval_rows: Sequence[EncodedPrompt],
        weights: FloatArray,
        predict: Predict,
        measures: Callable[[list[Any]], dict[str, float]],
        begin_evaluation: Callable[[], None] = lambda: None,
        label_set_loss: LabelSetLoss | None = None,
        targets: tuple[FloatArray, FloatArray] | None = None,
        grouping: bool = True,
        balance: Balance | None = None,
        **kwargs: Any,
    ) -> None:
        from datasets import Dataset

        pad_token_id, ones = int(kwargs["processing_class"].pad_token_id), np.ones(len(eval_rows))
        rows: StepRows = PromptRows(train_rows, weights)
        held_out: StepRows = PromptRows(eval_rows, ones)
        collator: PackingCollator = PromptCollator(pad_token_id)
        # TRL looks at the columns of a dataset of its own kind; batches come from `StepRows`.
        first = Dataset.from_list([rows.item(0)])
        if label_set_loss is not None and targets is not None:
            plan = label_set_loss.plan
            rows = LabelSetRows(train_rows, targets[0], weights, plan)
            held_out = LabelSetRows(eval_rows, targets[1], ones, plan)
            collator = LabelSetCollator(pad_token_id, plan)
        kwargs |= {"train_dataset": first, "eval_dataset": first if eval_rows else None}
        own = {name: parameter.dtype for name, parameter in model.named_parameters() if parameter.requires_grad}
        with building_trainer():
            super().__init__(model=model, data_collator=collator, **kwargs)
        if not self.is_fsdp_enabled:  # which wants one type throughout
            # TRL casts adapters on quantized weights to bfloat16, in which small updates vanish.
            for name, parameter in self.model.named_parameters():
                if name in own:
                    parameter.data = parameter.data.to(own[name])
        self.predict_rows, self.train_rows, self.eval_rows = predict, train_rows, eval_rows
        self.label_set_loss, self.begin_evaluation = label_set_loss, begin_evaluation
        self.tokens = np.zeros(2, dtype=np.int64)  # that were computed in training, and that would have been padded
        self.init_steps(rows, held_out if eval_rows else None, measures, grouping, balance)

    def training_step(self, *args: Any, **kwargs: Any) -> Any:
        """Upstream's. What is recomputed in the backward pass finds the attention of the forward pass."""
        with self._attention():
            return super().training_step(*args, **kwargs)

    def _attention(self) -> AbstractContextManager[None]:
        return packed_attention(self.model) if self.data_collator.share else nullcontext()

    def pass_tokens(self, rows: StepRows, batch: Sequence[int]) -> int:
        """Tokens that a pass computes of these rows, padding counted."""
        sizes = self.data_collator.sizes([rows.item(row) for row in batch])
        return int(sizes.packed if self.data_collator.share else sizes.padded)

    @property
    def tokens_saved(self) -> float:
        """Share of the tokens, padding counted, that a shared prefix has spared the training until now."""
        computed, padded = self.tokens.tolist()
        return 1 - computed / padded if padded else 0.0

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Upstream's, with the share of the tokens that were saved."""
        if "loss" in logs and self.data_collator.share:
            logs["tokens_saved"] = round(self.tokens_saved, 4)
        super().log(logs, *args, **kwargs)

    def facts(self) -> dict[str, Any]:
        """What the run keeps beside its measures."""
        return {**super().facts(), **({"tokens_saved": self.tokens_saved} if self.data_collator.share else {})}

    def summed_loss(self, model: Any, batch: dict[str, Any], weights: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """The weighted sum of the answer tokens' losses, of whole sequences by TRL's chunked head, and the model's
        outputs; or of the labels' losses, and their scores."""
        if model.training:
            self.tokens += computed_tokens(batch)
        with self._attention():
            return self._loss(model, batch, weights)

    def _loss(self, model: Any, batch: dict[str, Any], weights: torch.Tensor) -> tuple[torch.Tensor, Any]:
        if self.label_set_loss is not None:
            return self.label_set_loss(model, batch, weights)
        answers = batch.pop(ANSWERS)
        of_token = weights / answers.clamp(min=1)
        if LAYOUT in batch:
            lost = torch.nn.functional.cross_entropy(logits_at(model, batch).float(), batch["labels"], reduction="none")
            return (lost * of_token.repeat_interleave(answers)).sum(), None
        outputs = model(**batch, use_cache=False, fused_lm_head=True)
        per_row = -outputs.log_probs.float().sum(dim=-1)  # 0 on positions without a label
        return (per_row * of_token).sum(), outputs

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> EvalLoopOutput:
        """See `StepBatches.evaluation_loop`."""
        self.begin_evaluation()
        return super().evaluation_loop(*args, **kwargs)

    def given(self, model: Any, outputs: Any, rows: list[int]) -> Sequence[Any]:
        """What the model answers to each row; to a repeat, as to the first: a shared model makes the same passes."""
        if self.label_set_loss is not None:
            return list(outputs.float().cpu().numpy())
        return self.predict_rows(model, [self.eval_rows[max(row, 0)] for row in rows])
