"""Runs tasks in several processes, or in this one where a second would not pay."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from categorize.danmu.task import Done, Tell
from categorize.errors import UserError

_MOST = 4  # processes; each takes some hundred megabytes
_EVERY = 0.2  # seconds between two looks at what the processes tell

Call = Callable[[Tell], Done]
_told: Any = None  # in a worker: the queue to the parent


class Pool:
    """Processes for tasks; none where one is enough.

    Args:
        wanted: how many tasks there will be at least.
    """

    def __init__(self, wanted: int) -> None:
        self.processes = min(wanted, _MOST, _cpus())
        self._executor: ProcessPoolExecutor | None = None
        self._queue: Any = None
        if self.processes > 1:
            # Not forked: the parent may have threads.
            context = multiprocessing.get_context("spawn")
            self._queue = context.Queue()
            self._executor = ProcessPoolExecutor(self.processes, context, _begin, (self._queue,))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)
            self._queue.close()

    def run(self, calls: Sequence[Call], tell: Tell) -> Iterator[Done]:
        """Results as they come, in any order.

        Raises:
            UserError: a task raised it, or a process died.
        """
        if self._executor is None:
            for call in calls:
                yield call(tell)
            return
        waiting: set[Future[Done]] = {self._executor.submit(_call, call) for call in calls}
        try:
            while waiting:
                finished, waiting = wait(waiting, _EVERY, FIRST_COMPLETED)
                self._pass_on(tell)
                for future in finished:
                    yield future.result()
        except BrokenProcessPool:
            raise UserError("a reading process died (out of memory?); start again: what is done is kept") from None
        finally:
            for future in waiting:
                future.cancel()

    def _pass_on(self, tell: Tell) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                tell(*self._queue.get_nowait())


def _cpus() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin(told: Any) -> None:
    import pyarrow as pa

    global _told
    _told = told
    pa.set_cpu_count(1)  # the processes are the parallelism
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A killed parent takes its processes along: the next start must not meet them in the same folder."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)


def _call(call: Call) -> Done:
    return call(lambda done, comments: _told.put((done, comments)))
