"""A report as `report.html`: what its template is given."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa

from categorize.metrics.progress import headline_of
from categorize.recipe.wording import counted
from categorize.reports import columns
from categorize.reports.comparison import Comparison, best_run
from categorize.reports.costs import cost_table
from categorize.reports.main_categories import main_category_table
from categorize.reports.overview import (
    SEEDS_TITLE,
    heading,
    notes_by_run,
    seeds_table,
    seen_in_train_table,
    seen_in_train_title,
)
from categorize.reports.page.findings import advice_of, findings
from categorize.reports.page.matrix import matrices, pairs
from categorize.reports.page.rows import browser_data, script_json
from categorize.reports.page.tables import (
    PageTable,
    comparison_table,
    differences_table,
    label_table,
    measures_table,
    plain,
)
from categorize.reports.pictures.gallery import Picture
from categorize.reports.report import Report
from categorize.reports.summary import summary, title_of
from categorize.text_tables import Table

HERE = Path(__file__).parent
BOLD = "\ue000\ue001"  # around a name in a sentence that is to be escaped
TEMPLATE, STYLE, SCRIPT = "report.html.jinja", "report.css", "report.js"


def as_html(report: Report, pictures: list[Picture], rows: pa.Table | None = None) -> str:
    """The page.

    Args:
        pictures: of `pictures.gallery.pictures_of`.
        rows: of `analysis.rows.rows_table`; without them the page has no browser of rows.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    script = (HERE / SCRIPT).read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = None if rows is None or not rows.num_rows else browser_data(rows)
    said = [_with_bold_names(one) for one in summary(report, lambda name: f"{BOLD[0]}{name}{BOLD[1]}")]
    text: str = environment.get_template(TEMPLATE).render(
        report=report,
        comparison=report.comparison,
        verdict=said[0],
        sentences=[*said[1:], *(f"{one}." for one in report.analysis.get("findings", ()))],
        figures=key_figures(report.comparison),
        heading=heading(report.comparison, "★"),
        style=Markup((HERE / STYLE).read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash=digest,
        pictures={one.name: (one, Markup(one.inline)) for one in pictures},
        data=data,
        data_json="" if data is None else Markup(script_json(data)),
        advice=advice_of(report.analysis),
        findings=findings(report.analysis),
        matrices=matrices(report),
        pairs=pairs(report),
        notes=notes_by_run(report.comparison),
        **tables_of(report),
    )
    return text


def _with_bold_names(sentence: str) -> Any:
    from markupsafe import Markup, escape

    escaped = str(escape(sentence))
    return Markup(escaped.replace(BOLD[0], "<b>").replace(BOLD[1], "</b>"))


def key_figures(comparison: Comparison) -> list[tuple[str, str, str]]:
    """What is read first: title, value and what stands under it."""
    measure = headline_of(comparison.task)
    ranked = [run for run in comparison.ranked if measure in run.numbers]
    rows = comparison.runs[0].metrics["rows"]
    figures = []
    if ranked:
        best = next(run for run in ranked if run.name == best_run(ranked, measure))
        value = columns.number(best.numbers[measure])
        bounds = columns.interval(best.intervals.get(measure)).strip()
        figures.append((f"best {title_of(comparison, measure)}", value, bounds or best.name))
        first = next(one for one in comparison.in_short if one.name in best.numbers)
        if first.name != measure:
            bounds = columns.interval(best.intervals.get(first.name)).strip()
            figures.append((f"its {first.title}", columns.number(best.numbers[first.name]), bounds))
    figures.append((f"{comparison.split} {comparison.unit}", f"{rows:,}", "with gold"))
    models = sum(run.method != "baseline" for run in comparison.runs)
    baselines = len(comparison.runs) - models
    figures.append(("runs", f"{models}", counted(baselines, "baseline") if baselines else "compared"))
    return figures


def tables_of(report: Report) -> dict[str, Any]:
    """The tables by the names that the template has for them; None or an empty one where there is nothing to show."""
    comparison = report.comparison
    measure = headline_of(comparison.task)
    best = best_run(comparison.ranked or comparison.runs, measure)
    costs = None if report.costs is None else cost_table(comparison.runs, report.costs)
    seen = seen_in_train_table(comparison)
    mains = main_category_table(comparison.runs)
    tables: dict[str, PageTable | None] = {
        "table": comparison_table(comparison, report.costs),
        "measures": measures_table(comparison),
        "labels": label_table(comparison.runs, best),
        "differences": None,
        "seeds": _filled(seeds_table(comparison), SEEDS_TITLE),
        "costs": None if costs is None else _filled(costs, _cost_caption(report)),
        "seen": _filled(seen, seen_in_train_title(comparison)),
        "mains": _filled(mains, "Precision, recall and F1 of the main categories."),
        "reviewed": None if comparison.reviewed is None else comparison_table(comparison.reviewed, None),
    }
    if comparison.differences:
        tables["differences"] = differences_table(comparison)
    return tables


def _filled(table: Table, caption: str) -> PageTable | None:
    return plain(table, caption) if table.rows else None


def _cost_caption(report: Report) -> str:
    costs = report.costs
    assert costs is not None
    price = f", at {costs.price_per_hour:g} {costs.currency} an hour" if costs.price_per_hour is not None else ""
    rest = f"; the {costs.rest:,} {report.comparison.unit} without a label at the same speed" if costs.rest else ""
    return f"What the runs take{price}{rest}."
