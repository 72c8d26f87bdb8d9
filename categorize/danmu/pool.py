"""Runs tasks in several processes, or in this one where a second would not pay."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from categorize.danmu.tasks import Done, Tell
from categorize.data.reading.progress import Progress
from categorize.errors import UserError

_MOST = 4  # processes; each takes some hundred megabytes
_EVERY = 0.2  # seconds between two looks at what the processes tell

Work = Callable[[Any, Tell], Done]
_told: Any = None  # in a worker: the bytes and comments that were not reported to the parent yet


class Pool:
    """A pool of processes for `wanted` tasks. It starts none where a single process is enough."""

    def __init__(self, wanted: int) -> None:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._executor: ProcessPoolExecutor | None = None
        if (processes := min(wanted, _MOST, cpus)) > 1:
            context = multiprocessing.get_context("spawn")  # not forked: the parent may have threads
            self._told = context.Array("q", 2)
            self._executor = ProcessPoolExecutor(processes, context, _begin, (self._told,))

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *error: object) -> None:
        if self._executor is not None:
            self._executor.shutdown(wait=True, cancel_futures=True)

    def run(self, work: Work, tasks: Sequence[Any], progress: Progress) -> Iterator[Done]:
        """Results as they come, in any order. Raises UserError where a task raised it, or a process died."""
        try:
            if self._executor is None:
                yield from (work(task, progress.advance) for task in tasks)
                return
            waiting = {self._executor.submit(work, task, _tell) for task in tasks}
            while waiting:
                finished, waiting = wait(waiting, _EVERY, FIRST_COMPLETED)
                with self._told:
                    told, self._told[:] = self._told[:], [0, 0]
                progress.advance(*told)
                yield from (future.result() for future in finished)
        except BrokenProcessPool:
            raise UserError("a reading process died (out of memory?); start again: what is done is kept") from None
        finally:
            progress.finish()


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


def _tell(done: int, comments: int) -> None:
    with _told:
        _told[0] += done
        _told[1] += comments
