"""The upper of two levels: precision, recall, F1 and support of each main category, and their averages."""

from __future__ import annotations

from collections.abc import Sequence

from categorize.metrics.progress import AVERAGES
from categorize.reports.comparison import EvaluatedRun
from categorize.text_tables import Cell, Table

COLUMNS = ("main category", "run", "precision", "recall", "F1", "support")


def main_category_table(runs: Sequence[EvaluatedRun]) -> Table:
    """A line for each main category and run, then one for each average and run; without rows where the label set has
    no groups."""
    measured = [(run, run.metrics["groups"]) for run in runs if run.metrics.get("groups")]
    rows: list[list[Cell]] = []
    for at, one in enumerate(measured[0][1]["per_class"] if measured else ()):
        found = [(run, groups["per_class"][at]) for run, groups in measured]
        rows += [[one["label"], run.name, *_scores(given), f"{given['support']:,}"] for run, given in found]
    for average in AVERAGES:
        rows += [[average, run.name, *_scores(groups[average]), ""] for run, groups in measured if groups.get(average)]
    return Table(list(COLUMNS), rows, "llrrrr")


def _scores(given: dict[str, float]) -> list[Cell]:
    return [f"{given[name]:.3f}" for name in ("precision", "recall", "f1")]
