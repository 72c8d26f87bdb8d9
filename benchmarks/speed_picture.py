"""The picture of `speed.py`: how many times as fast ours is as each peer."""

from __future__ import annotations

from collections.abc import Sequence

from results import ROOT

PICTURE = ROOT / "docs" / "images" / "speed.png"
TITLES = {
    "heads": "head, distinct comments",
    "repeats": "head, half repeats",
    "scoring": "labels behind an instruction",
    "sft": "SFT behind an instruction",
    "sft-no-prefix": "SFT, short prompt",
    "training": "head training",
}
COLORS = ("#4c72b0", "#64a0c8", "#55a868", "#c44e52", "#dd8452", "#8172b3")


def draw(bars: Sequence[tuple[str, str, float, float | None]]) -> None:
    """Write the picture.

    Args:
        bars: group, name, ratio and target of each.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    if not bars:
        return
    groups = list(dict.fromkeys(group for group, *_ in bars))
    figure, axes = pyplot.subplots(figsize=(9, 0.9 + 0.3 * (len(bars) + len(groups))))
    place, places, names = 0.0, [], []
    for group in groups:
        color = COLORS[groups.index(group) % len(COLORS)]
        axes.text(1, place, f" {TITLES.get(group, group)}", weight="bold", va="center", fontsize=9, color=color)
        place += 1
        for _, name, ratio, target in (one for one in bars if one[0] == group):
            axes.barh(place, ratio - 1, left=1, color=color, height=0.7)
            axes.text(
                max(ratio, 1, 0 if target is None or target > 1.5 * ratio else target) * 1.04,
                place,
                f"{ratio:.1f}x",
                va="center",
                fontsize=8,
            )
            if target is not None:
                axes.plot([target, target], [place - 0.4, place + 0.4], color="black", linewidth=1.5)
            places.append(place)
            names.append(name)
            place += 1
    axes.set_yticks(places, names, fontsize=8)
    axes.set_xscale("log")
    highest = max(max(ratio, target or 1) for _, _, ratio, target in bars)
    lowest = min(0.9, *(0.9 * ratio for _, _, ratio, _ in bars))
    axes.set_xlim(lowest, highest * 2)
    axes.set_ylim(place - 0.4, -0.7)
    ticks = [tick for tick in (0.5, 1, 2, 5, 10, 20, 50, 100, 200) if lowest <= tick <= highest * 1.5]
    axes.set_xticks(ticks, [f"{tick:g}x" for tick in ticks], fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("rows a second, ours over the peer's; black: target", fontsize=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=110)
    pyplot.close(figure)
