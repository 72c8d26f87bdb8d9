"""A picture of lengths and label counts, as SVG: the reader's own fonts show labels of any script."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from xml.sax.saxutils import escape

import numpy as np
import numpy.typing as npt

from categorize.text_tables import fit

_WIDTH, _HEIGHT = 860, 250
_LEFT, _BAR, _GAP = 190, 16, 6
_LABELS = 30
_NAME_WIDTH = 26  # terminal cells
# Colour-blind safe (Okabe and Ito): train, validation, test.
_COLOURS = {"train": "#0072B2", "validation": "#E69F00", "test": "#009E73"}
_FONT = "font-family=\"system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif\""


def overview_svg(lengths: npt.NDArray[np.int64], counts: Mapping[str, Mapping[str, int]]) -> str:
    """A histogram of text lengths, in characters, over bars of label counts (label -> split -> rows).

    The most frequent labels are drawn, the others summed up.
    """
    shown = sorted(counts.items(), key=lambda item: -sum(item[1].values()))
    if len(shown) > _LABELS:
        rest = sum((Counter(by_split) for _, by_split in shown[_LABELS - 1 :]), Counter())
        shown = [*shown[: _LABELS - 1], (f"({len(shown) - _LABELS + 1} more labels)", rest)]
    height = _HEIGHT + (54 + len(shown) * (_BAR + _GAP) if shown else 0)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'{_FONT} font-size="12" fill="#222">',
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>',
        *_histogram(lengths),
        *(_bars(shown, _HEIGHT + 20) if shown else []),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def bins(lengths: npt.NDArray[np.int64]) -> tuple[list[int], list[int]]:
    """Edges and counts of a histogram: equal steps up to the 99th percentile, what is longer in the last bar."""
    high = max(int(np.percentile(lengths, 99)), 1) if len(lengths) else 1
    raw = high / 24
    step = next(n * 10**power for power in range(12) for n in (1, 2, 5) if n * 10**power >= raw)
    edges = list(range(0, high + step, step))
    counts, _ = np.histogram(np.minimum(lengths, edges[-1]), bins=[*edges, edges[-1] + step])
    return edges, [int(count) for count in counts]


def _histogram(lengths: npt.NDArray[np.int64]) -> list[str]:
    edges, counts = bins(lengths)
    top, bottom, left, right = 44, _HEIGHT - 40, 70, _WIDTH - 20
    width = (right - left) / len(counts)
    most = max(max(counts), 1)
    longest = int(lengths.max()) if len(lengths) else 0
    parts = [
        _text(left, 24, "Length of the texts, in characters", bold=True),
        f'<line x1="{left}" y1="{bottom}" x2="{right}" y2="{bottom}" stroke="#888"/>',
        _text(left - 8, top + 4, f"{most:,}", anchor="end"),
        _text(left - 8, bottom, "0", anchor="end"),
        _text(left - 8, (top + bottom) / 2 + 4, "rows", anchor="end"),
    ]
    every = -(-len(counts) // 10)
    for i, count in enumerate(counts):
        tall = (bottom - top) * count / most
        last = i == len(counts) - 1
        span = f"{edges[i]:,} or more" if last else f"{edges[i]:,} to {edges[i + 1] - 1:,}"
        title = f"{span} characters: {count:,} rows"
        parts.append(_rect(left + i * width + 1, bottom - tall, max(width - 2, 1), tall, "#56B4E9", title))
        if i % every == 0 and not (last and i):
            parts.append(_text(left + i * width, bottom + 18, f"{edges[i]:,}", anchor="middle"))
    parts.append(_text(right, bottom + 34, f"last bar: {edges[-1]:,} or more, up to {longest:,}", anchor="end"))
    return parts


def _bars(shown: Sequence[tuple[str, Mapping[str, int]]], top: int) -> list[str]:
    most = max(max(sum(by_split.values()) for _, by_split in shown), 1)
    scale = (_WIDTH - _LEFT - 90) / most
    parts = [_text(20, top + 4, "Rows of each label", bold=True)]
    for i, (split, colour) in enumerate(_COLOURS.items()):
        x = _LEFT + 100 * i
        parts += [_rect(x, top - 8, 12, 12, colour, split), _text(x + 18, top + 3, split)]
    for i, (label, by_split) in enumerate(shown):
        y = top + 24 + i * (_BAR + _GAP)
        parts.append(_text(_LEFT - 10, y + _BAR - 4, fit(label, _NAME_WIDTH), anchor="end"))
        right = float(_LEFT)
        for split, colour in _COLOURS.items():
            rows = by_split.get(split, 0)
            parts.append(_rect(right, y, rows * scale, _BAR, colour, f"{label}: {rows:,} rows of {split}"))
            right += rows * scale
        parts.append(_text(right + 6, y + _BAR - 4, f"{sum(by_split.values()):,}"))
    return parts


def _rect(x: float, y: float, width: float, height: float, fill: str, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect {place} fill="{fill}"><title>{escape(title)}</title></rect>'


def _text(x: float, y: float, text: str, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
