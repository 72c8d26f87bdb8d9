"""A comparison as text for the terminal, and as Markdown."""

from __future__ import annotations

from categorize.reports.comparison import Comparison
from categorize.reports.main_categories import main_category_table
from categorize.reports.overview import (
    all_measures,
    difference_notes,
    difference_table,
    difference_title,
    heading,
    notes,
    short_table,
)
from categorize.reports.per_class import confusion_table, f1_table
from categorize.text_tables import markdown_table, text_table, wrap

WIDTH = 120
REVIEWED = "On the rows that people reviewed"


def as_text(comparison: Comparison, width: int = WIDTH) -> str:
    """The short table, with notes and differences below, for a terminal of `width` columns. `*` marks the best."""
    parts = [
        wrap(heading(comparison, "*"), width),
        "",
        text_table(*short_table(comparison), width=width, shrink=(0, 1)),
        *(wrap(note, width) for note in notes(comparison)),
    ]
    if comparison.differences:
        table = difference_table(comparison, comparison.in_short)
        parts += ["", wrap(difference_title(comparison), width), text_table(*table, width=width)]
        parts += [wrap(note, width) for note in difference_notes(comparison)]
    if comparison.reviewed is not None:
        parts += ["", REVIEWED, as_text(comparison.reviewed, width)]
    return "\n".join(parts)


def as_markdown(comparison: Comparison) -> str:
    """Everything: the short table, all measures with intervals, differences, F1 by label, frequent confusions."""
    parts = ["# Comparison", heading(comparison, "in bold"), markdown_table(*short_table(comparison))]
    if said := notes(comparison):
        parts.append("\n".join(f"- {note}" for note in said))
    parts += ["## All measures", markdown_table(*all_measures(comparison))]
    if comparison.differences:
        table = difference_table(comparison, comparison.measured)
        parts += ["## Differences", difference_title(comparison), markdown_table(*table)]
        parts += difference_notes(comparison)
    if comparison.task != "regression":
        if (mains := main_category_table(comparison.runs)).rows:
            parts += ["## Main categories", markdown_table(*mains)]
        parts += ["## F1 by label", markdown_table(*f1_table(comparison.runs))]
        if (confused := confusion_table(comparison.runs)).rows:
            parts += ["## Most frequent confusions", markdown_table(*confused)]
    text = "\n\n".join(parts) + "\n"
    if comparison.reviewed is not None:
        text += "\n" + as_markdown(comparison.reviewed).replace("# Comparison", f"# {REVIEWED}", 1)
    return text
