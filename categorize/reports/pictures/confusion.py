"""The confusion matrix of the best run: of the rows of each gold label, how many got which label."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from categorize.metrics.progress import headline_of
from categorize.reports.comparison import Comparison, best_run
from categorize.reports.pictures.style import INK, new_figure, short, styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 40  # labels; more cannot be read


def confusion_picture(comparison: Comparison) -> Figure | None:
    """Counts, shaded by their share of the gold label's rows; None where there is no matrix, or a very large one."""
    runs = [run for run in comparison.ranked if run.metrics.get("confusion") and run.method != "baseline"]
    if not runs:
        return None
    name = best_run(runs, headline_of(comparison.task))
    confusion = next(run for run in runs if run.name == name).metrics["confusion"]
    counts = np.array(confusion["counts"])
    predicted = [short(one, 16) for one in confusion["predicted"]]
    if not counts[:, -1].any():  # every answer is valid
        counts, predicted = counts[:, :-1], predicted[:-1]
    if counts.shape[0] > MOST:
        return None
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(3.6, 0.34 * len(counts) + 1.4)
    figure, axes = new_figure(side, width=max(4.4, side + 0.4))
    with styled():
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(counts.shape[1]), predicted, rotation=90 if len(predicted) > 6 else 0)
        axes.set_yticks(range(counts.shape[0]), [short(one, 16) for one in confusion["gold"]])
        axes.tick_params(length=0, labelcolor=INK)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                colour = "white" if shares[row, column] > 0.55 else INK
                axes.text(column, row, f"{count:,}", ha="center", va="center", fontsize=8, color=colour)
        axes.set_xlabel("predicted")
        axes.set_ylabel("gold")
        axes.set_title(short(name, 40))
        for spine in axes.spines.values():
            spine.set_visible(False)
    return figure
