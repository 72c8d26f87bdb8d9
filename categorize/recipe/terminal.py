"""What every command has in common: errors in one line each, and exit statuses."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import NoReturn

from categorize.errors import UserError

USER_ERROR = 2
INTERRUPTED = 130


class CommandParser(argparse.ArgumentParser):
    """Raises UserError instead of printing usage and leaving: all errors look alike."""

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        command = self.prog if self.prog.startswith("python ") else f"python {self.prog}"
        raise UserError(f"{message}; {command} --help explains")


def exit_status(work: Callable[[], None], interrupted: str = "interrupted") -> int:
    """Do the work; 2 and `error:` lines for what the user can mend, 130 and `interrupted` for Ctrl-C, else 0."""
    try:
        work()
    except UserError as error:
        print_error(error)
        return USER_ERROR
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return INTERRUPTED
    return 0


def print_error(error: UserError) -> None:
    """One `error:` line on stderr for each mistake."""
    for line in str(error).splitlines():
        print(f"error: {line}", file=sys.stderr)
