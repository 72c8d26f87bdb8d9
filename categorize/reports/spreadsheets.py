"""A report for spreadsheets: a line for each run with all of its figures, and a line for each label and run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

from categorize.reports.main_categories import main_category_table
from categorize.reports.per_class import COLUMNS, per_class_rows
from categorize.reports.report import Report

COMPARISON, PER_CLASS, MAINS = "comparison.csv", "per_class.csv", "main_categories.csv"
FACTS = (
    "documents_per_second", "parameters_trained", "parameters_total", "training_rows", "training_seconds",
    "training_memory", "prediction_memory",
)  # fmt: skip


def spreadsheets(report: Report) -> dict[str, str]:
    """The files by name; those by label for a classification, by main category where labels have groups."""
    comparison = report.comparison
    files = {COMPARISON: _csv(comparison_lines(report))}
    if rows := per_class_rows(comparison.runs):
        files[PER_CLASS] = _csv([list(COLUMNS), *([row[name] for name in COLUMNS] for row in rows)])
    mains = main_category_table(comparison.runs)
    if mains.rows:
        files[MAINS] = _csv([mains.header, *mains.rows])
    return files


def comparison_lines(report: Report) -> list[list[Any]]:
    """The header and a line for each run: every measure, with `_low` and `_high` where it has an interval, rows, valid
    answers, and what the run costs."""
    runs = report.comparison.runs
    bounded = {name for run in runs for name, bounds in run.intervals.items() if bounds}
    measures = [measure.name for measure in report.comparison.measured]
    header = ["run", "method", "rows", "valid", "valid_rate"]
    for name in measures:
        header += [name, *([f"{name}_low", f"{name}_high"] if name in bounded else [])]
    costs = {} if report.costs is None else {one.run: one for one in report.costs.runs}
    header += [*FACTS, *(["training_money", "rest_seconds", "rest_money"] if costs else [])]
    lines = [header]
    for run in runs:
        line: list[Any] = [run.name, run.method, *(run.metrics[name] for name in header[2:5])]
        for name in measures:
            line.append(run.numbers.get(name))
            if name in bounded:
                line += run.intervals.get(name) or [None, None]
        line += [getattr(run, name) for name in FACTS]
        if costs:
            of_run = costs[run.name]
            line += [of_run.training_money, of_run.rest_seconds, of_run.rest_money]
        lines.append(line)
    return lines


def _csv(lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    # With the byte order mark, Excel reads UTF-8, and so Chinese labels, as such.
    return "\ufeff" + text.getvalue()
