"""What every trainer shares: batches cut from optimizer steps, weights as the loss's denominator, whole checkpoints.

Upstream counts items by labels that are not -100 and believes that `*ForSequenceClassification` normalises by that
count
itself (transformers#47688). Here every micro-batch gives a weighted sum, divided by the weights of the whole optimizer
step over all processes.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import TrainerCallback

from categorize.nn.adapters import prompt_encoder_from, save_prompt_encoder
from categorize.predictions import FloatArray, IntArray
from categorize.training.arguments import built_for
from categorize.training.checkpoints import Progress, mark_complete
from categorize.training.ending import EndBehindStep, ran_out_of_patience
from categorize.training.sampler import StepBatchSampler
from categorize.training.stopping import requested

if TYPE_CHECKING:
    from categorize.training.balance import Balance

WEIGHTS = "loss_weights"
ROWS = "rows"
SHOWN = ("loss", "accuracy", "macro_f1", "micro_f1", "pearson", "rmse", "valid_rate")


class StepRows(Dataset[dict[str, Any]]):
    """Rows by position. Item `~i` is row i as a repeat: weight 0, and not counted as seen (see `StepBatchSampler`).

    Args:
        items: rows as mappings.
        lengths: tokens of each row, [n].
        weights: of each row in the loss, [n].
    """

    def __init__(self, items: Sequence[Mapping[str, Any]] | Any, lengths: IntArray, weights: FloatArray) -> None:
        self.items, self.lengths, self.weights = items, lengths, weights

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, i: int) -> dict[str, Any]:
        row = i if i >= 0 else ~i
        # -1 marks a repeat, which is neither trained on nor evaluated.
        return {**self.items[row], "weight": self.weights[row] if i >= 0 else 0.0, "row": row if i >= 0 else -1}


class _SetEpoch(TrainerCallback):  # type: ignore[misc]
    """Tells the sampler which epoch begins; the loader is not accelerate's own, which would do it."""

    def __init__(self, sampler: StepBatchSampler) -> None:
        self.sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self.sampler.set_epoch(int(state.epoch or 0))


