"""Why work ends before its time: what the user can correct, a guard that failed, a stop. Entry scripts print a line,
without a traceback."""

from __future__ import annotations


class UserError(Exception):
    """Something in the user's recipe, data or files is wrong.

    The message names the file, the row or key, the value and the way out. A message is one line; a recipe with several
    errors joins one line for each (see `categorize.recipe.load`).
    """


class GuardFailed(Exception):
    """The work is done, and what came out is worse than was allowed; the message says what."""


class Answered(Exception):
    """What was asked is answered, and the exit status is part of the answer.

    Attributes:
        status: of the process.
    """

    def __init__(self, status: int) -> None:
        super().__init__(f"exit status {status}")
        self.status = status


class StoppedEarly(BaseException):
    """The work was asked to end before it was done and can be continued; the message is one line that says how.

    Not an `Exception`, as `KeyboardInterrupt` is not: it may be raised anywhere, and nothing may swallow it.
    """
