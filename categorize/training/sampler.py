"""Batches of rows of like length: the same rows in the same optimizer step whatever the accumulation and the processes.

The upstream length-grouped sampler lost and repeated rows with several processes and did not resume bitwise. Here a
permutation seeded by (seed, epoch) alone is cut into optimizer steps first, and each step into micro-batches after,
so that
(batch 8, accumulation 1), (4, 2), (2, 4) and two processes train on the same rows in each step.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from categorize.predictions import IntArray
from categorize.training.balance import Balance

STEPS_A_GROUP = (
    50  # optimizer steps whose rows are sorted together: long enough to save padding, short enough to stay random
)


class StepBatchSampler:
    """Yields this process's micro-batches of row positions, in order.

    Every row comes once an epoch, unless a balance draws the epoch's rows. Where a process would have no row of the
    last step, it gets a repeat marked by the complement `~position`, which the dataset gives weight 0: all processes
    make the same number of forward passes.

    Args:
        lengths: tokens of each row, [n].
        batch_size: rows of one micro-batch of one process.
        accumulation: micro-batches of one optimizer step.
        processes, process: how many processes train, and which one this is.
        seed: with the epoch, the only source of order.
        grouping: sort rows by length within groups of steps; otherwise plain random order.
        balance: draws the rows of each epoch; None: every row once.
    """

    def __init__(
        self,
        lengths: IntArray,
        batch_size: int,
        *,
        accumulation: int = 1,
        processes: int = 1,
        process: int = 0,
        seed: int = 0,
        grouping: bool = True,
        balance: Balance | None = None,
    ) -> None:
        if len(lengths) == 0:
            raise ValueError("no rows to sample")
        self.lengths = lengths
        self.batch_size = batch_size
        self.accumulation = accumulation
        self.processes = processes
        self.process = process
        self.seed = seed
        self.grouping = grouping
        self.balance = balance
        self.rows = balance.rows if balance is not None else len(lengths)
        self.epoch = 0

    @property
    def rows_a_step(self) -> int:
        """Rows of one optimizer step over all processes."""
        return self.batch_size * self.accumulation * self.processes

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next pass."""
        self.epoch = epoch

    def __len__(self) -> int:
        whole, rest = divmod(self.rows, self.rows_a_step)
        return whole * self.accumulation + -(-rest // (self.batch_size * self.processes))

    def steps(self) -> list[IntArray]:
        """Row positions of each optimizer step of this epoch, over all processes; the short step comes last."""
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.lengths)) if self.balance is None else self.balance.draw(rng)
        size = self.rows_a_step
        whole = len(order) // size * size
        order, rest = order[:whole], order[whole:]
        if self.grouping:
            groups = [order[start : start + size * STEPS_A_GROUP] for start in range(0, whole, size * STEPS_A_GROUP)]
            groups = [group[np.argsort(-self.lengths[group], kind="stable")] for group in groups]
            order = np.concatenate(groups) if groups else order
        steps = [order[start : start + size] for start in range(0, whole, size)]
        steps = [steps[i] for i in rng.permutation(len(steps))]
        return [*steps, rest] if len(rest) else steps

    def __iter__(self) -> Iterator[list[int]]:
        for step in self.steps():
            width = self.batch_size * self.processes
            micro = -(-len(step) // width)
            # Dealing row by row spreads a short step evenly over processes and micro-batches.
            parts = np.array_split(step, micro * self.processes)
            for i in range(micro):
                part = parts[i * self.processes + self.process]
                yield part.tolist() if len(part) else [~int(step[0])]
