"""A trainer that ends before its last step leaves a whole checkpoint to go on from, and says so.

A stop signal ends it behind the optimizer step that it is at. Anything else that stops it early is treated alike, but
for early stopping by the recipe's patience, which is an end.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import EarlyStoppingCallback, TrainerCallback

from categorize.errors import StoppedEarly
from categorize.training.stopping import AGAIN, requested


def ran_out_of_patience(callbacks: list[Any]) -> bool:
    """Whether early stopping has ended the training."""
    return any(
        isinstance(one, EarlyStoppingCallback) and one.early_stopping_patience_counter >= one.early_stopping_patience
        for one in callbacks
    )


class EndBehindStep(TrainerCallback):  # type: ignore[misc]
    """Saves a checkpoint and raises `StoppedEarly` where the training ends before its last step, or was asked to.

    A step that ends its epoch is saved behind the evaluation that belongs to it, for a resumed training begins with the
    next epoch; in the middle of an epoch nothing is evaluated that an uninterrupted training would not evaluate.

    Args:
        trainer: with `stop_agreed`, true where any process was asked to stop.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer
        self.cause: str | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Look whether this was the last step of this start."""
        asked = requested() is not None if args.world_size == 1 else self.trainer.stop_agreed
        self._stop(asked, state, control)
        if self.cause is not None:
            control.should_save = not _epoch_is_over(state)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Save what is not saved yet; evaluate at the end of an epoch only."""
        self._stop(False, state, control)  # another callback may have stopped the training behind this one
        if self.cause is not None:
            control.should_save = True
            control.should_evaluate = control.should_evaluate and _epoch_is_over(state)

    def _stop(self, asked: bool, state: Any, control: Any) -> None:
        callbacks = self.trainer.callback_handler.callbacks
        early = control.should_training_stop and state.global_step < state.max_steps
        if self.cause is None and (asked or (early and not ran_out_of_patience(callbacks))):
            # All processes say the same, so that it is said once.
            alone = self.trainer.args.world_size == 1
            self.cause = (requested() if alone else "a signal") if asked else "a callback"
            control.should_training_stop = True
            self.trainer.args.save_only_model = False  # without the optimizer it could not go on

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Leave, once the checkpoint is whole."""
        if self.cause is None:
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        raise StoppedEarly(
            f"{folder}: training was stopped by {self.cause} behind step {state.global_step} of {state.max_steps} and "
            f"saved; {AGAIN}"
        )


def _epoch_is_over(state: Any) -> bool:
    return bool(state.epoch == int(state.epoch) or state.global_step >= state.max_steps)
