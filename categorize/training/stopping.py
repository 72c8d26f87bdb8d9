"""Signals that ask a training to stop, from a scheduler, a time limit or a closed terminal.

They raise `StoppedEarly`, which becomes one line and exit status 75: at once, or behind the optimizer step and a whole
checkpoint where a trainer runs (see `ending`).
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from categorize.errors import StoppedEarly

# Schedulers send SIGTERM, or SIGUSR1 and SIGUSR2 some time before it; a limit of CPU time and a closed terminal have
# their own. Those that a system lacks are left out, and those that `nohup` or a caller has seen to.
SIGNALS = ("SIGTERM", "SIGUSR1", "SIGUSR2", "SIGHUP", "SIGXCPU")
AGAIN = "the same command with --resume goes on"


class _Request:
    """The first signal that came, and whether a trainer will see to it."""

    name: str | None = None
    deferred = False


def requested() -> str | None:
    """Name of the signal that asked this process to stop; None where none did."""
    return _Request.name


@contextmanager
def stop_on_signals() -> Iterator[None]:
    """While open, a stop signal raises `StoppedEarly`: at once, or within `deferred` behind the trainer's step."""

    def receive(number: int, frame: Any) -> None:
        if _Request.name is not None:  # a launcher passes on what the scheduler sends to every process as well
            return
        _Request.name = signal.Signals(number).name
        if not _Request.deferred:
            raise StoppedEarly(f"stopped by {_Request.name}; {AGAIN} from the last checkpoint, if there is one")

    _Request.name = None
    before = {}
    if threading.current_thread() is threading.main_thread():  # others may not set handlers
        numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        before = {
            number: signal.signal(number, receive) for number in numbers if signal.getsignal(number) == signal.SIG_DFL
        }
    try:
        yield
    finally:
        _Request.name = None
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def deferred() -> Iterator[None]:
    """While it is open, a trainer with `ending.EndBehindStep` sees to stop signals. What it cannot see to any more is
    raised in its stead: a signal behind the last step, or one that has killed data workers too."""
    _Request.deferred = True
    try:
        yield
    except Exception as error:
        if _Request.name is None:
            raise
        reason = str(error).partition("\n")[0][:200]
        raise StoppedEarly(
            f"stopped by {_Request.name} within a step ({reason}); {AGAIN} from the last checkpoint"
        ) from error
    finally:
        _Request.deferred = False
    if _Request.name is not None:
        raise StoppedEarly(f"stopped by {_Request.name} when training was over; {AGAIN} from the last checkpoint")
