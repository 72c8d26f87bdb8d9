"""Quality against speed, and against the time of training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from categorize.metrics.progress import headline_of
from categorize.reports.columns import duration, rate
from categorize.reports.comparison import Comparison, EvaluatedRun
from categorize.reports.pictures.scores import MOST, standings
from categorize.reports.pictures.style import INK, MUTED, new_figure, short, styled
from categorize.reports.summary import title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def speed_picture(comparison: Comparison) -> Figure | None:
    """Quality against documents a second; None where fewer than two runs have a speed."""
    return _picture(comparison, lambda run: run.documents_per_second, "documents/s (log scale)", rate)


def training_picture(comparison: Comparison) -> Figure | None:
    """Quality against the time of training; None where fewer than two runs have one."""
    return _picture(comparison, lambda run: run.training_seconds, "training time (log scale)", duration)


def _picture(
    comparison: Comparison,
    of_run: Callable[[EvaluatedRun], float | None],
    title: str,
    written: Callable[[float], str],
) -> Figure | None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    measure = headline_of(comparison.task)
    drawn = [one for one in standings(comparison, measure) if of_run(one.run)][:MOST]
    if len(drawn) < 2:
        return None
    figure, axes = new_figure(3.4)
    with styled():
        places = [(float(of_run(one.run) or 0), one.run.numbers[measure]) for one in drawn]
        axes.set_xscale("log")
        low, high = min(x for x, _ in places), max(x for x, _ in places)
        axes.set_xlim(low / 2, high * 2)
        bottom, top = min(y for _, y in places), max(y for _, y in places)
        room = max(0.02, 0.12 * (top - bottom))
        axes.set_ylim(bottom - room, top + room)
        for one, (x, y) in zip(drawn, places, strict=True):
            axes.plot([x], [y], "o", color=one.colour, markerfacecolor=one.face, markersize=7)
        axes.xaxis.set_major_locator(LogLocator(numticks=5))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
        axes.set_xlabel(title)
        axes.set_ylabel(title_of(comparison, measure))
        axes.grid()
        _names(figure, axes, [one.run.name for one in drawn], places)
    return figure


def _names(figure: Figure, axes: Axes, names: Sequence[str], places: Sequence[tuple[float, float]]) -> None:
    """A name beside each point, where it lies on no other name or point, if there is such a place."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    inside = axes.get_window_extent(renderer)
    points = [tuple(map(float, axes.transData.transform(place))) for place in places]
    dot = figure.dpi * 0.055
    taken = [Box(x - dot, y - dot, x + dot, y + dot) for x, y in points]
    for at in sorted(range(len(names)), key=lambda i: -places[i][1]):
        text = axes.annotate(
            short(names[at], 30), places[at], xytext=(0, 0), textcoords="offset points", color=INK, fontsize=8.5
        )
        extent = text.get_window_extent(renderer)
        options = [
            (cost, box)
            for number, box in enumerate(_around(points[at], extent.width, extent.height, dot))
            for cost in [(_covered(box, taken, own=at) + 10 * _outside(box, inside), number)]
        ]
        _, box = min(options, key=lambda option: option[0])
        taken.append(box)
        point = points[at]
        x, y = min(max(point[0], box.left), box.right), min(max(point[1], box.bottom), box.top)
        if (x - point[0]) ** 2 + (y - point[1]) ** 2 > (2.2 * dot) ** 2:  # a line leads from a name that stands off
            ends = axes.transData.inverted().transform([point, (x, y)])
            axes.plot(ends[:, 0], ends[:, 1], color=MUTED, linewidth=0.7, zorder=1)
        text.set_position(((box.left - point[0]) * 72 / figure.dpi, (box.bottom - point[1]) * 72 / figure.dpi))


class Box(NamedTuple):
    """A rectangle in pixels."""

    left: float
    bottom: float
    right: float
    top: float


def _around(point: Sequence[float], width: float, height: float, dot: float) -> Iterator[Box]:
    """Places for a name: beside the point, the best first, then further up and down."""
    x, y = point
    for step in (0.0, 1.0, -1.0, 1.9, -1.9, 2.8, -2.8):
        middle = y + step * height
        for left in (x + 1.6 * dot, x - 1.6 * dot - width, x - width / 2):
            if step or left != x - width / 2:  # not on the point itself
                yield Box(left, middle - height * 0.42, left + width, middle + height * 0.42)


def _covered(box: Box, taken: Sequence[Box], own: int) -> float:
    """Area that the box shares with others; its own point, which it stands beside, does not count."""
    total = 0.0
    for at, other in enumerate(taken):
        width = min(box.right, other.right) - max(box.left, other.left)
        height = min(box.top, other.top) - max(box.bottom, other.bottom)
        if at != own and width > 0 and height > 0:
            total += width * height
    return total


def _outside(box: Box, inside: Any) -> float:
    """How far the box stands out of the axes, in pixels."""
    over = (inside.x0 - box.left, box.right - inside.x1, box.top - inside.y1)
    return sum(max(0.0, float(one)) for one in over)
