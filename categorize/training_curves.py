"""Pictures of how runs were trained: losses, the validation measure, learning rate and rows a second, over steps.

A training run leaves `training.svg` in its folder; this command draws finished and interrupted runs anew, as PNG too.

python -m categorize.training_curves outputs/mine outputs/mine_bert
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.recipe.terminal import CommandParser, exit_status, run_command
from categorize.reports.pictures.style import ACCENT, MUTED, SERIES, WIDTH, as_png, as_svg, short, styled
from categorize.runs.folder import LOG, incomplete_path
from categorize.writing import disk_errors, whole_file, write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PICTURE = "training.svg"
MEASURES = ("macro_f1", "pearson")  # of validation: the one that runs are ranked by
_ALONE = {"learning rate": "learning_rate", "rows/s": "rows_per_second"}
Points = list[tuple[float, float]]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; the exit status is 2 for what the user can fix."""
    return exit_status(lambda: run(_parse(argv)))


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = CommandParser("python -m categorize.training_curves", __doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of training runs")
    return parser.parse_args(argv)


def run(options: argparse.Namespace) -> None:
    """Draw each run into its folder.

    Raises:
        UserError: a folder has no log of a training, or nothing was logged.
    """
    for name in options.runs:
        folder = Path(name)
        log = read_log(folder)
        figure = picture(log, folder.name)
        if figure is None:
            raise UserError(f"{folder / LOG}: fewer than two losses were logged; lower training.logging_steps")
        png = (folder / PICTURE).with_suffix(".png")
        with disk_errors(folder):
            write_whole(folder / PICTURE, as_svg(figure, "training"))
            with whole_file(png) as file:
                file.write_bytes(as_png(figure))
        print(f"written: {folder / PICTURE}, {png}")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """What a training logged: the run's own log, or that of the last checkpoint of one that is not finished.

    Raises:
        UserError: there is none.
    """
    if (folder / LOG).is_file():
        log: list[dict[str, Any]] = json.loads((folder / LOG).read_text(encoding="utf-8"))
        return log
    places = [folder, incomplete_path(folder)]
    states = [state for one in places for state in one.glob("checkpoints/checkpoint-*/trainer_state.json")]
    if not states:
        raise UserError(f"{folder}: no log of a training ({LOG}); TF-IDF and other methods without steps have none")
    newest = max(states, key=lambda path: int(path.parent.name.rpartition("-")[2]))
    found: list[dict[str, Any]] = json.loads(newest.read_text(encoding="utf-8"))["log_history"]
    return found


def picture(log: Sequence[Mapping[str, Any]], name: str = "") -> Figure | None:
    """The curves of a log, one above the other; None where fewer than two losses were logged."""
    from matplotlib.figure import Figure

    losses, validation = points(log, "loss"), points(log, "eval_loss")
    if len(losses) < 2:
        return None
    measure = next((one for one in MEASURES if points(log, f"eval_{one}")), None)
    panels: list[tuple[str, list[tuple[str, Points]]]] = [("loss", [("training", losses), ("validation", validation)])]
    if measure is not None:
        panels.append((f"validation {measure.replace('_f1', '-F1')}", [("", points(log, f"eval_{measure}"))]))
    panels += [(title, [("", points(log, key))]) for title, key in _ALONE.items()]
    panels = [(title, curves) for title, curves in panels if any(curve for _, curve in curves)]
    with styled():
        figure = Figure(figsize=(WIDTH + 0.6, 1.0 + 1.35 * len(panels)), layout="constrained")
        all_axes: Any = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axes, (title, curves) in zip(all_axes, panels, strict=True):
            _panel(axes, title, curves)
        if measure is not None:
            _mark_best(all_axes[1], points(log, f"eval_{measure}"))
        all_axes[0].set_title(short(name, 50))
        all_axes[-1].set_xlabel("optimizer step")
    return figure


def points(log: Iterable[Mapping[str, Any]], key: str) -> Points:
    """Step and value of each entry that has the key; what is not finite is left out.

    >>> points([{"loss": 2.0, "step": 10}, {"eval_loss": 1.0, "step": 10}, {"loss": float("nan"), "step": 20}], "loss")
    [(10.0, 2.0)]
    """
    found = [(float(entry["step"]), float(entry[key])) for entry in log if entry.get(key) is not None]
    return [(step, value) for step, value in found if math.isfinite(value)]


def _panel(axes: Axes, title: str, curves: Sequence[tuple[str, Points]]) -> None:
    for (label, curve), colour in zip(curves, SERIES, strict=False):
        if curve:
            marker = "o" if len(curve) < 20 else ""
            axes.plot(*zip(*curve, strict=True), color=colour, marker=marker, markersize=3.5, label=label)
    if sum(bool(curve) for _, curve in curves) > 1:
        axes.legend(loc="upper right")
    axes.set_ylabel(title)
    axes.grid()
    if title in ("rows/s", "learning rate"):
        axes.set_ylim(bottom=0)
    axes.ticklabel_format(axis="y", style="sci" if title == "learning rate" else "plain", scilimits=(0, 0))


def _mark_best(axes: Axes, curve: Points) -> None:
    step, value = max(curve, key=lambda point: point[1])
    axes.axvline(step, color=MUTED, linewidth=0.8, linestyle=":")
    late = step > sum(axes.get_xlim()) / 2
    place = {"xytext": (-6 if late else 6, -10), "textcoords": "offset points", "ha": "right" if late else "left"}
    axes.annotate(f"{value:.3f}", (step, value), color=ACCENT, fontsize=8.5, **place)  # type: ignore[arg-type]


def written_into(folder: Path) -> str | None:
    """Draw a run that has just been trained; why there is no picture, which must not cost the run, else None."""
    if not (folder / LOG).is_file():
        return None
    try:
        figure = picture(read_log(folder), folder.name.removesuffix(".incomplete"))
        if figure is not None:
            write_whole(folder / PICTURE, as_svg(figure, "training"))
    except Exception as error:  # a font cache that cannot be written, a full disk
        return f"no picture of the training: {' '.join(str(error).split())}"
    return None


if __name__ == "__main__":
    import sys

    sys.exit(run_command(main))
