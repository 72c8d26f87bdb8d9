"""Tables as a page shows them: cells with the number that they are sorted by, their interval, and bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from categorize.metrics.intervals import Difference
from categorize.metrics.progress import greater_is_better
from categorize.reports import columns
from categorize.reports.comparison import Comparison, EvaluatedRun
from categorize.reports.costs import Costs, money
from categorize.reports.overview import difference_title
from categorize.text_tables import Cell, Table, Value

LONG = 25  # lines


@dataclass(frozen=True)
class Shown:
    """A cell: its text, what it is sorted by (None: its text), its interval, whether it is the best of its column, and
    the share of a bar under it. `under` stands below the text, `quiet` says that the text is not to stand out."""

    text: str
    key: float | None = None
    interval: str = ""
    best: bool = False
    bar: float | None = None
    under: str = ""
    quiet: bool = False


@dataclass(frozen=True)
class Column:
    """A column: its title, whether it holds numbers, and what stands behind the title for those who point at it."""

    title: str
    numeric: bool = True
    hint: str = ""


@dataclass(frozen=True)
class PageTable:
    """A table of a page; the first cell of each line is its header."""

    caption: str
    columns: Sequence[Column]
    lines: Sequence[Sequence[Shown]]
    sortable: bool = True

    @property
    def long(self) -> bool:
        """Whether it is to scroll in a box that is not as high as it is."""
        return len(self.lines) > LONG


def comparison_table(comparison: Comparison, costs: Costs | None) -> PageTable:
    """A line for each run: the measures of the short table with intervals, valid answers, speed, what was trained."""
    shown = comparison.in_short
    titled = [
        Column("of valid", hint="their rows alone")
        if one.of_valid
        else Column(one.title, hint="" if greater_is_better(one.name) else "lower is better")
        for one in shown
    ]
    heads = [Column("run", False), *titled, Column("valid answers"), Column("documents/s")]
    heads += [Column("parameters trained"), Column("training time")]
    money_of = {} if costs is None else {one.run: one.rest_money for one in costs.runs if one.rest_money is not None}
    if costs is not None and money_of:
        heads.append(Column(f"{costs.rest:,} unlabelled, {costs.currency}"))
    lines = []
    for run in comparison.runs:
        known = run.parameters_total is not None and run.parameters_trained is not None
        total = f"of {columns.count(run.parameters_total)}" if known else ""
        line = [
            Shown(run.name, under=run.method if run.is_ranked else f"{run.method}: agreement"),
            *(measured(comparison, run, one.name) for one in shown),
            Shown(columns.percent(run.metrics["valid_rate"]), run.metrics["valid_rate"]),
            Shown(columns.rate(run.documents_per_second), run.documents_per_second),
            Shown(columns.count(run.parameters_trained), run.parameters_trained, total),
            Shown(columns.duration(run.training_seconds), run.training_seconds),
        ]
        if money_of:
            line.append(Shown(money(money_of.get(run.name)), money_of.get(run.name)))
        lines.append(line)
    return PageTable("Every run on the same rows; the best value of a column is marked ★.", heads, lines)


def measured(comparison: Comparison, run: EvaluatedRun, name: str) -> Shown:
    """One measure of a run with its interval."""
    value = run.numbers.get(name)
    bounds = columns.interval(run.intervals.get(name)).strip()
    return Shown(columns.number(value), value, bounds, run.name in comparison.best.get(name, ()))


def measures_table(comparison: Comparison) -> PageTable:
    """A line for each measure, a column for each run, with intervals."""
    heads = [Column("measure", False), *(Column(run.name) for run in comparison.runs)]
    lines = [
        [Shown(one.title), *(measured(comparison, run, one.name) for run in comparison.runs)]
        for one in comparison.measured
    ]
    return PageTable("Every measure of every run; the best value of a line is marked ★.", heads, lines, sortable=False)


def label_table(runs: Sequence[EvaluatedRun], order: str) -> PageTable | None:
    """Labels with support and the F1 of each run; the weakest of the run `order` first."""
    by_label = list(zip(*(run.metrics.get("per_class", ()) for run in runs), strict=True))
    if not by_label:
        return None
    at = next((i for i, run in enumerate(runs) if run.name == order), 0)
    by_label.sort(key=lambda rows: (rows[0]["support"] == 0, rows[at]["f1"]))
    lines = [
        [Shown(rows[0]["label"]), Shown(f"{rows[0]['support']:,}", rows[0]["support"]), *map(_f1, rows)]
        for rows in by_label
    ]
    heads = [Column("label", False), Column("gold rows"), *(Column(run.name) for run in runs)]
    return PageTable(f"F1 of each label, the weakest of {order} first.", heads, lines)


def _f1(row: dict[str, Any]) -> Shown:
    best = f"precision {row['precision']:.3f}, recall {row['recall']:.3f}"
    return Shown(f"{row['f1']:.3f}", row["f1"], best, bar=row["f1"])


def differences_table(comparison: Comparison) -> PageTable:
    """A line for each run, its difference from the best one in each measure of the short table."""
    shown = [one for one in comparison.in_short if any(one.name == each.measure for each in comparison.differences)]
    found = {(one.run, one.measure): one for one in comparison.differences}
    lines = []
    for name in dict.fromkeys(one.run for one in comparison.differences):
        lines.append([Shown(name), *(_difference(found.get((name, one.name))) for one in shown)])
    titles = [Column(one.title, hint="" if greater_is_better(one.name) else "lower is better") for one in shown]
    return PageTable(difference_title(comparison, shown), [Column("run", False), *titles], lines)


def _difference(one: Difference | None) -> Shown:
    if one is None:
        return Shown(columns.UNDEFINED)
    bounds = "" if one.low is None or one.high is None else f"[{one.low:+.3f}, {one.high:+.3f}]"
    if one.adjusted_p is not None:
        bounds += f" p {columns.p_value(one.adjusted_p)}"
    under = "" if one.is_shown else "no difference shown"
    return Shown(f"{one.estimate:+.3f}", one.estimate, bounds, under=under, quiet=not one.is_shown)


def plain(table: Table, caption: str, *, sortable: bool = True) -> PageTable:
    """A table of text; numbers are sorted as such."""
    heads = [Column(str(title), side == "r") for title, side in zip(table.header, table.align, strict=True)]
    lines = [[_cell(cell, head.numeric) for cell, head in zip(row, heads, strict=True)] for row in table.rows]
    return PageTable(caption, heads, lines, sortable)


def _cell(cell: Cell, numeric: bool) -> Shown:
    if isinstance(cell, Value):
        return Shown(cell.text, _number(cell.text), cell.interval.strip(), cell.is_best)
    return Shown(cell, _number(cell) if numeric else None)


def _number(text: str) -> float | None:
    """The number that a text begins with, of a share its hundredfold; None where it begins with none."""
    first = text.strip().lstrip("[").split(" ")[0].rstrip("%,]").replace(",", "")
    try:
        return float(first)
    except ValueError:
        return None