class StepBatches:
    """Mixed into a `transformers.Trainer`, before it.

    The trainer that it is mixed into sets `rows` and `held_out` (`StepRows`), `grouping`, and calls `init_steps`.
    """

    args: Any
    accelerator: Any
    state: Any
    control: Any
    callback_handler: Any
    data_collator: Any
    model: Any
    model_wrapped: Any
    is_in_train: bool
    rows: StepRows
    held_out: StepRows | None
    grouping: bool
    balance: Balance | None

    def init_steps(
        self, rows: StepRows, held_out: StepRows | None, grouping: bool, balance: Balance | None = None
    ) -> None:
        """Call once, after the trainer's own construction."""
        self.rows, self.held_out, self.grouping, self.balance = rows, held_out, grouping, balance
        self.loss_is_scaled_for_ga = True  # `compute_loss` divides by the step's weights itself
        self.begin(Progress())
        self.stop_agreed = False  # whether any process was asked to stop
        self.seen_rows: list[int] | None = None  # set to a list to record the rows of every forward pass, for tests

    # ------------------------------------------------------------ batches
    @property
    def rows_an_epoch(self) -> int:
        """Rows that an epoch trains on."""
        return self.balance.rows if self.balance is not None else len(self.rows)

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

    def get_train_dataloader(self) -> DataLoader[Any]:
        """This process's batches. Not prepared by accelerate, which would shard them once more and repeat rows."""
        trainer: Any = self
        sampler = self._sampler(
            self.rows, trainer._train_batch_size, self.args.gradient_accumulation_steps, self.balance
        )
        for callback in [one for one in self.callback_handler.callbacks if isinstance(one, (_SetEpoch, EndBehindStep))]:
            trainer.remove_callback(callback)
        trainer.add_callback(_SetEpoch(sampler))
        trainer.add_callback(EndBehindStep(self))  # the last: it sees what the others decided
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
        trainer: Any = super()
        with built_for("optim", self.args.optim.value, "choose another optimizer, or see training.optim_args"):
            return trainer.create_optimizer(*args, **kwargs)

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        """Upstream's. Raises UserError where it cannot be built, most often for an argument that it lacks."""
        trainer: Any = super()
        with built_for("lr_scheduler_type", self.args.lr_scheduler_type.value, "see training.lr_scheduler_kwargs"):
            return trainer.create_scheduler(*args, **kwargs)

    # ------------------------------------------------------------ loss
    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> torch.Tensor:
        """Sum of the optimizer step's loss weights over all processes, which agree here whether to stop behind it."""
        total = torch.stack([batch[WEIGHTS].sum() for batch in batch_samples]).sum().to(device)
        if self.args.world_size > 1:
            asked = torch.tensor(float(requested() is not None), device=device)
            total, asked = self.accelerator.gather(torch.stack([total, asked]).reshape(1, 2)).sum(dim=0)
            self.stop_agreed = bool(asked)
        return total

    def share_of_step(self, loss: torch.Tensor, weights: torch.Tensor, total: Any) -> torch.Tensor:
        """A micro-batch's summed loss as its share of the step's mean; times the processes, whose gradients are
        averaged."""
        denominator = total if total is not None else weights.sum()
        # All weights of a step may be 0 (rows weighted away): its loss is 0, not a division by 0.
        share: torch.Tensor = loss / denominator.clamp(min=torch.finfo(torch.float32).tiny) * self.args.world_size
        return share

    def record_seen(self, rows: torch.Tensor) -> None:
        """Remember which rows a forward pass held, where a test asked for it."""
        if self.seen_rows is not None:
            self.seen_rows.extend(rows[rows >= 0].tolist())

    # ------------------------------------------------------------ evaluation and checkpoints
    def _determine_best_metric(self, metrics: dict[str, float], trial: Any) -> bool:
        """Whether these are the best weights yet; not where the measure is undefined this once (no label occurs in gold
        or predictions), for which upstream raises."""
        name = self.args.metric_for_best_model
        if name is not None and f"eval_{name.removeprefix('eval_')}" not in metrics:
            return False
        trainer: Any = super()
        return bool(trainer._determine_best_metric(metrics=metrics, trial=trial))

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """An epoch, unless the training had made its last step or run out of patience before it was resumed: upstream
        would go on and might end with other weights."""
        if self.state.global_step >= self.state.max_steps or ran_out_of_patience(self.callback_handler.callbacks):
            self.control.should_training_stop = True
            return
        trainer: Any = super()
        trainer._run_epoch(*args, **kwargs)

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
        trainer: Any = super()
        trainer.save_model(output_dir, _internal_call)

    def begin(self, before: Progress) -> None:
        """Start the clock. `before` is what earlier starts took, with the fingerprint of the base as it is now."""
        self.before, self.started = before, time.perf_counter()

    def progress(self) -> Progress:
        """What the training has taken until now, over all starts."""
        trainer: Any = self
        # What is not logged yet is added by upstream when training is over.
        loss = trainer._total_loss_scalar + (float(trainer._tr_loss) if self.is_in_train else 0.0)
        seconds = self.before.seconds + time.perf_counter() - self.started
        return replace(self.before, seconds=seconds, loss=self.before.loss + loss, starts=self.before.starts + 1)

    def _init_training_state(self, *args: Any, **kwargs: Any) -> Any:
        """The state of the checkpoint, whose best one is looked for where the run is now: upstream keeps the path."""
        trainer: Any = super()
        at = trainer._init_training_state(*args, **kwargs)
        best = Path(self.args.output_dir) / f"checkpoint-{self.state.best_global_step}"
        if self.state.best_global_step and best.is_dir():
            self.state.best_model_checkpoint = str(best)
        return at

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        trainer: Any = super()
        trainer._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            save_prompt_encoder(self.model, checkpoint)
            self.progress().write(checkpoint)
            mark_complete(checkpoint)
        self.accelerator.wait_for_everyone()  # a process that left before the mark would take the others with it

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        trainer: Any = super()
        with prompt_encoder_from(self.model, Path(resume_from_checkpoint)):
            trainer._load_from_checkpoint(resume_from_checkpoint, model)

    def _load_best_model(self) -> None:
        trainer: Any = super()
        with prompt_encoder_from(self.model, Path(self.state.best_model_checkpoint)):
            trainer._load_best_model()


class ProgressLines(TrainerCallback):  # type: ignore[misc]
    """Prints losses and evaluations as plain lines, at most one a few seconds, with the time left."""

    SECONDS = 5.0

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.printed = 0.0
        self.first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.started, self.first_step = time.monotonic(), state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        """Print what was logged."""
        if not state.is_world_process_zero or not logs:
            return
        now = time.monotonic()
        at = f"step {state.global_step}/{state.max_steps}  epoch {state.epoch or 0:.2f}"
        if "loss" in logs:
            last = state.global_step >= state.max_steps
            if now - self.printed < self.SECONDS and not last:
                return
            self.printed = now
            done = max(state.global_step - self.first_step, 1)
            left = (now - self.started) / done * (state.max_steps - state.global_step)
            print(
                f"  {at}  loss {logs['loss']:.4f}  learning rate {logs.get('learning_rate', 0):.2e}  {left:.0f} s left",
                flush=True,
            )
        elif any(key.startswith("eval_") for key in logs):
            values = {name: logs[f"eval_{name}"] for name in SHOWN if f"eval_{name}" in logs}
            print(
                f"  {at}  validation: " + "  ".join(f"{key} {value:.4f}" for key, value in values.items()), flush=True
            )
