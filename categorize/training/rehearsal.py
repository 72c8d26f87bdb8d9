"""A few real steps of a training, measured: the longest batch for its memory, a common one for its time.

What a dry run says of memory and time is measured here, where the machine can do it in a minute, and extrapolated by
tokens, padding counted: the forward and backward pass of a batch costs about in proportion to them.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import DefaultFlowCallback

from categorize.errors import UserError
from categorize.nn.memory import peak, reset_peak
from categorize.predictions import IntArray
from categorize.training.sampler import StepBatchSampler
from categorize.training.split_passes import is_out_of_memory
from categorize.training.step_batches import StepBatches

TIMED_STEPS = 2  # of a common batch; the faster one counts


@dataclass(frozen=True)
class Rehearsal:
    """What was measured, and what an uninterrupted training has of it.

    Attributes:
        steps: optimizer steps of the whole training.
        batch: (rows, tokens with padding) of the longest micro-batch.
        memory: most bytes that were held at once: on the GPU, or else by the process.
        on_gpu: which of both.
        longest_step, common_step: seconds of an optimizer step of the longest batch, and of a common one.
        training, validation: seconds of all steps, and of all evaluations during training, extrapolated.
        validations: evaluations during training.
        row_seconds: of an evaluation, for each row; 0 without validation rows.
    """

    steps: int
    batch: tuple[int, int]
    memory: int
    on_gpu: bool
    longest_step: float
    common_step: float
    training: float
    validation: float
    validations: int
    row_seconds: float


def rehearse(trainer: Any) -> Rehearsal:
    """Train a few steps with a trainer that is then thrown away; nothing is logged, evaluated or saved.

    Raises:
        UserError: a step fails, for want of memory most often.
    """
    arguments = trainer.args
    steps = planned_steps(trainer)
    validations = _validations(arguments, steps, trainer)
    training = _batches(trainer, trainer.rows.lengths, arguments.train_batch_size, arguments, trainer.balance)
    costs = [trainer.pass_tokens(trainer.rows, batch) for batch in training]
    longest, common = longest_rows(trainer.rows.lengths, arguments.train_batch_size), _common(training, costs)
    accumulation = arguments.gradient_accumulation_steps
    batches = [*[longest] * accumulation, *[common] * accumulation * TIMED_STEPS]
    watch = _Watch(trainer, 1 + TIMED_STEPS)
    trainer.callback_handler.callbacks = [DefaultFlowCallback(), watch]
    trainer.get_train_dataloader = lambda: trainer.loader(trainer.rows, batches)
    arguments.max_steps = max(steps, 1 + TIMED_STEPS)  # else schedulers would be made for the few
    arguments.eval_strategy = arguments.save_strategy = arguments.logging_strategy = "no"
    arguments.eval_on_start = arguments.load_best_model_at_end = False
    trainer.may_split = False  # what does not fit is said
    reset_peak()
    shape = (len(longest), int(trainer.rows.lengths[longest].max()))
    try:
        trainer.train()
    except UserError:
        raise
    except Exception as error:
        raise UserError(_failure(error, *shape)) from error
    passes = min(watch.passes[1:])
    update = min(watch.updates[1:])
    an_epoch = len(training) / accumulation
    seconds = passes / accumulation / trainer.pass_tokens(trainer.rows, common) * sum(costs)
    return Rehearsal(
        steps,
        shape,
        peak(),
        torch.cuda.is_available() and arguments.device.type == "cuda",
        watch.passes[0] + watch.updates[0],
        passes + update,
        steps * update + steps / an_epoch * seconds,
        validations * watch.row_seconds * (0 if trainer.held_out is None else len(trainer.held_out)),
        validations,
        watch.row_seconds,
    )


def planned_steps(trainer: Any) -> int:
    """Optimizer steps of the training, as upstream counts them."""
    return int(trainer.set_initial_training_values(trainer.args, trainer.get_train_dataloader())[-1])


def _validations(arguments: Any, steps: int, trainer: Any) -> int:
    """How often the validation rows are read during training."""
    strategy = arguments.eval_strategy.value
    if strategy == "no" or trainer.held_out is None:
        return 0
    delay = arguments.eval_delay
    if strategy == "epoch":
        an_epoch = math.ceil(len(trainer.get_train_dataloader()) / arguments.gradient_accumulation_steps)
        moments = [min(epoch, steps / an_epoch) for epoch in range(1, math.ceil(steps / an_epoch) + 1)]
    else:
        every = int(arguments.eval_steps if arguments.eval_steps >= 1 else math.ceil(arguments.eval_steps * steps))
        moments = [*range(every, steps, every), steps]
    return int(arguments.eval_on_start) + sum(bool(delay <= moment) for moment in moments)


class _Watch(TrainerCallback):  # type: ignore[misc]
    """Times the parts of each step, evaluates one batch behind the first, and ends the training after the last."""

    def __init__(self, trainer: Any, steps: int) -> None:
        self.trainer, self.steps = trainer, steps
        self.passes: list[float] = []
        self.updates: list[float] = []
        self.row_seconds = 0.0
        self.since = 0.0

    def _lap(self) -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        before, self.since = self.since, time.perf_counter()
        return self.since - before

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """Start the clock."""
        self._lap()

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        """Forward and backward passes are over."""
        self.passes.append(self._lap())

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """The weights are changed."""
        self.updates.append(self._lap())
        if len(self.updates) == 1 and self.trainer.held_out is not None:
            self._evaluate()
        control.should_training_stop = len(self.updates) == self.steps

    def _evaluate(self) -> None:
        trainer = self.trainer
        lengths, size = trainer.held_out.lengths, trainer.args.eval_batch_size
        batches = _batches(trainer, lengths, size, None, None)
        costs = [trainer.pass_tokens(trainer.held_out, batch) for batch in batches]
        longest, common = longest_rows(lengths, size), _common(batches, costs)
        model = trainer.evaluation_model()
        model.eval()
        for batch in trainer.loader(trainer.held_out, [longest, common]):
            self._lap()
            trainer.evaluation_pass(model, trainer._prepare_inputs(batch))
            seconds = self._lap()
        self.row_seconds = seconds / trainer.pass_tokens(trainer.held_out, common) * sum(costs) / len(lengths)


def _batches(trainer: StepBatches, lengths: IntArray, size: int, arguments: Any, balance: Any) -> list[list[int]]:
    """Micro-batches of this process in an epoch."""
    sampler = StepBatchSampler(
        lengths,
        size,
        accumulation=arguments.gradient_accumulation_steps if arguments is not None else 1,
        processes=trainer.args.world_size,
        seed=trainer.args.seed,
        grouping=trainer.grouping,
        balance=balance,
    )
    return [[row if row >= 0 else ~row for row in batch] for batch in sampler]


def longest_rows(lengths: IntArray, size: int) -> list[int]:
    """The batch that costs most: the longest rows together."""
    return [int(row) for row in np.argsort(-lengths, kind="stable")[:size]]


def _common(batches: list[list[int]], costs: list[int]) -> list[int]:
    """The batch whose tokens come closest to the mean."""
    mean = sum(costs) / len(costs)
    return batches[min(range(len(costs)), key=lambda i: abs(costs[i] - mean))]


def _failure(error: Exception, rows: int, tokens: int) -> str:
    reason = " ".join(str(error).split())
    if is_out_of_memory(error):
        return (
            f"training.per_device_train_batch_size: a step on the longest batch ({rows} rows of {tokens} tokens) does "
            f"not fit into memory: {reason[:200]} (fewer rows with more gradient_accumulation_steps, a smaller "
            f"model.max_length, or activation_checkpointing)"
        )
    return f"training: a step on the longest batch ({rows} rows of {tokens} tokens) fails: {reason[:300]}"
