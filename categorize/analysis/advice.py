"""What a piece of advice is; the checks that give them are listed in `registry`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


@dataclass(frozen=True)
class Advice:
    """One thing that is wrong, or could be better, and the way out.

    Attributes:
        code: of the check.
        run: that it is about; None: about the data, or all runs.
        label: that it is about.
        numbers: those that stand in the text.
    """

    code: str
    severity: Severity
    text: str
    run: str | None = None
    label: str | None = None
    numbers: Mapping[str, float | int | None] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "numbers": dict(self.numbers)}


def few(names: list[str], most: int = 3) -> str:
    """The first names in a row.

    >>> few(["a", "b", "c", "d", "e"])
    'a, b, c and 2 more'
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
