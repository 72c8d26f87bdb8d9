"""What training prints: losses and evaluations, as plain lines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from transformers import TrainerCallback

SHOWN = ("loss", "accuracy", "macro_f1", "micro_f1", "pearson", "rmse", "valid_rate")


class ProgressLines(TrainerCallback):  # type: ignore[misc]
    """Prints losses and evaluations as plain lines, at most one a few seconds, with the time left."""

    SECONDS = 5.0

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.printed = 0.0
        self.first_step = 0
        self.since = (self.started, 0)  # time and step, from which rows a second are counted

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock."""
        self.started, self.first_step = time.monotonic(), state.global_step
        self.since = (self.started, self.first_step)

    def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Validation is no training time."""
        self.since = (time.monotonic(), state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float] | None = None, **_: Any) -> None:
        """Print what was logged."""
        if not state.is_world_process_zero or not logs:
            return
        now = time.monotonic()
        if "loss" in logs:
            self._log_speed(args, state, now)
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

    def _log_speed(self, args: Any, state: Any, now: float) -> None:
        """Rows a second since the last entry, into the entry that was just logged."""
        then, step = self.since
        if state.log_history and state.global_step > step and now > then:
            rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            state.log_history[-1]["rows_per_second"] = round((state.global_step - step) * rows / (now - then), 1)
        self.since = (now, state.global_step)
