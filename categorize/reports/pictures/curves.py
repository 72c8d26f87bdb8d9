"""Curves of the runs: how far confidence can be trusted, and the error among the rows that a run is surest of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from categorize.reports.comparison import Comparison, EvaluatedRun
from categorize.reports.pictures.style import GRID, SERIES, new_figure, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def reliability_picture(comparison: Comparison) -> Figure | None:
    """Accuracy against confidence, by bins; on the diagonal a run is as often right as it says."""
    drawn = _with_curve(comparison, "reliability")
    if not drawn:
        return None
    figure, axes = new_figure(3.4)
    with styled():
        axes.plot([0, 1], [0, 1], color=GRID)
        for (run, bins), colour in zip(drawn, SERIES, strict=False):
            filled = [one for one in bins if one["rows"]]
            points = [one["confidence"] for one in filled], [one["accuracy"] for one in filled]
            axes.plot(*points, "o-", color=colour, markersize=3.5, label=short(run.name, 28))
        axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="confidence", ylabel="accuracy")
        axes.grid()
        axes.legend(loc="upper left")
    return figure


def risk_coverage_picture(comparison: Comparison) -> Figure | None:
    """Error among the rows that a run is surest of, against how many of them it answers."""
    drawn = _with_curve(comparison, "risk_coverage")
    if not drawn:
        return None
    figure, axes = new_figure(3.4)
    with styled():
        for (run, points), colour in zip(drawn, SERIES, strict=False):
            at = [one["coverage"] for one in points], [one["risk"] for one in points]
            axes.plot(*at, color=colour, label=short(run.name, 28))
        axes.set(xlim=(0, 1), xlabel="share of the rows that is answered", ylabel="error among them")
        axes.set_ylim(bottom=0)
        axes.grid()
        axes.legend(loc="upper left")
    return figure


def _with_curve(comparison: Comparison, name: str) -> list[tuple[EvaluatedRun, Sequence[Mapping[str, Any]]]]:
    """The runs that have the curve, as many as there are colours."""
    found = [(run, (run.metrics.get("curves") or {}).get(name)) for run in comparison.ranked]
    return [(run, curve) for run, curve in found if curve and run.method != "baseline"][: len(SERIES)]
