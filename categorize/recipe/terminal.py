"""What every command has in common: errors in one line each, and exit statuses."""

from __future__ import annotations

import argparse
import os
import select
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from categorize.errors import Answered, GuardFailed, StoppedEarly, UserError
from categorize.processes import another_failed, is_first_to_say, last_words, leave, leave_reason

FAILED = 1
USER_ERROR = 2
GUARD_FAILED = 3  # done, and worse than was allowed
INTERRUPTED = 130
CLOSED_PIPE = 141  # what a shell says of a command that SIGPIPE ended: 128 + 13
STOPPED = 75  # EX_TEMPFAIL of sysexits.h: stopped before its end, to be started again


class CommandParser(argparse.ArgumentParser):
    """Raises UserError instead of printing usage and leaving: all errors look alike. The description keeps its lines,
    and options are written whole."""

    def __init__(self, prog: str, description: str | None, **options: Any) -> None:
        style = argparse.RawDescriptionHelpFormatter
        super().__init__(prog=prog, description=description, formatter_class=style, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        command = self.prog if self.prog.startswith("python ") else f"python {self.prog}"
        raise UserError(f"{message}; {command} --help explains")


def run_command(main: Callable[[], int | None]) -> int:
    """The exit status of a command; 141 and no word where whoever read its output has left (`| head`).

    Python's own way is a traceback for what is printed then, and another line for what is flushed at its end.
    """
    try:
        try:
            status = main() or 0
        except SystemExit:  # --help
            sys.stdout.flush()
            raise
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        if not _reader_has_left():
            raise  # a pipe to another process
        return leave(CLOSED_PIPE)


def _reader_has_left() -> bool:
    """Whether nobody reads stdout any more; then what is still printed goes nowhere."""
    try:
        watched = select.poll()
        watched.register(sys.stdout.fileno(), 0)  # that the other end is closed is told without being asked for
        gone = bool(watched.poll(0))
    except (AttributeError, OSError, ValueError):  # no such call on this system, or stdout is not a file
        return False
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return gone


def exit_status(work: Callable[[], None], interrupted: str = "interrupted") -> int:
    """Do the work; 2 and `error:` lines for what the user can fix, 3 where a guard failed, 130 and `interrupted` for
    Ctrl-C, 75 and a line where it was stopped early, what the answer says where the status is part of it, else 0.

    Of several processes that were launched and end for one reason, the first says it.
    """
    try:
        work()
    except UserError as error:
        print_error(error)
        return leave(USER_ERROR)
    except GuardFailed as failed:
        say_why(str(failed))
        return leave(GUARD_FAILED)
    except Answered as answered:
        return leave(answered.status)
    except KeyboardInterrupt:
        say_why(interrupted)
        return leave(INTERRUPTED)
    except StoppedEarly as stopped:
        say_why(str(stopped))
        return leave(STOPPED)
    except Exception:
        if not another_failed():
            raise
        return leave(FAILED)  # a connection to the process that failed was lost, or the like
    return leave(0)  # threads of a group that are taken down with the interpreter abort it now and then


def print_error(error: UserError) -> None:
    """One `error:` line on stderr for each mistake."""
    say_why("\n".join(f"error: {line}" for line in str(error).splitlines()))


def say_why(text: str) -> None:
    """Say on stderr why this process ends, unless another process of the launch has said the same."""
    leave_reason(text.removeprefix("error: "))
    if is_first_to_say(text):
        last_words(text)
