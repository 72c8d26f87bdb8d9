"""Write a comparison to its folder, whole or not at all, `comparison.json` last."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from categorize.analysis.closer import Closer
from categorize.errors import UserError
from categorize.prediction.tables import write_predictions
from categorize.reports.comparison import Comparison, load_comparison
from categorize.reports.main_categories import main_category_csv
from categorize.reports.per_class import COLUMNS, per_class_rows
from categorize.reports.rendering import as_markdown
from categorize.writing import disk_errors, json_text, staging, write_whole

if TYPE_CHECKING:
    import pyarrow as pa

COMPARISON, MARKDOWN, PREDICTIONS = "comparison.json", "comparison.md", "predictions"
PER_CLASS, MAINS = "per_class.csv", "main_categories.csv"
ANALYSIS, ROWS = "analysis.json", "rows.parquet"


def write_comparison(
    folder: str | Path,
    comparison: Comparison,
    predictions: Iterable[tuple[str, pa.Table]],
    closer: Closer | None = None,
) -> list[Path]:
    """Write the report, what a closer look found and the runs' predictions; returns the report's paths.

    All is written beside its place first, so that a full disk leaves an earlier comparison as it was. Then the files of
    that one go, and `comparison.json`, the mark of a finished comparison, comes last.

    Args:
        predictions: file, from the folder, and table of each run.

    Raises:
        UserError: the folder cannot be written to.
        ValueError: a measure is NaN.
    """
    folder = Path(folder)
    reports = report_files(comparison)
    if closer is not None:
        reports = {ANALYSIS: json_text(closer.found), **reports}
    rows = [] if closer is None or closer.rows is None else [(ROWS, closer.rows)]
    with disk_errors(folder), staging(folder / ".writing") as staged:
        for where in (staged, folder):
            (where / PREDICTIONS).mkdir(exist_ok=True)
        tables = []
        for name, table in itertools.chain(predictions, rows):
            write_predictions(staged / name, table)
            tables.append(name)
        for name, text in reports.items():
            write_whole(staged / name, text)
        earlier = _files_of(folder / COMPARISON)
        (folder / COMPARISON).unlink(missing_ok=True)
        for name in earlier:
            (folder / name).unlink(missing_ok=True)
        for name in [*tables, *reports]:
            (staged / name).replace(folder / name)
    return [folder / name for name in reports]


def report_files(comparison: Comparison) -> dict[str, str]:
    """What the report's files hold, by name: Markdown, for a classification the measures by label,
    and by main category where there are groups, JSON last."""
    files = {MARKDOWN: as_markdown(comparison)}
    if rows := per_class_rows(comparison.runs):
        table = io.StringIO()
        writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        # With the byte order mark, Excel reads UTF-8, and so Chinese labels, as such.
        files[PER_CLASS] = "\ufeff" + table.getvalue()
    if (mains := main_category_csv(comparison.runs)) is not None:
        files[MAINS] = "\ufeff" + mains
    return {**files, COMPARISON: comparison.to_json()}


def prediction_files(names: Iterable[str]) -> dict[str, str]:
    """Where a comparison keeps each run's predictions, from its folder: `predictions/<name>.parquet`.

    Names that would share a file, also where letters differ in case alone, are numbered.

    >>> list(prediction_files(["a b", "A_b"]).values())
    ['predictions/a_b.parquet', 'predictions/A_b-2.parquet']
    """
    files: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in name)
        numbered = (f"{safe}-{n}" for n in itertools.count(2))
        file = next(f for f in itertools.chain([safe], numbered) if f.lower() not in taken)
        taken.add(file.lower())
        files[name] = f"{PREDICTIONS}/{file}.parquet"
    return files


def _files_of(comparison: Path) -> list[str]:
    """What an earlier comparison wrote beside its `comparison.json`; other files of the folder are not ours."""
    try:
        named = [run.predictions or "" for run in load_comparison(comparison).runs]
    except UserError:  # none there, or not a comparison
        return []
    return [
        MARKDOWN,
        PER_CLASS,
        MAINS,
        ANALYSIS,
        ROWS,
        *(name for name in named if name == f"{PREDICTIONS}/{Path(name).name}"),
    ]
