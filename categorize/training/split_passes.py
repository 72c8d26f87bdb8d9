"""Passes over parts of a batch, where the whole does not fit into memory: the same step, and the same gradient.

Upstream's `auto_find_batch_size` begins the training anew with half the batch and the same accumulation: steps of half
the size, on weights that have learned already.
"""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
from transformers import Trainer

from categorize.errors import UserError
from categorize.processes import print0

ROWS = "rows"


class SplitPasses(Trainer):  # type: ignore[misc]
    """Halves the rows of a pass when one runs out of memory, and doubles the accumulation: what was passed of the step
    is forgotten and passed again. Nothing depends on how a step is cut, for a loss is a sum over its rows.

    Processes that train together must make equally many passes, and are not asked: there it is an error.

    Attributes:
        parts: passes of each micro-batch.
        may_split: whether a batch that does not fit is cut at all.
    """

    rows: Any
    parts: int = 1
    may_split: bool = True

    def begin_step(self) -> None:
        """Call before the first micro-batch of each step."""
        self.passed: list[list[int]] = []

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Any:
        """Upstream's, in as many passes as fit.

        Raises:
            UserError: a single row does not fit, or several processes train.
        """
        rows, pending = inputs[ROWS].tolist(), None
        while True:
            try:
                if pending is None and self.parts == 1:
                    loss = super().training_step(model, inputs, num_items_in_batch)
                else:
                    for batch in pending or [rows]:
                        loss = self._in_parts(model, batch, num_items_in_batch)
                break
            except (RuntimeError, MemoryError) as error:
                if not self.may_split or not is_out_of_memory(error):
                    raise
                self._check_halving(error, rows)
            # Behind the handler, which holds the frames of what failed, and their tensors.
            self.parts *= 2
            self._say(len(rows))
            model.zero_grad(set_to_none=True)
            self._forget()
            pending = [*self.passed, rows]
        self.passed.append(rows)
        return loss

    def _in_parts(self, model: Any, rows: list[int], num_items_in_batch: Any) -> Any:
        losses = [
            super(SplitPasses, self).training_step(
                model, self.data_collator([self.rows[int(row)] for row in part]), num_items_in_batch
            )
            for part in np.array_split(rows, min(self.parts, len(rows)))
        ]
        return sum(losses[1:], losses[0])

    def _check_halving(self, error: Exception, rows: list[int]) -> None:
        a_pass = -(-len(rows) // self.parts)
        reason = " ".join(str(error).split())[:150]
        alone = self.args.world_size == 1 and not self.is_deepspeed_enabled and not self.is_fsdp_enabled
        if not alone or self.args.optim.value in ("lomo", "adalomo"):
            batch, accumulation = self.args.train_batch_size, self.args.gradient_accumulation_steps
            raise UserError(
                f"training.per_device_train_batch_size: {batch} rows do not fit into memory: {reason}; start again "
                f"with training.per_device_train_batch_size={max(batch // 2, 1)} "
                f"training.gradient_accumulation_steps={accumulation * 2} (the same step)"
            ) from error
        if a_pass <= 1:
            raise UserError(
                f"training.per_device_train_batch_size: not even one row fits into memory: {reason}; try "
                "training.activation_checkpointing=true, a shorter model.max_length, or quantization.load_in_4bit=true "
                "with an adapter; --fit 24GB tells what fits"
            ) from error

    def _say(self, rows: int) -> None:
        batch, accumulation = self.args.train_batch_size, self.args.gradient_accumulation_steps
        print0(
            f"  out of memory in a pass of {-(-rows * 2 // self.parts)} rows: the batch is halved and the accumulation "
            f"doubled, the step stays {batch * accumulation} rows; next time: "
            f"training.per_device_train_batch_size={max(batch // self.parts, 1)} "
            f"training.gradient_accumulation_steps={accumulation * min(self.parts, batch)}"
        )

    @staticmethod
    def _forget() -> None:
        import torch

        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device or the system had no memory left, as torch and accelerate tell it."""
    from accelerate.utils.memory import should_reduce_batch_size

    reason = str(error)
    return (
        isinstance(error, MemoryError)
        or (isinstance(error, Exception) and should_reduce_batch_size(error))
        or "out of memory" in reason
        or "can't allocate memory" in reason
        or "not enough memory" in reason
    )
