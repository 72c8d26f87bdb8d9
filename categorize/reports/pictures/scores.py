"""Runs and labels by score: dots with their intervals, the name above each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from categorize.metrics.progress import headline_of
from categorize.reports import columns
from categorize.reports.comparison import Comparison, EvaluatedRun, best_run
from categorize.reports.pictures.style import ACCENT, GRID, INK, MUTED, new_figure, short, styled
from categorize.reports.summary import not_told_apart, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 30  # lines of a picture
LABELS = 40


@dataclass(frozen=True)
class Standing:
    """How a run is drawn: filled the best, hollow what cannot be told from it, grey the others."""

    run: EvaluatedRun
    colour: str
    face: str  # of its dot


def standings(comparison: Comparison, measure: str) -> list[Standing]:
    """The runs that have the measure, in the order of the table."""
    ranked = [run for run in comparison.ranked if measure in run.numbers]
    if not ranked:
        return []
    best = best_run(ranked, measure)
    alike = not_told_apart(comparison, best, measure)
    found = []
    for run in ranked:
        colour = ACCENT if run.name == best or run.name in alike else MUTED
        found.append(Standing(run, colour, "none" if run.name in alike else colour))
    return found


def score_picture(comparison: Comparison) -> Figure | None:
    """The headline measure of each run with its interval."""
    measure = headline_of(comparison.task)
    drawn = standings(comparison, measure)[:MOST]
    if len(drawn) < 2:
        return None
    figure, axes = new_figure(0.42 * len(drawn) + 0.75)
    with styled():
        for at, one in enumerate(drawn):
            value, bounds = one.run.numbers[measure], one.run.intervals.get(measure)
            if bounds:
                axes.plot(bounds, [at, at], color=one.colour, alpha=0.4, linewidth=7, solid_capstyle="butt")
            axes.plot([value], [at], "o", color=one.colour, markerfacecolor=one.face, markersize=5, clip_on=False)
            _named(axes, at, one.run.name, columns.number(value) + columns.interval(bounds))
        low = min(min(one.run.intervals.get(measure) or [0], default=0) for one in drawn)
        axes.set_xlim(min(0.0, low), 1.0 if comparison.task != "regression" else None)
        _lines_of(axes, len(drawn))
        title = title_of(comparison, measure)
        axes.set_xlabel(f"{title}, 95% interval" if any(one.run.intervals for one in drawn) else title)
    return figure


def label_picture(comparison: Comparison) -> Figure | None:
    """F1 of each label: the best run's, and behind it those of the others; the weakest labels, where there are many."""
    measure = headline_of(comparison.task)
    drawn = [one for one in standings(comparison, measure) if one.run.method != "baseline"]
    if not drawn or not drawn[0].run.metrics.get("per_class"):
        return None
    name = best_run([one.run for one in drawn], measure)
    best = next(one.run for one in drawn if one.run.name == name)
    rows = sorted((row for row in best.metrics["per_class"] if row["support"]), key=lambda row: row["f1"])[:LABELS]
    if len(rows) < 2:
        return None
    figure, axes = new_figure(0.36 * len(rows) + 0.75)
    with styled():
        others = [
            {row["label"]: row["f1"] for row in one.run.metrics["per_class"]} for one in drawn if one.run is not best
        ]
        for at, row in enumerate(rows):
            values = [one[row["label"]] for one in others]
            axes.plot(values, [at] * len(values), "o", color=MUTED, markersize=4, alpha=0.55, markeredgewidth=0)
            axes.plot([row["f1"]], [at], "o", color=ACCENT, markersize=6.5, clip_on=False)
            _named(axes, at, f"{row['label']}  ({row['support']:,})", columns.number(row["f1"]))
        axes.set_xlim(0, 1)
        _lines_of(axes, len(rows))
        axes.set_xlabel(f"F1 of {short(best.name)}" + (", others in grey" if others else ""))
    return figure


def _named(axes: Axes, at: int, name: str, value: str) -> None:
    """The name above a line, its value at the right."""
    across = axes.get_yaxis_transform()
    options = {"transform": across, "va": "bottom", "fontsize": 9}
    axes.text(0.0, at - 0.16, short(name, 44), color=INK, **options)  # type: ignore[arg-type]
    axes.text(1.0, at - 0.16, value, color=INK, ha="right", **options)  # type: ignore[arg-type]


def _lines_of(axes: Axes, rows: int) -> None:
    axes.set_ylim(rows - 0.6, -0.75)  # the first on top
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    for at in range(rows):
        axes.axhline(at, color=GRID, linewidth=0.7, zorder=0)
