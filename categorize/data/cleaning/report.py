"""What each cleaning step did to the rows of a source: how many it touched, and a few texts before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice

from categorize.data.cleaning.registry import build_step
from categorize.recipe.data_sections import CleaningOptions

SAMPLES = 2  # of each step
_AROUND = 24  # characters shown on either side of a change


@dataclass
class TouchedRows:
    """How many rows a step changed, and excerpts of texts before and after it, around the first change."""

    step: str
    rows: int = 0
    samples: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class CleaningReport:
    """The steps in their order, and how many rows went through them."""

    rows: int
    steps: list[TouchedRows]

    def line(self) -> str:
        """Rows that each step touched."""
        counts = ", ".join(f"{step.step} {step.rows}" for step in self.steps)
        return f"cleaning, rows touched by each step in order: {counts}"

    def lines(self) -> list[str]:
        """Samples of each step that touched anything, for a dry run."""
        lines = [f"  {step.step}: {before!r} -> {after!r}" for step in self.steps for before, after in step.samples]
        return ["cleaning, samples before and after a step:", *lines] if lines else []


class CleaningTrace:
    """Cleans texts as `cleaning.cleaner` does with the same steps, and notes in `report` what each of them changes."""

    def __init__(self, steps: Sequence[str | CleaningOptions]) -> None:
        built = [build_step(step) for step in steps]
        self._functions = [function for _, function in built]
        self.report = CleaningReport(0, [TouchedRows(name) for name, _ in built])

    def clean(self, columns: Sequence[Sequence[str]], counts: Sequence[int]) -> list[list[str]]:
        """The cleaned text columns of rows each of which occurs so many times; a step touches a row once."""
        self.report.rows += sum(counts)
        before = [list(texts) for texts in columns]
        for function, touched in zip(self._functions, self.report.steps, strict=True):
            after = [list(map(function, texts)) for texts in before]
            changed = {
                row
                for old, new in zip(before, after, strict=True)
                for row, (one, other) in enumerate(zip(old, new, strict=True))
                if one != other
            }
            touched.rows += sum(counts[row] for row in changed)
            if changed and len(touched.samples) < SAMPLES:
                pairs = (
                    (old[row], new[row]) for row in sorted(changed) for old, new in zip(before, after, strict=True)
                )
                found = (excerpt(old, new) for old, new in pairs if old != new)
                touched.samples += islice(found, SAMPLES - len(touched.samples))
            before = after
        return before


def excerpt(before: str, after: str) -> tuple[str, str]:
    """The part of two texts around their first difference, cut with "..." where there is more."""
    at = _alike(before, after)
    # From the end, the texts are alike again: what lies between is the change, shown whole where it is short.
    tail = _alike(before[at:][::-1], after[at:][::-1])
    start = max(0, at - _AROUND)

    def cut(text: str) -> str:
        end = min(len(text), max(at, len(text) - tail) + _AROUND, at + 3 * _AROUND)
        return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")

    return cut(before), cut(after)


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
