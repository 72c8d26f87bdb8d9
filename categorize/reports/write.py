"""Write a report to its folder, whole or not at all, `report.json` last."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from categorize.errors import UserError
from categorize.prediction.tables import write_predictions
from categorize.reports.page.render import as_html
from categorize.reports.pictures.gallery import FOLDER, NAMES, pictures_of
from categorize.reports.rendering import as_markdown
from categorize.reports.report import Report, load_report
from categorize.reports.spreadsheets import COMPARISON, MAINS, PER_CLASS, spreadsheets
from categorize.writing import disk_errors, staging, write_whole

if TYPE_CHECKING:
    import pyarrow as pa

FORMER = "comparison"  # how the first version named its report: comparison.json, comparison.md
REPORT, MARKDOWN, PAGE, ROWS, PREDICTIONS = "report.json", "report.md", "report.html", "rows.parquet", "predictions"


def write_report(
    folder: str | Path, report: Report, predictions: Iterable[tuple[str, pa.Table]], rows: pa.Table | None = None
) -> list[Path]:
    """Write the report and the runs' predictions; returns the paths of what people and programs open.

    All is written beside its place first, so that a full disk leaves an earlier report as it was. Then the files of
    that one go, and `report.json`, the mark of a finished report, comes last.

    Args:
        predictions: file, from the folder, and table of each run.
        rows: of `analysis.rows.rows_table`.

    Raises:
        UserError: the folder cannot be written to.
        ValueError: a measure is NaN.
    """
    folder = Path(folder)
    last = report.to_json()
    pictures = pictures_of(report.comparison)
    texts = {PAGE: as_html(report, pictures, rows), MARKDOWN: as_markdown(report), **spreadsheets(report), REPORT: last}
    with disk_errors(folder), staging(folder / ".writing") as staged:
        for where in (staged, folder):
            (where / PREDICTIONS).mkdir(exist_ok=True)
        others = []
        for name, table in [*predictions, *([] if rows is None else [(ROWS, rows)])]:
            write_predictions(staged / name, table)
            others.append(name)
        for picture in pictures:
            (staged / FOLDER).mkdir(exist_ok=True)
            (folder / FOLDER).mkdir(exist_ok=True)
            others += [f"{FOLDER}/{picture.name}.svg"]
            write_whole(staged / others[-1], picture.svg)
            if not picture.missing:  # else labels would show as boxes
                others += [f"{FOLDER}/{picture.name}.png"]
                (staged / others[-1]).write_bytes(picture.png())
        for name, text in texts.items():
            write_whole(staged / name, text)
        former = _files_of(folder / f"{FORMER}.json")
        earlier = [*_files_of(folder / REPORT), *former, *([f"{FORMER}.json", f"{FORMER}.md"] if former else [])]
        (folder / REPORT).unlink(missing_ok=True)
        for name in earlier:
            (folder / name).unlink(missing_ok=True)
        for name in [*others, *texts]:
            (staged / name).replace(folder / name)
    return [folder / name for name in texts]


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


def _files_of(report: Path) -> list[str]:
    """What an earlier evaluation wrote beside its `report.json`; other files of the folder are not ours."""
    try:
        named = [run.predictions or "" for run in load_report(report).comparison.runs]
    except UserError:  # none there, or not a report
        return []
    predictions = [name for name in named if name == f"{PREDICTIONS}/{Path(name).name}"]
    drawn = [f"{FOLDER}/{name}.{ending}" for name in NAMES for ending in ("svg", "png")]
    return [MARKDOWN, PAGE, ROWS, COMPARISON, PER_CLASS, MAINS, *drawn, *predictions]
