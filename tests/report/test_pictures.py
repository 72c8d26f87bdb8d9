"""Pictures: glyphs for every label or no PNG, SVG that is equal for equal numbers, names beside each other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from categorize.reports.pictures import gallery, style
from categorize.reports.pictures.gallery import pictures_of
from categorize.reports.pictures.tradeoffs import speed_picture
from categorize.reports.write import write_report
from tests.report.material import RUNS, drawn_report


def test_labels_are_text_that_a_browser_draws() -> None:
    report, _ = drawn_report(200)
    pictures = {one.name: one for one in pictures_of(report.comparison)}
    assert set(pictures) == {"scores", "speed", "training", "labels", "confusion"}
    assert ">积极" in pictures["labels"].svg and "<b>" not in pictures["scores"].svg
    assert "&lt;b&gt;head&lt;/b&gt;" in pictures["scores"].svg and "$x$" in pictures["scores"].svg
    again = {one.name: one.svg for one in pictures_of(report.comparison)}
    assert again == {name: one.svg for name, one in pictures.items()}


def test_in_a_page_a_picture_has_the_page_s_colours_and_ids_of_its_own() -> None:
    report, _ = drawn_report(200)
    one = next(one for one in pictures_of(report.comparison) if one.name == "speed")
    inline = one.inline
    assert inline.startswith("<svg") and 'role="img" aria-label="Quality against speed' in inline.split(">")[0]
    assert "var(--c1)" in inline and not any(colour in inline for colour in style.COLOURS.values())
    assert all(name.startswith("speed-") for name in re.findall(r'\bid="([^"]*)"', inline))
    used = set(re.findall(r'(?:url\(#|href="#)([^")]*)', inline))
    assert used <= set(re.findall(r'\bid="([^"]*)"', inline))


def test_a_png_with_boxes_for_labels_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert style.without_glyph(["plain", "\U000e1234"]) == "\U000e1234"  # not assigned: no font has it
    report, _ = drawn_report(50)
    if any(one.missing for one in pictures_of(report.comparison)):
        pytest.skip("no font with Chinese glyphs is installed")
    write_report(tmp_path, report, [])
    assert (tmp_path / "pictures/labels.png").read_bytes().startswith(b"\x89PNG")
    # Names without a glyph: the picture of labels is left out, and the earlier one is gone.
    monkeypatch.setattr(gallery, "without_glyph", lambda texts: "极" if any("极" in text for text in texts) else "")
    write_report(tmp_path, report, [])
    left = {path.name for path in (tmp_path / "pictures").iterdir()}
    assert {"scores.png", "labels.svg"} <= left and not {"labels.png", "confusion.png"} & left


def test_names_of_points_do_not_lie_on_each_other() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    report, _ = drawn_report(400)
    figure = speed_picture(report.comparison)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [text.get_window_extent(renderer) for text in axes.texts]
    assert len(boxes) == len(RUNS)
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            width = min(one.x1, other.x1) - max(one.x0, other.x0)
            height = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert width <= 1 or height <= 0.25 * one.height
