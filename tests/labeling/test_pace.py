"""The pace, in virtual time: calls are answered by small models of servers, and waiting takes no time."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

from categorize.labeling.exchange import JobStops, NotAnswered, Refused
from categorize.labeling.pace import Pace
from tests.labeling.virtual_time import run


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Server:
    """Takes so many calls at a time, for so many seconds each; is down at times.

    Attributes:
        arrivals: times of all calls.
        most: that were under way at once.
    """

    at_once: int = 1000
    seconds: float = 1.0
    retry_after: float | None = None
    down: tuple[float, float] = (0.0, 0.0)
    arrivals: list[float] = field(default_factory=list)
    running: int = 0
    most: int = 0
    limited: int = 0

    async def call(self) -> int:
        self.arrivals.append(now())
        if self.down[0] <= now() < self.down[1]:
            raise NotAnswered("connection refused", down=True)
        if self.running >= self.at_once:
            self.limited += 1
            raise NotAnswered("429", self.retry_after, rate_limited=True)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.running -= 1
        return 1


async def drive(pace: Pace, server: Server, calls: int, workers: int = 64, tokens: int = 0) -> int:
    """Calls from so many workers; how many were answered."""
    left = iter(range(calls))

    async def work() -> int:
        return sum([await pace.run(server.call, tokens) for _ in left])

    return sum(await asyncio.gather(*(work() for _ in range(workers))))


def test_more_run_at_a_time_as_answers_come_and_never_more_than_the_most() -> None:
    pace, server = Pace(most=12), Server()
    assert pace.concurrency == 4
    assert run(drive(pace, server, 8)) == 8 and server.most == 4
    assert run(drive(pace, server, 1000)) == 1000 and server.most == 12


def test_a_fixed_number_stays() -> None:
    pace, server = Pace(7), Server()
    assert run(drive(pace, server, 500)) == 500
    assert server.most == 7


@pytest.mark.parametrize("retry_after", [None, 0.0, 2.0])
def test_calls_settle_at_what_a_server_takes_and_all_are_answered(retry_after: float | None) -> None:
    pace, server = Pace(most=64), Server(at_once=10, retry_after=retry_after)
    assert run(drive(pace, server, 5000)) == 5000
    assert server.most == 10 and 5 <= pace.concurrency <= 12
    # One more after 25 answers, and a quarter fewer: a handful of calls in a hundred are turned away.
    assert server.limited < 5000 * 0.05


def test_a_burst_of_429_lowers_the_number_once() -> None:
    pace, server = Pace(most=40), Server()
    run(drive(pace, server, 1500))
    assert pace.concurrency == 40
    tried = 0

    async def limited_at_first() -> None:
        nonlocal tried
        tried += 1
        first = tried <= 40
        await asyncio.sleep(tried / 10)
        if first:
            raise NotAnswered("429", rate_limited=True)

    async def burst() -> None:
        await asyncio.gather(*(pace.run(limited_at_first) for _ in range(40)))

    run(burst())
    assert tried == 80 and pace.concurrency == 31  # 40 x 0.75, and one more for 25 answers


def test_nobody_is_sent_before_retry_after_is_over() -> None:
    pace, server = Pace(8), Server(at_once=4, retry_after=30.0)
    run(drive(pace, server, 40))
    assert server.limited and not [time for time in server.arrivals if 1e-6 < time < 30.0]


def test_requests_and_tokens_a_minute_are_kept() -> None:
    """No window of a minute holds more than the limit, begun anywhere."""
    for pace, tokens, allowed in (
        (Pace(50, requests_per_minute=60), 0, 60),
        (Pace(50, tokens_per_minute=6000), 100, 60),
        (Pace(50, requests_per_minute=600, tokens_per_minute=6000), 100, 60),
    ):
        server = Server(seconds=20.0)
        run(drive(pace, server, 300, tokens=tokens))
        for time in server.arrivals:
            assert sum(time <= other < time + 60 - 1e-6 for other in server.arrivals) <= allowed + 1
        assert max(server.arrivals) < 60 * 300 / allowed + 1  # and the limit is used


def test_tokens_that_were_not_needed_are_given_back() -> None:
    pace, server = Pace(4, tokens_per_minute=6000), Server(seconds=0.1)

    async def talk() -> None:
        for _ in range(200):
            await pace.run(server.call, 1000, counted=lambda _: 50)

    run(talk())
    assert max(server.arrivals) < 60 * 200 * 50 / 6000 + 30


def test_a_call_is_tried_again_with_growing_pauses_and_then_given_up() -> None:
    times: list[float] = []

    async def failing() -> None:
        times.append(now())
        raise NotAnswered("500")

    with pytest.raises(NotAnswered, match="500"):
        run(Pace(retries=4).run(failing))
    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == 5
    assert all(0.5 * 2**i <= pause <= 2**i + 1e-9 for i, pause in enumerate(pauses))


def test_what_is_refused_is_not_tried_again() -> None:
    times: list[float] = []

    async def refused() -> None:
        times.append(now())
        raise Refused("too long")

    with pytest.raises(Refused):
        run(Pace().run(refused))
    assert len(times) == 1


def test_a_server_that_restarts_costs_waiting_and_no_row() -> None:
    pace, server = Pace(16, retries=0), Server(seconds=0.5, down=(10.0, 400.0))
    assert run(drive(pace, server, 2000)) == 2000
    asked = [time for time in server.arrivals if 12.0 < time < 400.0]
    assert 390 / 35 < len(asked) < 60  # one call now and then, at most 30 s apart
    assert pace.concurrency == 16 and pace.trouble == ""


def test_a_server_that_stays_down_stops_the_job_with_a_line() -> None:
    pace, server = Pace(8), Server(down=(100.0, 1e9))
    with pytest.raises(JobStops, match=r"connection refused: no request was answered for \d+ minutes.*is kept"):
        run(drive(pace, server, 10_000))
    assert 900 < server.arrivals[-1] - 100 < 1000


def test_a_limit_that_never_ends_stops_the_job_and_a_long_one_that_ends_does_not() -> None:
    day = Server(retry_after=3600.0, at_once=0)

    async def opens() -> None:
        await asyncio.sleep(3599.0)
        day.at_once = 10

    async def both() -> int:
        opening = asyncio.ensure_future(opens())
        answered = await drive(Pace(4), day, 20)
        await opening
        return answered

    assert run(both()) == 20
    with pytest.raises(JobStops, match="429"):
        run(drive(Pace(4), Server(retry_after=1.0, at_once=0), 20))


def test_one_request_that_always_fails_stops_neither_the_job_nor_the_others() -> None:
    pace, server, answered = Pace(8, retries=3), Server(), Counter[str]()

    async def poisoned() -> int:
        raise NotAnswered("500 CUDA error")

    async def talk() -> None:
        async def one(i: int) -> None:
            try:
                await pace.run(poisoned if i % 50 == 0 else server.call)
                answered["yes"] += 1
            except NotAnswered:
                answered["no"] += 1

        await asyncio.gather(*(one(i) for i in range(500)))

    run(talk())
    assert answered == {"yes": 490, "no": 10}


def test_a_server_that_fails_every_request_is_asked_one_by_one_and_then_the_job_stops() -> None:
    times: list[float] = []

    async def failing() -> int:
        times.append(now())
        await asyncio.sleep(0.1)
        raise NotAnswered("500 CUDA error")

    async def talk() -> None:
        pace = Pace(32)
        await asyncio.gather(*(pace.run(failing) for _ in range(64)))

    with pytest.raises(JobStops, match="CUDA error"):
        run(talk())
    assert len(times) < 150  # not 64 x 7


def test_a_call_that_is_given_up_leaves_its_turn_to_others() -> None:
    pace, server = Pace(1), Server(seconds=5.0)

    async def talk() -> int:
        calls = [asyncio.ensure_future(pace.run(server.call)) for _ in range(4)]
        await asyncio.sleep(1.0)
        calls[0].cancel()  # under way
        calls[1].cancel()  # its turn comes now
        calls[2].cancel()  # waits
        return await calls[3] + await pace.run(server.call)

    assert run(talk()) == 2
