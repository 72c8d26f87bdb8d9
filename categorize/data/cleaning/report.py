"""What each cleaning step did to the rows of a source: how many it touched, and a few texts before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from categorize.data.cleaning.registry import build_step
from categorize.recipe.data_sections import CleaningOptions

SAMPLES = 2  # of each step
_AROUND = 24  # characters shown on either side of a change


@dataclass(frozen=True)
class TouchedRows:
    """What one step did.

    Attributes:
        step: its name.
        rows: rows with a text that it changed.
        samples: excerpts of texts before and after the step, around the first change.
    """

    step: str
    rows: int = 0
    samples: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class CleaningReport:
    """The steps in their order, and how many rows went through them."""

    rows: int = 0
    steps: tuple[TouchedRows, ...] = field(default=())

    def line(self) -> str:
        """Rows that each step touched."""
        counts = ", ".join(f"{step.step} {step.rows}" for step in self.steps)
        return f"cleaning, rows touched by each step in order: {counts}"

    def lines(self) -> list[str]:
        """Samples of each step that touched anything, for a dry run."""
        lines = [f"  {step.step}: {before!r} -> {after!r}" for step in self.steps for before, after in step.samples]
        return ["cleaning, samples before and after a step:", *lines] if lines else []


class CleaningTrace:
    """Cleans texts as `cleaning.cleaner` does and notes what each step changes.

    Args:
        steps: the items of `data.cleaning`.
    """

    def __init__(self, steps: Sequence[str | CleaningOptions]) -> None:
        self._steps = [build_step(step) for step in steps]
        self._touched = [0] * len(self._steps)
        self._samples: list[list[tuple[str, str]]] = [[] for _ in self._steps]
        self._rows = 0

    def clean(self, texts: Sequence[str], rows: int = 1) -> list[str]:
        """The cleaned text columns of a row that occurs `rows` times; a step touches a row once."""
        cleaned = list(texts)
        self._rows += rows
        for i, (_, apply) in enumerate(self._steps):
            touched = False
            for column, text in enumerate(cleaned):
                new = apply(text)
                if new is not text and new != text:
                    cleaned[column], touched = new, True
                    if len(self._samples[i]) < SAMPLES:
                        self._samples[i].append(excerpt(text, new))
            self._touched[i] += rows * touched
        return cleaned

    def report(self) -> CleaningReport:
        """What was noted so far."""
        noted = zip(self._steps, self._touched, self._samples, strict=True)
        return CleaningReport(self._rows, tuple(TouchedRows(name, n, tuple(some)) for (name, _), n, some in noted))


def excerpt(before: str, after: str) -> tuple[str, str]:
    """The part of two texts around their first difference, cut with "..." where there is more."""
    at = next((i for i, (a, b) in enumerate(zip(before, after, strict=False)) if a != b), min(len(before), len(after)))
    # From the end, the texts are alike again: what lies between is the change, shown whole where it is short.
    tail = 0
    while tail < min(len(before), len(after)) - at and before[-1 - tail] == after[-1 - tail]:
        tail += 1
    start = max(0, at - _AROUND)

    def cut(text: str) -> str:
        end = min(len(text), max(at, len(text) - tail) + _AROUND, at + 3 * _AROUND)
        return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")

    return cut(before), cut(after)
