"""The asking loop: rows become requests, answers go into the ledger, and what fails is asked again in smaller requests,
at last alone.

Memory holds what is in flight and what waits to be asked again, never the whole input.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from categorize.labeling.budget import Budget, OutOfBudget, most_input_tokens
from categorize.labeling.examples import groups_of
from categorize.labeling.exchange import Item, NotAnswered, Outcome, Refused, Reply, Request, Teacher
from categorize.labeling.ledger import Ledger
from categorize.labeling.pace import Pace
from categorize.labeling.progress import Progress
from categorize.recipe.labeling_sections import Prices

GRACE = 20.0  # seconds that requests in flight are waited for once the job is to stop


class Questions(Protocol):
    """What the loop needs of a prompt: see `labeling.prompt.LabelingPrompt`."""

    def request(self, id: str, items: Sequence[Item], rotation: int = 0) -> Request:
        """The request that asks about these items."""
        ...

    def outcomes(self, request: Request, reply: Reply) -> list[Outcome]:
        """What a reply says of each item, in the order of the request."""
        ...


@dataclass(frozen=True)
class Manner:
    """How rows are asked about.

    Attributes:
        items: rows a request, at most.
        attempts: answers that a row asked about alone may fail.
        rotation: of the order of labels and rows, see `LabelingPrompt.request`.
        workers: requests at a time, at most.
        first, step: numbers of the requests: first, first + step, ...; those of other processes lie between.
    """

    items: int = 50
    attempts: int = 3
    rotation: int = 0
    workers: int = 64
    first: int = 1
    step: int = 1


class Asking:
    """Asks one teacher about rows, under one variant of the ledger.

    Args:
        variant: that the answers are stored under.
        prices: of the teacher, where they are not the budget's.
        begun: rows that an earlier job was to ask again, see `Ledger.unsettled`; they go on in smaller requests.
    """

    def __init__(
        self,
        ledger: Ledger,
        variant: int,
        questions: Questions,
        teacher: Teacher,
        manner: Manner,
        pace: Pace,
        budget: Budget,
        progress: Progress,
        prices: Prices | None = None,
        begun: Mapping[bytes, tuple[int, int]] | None = None,
    ) -> None:
        self._ledger, self._variant, self._questions, self._teacher = ledger, variant, questions, teacher
        self._manner, self._pace, self._budget, self._prices = manner, pace, budget, prices
        self._progress, self._begun = progress, dict(begun or {})
        self._number = manner.first - manner.step
        self._again: dict[tuple[int, int], deque[Item]] = {}  # by size and examples of the request that they wait for
        self._alone: Counter[bytes] = Counter()  # failures of rows that were asked about alone
        self._in_flight = 0
        self._failure: BaseException | None = None
        self._stopping = asyncio.Event()
        self._ends: float | None = None  # when requests in flight are given up
        self._changed = asyncio.Event()
        self._groups: Iterator[list[Item]] = iter(())

    async def run(self, rows: Iterable[Item]) -> None:
        """Ask about all rows, which are distinct and have no answer; returns early after `stop`.

        Raises:
            OutOfBudget: nothing more may be sent. What was in flight is stored, as it is for the others:
            JobStops: the teacher answers no request.
            UserError: an answer could not be stored.
        """
        self._groups = groups_of(rows, self._manner.items)
        workers = [asyncio.create_task(self._work()) for _ in range(self._manner.workers)]
        try:
            going = set(workers)
            while going and (left := self._patience()) != 0:
                _, going = await asyncio.wait(going, timeout=left)
        finally:
            for task in workers:
                task.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
            self._ledger.flush()
        if self._failure is not None:
            raise self._failure

    def stop(self, grace: float | None = GRACE) -> None:
        """Send nothing more; `run` returns when what is in flight has come.

        Args:
            grace: seconds after which it returns without; None: it waits.
        """
        self._stopping.set()
        self._changed.set()
        if grace is not None:
            ends = time.monotonic() + grace
            self._ends = ends if self._ends is None else min(ends, self._ends)

    def _patience(self) -> float:
        """Seconds until the next look at whether to go on waiting; 0 where not."""
        return 0.2 if self._ends is None else min(max(self._ends - time.monotonic(), 0.0), 0.2)

    # ------------------------------------------------------------ what is asked next
    async def _work(self) -> None:
        try:
            while (group := await self._next()) is not None:
                self._in_flight += 1
                try:
                    await self._ask(group)
                finally:
                    self._in_flight -= 1
                    self._changed.set()
                await asyncio.sleep(0)  # an instant teacher never waits: progress and signals get their turn
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self._failure = self._failure or error
            self.stop(None if isinstance(error, OutOfBudget) else GRACE)  # what is in flight is paid for

    async def _next(self) -> list[Item] | None:
        """Rows of the next request; None where there will be none."""
        while not self._stopping.is_set():
            if group := self._take():
                return group
            if not self._in_flight:
                self._changed.set()  # nothing can come any more: the others see it too
                return None
            self._changed.clear()
            await self._changed.wait()
        return None

    def _take(self) -> list[Item]:
        """A full smaller request first, then new rows, at last what waits."""
        for (size, _), waiting in self._again.items():
            if len(waiting) >= size:
                return [waiting.popleft() for _ in range(size)]
        for new in self._groups:
            if not self._begun:
                return new
            if fresh := [item for item in new if not self._goes_on(item)]:
                return fresh
        for waiting in self._again.values():
            if waiting:
                group = list(waiting)
                waiting.clear()
                return group
        return []

    def _goes_on(self, item: Item) -> bool:
        """Whether an earlier job began with this row; it then waits for a request smaller than its last."""
        if (begun := self._begun.pop(item.key, None)) is None:
            return False
        attempts, held = begun
        self._wait(replace(item, failures=attempts), held)
        return True

    def _wait(self, item: Item, held: int) -> None:
        """Keep an item for a request of half the size of one that held so many."""
        size = max(1, min(held // 2, self._manner.items))
        self._again.setdefault((size, item.shots), deque()).append(item)

    # ------------------------------------------------------------ one request
    async def _ask(self, items: Sequence[Item]) -> None:
        self._number += self._manner.step
        request = self._questions.request(f"u{self._number}", items, self._manner.rotation)
        try:
            reply, cost = await self._pace.run(
                lambda: self._budget.pay(request, self._teacher.ask, self._prices),
                tokens=most_input_tokens(request) + request.max_tokens,
                counted=lambda paid: paid[0].tokens.input + paid[0].tokens.output,
            )
        except (Refused, NotAnswered) as error:
            lost = [Outcome(item, None, str(error), position=i) for i, item in enumerate(request.items)]
            self._settle(request, None, lost, 0.0, isinstance(error, Refused))
            return
        self._settle(request, reply, self._questions.outcomes(request, reply), cost)

    def _settle(
        self, request: Request, reply: Reply | None, outcomes: Sequence[Outcome], cost: float, refused: bool = False
    ) -> None:
        """Store what came, and keep what is to be asked again."""
        again = [one.item for one in outcomes if one.labels is None]
        if len(request.items) == 1 and again:
            self._alone[again[0].key] += 1
            if refused or self._alone[again[0].key] >= self._manner.attempts:
                del self._alone[again[0].key]
                again = []
        self._ledger.record(self._variant, request, reply, outcomes, cost, {item.key for item in again})
        for item in again:
            self._wait(replace(item, failures=item.failures + 1), len(request.items))
        labelled = sum(one.labels is not None for one in outcomes)
        self._progress.add(labelled, len(outcomes) - labelled - len(again), len(again))
