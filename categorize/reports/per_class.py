"""Label by label: support and F1 of every run side by side, and what a run confuses most."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from categorize.reports.comparison import EvaluatedRun
from categorize.text_tables import GAP, Table, display_width, fit, text_table

COLUMNS = ("label", "support", "run", "precision", "recall", "f1", "predicted")
NARROWEST = 10  # columns of the terminal that a run's F1 takes at least, for a name that can still be told apart
WIDEST = 24


@dataclass(frozen=True)
class Confusion:
    """How many rows of `gold` were predicted as `predicted`, and their share of the rows of `gold`."""

    gold: str
    predicted: str
    rows: int
    share: float


def f1_table(runs: Sequence[EvaluatedRun]) -> Table:
    """Labels with support and the F1 of each run; without rows for a regression."""
    rows = [
        [by_run[0]["label"], f"{by_run[0]['support']:,}", *(f"{row['f1']:.3f}" for row in by_run)]
        for by_run in _by_label(runs)
    ]
    return Table(["label", "support", *(run.name for run in runs)], rows, "l" + "r" * (len(runs) + 1))


def per_class_text(runs: Sequence[EvaluatedRun], width: int = 120) -> str:
    """`f1_table` for a terminal; runs that do not fit are named below."""
    header, rows, align = f1_table(runs)
    if not rows:
        return ""
    label = min(WIDEST, max(display_width(str(row[0])) for row in rows))
    room = width - label - len(GAP) - len("support")
    fitting = max(1, room // (NARROWEST + len(GAP)))
    each = min(WIDEST, room // min(fitting, len(runs)) - len(GAP))
    header = [*header[:2], *(fit(name, each) for name in header[2 : 2 + fitting])]
    table = text_table(header, [row[: 2 + fitting] for row in rows], align, width=width)
    hidden = [run.name for run in runs[fitting:]]
    return table + (f"\nnot shown for lack of room: {', '.join(hidden)}" if hidden else "")


def per_class_rows(runs: Sequence[EvaluatedRun]) -> list[dict[str, Any]]:
    """One row of `COLUMNS` for each label and run, for a spreadsheet."""
    return [
        {name: run.name if name == "run" else row[name] for name in COLUMNS}
        for by_run in _by_label(runs)
        for run, row in zip(runs, by_run, strict=True)
    ]


def confusions(metrics: Mapping[str, Any], top: int = 10) -> list[Confusion]:
    """The most frequent wrong answers, invalid ones among them; nothing for a task without a confusion matrix.

    >>> matrix = {"gold": ["a", "b"], "predicted": ["a", "b", "(invalid)"], "counts": [[2, 1, 1], [0, 4, 0]]}
    >>> confusions({"confusion": matrix}, top=1)
    [Confusion(gold='a', predicted='b', rows=1, share=0.25)]
    """
    confusion = metrics.get("confusion")
    if not confusion:
        return []
    found = [
        Confusion(gold, predicted, rows, rows / sum(counts))
        for gold, counts in zip(confusion["gold"], confusion["counts"], strict=True)
        for predicted, rows in zip(confusion["predicted"], counts, strict=True)
        if rows and gold != predicted
    ]
    return sorted(found, key=lambda one: -one.rows)[:top]  # sorting is stable: label order among equals


def confusion_table(runs: Sequence[EvaluatedRun], top: int = 5) -> Table:
    """The most frequent confusions of each run."""
    rows = [
        [run.name, one.gold, one.predicted, f"{one.rows:,}", f"{one.share:.1%}"]
        for run in runs
        for one in confusions(run.metrics, top)
    ]
    return Table(["run", "gold", "predicted", "rows", "of the gold's rows"], rows, "lllrr")


def _by_label(runs: Sequence[EvaluatedRun]) -> Iterator[tuple[Mapping[str, Any], ...]]:
    """The measures of each label, one of every run."""
    return zip(*(run.metrics.get("per_class", ()) for run in runs), strict=True)
