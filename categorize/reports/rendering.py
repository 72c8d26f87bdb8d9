"""A comparison as text for the terminal, and a report as Markdown."""

from __future__ import annotations

from categorize.metrics.progress import headline_of
from categorize.reports.comparison import Comparison, best_run
from categorize.reports.costs import cost_table
from categorize.reports.main_categories import main_category_table
from categorize.reports.overview import (
    SEEDS_TITLE,
    difference_notes,
    difference_table,
    difference_title,
    heading,
    notes,
    notes_by_run,
    seeds_table,
    seen_in_train_table,
    seen_in_train_title,
    short_table,
)
from categorize.reports.per_class import confusion_table, f1_table
from categorize.reports.report import Report
from categorize.reports.summary import summary
from categorize.text_tables import markdown_table, text_table, wrap

WIDTH = 120
LINES_SHOWN = 40  # of a table in Markdown by labels or main categories; the spreadsheets have all
REVIEWED = "On the rows that people reviewed"


def as_text(comparison: Comparison, width: int = WIDTH) -> str:
    """The short table, with notes and differences below, for a terminal of `width` columns. `*` marks the best."""
    parts = [
        wrap(heading(comparison, "*"), width),
        "",
        text_table(*short_table(comparison), width=width, shrink=(0, 1)),
        *(wrap(note, width) for note in notes(comparison)),
    ]
    if (seen := seen_in_train_table(comparison)).rows:
        parts += ["", text_table(*seen, width=width)]
    if comparison.seeds:
        parts += ["", SEEDS_TITLE, text_table(*seeds_table(comparison), width=width)]
    if comparison.differences:
        table = difference_table(comparison, comparison.in_short)
        parts += ["", wrap(difference_title(comparison, comparison.in_short), width), text_table(*table, width=width)]
        parts += [wrap(note, width) for note in difference_notes(comparison)]
    if comparison.reviewed is not None:
        parts += ["", REVIEWED, as_text(comparison.reviewed, width)]
    return "\n".join(parts)


def as_markdown(report: Report) -> str:
    """What can be read in one go: the summary, the short table, differences, the weakest labels, what is confused most,
    costs, and notes. All figures are in `report.html` and the tables for spreadsheets."""
    comparison = report.comparison
    parts = [
        f"# {report.name or 'Comparison'}",
        "\n".join(f"- {one}" for one in summary(report, lambda name: f"**{name}**")),
        *["\n".join(f"- {one}" for one in found) for found in [report.analysis.get("findings")] if found],
        *_tables(comparison),
    ]
    if comparison.task != "regression":
        parts += _by_label(comparison)
    if report.costs is not None and (costs := cost_table(comparison.runs, report.costs)).rows:
        parts += ["## Costs", markdown_table(*costs)]
    if advice := report.analysis.get("advice"):
        lines = [f"- `{one['code']}` {_noted(one.get('run') or '', [one['text']])}" for one in advice]
        parts += ["## Advice", "\n".join(lines)]
    if said := notes_by_run(comparison):
        parts += ["## Notes", "\n".join(f"- {_noted(name, lines)}" for name, lines in said)]
    if comparison.reviewed is not None:
        parts += [f"## {REVIEWED}", *_tables(comparison.reviewed)]
    return "\n\n".join(parts) + "\n"


def _tables(comparison: Comparison) -> list[str]:
    """The short table, what training has seen, and differences in the headline measure and the first of the table."""
    parts = [heading(comparison, "in bold"), markdown_table(*short_table(comparison))]
    if (seen := seen_in_train_table(comparison)).rows:
        title = seen_in_train_title(comparison)
        parts += [f"{title[0].upper()}{title[1:]}:", markdown_table(*seen)]
    if comparison.seeds:
        parts += [SEEDS_TITLE, markdown_table(*seeds_table(comparison))]
    if comparison.differences:
        headline = headline_of(comparison.task)
        shown = [one for one in comparison.in_short if one.name == headline] or comparison.in_short[:1]
        title = difference_title(comparison, shown)
        parts += ["## Differences", title, markdown_table(*difference_table(comparison, shown))]
    return parts


def _by_label(comparison: Comparison) -> list[str]:
    """Main categories and labels where there are few, and what the best run confuses most."""
    parts = []
    mains, labels = main_category_table(comparison.runs), f1_table(comparison.runs)
    if 0 < len(mains.rows) <= LINES_SHOWN:
        parts += ["## Main categories", markdown_table(*mains)]
    if 0 < len(labels.rows) <= LINES_SHOWN:
        parts += ["## F1 by label", markdown_table(*labels)]
    ranked = [run for run in comparison.ranked if run.method != "baseline"]
    best = best_run(ranked, headline_of(comparison.task)) if ranked else ""
    confused = confusion_table([run for run in ranked if run.name == best])
    if confused.rows:
        parts += ["## Most frequent confusions", markdown_table(*confused)]
    return parts


def _noted(name: str, lines: list[str]) -> str:
    return (f"**{name}**: " if name else "") + "; ".join(lines)
