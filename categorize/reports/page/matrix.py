"""What is taken for what: confusion matrices, and the pairs that occur most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from categorize.metrics.progress import headline_of
from categorize.reports.comparison import EvaluatedRun, best_run
from categorize.reports.per_class import confusions
from categorize.reports.report import Report

MOST_LABELS = 40  # of a matrix that a page shows
PAIRS = 8  # of a run


@dataclass(frozen=True)
class MatrixCell:
    """Rows of one gold label that got one label; their share of the gold's rows, and of all that got that label."""

    rows: int
    of_gold: float
    of_predicted: float
    right: bool


@dataclass(frozen=True)
class Matrix:
    """The confusion matrix of a run: `columns` are what was predicted, each line a gold label with its rows."""

    run: str
    columns: Sequence[str]
    lines: Sequence[tuple[str, int, Sequence[MatrixCell]]]


@dataclass(frozen=True)
class Pair:
    """A frequent wrong answer of a run."""

    run: str
    gold: str
    predicted: str
    rows: int
    of_gold: float | None


def matrices(report: Report) -> list[Matrix]:
    """Those of the runs, the best one first; none where there are more labels than a page can show."""
    runs = [run for run in report.comparison.runs if run.metrics.get("confusion") and run.method != "baseline"]
    if not runs or len(runs[0].metrics["confusion"]["gold"]) > MOST_LABELS:
        return []
    order = (report.analysis.get("confusion") or {}).get("labels")
    return [_matrix(run, order) for run in _best_first(runs, report)]


def _matrix(run: EvaluatedRun, order: Sequence[str] | None) -> Matrix:
    """Labels stand in `order`, that of the hierarchy; invalid answers last, where there are some."""
    confusion = run.metrics["confusion"]
    counts: Mapping[tuple[str, str], int] = {
        (gold, predicted): rows
        for gold, line in zip(confusion["gold"], confusion["counts"], strict=True)
        for predicted, rows in zip(confusion["predicted"], line, strict=True)
    }
    labels = list(order or confusion["gold"])
    others = [one for one in confusion["predicted"] if one not in labels and any(counts[gold, one] for gold in labels)]
    columns = [*labels, *others]
    of_predicted = {one: max(sum(counts[gold, one] for gold in labels), 1) for one in columns}
    lines = []
    for gold in labels:
        support = sum(counts[gold, one] for one in columns)
        cells = [
            MatrixCell(rows, rows / max(support, 1), rows / of_predicted[one], gold == one)
            for one in columns
            for rows in [counts[gold, one]]
        ]
        lines.append((gold, support, cells))
    return Matrix(run.name, columns, lines)


def pairs(report: Report) -> list[Pair]:
    """The most frequent wrong answers of each run but the baselines, the best run first; of several labels a row, what
    a closer look found."""
    closer: Mapping[str, Any] = (report.analysis.get("confusion") or {}).get("runs", {})
    found = []
    for run in _best_first([run for run in report.comparison.runs if run.method != "baseline"], report):
        if run.metrics.get("confusion"):
            found += [
                Pair(run.name, one.gold, one.predicted, one.rows, one.share) for one in confusions(run.metrics, PAIRS)
            ]
        else:
            found += [
                Pair(run.name, one["gold"], one["predicted"], one["rows"], one.get("of_gold"))
                for one in closer.get(run.name, {}).get("pairs", ())[:PAIRS]
            ]
    return found


def _best_first(runs: Sequence[EvaluatedRun], report: Report) -> list[EvaluatedRun]:
    if not runs:
        return []
    best = best_run(runs, headline_of(report.comparison.task))
    return sorted(runs, key=lambda run: run.name != best)
