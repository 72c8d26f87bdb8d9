"""What a closer look found, as tables of a page: each subject that is there, in the order of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from categorize.reports.page.tables import Column, PageTable, Shown

_TITLES = {
    "weak_segments": ("Weak segments", "Wrong more often than other rows, corrected for how many segments were tried."),
    "slices": ("Errors by length, language and metadata", "Error rate of each part of the rows, with 95% intervals."),
    "disagreements": ("Where models disagree", "How often two models say different things of a row, and who is right."),
    "label_errors": ("Labels in doubt", "Rows whose gold may be wrong, the surest first."),
    "shift": ("Training against test rows", "How the two differ in labels and length."),
    "invariance": ("Changes of the text that should not matter", "Share of the predictions that change."),
    "corrected": ("Corrected counts", "Shares of the labels, corrected by the rows that people labelled."),
}  # fmt: skip
_SEVERITIES = {"error": 0, "warning": 1, "info": 2}
_LINES = 200
_SHARES = ("share", "rate", "change", "of_gold", "of_predicted", "any_right")


def advice_of(analysis: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Advice, the most pressing first."""
    return sorted(analysis.get("advice") or [], key=lambda one: _SEVERITIES.get(str(one.get("severity")), 1))


def findings(analysis: Mapping[str, Any]) -> list[tuple[str, list[PageTable]]]:
    """Title and tables of each subject that was looked at and has something to show."""
    found = []
    for key, (title, caption) in _TITLES.items():
        tables = [_table(lines, f"{caption}{of}") for of, lines in _lists(analysis.get(key))]
        if tables:
            found.append((title, tables))
    return found


def _lists(value: Any, of: str = "") -> list[tuple[str, Sequence[Mapping[str, Any]]]]:
    """The lists of lines in what was found, each with whose it is."""
    if isinstance(value, Mapping):
        if value and all(isinstance(one, int | float | type(None)) for one in value.values()):
            return [(of, [value])]
        return [pair for key, one in value.items() for pair in _lists(one, f"{of} {key}" if of else f" {key}")]
    if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        return [(of, value)]
    return []


def _table(lines: Sequence[Mapping[str, Any]], caption: str) -> PageTable:
    names = list(dict.fromkeys(name for line in lines for name in line))
    numeric = {
        name: all(isinstance(line.get(name), int | float | type(None)) for line in lines) and name != "id"
        for name in names
    }
    more = f" The first {_LINES} of {len(lines):,}." if len(lines) > _LINES else ""
    heads = [Column(name.replace("_", " "), numeric[name]) for name in names]
    shown = [[_cell(name, line.get(name)) for name in names] for line in lines[:_LINES]]
    return PageTable(f"{caption}{more}", heads, shown)


def _cell(name: str, value: Any) -> Shown:
    if value is None:
        return Shown("-")
    if isinstance(value, bool):
        return Shown("yes" if value else "no")
    if isinstance(value, int):
        return Shown(f"{value:,}", float(value))
    if isinstance(value, float):
        return Shown(f"{value:.1%}" if any(one in name for one in _SHARES) else f"{value:.3g}", value)
    if isinstance(value, list | tuple):
        return Shown("; ".join(map(str, value)))
    return Shown(str(value))
