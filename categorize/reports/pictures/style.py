"""How pictures look: colours, fonts that have the glyphs, and a figure as SVG or PNG.

A figure is drawn in the colours of a light page. In a page of its own its SVG names them as CSS variables, so that the
page's light or dark scheme paints it, and its text is text that the browser draws in a font of its own.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from categorize.text_tables import fit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = {
    "ink": "#1f2328", "muted": "#59636e", "grid": "#d1d9e0", "c1": "#0969da", "c2": "#bc4c00", "c3": "#1a7f37",
    "c4": "#8250df", "c5": "#bf3989", "c6": "#9a6700",
}  # fmt: skip
INK, MUTED, GRID, ACCENT = (COLOURS[name] for name in ("ink", "muted", "grid", "c1"))
SERIES = [COLOURS[f"c{i}"] for i in range(1, 7)]
WIDTH = 4.4  # inches: at its natural size a picture fits a phone
PREFERRED = (
    "Noto Sans CJK SC", "Noto Sans SC", "Noto Sans CJK JP", "Source Han Sans SC", "PingFang SC", "Hiragino Sans GB",
    "Microsoft YaHei", "SimHei", "WenQuanYi Zen Hei", "WenQuanYi Micro Hei", "Arial Unicode MS",
)  # fmt: skip
BOXES = "Last Resort"  # begins the name of a font, matplotlib's own too, that has a box for every character
LATIN = "DejaVu Sans"  # comes with matplotlib


def new_figure(height: float, width: float = WIDTH) -> tuple[Figure, Axes]:
    """A figure with one pair of axes, `width` by `height` inches."""
    from matplotlib.figure import Figure

    with styled():
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        axes.set_axisbelow(True)
    return figure, axes


@contextmanager
def styled(texts: Sequence[str] = (), salt: str = "") -> Iterator[None]:
    """Matplotlib's settings for our pictures; `texts` is what they must have glyphs for."""
    import matplotlib

    fonts = [LATIN, *([] if (found := font_for("".join(texts))) is None else [found])]
    settings: dict[str, Any] = {
        "font.family": fonts, "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": salt or "categorize",
        "axes.edgecolor": GRID, "axes.labelcolor": MUTED, "axes.titlecolor": INK, "text.color": INK,
        "axes.titlesize": 10, "axes.titleweight": "bold", "axes.titlelocation": "left", "axes.labelsize": 9,
        "axes.spines.top": False, "axes.spines.right": False, "axes.unicode_minus": False,
        "xtick.color": MUTED, "ytick.color": MUTED, "grid.color": GRID, "grid.linewidth": 0.7,
        "legend.frameon": False, "legend.fontsize": 8.5, "lines.linewidth": 1.6,
    }  # fmt: skip
    with matplotlib.rc_context(settings):
        yield


def short(name: str, columns: int = 34) -> str:
    """A name for a picture: no formula of matplotlib's (`$`), not too long."""
    return fit(name, columns).replace("$", r"\$")


# ---------------------------------------------------------------- fonts
def font_for(text: str) -> str | None:
    """Family of a font on this machine with the glyphs of `text` that matplotlib's own lacks, the best there is; None
    where its own has all, or none has any."""
    foreign = frozenset(text) - _glyphs_of_latin() - {"\n", "\t"}
    return _font_with(foreign)[0] if foreign else None


def without_glyph(texts: Sequence[str]) -> str:
    """Characters that would show as boxes in a PNG."""
    foreign = frozenset("".join(texts)) - _glyphs_of_latin() - {"\n", "\t"}
    return "".join(sorted(_font_with(foreign)[1])) if foreign else ""


@cache
def _glyphs_of_latin() -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, findfont, get_font

    return frozenset(map(chr, get_font(findfont(FontProperties(family=LATIN))).get_charmap()))  # type: ignore[arg-type]


@cache
def _font_with(characters: frozenset[str]) -> tuple[str | None, frozenset[str]]:
    """The font that has most of the characters, and those that it lacks."""
    from matplotlib.font_manager import fontManager, get_font

    fonts = [one for one in fontManager.ttflist if not one.name.replace("LastR", "Last R").startswith(BOXES)]
    entries = sorted(fonts, key=lambda one: (one.name not in PREFERRED, one.weight != 400, one.name))
    best: tuple[str | None, frozenset[str]] = (None, characters)
    for entry in entries:
        try:
            known = get_font(entry.fname).get_charmap()
        except (OSError, RuntimeError):  # a font that cannot be read
            continue
        missing = frozenset(one for one in characters if ord(one) not in known)
        if len(missing) < len(best[1]):
            best = (entry.name, missing)
        if not missing:
            break
    return best


def texts_of(figure: Figure) -> list[str]:
    """Every text of a figure."""
    from matplotlib.text import Text

    return [one.get_text() for one in figure.findobj(Text)]  # type: ignore[attr-defined]


# ---------------------------------------------------------------- output
def as_svg(figure: Figure, name: str) -> str:
    """The figure as an SVG file, equal for equal figures."""
    text = io.StringIO()
    with styled(texts_of(figure), salt=name):
        _use_fonts(figure)
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None}, transparent=True)
    return text.getvalue()


def as_png(figure: Figure, dots_per_inch: int = 160) -> bytes:
    """The figure as a PNG file."""
    image = io.BytesIO()
    with styled(texts_of(figure)):
        _use_fonts(figure)
        figure.savefig(image, format="png", dpi=dots_per_inch, facecolor="white")
    return image.getvalue()


def _use_fonts(figure: Figure) -> None:
    """Texts keep the fonts that were set when they were made; before all of them were known."""
    import matplotlib
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_fontfamily(matplotlib.rcParams["font.family"])  # type: ignore[attr-defined]


def inline(svg: str, name: str, description: str) -> str:
    """An SVG of `as_svg` as part of a page: named for a screen reader, in the page's colours and fonts, with ids of its
    own."""
    from html import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\g<1>{name}-", svg)
    for variable, colour in COLOURS.items():
        svg = svg.replace(colour, f"var(--{variable})")
    svg = re.sub(r"font: ([^;\"]*?[\d.]+px) [^;\"]*", r"font: \1 var(--sans)", svg)
    # The page gives the width; the height follows from the view box.
    opening, rest = svg.split(">", 1)
    opening = re.sub(r' (width|height)="[^"]*"', "", opening)
    opening = opening.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"')
    return f"{opening}>{rest}"
