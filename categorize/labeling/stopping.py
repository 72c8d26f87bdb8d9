"""Signals that ask a labelling job to stop: requests in flight are waited for, then it ends with status 75."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from categorize.errors import StoppedEarly
from categorize.training.stopping import SIGNALS

AGAIN = "the same command goes on where it stopped"


class Stop:
    """The signal that came, and who sees to it."""

    def __init__(self) -> None:
        self.name: str | None = None
        self._handler: Callable[[bool], None] | None = None

    @contextmanager
    def handled_by(self, stop: Callable[[bool], None]) -> Iterator[None]:
        """While open, within a running event loop, a signal calls `stop`, with True from the second one on."""
        loop = asyncio.get_running_loop()

        def handle(again: bool) -> None:
            loop.call_soon_threadsafe(stop, again)

        self._handler = handle
        try:
            yield
        finally:
            self._handler = None

    def raise_if_asked(self) -> None:
        """Raises StoppedEarly where a signal came."""
        if self.name is not None:
            raise StoppedEarly(f"stopped by {self.name}; every answer that came is stored, and {AGAIN}")

    def receive(self, number: int, frame: Any = None) -> None:
        """What a signal does."""
        again, self.name = self.name is not None, signal.Signals(number).name
        if self._handler is not None:
            self._handler(again)
        else:
            self.raise_if_asked()


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """While open, a signal that asks to end raises StoppedEarly, or is seen to within `Stop.handled_by`; Ctrl-C too."""
    stop = Stop()
    before = {}
    if threading.current_thread() is threading.main_thread():  # others may not set handlers
        numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        defaults = (signal.SIG_DFL, signal.default_int_handler)
        before = {
            number: signal.signal(number, stop.receive)
            for number in (*numbers, signal.SIGINT)
            if signal.getsignal(number) in defaults
        }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
