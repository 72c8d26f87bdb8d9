"""The page in a browser: it filters, sorts, runs nothing that a comment holds, and fits a phone.

A Chromium that is installed is driven; none is downloaded, and without one these tests are skipped.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize.reports.page.findings import findings
from categorize.reports.page.render import HERE
from tests.report.material import HOSTILE, NAMES, RUNS, write_drawn_report

ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser is installed ({', '.join(BROWSERS)})")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=found, args=ARGUMENTS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_drawn_report(tmp_path_factory.mktemp("report"), rows=600)


@pytest.fixture(scope="module")
def table(file: Path) -> pa.Table:
    return pq.read_table(file.with_name("rows.parquet"))


@pytest.fixture
def page(browser: Any, file: Path) -> Iterator[Any]:
    """The page, opened; whatever it says on the console or asks of a network fails the test."""
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    said: list[str] = []
    opened.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url) if request.url != file.as_uri() else None)
    opened.goto(file.as_uri())
    yield opened
    opened.close()
    assert said == []


def rows_of(page: Any, **filters: str) -> list[dict[str, Any]]:
    """What the browser of rows shows with these filters alone: the first rows, and beside them the count."""
    page.click("#filters button[type=reset]")
    for name, value in filters.items():
        field = page.locator(f"#filters [name={name}]")
        if field.evaluate("one => one.tagName") == "SELECT":
            field.select_option(label=value)
        else:
            field.fill(value)
    page.wait_for_timeout(300)
    shown: list[dict[str, Any]] = page.evaluate(
        """() => [...document.querySelectorAll("#list > li")].map((one) => ({
            text: one.querySelector(".text").textContent,
            gold: one.querySelector(".meta b").textContent,
            answers: [...one.querySelectorAll(".answers .by")].map((by) => ({
                run: by.firstChild.textContent,
                wrong: by.closest("li").classList.contains("wrong"),
                label: by.closest("li").querySelector("b").textContent,
                sure: parseInt(by.querySelector("small")?.textContent ?? "-1"),
            })),
        }))"""
    )
    for row in shown:  # models that say the same stand together
        row["answers"].sort(key=lambda one: RUNS.index(one["run"]))
    return shown


def count(page: Any) -> int:
    return int(page.inner_text("#count").split(" of ")[0].replace(",", ""))


def test_the_rows_are_filtered_by_gold_answer_model_confidence_tag_and_text(page: Any, table: pa.Table) -> None:
    encoder = RUNS.index("encoder")
    wrong = [row for row in table.to_pylist() if row["wrong:encoder"]]
    shown = rows_of(page, run="encoder")
    assert count(page) == len(wrong) and len(shown) == min(50, len(wrong))
    assert all(row["answers"][encoder]["wrong"] for row in shown)

    rows_of(page, run="encoder", answer="wrong or right")
    assert count(page) == 600
    shown = rows_of(page, run="encoder", gold="消极", predicted="积极", answer="wrong or right")
    expected = [row for row in wrong if row["gold"] == ["消极"] and row["predicted:encoder"] == ["积极"]]
    assert count(page) == len(expected) > 0
    assert all(row["gold"] == "消极" and row["answers"][encoder]["label"] == "积极" for row in shown)

    shown = rows_of(page, run="encoder", low="80", high="95")
    sure = [row for row in wrong if 79.5 <= 100 * row["confidence:encoder"] < 95.5]
    assert abs(count(page) - len(sure)) <= 1 and shown
    assert all(80 <= row["answers"][encoder]["sure"] <= 95 for row in shown)
    rows_of(page, run="untuned", low="1")
    assert count(page) == 0  # it has no probabilities

    rows_of(page, tag="wrong in every model")
    assert count(page) == sum("wrong in every model" in row["tag"] for row in table.to_pylist()) > 0
    for searched in ("弹幕 17 said", "R17"):  # of the text, or the id in any case
        rows = rows_of(page, text=searched, answer="wrong or right")
        assert "弹幕 17 said something" in [row["text"] for row in rows] and count(page) in (1, 11)


def test_all_filters_at_once_ask_one_model(page: Any, table: pa.Table) -> None:
    """A row where one model is sure and another is wrong is not a row where one model is sure and wrong."""
    rows_of(page, low="90")
    found = [
        row
        for row in table.to_pylist()
        if any(row[f"wrong:{run}"] and round(100 * (row[f"confidence:{run}"] or 0)) >= 90 for run in RUNS)
    ]
    assert count(page) == len(found) > 0


def test_a_cell_of_the_matrix_and_a_frequent_error_lead_to_their_rows(page: Any) -> None:
    page.locator("#pairs .see").first.click()
    cells = page.locator("#pairs tbody tr").first.locator("th, td").all_inner_texts()
    assert count(page) == int(cells[3])
    assert page.locator("#filters [name=gold] option:checked").inner_text() == cells[1]
    page.locator("#matrix-form [name=run]").select_option(label="encoder")
    cell = page.locator(".matrix-box:not([hidden]) tbody tr").nth(2).locator("td").nth(1)
    rows = int(cell.inner_text())
    cell.click()
    assert count(page) == rows
    assert page.locator("#filters [name=predicted] option:checked").inner_text() == NAMES[1]
    page.check("#matrix-form [value=gold]")
    assert re.fullmatch(r"[\d.]+%", cell.inner_text())


def test_what_a_closer_look_found_stands_on_the_page(page: Any, file: Path) -> None:
    found = json.loads(file.with_name("report.json").read_text(encoding="utf-8"))["analysis"]
    assert page.locator(".advice li").count() == len(found["advice"]) > 0
    assert page.locator(".sentences").inner_text().count(found["findings"][0]) == 1
    titles = page.locator("section[id^=finding] h2").all_inner_texts()
    assert {"Kinds of errors", "Errors by label", "Where models disagree", "Labels in doubt"} <= set(titles)
    near = page.locator("#list details").first
    near.locator("summary").click()
    assert near.locator("li").count() > 0 and "similarity" in near.locator("li").first.inner_text()


def test_more_rows_come_when_asked_for(page: Any) -> None:
    assert page.locator("#list > li").count() == 50
    page.click("#more")
    assert page.locator("#list > li").count() == 100


def test_tables_sort_by_mouse_and_keyboard_and_say_so(page: Any) -> None:
    head = page.locator("#runs thead th", has_text="macro-F1")
    column = page.evaluate("one => one.cellIndex", head.element_handle())

    def values() -> list[float]:
        cells = page.locator(f"#runs tbody tr > :nth-child({column + 1})").all_inner_texts()
        return [float(re.sub(r"^★\s*", "", text).split()[0]) for text in cells]

    first = values()
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending" and values() == sorted(first, reverse=True)
    head.locator("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending" and values() == sorted(first)
    run = page.locator("#runs thead th").first
    run.locator("button").press("Space")
    assert run.get_attribute("aria-sort") == "ascending" and head.get_attribute("aria-sort") == "none"
    speed = page.locator("#runs thead th", has_text="documents/s")
    speed.locator("button").click()  # 1,000,000 is more than 10.0: numbers, not their text
    assert page.locator("#runs tbody th").first.inner_text().startswith("untuned")


def test_what_a_comment_holds_does_not_run(page: Any) -> None:
    rows = rows_of(page, text="window.ran", answer="wrong or right")
    assert [row["text"] for row in rows] == [HOSTILE]
    assert page.evaluate("window.ran") is None
    assert page.locator("#list img, #list script").count() == 0
    assert page.locator("#runs tbody th", has_text="<b>head</b>").count() == 1  # and no name is taken for HTML
    assert page.locator("#notes dd", has_text="<i>tags</i>").count() == len(RUNS)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_itself_never_scrolls_sideways(browser: Any, file: Path, width: int, scheme: str) -> None:
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.goto(file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    # Pictures fill their frame and stand in it.
    for box in page.evaluate(
        "[...document.querySelectorAll('figure svg')].map((one) => one.getBoundingClientRect().width)"
    ):
        assert 200 < box <= width
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (scheme == "light")
    page.close()


def test_all_can_be_reached_and_is_named(page: Any) -> None:
    """Every control and region has a name, every table heads, every picture a description, ids are unique."""
    assert page.evaluate("document.documentElement.lang") == "en"
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(ids) == len(set(ids))
    assert page.locator("svg:not([aria-label])").count() == page.locator("svg svg").count()
    assert page.locator("table:not([aria-label])").count() == 0
    assert page.locator("tbody tr:not(:has(th[scope=row]))").count() == 0
    unnamed = page.evaluate(
        "[...document.querySelectorAll('input, select')].filter((one) => !one.labels.length && !one.ariaLabel).length"
    )
    assert unnamed == 0
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => +one.tagName[1])")
    assert (
        levels[0] == 1
        and levels.count(1) == 1
        and all(below - above <= 1 for above, below in itertools.pairwise(levels))
    )
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_a_page_of_5000_rows_and_six_models_opens_within_two_seconds(browser: Any, tmp_path: Path) -> None:
    page = browser.new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})  # its own time: the machine does other work too
    page.goto(write_drawn_report(tmp_path, rows=6000).as_uri())
    assert page.inner_text("#count").endswith("of 5,000 rows")
    measured = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
    assert 0 < measured["TaskDuration"] < 2
    page.close()


def test_it_prints_without_what_needs_a_screen(page: Any) -> None:
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not page.locator("nav").is_visible() and not page.locator("#filters").is_visible()
    assert page.locator("#runs").is_visible() and page.locator("#measures details table").is_visible()
    assert page.locator("#list > li:visible").count() == 20


# ---------------------------------------------------------------- without a browser
def test_the_page_is_one_file_that_asks_for_nothing(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#|data:)""", text.split('id="data"')[0])
    assert "default-src 'none'" in text and "@import" not in text and "url(http" not in text
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert data is not None
    assert any(row[1] == HOSTILE for row in json.loads(data[1])["rows"])
    assert text.count("<script") == 2


