"""What a closer look found, as tables of a page. Subjects that have no table of their own are shown as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from categorize.labels import SCORE
from categorize.reports.page.subjects import SUBJECTS, Line
from categorize.reports.page.tables import Column, PageTable, Shown

MOST_LINES = 200
# Said elsewhere on the page, or of use to programs alone.
_ELSEWHERE = {"best", "confusion", "findings", "advice", "label_errors_found", "train_label_errors_found"}
_SEVERITIES = {"error": 0, "warning": 1, "info": 2}


def advice_of(analysis: Mapping[str, Any]) -> list[Line]:
    """Advice, the most serious first."""
    return sorted(analysis.get("advice") or [], key=lambda one: _SEVERITIES.get(str(one.get("severity")), 1))


def findings(analysis: Mapping[str, Any]) -> list[tuple[str, list[PageTable]]]:
    """Title and tables of each subject that was looked at and has something to show, in the order of a report."""
    found: dict[str, list[PageTable]] = {}
    for key, subjects in SUBJECTS.items():
        for subject in subjects if analysis.get(key) else ():
            if lines := subject.lines(analysis):
                found.setdefault(subject.title, []).append(_table(lines, subject.caption, subject.columns))
    if analysis.get("slices"):
        found.setdefault("Where errors are", []).append(_slices(analysis["slices"]))
    for key, value in analysis.items():
        if key not in _ELSEWHERE and key not in SUBJECTS and key != "slices":
            title = key.replace("_", " ").capitalize()
            tables = [_table(lines, of or title, _as_they_are(lines)) for of, lines in _lists(value)]
            if tables:
                found[title] = tables
    return list(found.items())


def _slices(of_runs: Mapping[str, Sequence[Line]]) -> PageTable:
    """A line for each slice, with the error rate of each run."""
    runs = list(of_runs)
    by_slice: dict[tuple[str, str], dict[str, Line]] = {}
    for run, lines in of_runs.items():
        for line in lines:
            by_slice.setdefault((str(line["column"]), str(line["value"])), {})[run] = line
    heads = [Column("part of the rows", False), Column("rows"), *(Column(run) for run in runs)]
    shown = []
    for (column, value), found in by_slice.items():
        rows = max(int(line["rows"]) for line in found.values())
        cells = [_rate(found[run], "error_rate") if run in found else Shown("-") for run in runs]
        shown.append([Shown(f"{column}: {value}"), Shown(f"{rows:,}", rows), *cells])
    return PageTable("Error rate of each run by length, script and metadata, with 95% intervals.", heads, shown)


def _table(lines: Sequence[Line], caption: str, columns: Mapping[str, tuple[str, str]]) -> PageTable:
    there = {key: spec for key, spec in columns.items() if any(line.get(key) is not None for line in lines)}
    more = f" The first {MOST_LINES} of {len(lines):,}." if len(lines) > MOST_LINES else ""
    heads = [Column(title, kind != "text") for title, kind in there.values()]
    shown = [[_cell(line, key, kind) for key, (_, kind) in there.items()] for line in lines[:MOST_LINES]]
    return PageTable(f"{caption}{more}", heads, shown)


def _cell(line: Line, key: str, kind: str) -> Shown:
    value = line.get(key)
    if value is None:
        return Shown("-")
    if kind == "text":
        return Shown("; ".join(map(str, value)) if isinstance(value, list | tuple) else str(value))
    if kind == "mean":
        kind = "number" if line.get("label") == SCORE else "share"
    if kind == "rate":
        return _rate(line, key)
    written = {"count": f"{value:,}", "share": f"{value:.1%}", "p": f"{value:.3f}" if value >= 0.001 else "< 0.001"}
    return Shown(written.get(kind, f"{value:.3g}"), float(value))


def _rate(line: Line, key: str) -> Shown:
    """An error rate with its interval; of a regression it is a mean absolute error, which may be above 1."""
    low, high = line.get("low"), line.get("high")
    bounds = "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
    return Shown(f"{line[key]:.3f}", float(line[key]), bounds)


# ---------------------------------------------------------------- subjects without a table of their own
def _lists(value: Any, of: str = "") -> Iterator[tuple[str, Sequence[Line]]]:
    """The lists of lines in what was found, each with what it is of."""
    if isinstance(value, Mapping):
        if value and not any(isinstance(one, Mapping | list) for one in value.values()):
            yield of, [value]
        for key, one in value.items():
            yield from _lists(one, f"{of}: {key}" if of else str(key)) if isinstance(one, Mapping | list) else ()
    elif isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
        yield of, value


def _as_they_are(lines: Sequence[Line]) -> dict[str, tuple[str, str]]:
    kinds: dict[str, tuple[str, str]] = {}
    for key in dict.fromkeys(key for line in lines for key in line):
        values = [line[key] for line in lines if line.get(key) is not None]
        numbers = all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
        kind = "text" if not numbers else "count" if all(isinstance(one, int) for one in values) else "number"
        kinds[key] = (key.replace("_", " "), kind)
    return kinds
