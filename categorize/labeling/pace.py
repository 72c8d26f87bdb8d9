"""How fast requests go out: as many at a time as the servers take, within their limits, and hardly any to a server that
is down."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Literal, TypeVar

from categorize.labeling.exchange import JobStops, NotAnswered, Refused
from categorize.recipe.labeling_sections import EndpointTeacher

Result = TypeVar("Result")

AT_FIRST = 4  # calls at a time, before the servers have shown what they take
SUCCESSES = 25  # after which one more runs at a time
LESS = 0.75  # of the calls at a time remain after a burst of 429
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds of backoff
ILL_FAILURES, ILL_CALLS = 10, 3  # in a row, of different calls: the servers are ill, and not one request
PATIENCE = 900.0  # seconds without any answer, after which the job stops


class Pace:
    """Lets calls run, several at a time, and repeats those that were not answered.

    One more call at a time after 25 answers (before the first 429 after each round of answers, so that the start does
    not take thousands of requests), a quarter fewer once per burst of 429. Where a server says when to come back, all
    calls wait. While no server takes requests, one goes out now and then.

    Args:
        concurrency: calls at a time; adaptive begins with 4.
        most: calls at a time under adaptive.
        requests_per_minute: limit; requests are spaced evenly.
        tokens_per_minute: limit.
        retries: further tries of a call. Waiting for a rate limit or for a server that is down is not counted.
        patience: seconds without any answer after which the job stops; three times a Retry-After where that is longer.
    """

    def __init__(
        self,
        concurrency: int | Literal["adaptive"] = "adaptive",
        most: int = 64,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        retries: int = 6,
        patience: float = PATIENCE,
    ) -> None:
        self._adaptive, self._most, self._retries, self._patience = concurrency == "adaptive", most, retries, patience
        self._limit = float(min(AT_FIRST, most)) if concurrency == "adaptive" else float(concurrency)
        self._per_request = 60 / requests_per_minute if requests_per_minute else 0.0
        self._per_token = 60 / tokens_per_minute if tokens_per_minute else 0.0
        self._next_request = self._next_tokens = self._not_before = 0.0
        self._running = self._answers = self._sent = 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._untroubled, self._trouble_until, self._pauses = True, 0, 0
        self._down, self._failing, self._failures = False, set[object](), 0
        self._silent_since: float | None = None
        self._last_error = ""

    @classmethod
    def of(cls, teacher: EndpointTeacher) -> Pace:
        """The pace that a recipe's teacher asks for."""
        per_minute = teacher.requests_per_minute, teacher.tokens_per_minute
        return cls(teacher.concurrency, teacher.max_concurrency, *per_minute, retries=teacher.retries)

    @property
    def concurrency(self) -> int:
        """Calls that may run at a time just now."""
        return 1 if self._down else max(1, int(self._limit))

    @property
    def trouble(self) -> str:
        """Why calls wait just now, for a line of progress; empty where they do not."""
        return self._last_error if self._silent_since is not None else ""

    async def run(
        self,
        call: Callable[[], Awaitable[Result]],
        tokens: int = 0,
        counted: Callable[[Result], int] | None = None,
    ) -> Result:
        """Run a call when it is its turn, again where it was not answered.

        Args:
            call: one try; raises NotAnswered where it may be tried again. Whatever else it raises comes through.
            tokens: that it may need, for the limit of tokens a minute.
            counted: how many it needed, by its result.

        Raises:
            NotAnswered: the last try's, when all are used up.
            JobStops: no server has answered anything for `patience` seconds.
        """
        tries, me = 0, object()
        while True:
            number = await self._turn(tokens)
            try:
                result = await call()
            except NotAnswered as error:
                self._next_tokens -= tokens * self._per_token
                self._not_answered(error, number, me)
                if not (error.rate_limited or error.down):
                    tries += 1
                if tries > self._retries or (self._retries == 0 and error.rate_limited):
                    raise
            except Refused:
                self._answered()  # a server that says no is not down
                raise
            else:
                self._answered()
                if counted is not None:
                    self._next_tokens += (counted(result) - tokens) * self._per_token
                return result
            finally:
                self._free()
            if tries:
                await asyncio.sleep(_backoff(tries - 1))

    async def _turn(self, tokens: int) -> int:
        """Wait until one more call may go out; the number of calls so far."""
        clock = asyncio.get_running_loop().time
        while True:
            await self._slot()
            try:
                if self._not_before <= clock() and (self._per_request or self._per_token):
                    now = clock()
                    at = max(now, self._next_request, self._next_tokens)
                    self._next_request = max(now, self._next_request) + self._per_request
                    self._next_tokens = max(now, self._next_tokens) + tokens * self._per_token
                    await asyncio.sleep(at - now)
            except BaseException:
                self._free()
                raise
            pause = self._not_before - clock()
            if pause <= 0:
                self._sent += 1
                return self._sent
            self._free()  # a server that is down is asked by one call, whoever comes first
            await asyncio.sleep(pause + random.uniform(0, min(1.0, pause / 2)))

    def _answered(self) -> None:
        self._down, self._silent_since, self._pauses, self._failures = False, None, 0, 0
        self._failing.clear()
        self._answers += 1
        if self._adaptive and self._answers >= (min(SUCCESSES, self._limit) if self._untroubled else SUCCESSES):
            self._limit, self._answers = min(self._most, self._limit + 1), 0

    def _not_answered(self, error: NotAnswered, number: int, call: object) -> None:
        """Learn from a try that failed: fewer calls at a time, a pause of all, or the end of the job."""
        now = asyncio.get_running_loop().time()
        self._last_error = str(error)
        if self._silent_since is None:
            self._silent_since = now
        silent = now - self._silent_since
        if silent > max(self._patience, 3 * (error.after or 0.0)):
            raise JobStops(
                f"{error}: no request was answered for {silent / 60:.0f} minutes; what was answered before is kept, "
                "start again to go on"
            )
        if not error.rate_limited:
            self._failing.add(call)
            self._failures += 1
            self._down |= error.down or (self._failures >= ILL_FAILURES and len(self._failing) >= ILL_CALLS)
        if error.after is not None:
            self._not_before = max(self._not_before, now + error.after)
        if number <= self._trouble_until:
            return  # it was under way when the burst of failures began, and says nothing new
        if error.rate_limited or self._down:
            self._trouble_until = self._sent
            if error.after is None:
                self._not_before = max(self._not_before, now + _backoff(self._pauses))
            self._pauses += 1
        if error.rate_limited:
            self._untroubled, self._answers = False, 0
            if self._adaptive:
                self._limit = max(1.0, self._limit * LESS)

    async def _slot(self) -> None:
        if self._running < self.concurrency and not self._queue:
            self._running += 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._free()
            else:
                self._queue.remove(turn)
            raise

    def _free(self) -> None:
        self._running -= 1
        while self._queue and self._running < self.concurrency:
            turn = self._queue.popleft()
            if not turn.done():
                self._running += 1
                turn.set_result(None)


def _backoff(times: int) -> float:
    """Seconds to wait after so many failures before: doubled each time, and jittered, so that calls do not come back
    together."""
    return random.uniform(0.5, 1.0) * min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(times, 30))
