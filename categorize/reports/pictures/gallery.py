"""Every picture of a report, by the name of its file."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from categorize.reports.comparison import Comparison
from categorize.reports.pictures.confusion import confusion_picture
from categorize.reports.pictures.curves import reliability_picture, risk_coverage_picture
from categorize.reports.pictures.scores import label_picture, score_picture
from categorize.reports.pictures.style import as_png, as_svg, inline, texts_of, without_glyph
from categorize.reports.pictures.tradeoffs import speed_picture, training_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDER = "pictures"
_DRAWN = {
    "scores": ("Score of each run", "filled: the best run; hollow: no difference to it is shown", score_picture),
    "speed": ("Quality against speed", "up and to the right is better", speed_picture),
    "training": ("Quality against training time", "up and to the left is better", training_picture),
    "labels": ("F1 by label, weakest first", "with the number of gold rows", label_picture),
    "reliability": ("Can its confidence be trusted?", "below the diagonal a run is too sure", reliability_picture),
    "risk_coverage": ("Error among the surest rows", "lower is better", risk_coverage_picture),
    "confusion": ("Confusion matrix of the best run", "shaded by the share of the gold label", confusion_picture),
}


NAMES = tuple(_DRAWN)


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes:
        name: of its files.
        title, hint: what it shows, and how to read it.
    """

    name: str
    title: str
    hint: str
    figure: Figure

    @cached_property
    def svg(self) -> str:
        """As a file."""
        return as_svg(self.figure, self.name)

    @property
    def inline(self) -> str:
        """As part of a page."""
        return inline(self.svg, self.name, f"{self.title}; {self.hint}")

    @cached_property
    def missing(self) -> str:
        """Characters that no font on this machine has."""
        return without_glyph(texts_of(self.figure))

    def png(self) -> bytes:
        """As a file of pixels."""
        return as_png(self.figure)


def pictures_of(comparison: Comparison) -> list[Picture]:
    """Those that the comparison has the numbers for."""
    drawn = [(name, title, hint, draw(comparison)) for name, (title, hint, draw) in _DRAWN.items()]
    return [Picture(name, title, hint, figure) for name, title, hint, figure in drawn if figure is not None]