def luminance(colour: str) -> float:
    if len(colour) == 4:
        colour = "#" + "".join(2 * one for one in colour[1:])
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_text_has_the_contrast_that_wcag_asks_for_in_both_schemes() -> None:
    schemes = re.findall(r":root \{(.*?)\}", (HERE / "report.css").read_text(encoding="utf-8"), re.DOTALL)
    assert len(schemes) == 3  # light, dark, print
    for scheme in schemes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{3,6});", scheme))
        colours = {
            name: f"#{''.join(2 * c for c in one[1:])}" if len(one) == 4 else one for name, one in colours.items()
        }
        for front in ("ink", "muted", "c1", "good", "bad"):
            for back in ("paper", "raised"):
                light, dark = sorted((luminance(colours[front]), luminance(colours[back])), reverse=True)
                assert (light + 0.05) / (dark + 0.05) >= 4.5, (front, back, colours)


def test_changed_texts_and_counts_have_tables_of_their_own() -> None:
    line = {"rows": 9, "changed": 2, "share": 0.25, "low": 0.1, "high": 0.5, "before": 0.8, "after": 0.7}
    without = {"rows": 4, "share": 0.5, "measure": "macro_f1", "whole": 0.9, "without": 0.6, "difference": -0.3}
    share = {"counted": 0.5, "corrected": 0.25, "corrected_low": 0.2, "corrected_high": 0.3}
    counts = {"lines": [{"label": "joy", "predicted": 0.5, "gold": 0.25, "difference": 0.25, "low": 0.2, "high": 0.3}]}
    counts |= {
        "all": [{"label": "joy", **share}],
        "by": {"month": [{"value": "05", "rows": 30, "label": "joy", **share}]},
    }
    score = {"lines": [{"label": "score", "predicted": 3.5, "gold": 3.25, "difference": 0.25}]}
    found = findings(
        {
            "best": "one",
            "invariance": {"one": {"full_width": line}},
            "ablations": {"one": {"no_opening": without}},
            "counts": {"runs": {"one": counts, "two": score}},
        }
    )
    shown = {title: [[[cell.text for cell in row] for row in one.lines] for one in tables] for title, tables in found}
    changed, ablated = shown["Changed texts"]
    assert changed == [["one", "full width", "9", "25.0%", "10.0%", "50.0%", "0.8", "0.7"]]
    assert ablated == [["one", "no opening", "4", "50.0%", "macro_f1", "0.9", "0.6", "-0.3"]]
    assert shown["Counts"] == [
        [
            ["one", "joy", "50.0%", "25.0%", "25.0%", "20.0%", "30.0%"],
            ["two", "score", "3.5", "3.25", "0.25", "-", "-"],
        ],
        [["one", "joy", "50.0%", "25.0%", "20.0%", "30.0%"]],
        [["month: 05", "30", "joy", "50.0%", "25.0%", "20.0%", "30.0%"]],
    ]
