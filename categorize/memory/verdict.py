"""Whether a training fits on a card, and with which batch it would."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial
from typing import Any

from categorize.memory.cards import Card
from categorize.memory.simulation import FRAGMENTS, Plan, Step, simulate

ROOM = 0.92  # of what is usable, below which a training is said to fit


class Answer(Enum):
    """What is said of a card; the value is the command's exit status."""

    FITS = 0
    TIGHT = 10
    TOO_LARGE = 11
    UNKNOWN = 12

    def __str__(self) -> str:
        return self.name.replace("_", " ")


@dataclass(frozen=True)
class Batch:
    """Rows of a micro-batch and micro-batches of a step, tokens of a row, and rows of an evaluation batch."""

    rows: int
    accumulation: int
    tokens: int
    evaluated: int = 0


@dataclass(frozen=True)
class Verdict:
    """What a training takes, and what is proposed.

    Attributes:
        answer: of the recipe as it is.
        step, needed: what it takes; bytes with what an allocator wastes.
        proposal: overrides by their dotted keys with which it fits, with the largest batch that does; empty: the recipe
            is as good as it gets, None: nothing here makes it fit.
    """

    answer: Answer
    step: Step
    needed: int
    proposal: dict[str, Any] | None


def judge(plan: Plan, batch: Batch, card: Card, count: Callable[..., Step] = simulate) -> Verdict:
    """What is to be said of a training on a card.

    Args:
        count: gives the step of a plan; `simulate`.
    """

    def step(plan: Plan, batch: Batch) -> Step:
        return count(replace(plan, accumulation=batch.accumulation), batch.rows, batch.tokens, batch.evaluated)

    def fits(plan: Plan, batch: Batch) -> bool:
        return int(step(plan, batch).total * FRAGMENTS) <= ROOM * card.usable

    def answer(needed: int) -> Answer:
        return Answer.FITS if needed <= ROOM * card.usable else Answer.TIGHT if needed <= card.usable else (
            Answer.TOO_LARGE
        )  # fmt: skip

    asked = step(plan, batch)
    needed = int(asked.total * FRAGMENTS)
    effective = batch.rows * batch.accumulation
    for changes, changed in _savings(plan):
        # Larger batches are faster; where the recipe fits, only those are of interest.
        sizes = [n for n in range(effective, 0, -1) if effective % n == 0]
        if answer(needed) is Answer.FITS and not changes:
            sizes = [n for n in sizes if n > batch.rows]
        found = _largest(sizes, batch, partial(fits, changed))
        if found is not None:
            return Verdict(answer(needed), asked, needed, {**_overrides(batch, found), **changes})
        if answer(needed) is Answer.FITS:
            return Verdict(Answer.FITS, asked, needed, {})
    return Verdict(answer(needed), asked, needed, None)


def _largest(sizes: list[int], batch: Batch, fits: Callable[[Batch], bool]) -> Batch | None:
    """The batch of the largest of these sizes, which fall, that fits; an evaluation no larger than it has to be."""
    low, high, best = 0, len(sizes) - 1, None
    while low <= high:  # memory grows with rows: by halving
        middle = (low + high) // 2
        one = _batch(batch, sizes[middle], batch.evaluated)
        smaller = _batch(batch, sizes[middle], min(batch.evaluated, sizes[middle]))
        if (found := next((each for each in (one, smaller) if fits(each)), None)) is not None:
            best, high = found, middle - 1
        else:
            low = middle + 1
    return best


def _batch(batch: Batch, rows: int, evaluated: int) -> Batch:
    return replace(batch, rows=rows, accumulation=batch.rows * batch.accumulation // rows, evaluated=evaluated)


def _savings(plan: Plan) -> Iterator[tuple[dict[str, Any], Plan]]:
    """The plan, and what saves memory at the price of time, one on top of the other."""
    changes: dict[str, Any] = {}
    yield changes, plan
    if not plan.checkpointing:
        changes, plan = {"training.activation_checkpointing": True}, replace(plan, checkpointing=True)
        yield changes, plan
    if plan.adapter is not None and plan.bits is None:
        yield {**changes, "quantization.load_in_4bit": True}, replace(plan, bits="4")


def _overrides(batch: Batch, found: Batch) -> dict[str, Any]:
    written: dict[str, Any] = {}
    if found.rows != batch.rows:
        written["training.per_device_train_batch_size"] = found.rows
        written["training.gradient_accumulation_steps"] = found.accumulation
    if found.evaluated != batch.evaluated:
        written["training.per_device_eval_batch_size"] = found.evaluated
    return written
