"""What every trainer shares: batches cut from optimizer steps, weights as the loss's denominator, whole checkpoints.

Upstream counts items by labels that are not -100 and believes that `*ForSequenceClassification` normalises by that
count itself (transformers#47688). Here every micro-batch gives a weighted sum, divided by the weights of the whole
optimizer step over all processes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import EvalLoopOutput

from categorize.nn.adapters import prompt_encoder_from, save_prompt_encoder
from categorize.nn.tokenizer import pad
from categorize.predictions import FloatArray, IntArray
from categorize.training.arguments import built_for
from categorize.training.balance import Balance
from categorize.training.checkpoints import Progress, mark_complete
from categorize.training.ending import EndBehindStep, ran_out_of_patience
from categorize.training.progress_lines import ProgressLines
from categorize.training.sampler import StepBatchSampler
from categorize.training.split_passes import ROWS, SplitPasses
from categorize.training.stopping import requested

WEIGHTS = "loss_weights"


class StepRows(Dataset[dict[str, Any]], ABC):
    """Rows by position. Item `~i` is row i as a repeat (see `StepBatchSampler`): weight 0, and numbered -1, for it is
    neither seen nor evaluated.

    Args:
        lengths: tokens of each row, [n].
        weights: of each row in the loss, [n].
    """

    def __init__(self, lengths: IntArray, weights: FloatArray) -> None:
        self.lengths, self.weights = lengths, weights

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> dict[str, Any]:
        row = i if i >= 0 else ~i
        return {**self.item(row), "weight": self.weights[row] if i >= 0 else 0.0, "row": row if i >= 0 else -1}

    @abstractmethod
    def item(self, row: int) -> dict[str, Any]:
        """What the collator reads of a row."""

    @property
    @abstractmethod
    def truncated(self) -> int:
        """Rows that were cut."""


class Collator:
    """Pads a micro-batch on the right: input_ids and attention_mask, the rows' weights and positions."""

    def __init__(self, pad_token_id: int, multiple: int | None = None) -> None:
        self.pad_token_id = pad_token_id
        self.multiple = multiple or (8 if torch.cuda.is_available() else 1)

    def __call__(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """The batch of these items."""
        batch = self.inputs(items)
        batch[WEIGHTS] = torch.tensor([item["weight"] for item in items], dtype=torch.float32)
        batch[ROWS] = torch.tensor([item["row"] for item in items], dtype=torch.int64)
        return batch

    def inputs(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """What the model reads of these items."""
        return pad([item["input_ids"] for item in items], self.pad_token_id, self.multiple)


class _SetEpoch(TrainerCallback):  # type: ignore[misc]
    """Tells the sampler which epoch begins; the loader is not accelerate's own, which would do it."""

    def __init__(self, sampler: StepBatchSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.sampler.set_epoch(int(state.epoch or 0))


class StepBatches(SplitPasses):
    """What heads and causal models train by; a subclass says what rows lose and give, and calls `init_steps`.

    Attributes:
        rows, held_out: training and evaluation rows.
        measures: from what is given for every evaluation row, in their order, to what is logged.
        grouping: batches of rows of like length.
        balance: draws the rows of each epoch; None: every row once.
    """

    control: Any
    rows: StepRows
    held_out: StepRows | None
    measures: Callable[[list[Any]], dict[str, float]]

    @abstractmethod
    def summed_loss(self, model: Any, batch: dict[str, Any], weights: torch.Tensor) -> tuple[torch.Tensor, Any]:
        """The weighted sum of the rows' losses, and the model's outputs."""

    @abstractmethod
    def given(self, model: Any, outputs: Any, rows: list[int]) -> Sequence[Any]:
        """What is measured of each of these evaluation rows; -1 is a repeat, of which anything is given."""

    def init_steps(
        self,
        rows: StepRows,
        held_out: StepRows | None,
        measures: Callable[[list[Any]], dict[str, float]],
        grouping: bool,
        balance: Balance | None,
    ) -> None:
        """Call once, after the trainer's own construction."""
        self.rows, self.held_out, self.measures = rows, held_out, measures
        self.grouping, self.balance = grouping, balance
        self.loss_is_scaled_for_ga = True  # `compute_loss` divides by the step's weights itself
        self.begin(Progress())
        self.stop_agreed = False  # whether any process was asked to stop
        self.seen_rows: list[int] | None = None  # set to a list to record the rows of every forward pass, for tests
        for printer in (PrinterCallback, ProgressCallback):
            self.remove_callback(printer)
        self.add_callback(ProgressLines())

    def facts(self) -> dict[str, Any]:
        """What the run keeps of the training beside its measures."""
        return {"passes_a_batch": self.parts} if self.parts > 1 else {}

    # ------------------------------------------------------------ batches
    def pass_tokens(self, rows: StepRows, batch: Sequence[int]) -> int:
        """Tokens that a pass computes of these rows, padding counted."""
        return len(batch) * int(rows.lengths[list(batch)].max())

    @property
    def rows_an_epoch(self) -> int:
        """Rows that an epoch trains on."""
        return self.balance.rows if self.balance is not None else len(self.rows)

    def num_examples(self, dataloader: Any) -> int:
        """The same for upstream."""
        return self.rows_an_epoch

    def _sampler(
        self, rows: StepRows, batch_size: int, accumulation: int, balance: Balance | None = None
    ) -> StepBatchSampler:
        return StepBatchSampler(
            rows.lengths,
            batch_size,
            accumulation=accumulation,
            processes=self.args.world_size,
            process=self.args.process_index,
            seed=self.args.seed,
            grouping=self.grouping,
            balance=balance,
        )

    def sampler(self) -> StepBatchSampler:
        """This process's batches of an epoch, as positions of training rows."""
        return self._sampler(self.rows, self._train_batch_size, self.args.gradient_accumulation_steps, self.balance)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This process's batches. Not prepared by accelerate, which would shard them once more and repeat rows."""
        sampler = self.sampler()
        for callback in [one for one in self.callback_handler.callbacks if isinstance(one, (_SetEpoch, EndBehindStep))]:
            self.remove_callback(callback)
        self.add_callback(_SetEpoch(sampler))
        self.add_callback(EndBehindStep(self))  # the last: it sees what the others decided
        return self.loader(self.rows, sampler, persistent=self.args.dataloader_persistent_workers)

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader[Any]:
        """This process's share of the evaluation rows."""
        rows = self.held_out
        assert rows is not None
        return self.loader(rows, self._sampler(rows, self.args.eval_batch_size, 1))

    def loader(self, rows: StepRows, batches: Iterable[list[int]], persistent: bool = False) -> DataLoader[Any]:
        """Batches of these positions, read by as many workers as the arguments say. Workers of an evaluation end with
        it, for each evaluation has a loader of its own."""
        workers = self.args.dataloader_num_workers
        generator = torch.Generator()
        generator.manual_seed(self.args.seed)
        return DataLoader(
            rows,
            batch_sampler=batches,
            collate_fn=self.data_collator,
            num_workers=workers,
            pin_memory=self.args.dataloader_pin_memory,
            persistent_workers=persistent,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            multiprocessing_context=self.args.dataloader_multiprocessing_context if workers else None,
            generator=generator,
        )

    # ------------------------------------------------------------ optimizer
    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        """Upstream's. Raises UserError where it cannot be built, for its package or its arguments."""
        with built_for("optim", self.args.optim.value, "choose another optimizer, or see training.optim_args"):
            return super().create_optimizer(*args, **kwargs)

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        """Upstream's. Raises UserError where it cannot be built, most often for an argument that it lacks."""
        with built_for("lr_scheduler_type", self.args.lr_scheduler_type.value, "see training.lr_scheduler_kwargs"):
            return super().create_scheduler(*args, **kwargs)

    # ------------------------------------------------------------ loss
    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        """Sum of the optimizer step's loss weights over all processes, which agree here whether to stop behind it."""
        self.begin_step()
        total = torch.stack([batch[WEIGHTS].sum() for batch in batch_samples]).sum().to(device)
        if self.args.world_size > 1:
            asked = torch.tensor(float(requested() is not None), device=device)
            total, asked = self.accelerator.gather(torch.stack([total, asked]).reshape(1, 2)).sum(dim=0)
            self.stop_agreed = bool(asked)
        return total

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """A micro-batch's share of the step's mean loss; times the processes, whose gradients are averaged."""
        weights, rows = inputs.pop(WEIGHTS), inputs.pop(ROWS)
        if self.seen_rows is not None:
            self.seen_rows.extend(rows[rows >= 0].tolist())
        loss, outputs = self.summed_loss(model, inputs, weights)
        total = num_items_in_batch if num_items_in_batch is not None else weights.sum()
        # All weights of a step may be 0 (rows weighted away): its loss is 0, not a division by 0.
        share = loss / total.clamp(min=torch.finfo(torch.float32).tiny) * self.args.world_size
        return (share, outputs) if return_outputs else share

    # ------------------------------------------------------------ evaluation
    def evaluation_pass(self, model: Any, batch: dict[str, Any]) -> tuple[dict[int, Any], torch.Tensor]:
        """What is given for the rows of a batch, by position, and (weighted loss, weights) as sums."""
        weights, rows = batch.pop(WEIGHTS), batch.pop(ROWS).tolist()
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.summed_loss(model, batch, weights)
            given = zip(rows, self.given(model, outputs, rows), strict=True)
        return {row: one for row, one in given if row >= 0}, torch.stack([loss, weights.sum()]).double().cpu()

    def evaluation_loop(
        self,
        dataloader: DataLoader[Any],
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Loss and measures of every evaluation row once, gathered from all processes.

        Only what is measured is kept, so memory does not grow with hidden states (transformers#12878).
        """
        model = self.evaluation_model()
        model.eval()
        found: dict[int, Any] = {}
        sums = torch.zeros(2, dtype=torch.float64)
        for batch in dataloader:
            of_rows, of_batch = self.evaluation_pass(model, self._prepare_inputs(batch))
            found |= of_rows
            sums += of_batch
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        parts = self.gather_parts((found, sums))
        gathered = {row: one for part, _ in parts for row, one in part.items()}
        loss, weight = sum(part[1] for part in parts).tolist()
        measured = self.measures([gathered[row] for row in range(len(gathered))])
        metrics = {"loss": loss / weight if weight else 0.0, **measured}
        prefixed = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(predictions=None, label_ids=None, metrics=prefixed, num_samples=len(gathered))

    # ------------------------------------------------------------ best weights and checkpoints
    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Whether these are the best weights yet; not where the measure is undefined this once (no label occurs in gold
        or predictions), for which upstream raises."""
        name = self.args.metric_for_best_model
        if name is not None and f"eval_{name.removeprefix('eval_')}" not in metrics:
            return False
        return bool(super()._determine_best_metric(metrics=metrics, trial=trial))

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """An epoch, unless the training had made its last step or run out of patience before it was resumed: upstream
        would go on and might end with other weights."""
        if self.state.global_step >= self.state.max_steps or ran_out_of_patience(self.callback_handler.callbacks):
            self.control.should_training_stop = True
            return
        super()._run_epoch(*args, **kwargs)

    def evaluation_model(self) -> Any:
        """The wrapped model while training (sharded weights are gathered by its hooks), the bare one otherwise."""
        return self.model_wrapped if self.is_in_train else self.model

    def gather_parts(self, part: Any) -> list[Any]:
        """Every process's part, in the order of processes."""
        if self.args.world_size == 1:
            return [part]
        from accelerate.utils import gather_object

        return list(gather_object([part]))

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save what predicting needs. In evaluation mode: a prompt encoder is saved as what it gives, and with dropout
        that would be another prompt."""
        self.model.eval()  # every training step sets training mode itself
        super().save_model(output_dir, _internal_call)

    def begin(self, before: Progress) -> None:
        """Start the clock. `before` is what earlier starts took, with the fingerprint of the base as it is now."""
        self.before, self.started = before, time.perf_counter()

    def progress(self) -> Progress:
        """What the training has taken until now, over all starts."""
        # What is not logged yet is added by upstream when training is over.
        loss = self._total_loss_scalar + (float(self._tr_loss) if self.is_in_train else 0.0)
        seconds = self.before.seconds + time.perf_counter() - self.started
        return replace(self.before, seconds=seconds, loss=self.before.loss + loss, starts=self.before.starts + 1)

    def _init_training_state(self, *args: Any, **kwargs: Any) -> Any:
        """The state of the checkpoint, whose best one is looked for where the run is now: upstream keeps the path."""
        at = super()._init_training_state(*args, **kwargs)
        best = Path(self.args.output_dir) / f"checkpoint-{self.state.best_global_step}"
        if self.state.best_global_step and best.is_dir():
            self.state.best_model_checkpoint = str(best)
        return at

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            save_prompt_encoder(self.model, checkpoint)
            self.progress().write(checkpoint)
            mark_complete(checkpoint)
        self.accelerator.wait_for_everyone()  # a process that left before the mark would take the others with it

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        with prompt_encoder_from(self.model, Path(resume_from_checkpoint)):
            super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        with prompt_encoder_from(self.model, Path(self.state.best_model_checkpoint)):
            super()._load_best_model()
