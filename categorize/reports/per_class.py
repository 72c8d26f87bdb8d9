"""Label by label: support and F1 of every run side by side, and what a run confuses most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from categorize.reports.tables import GAP, display_width, fit, markdown_table, text_table

NARROWEST = 10  # columns of the terminal that a run's F1 takes at least, for a name that can still be told apart
WIDEST = 24


class Named(Protocol):
    """What this module needs of a run."""

    @property
    def name(self) -> str:
        """How the comparison names the run."""

    @property
    def metrics(self) -> Mapping[str, Any]:
        """Of `metrics.measures.measure`."""


@dataclass(frozen=True)
class Confusion:
    """How many rows of `gold` were predicted as `predicted`, and their share of the rows of `gold`."""

    gold: str
    predicted: str
    rows: int
    share: float


def per_class_text(runs: Sequence[Named], width: int = 120) -> str:
    """Labels with support and the F1 of each run, for a terminal; runs that do not fit are named below."""
    header, rows, align = _table(runs)
    if not rows:
        return ""
    label = min(WIDEST, max(display_width(row[0]) for row in rows))
    fitting = max(1, (width - label - len(GAP) - len("support")) // (NARROWEST + len(GAP)))
    room = (width - label - len(GAP) - len("support")) // min(fitting, len(runs)) - len(GAP)
    header = [*header[:2], *(fit(name, min(room, WIDEST)) for name in header[2:])][: 2 + fitting]
    table = text_table(header, [row[: 2 + fitting] for row in rows], align[: 2 + fitting], width=width)
    hidden = [run.name for run in runs[fitting:]]
    return table + (f"\nnot shown for lack of room: {', '.join(hidden)}" if hidden else "")


def per_class_markdown(runs: Sequence[Named]) -> str:
    """The same table as Markdown, with all runs."""
    return markdown_table(*_table(runs))


def per_class_rows(runs: Sequence[Named]) -> list[dict[str, Any]]:
    """One row for each label and run, for a spreadsheet: label, support, run, precision, recall, f1, predicted."""
    return [
        {
            "label": row["label"],
            "support": row["support"],
            "run": run.name,
            **{name: row[name] for name in ("precision", "recall", "f1", "predicted")},
        }
        for by_run in zip(*(run.metrics.get("per_class", ()) for run in runs), strict=True)
        for run, row in zip(runs, by_run, strict=True)
    ]


def confusions(metrics: Mapping[str, Any], top: int = 10) -> list[Confusion]:
    """The most frequent wrong answers, invalid ones among them; nothing for a task without a confusion matrix."""
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


def confusions_markdown(runs: Sequence[Named], top: int = 5) -> str:
    """A table of the most frequent confusions of each run; empty where there are none."""
    rows = [
        [run.name, one.gold, one.predicted, f"{one.rows:,}", f"{one.share:.1%}"]
        for run in runs
        for one in confusions(run.metrics, top)
    ]
    header = ["run", "gold", "predicted", "rows", "of the gold's rows"]
    return markdown_table(header, rows, "lllrr") if rows else ""


def _table(runs: Sequence[Named]) -> tuple[list[str], list[list[str]], str]:
    header = ["label", "support", *(run.name for run in runs)]
    rows = [
        [by_run[0]["label"], f"{by_run[0]['support']:,}", *(f"{row['f1']:.3f}" for row in by_run)]
        for by_run in zip(*(run.metrics.get("per_class", ()) for run in runs), strict=True)
    ]
    return header, rows, "l" + "r" * (len(header) - 1)
