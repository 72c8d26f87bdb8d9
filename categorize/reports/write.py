"""Write a comparison and a run's metrics to files; each file appears whole or not at all, `comparison.json` last."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.prediction.tables import write_predictions
from categorize.reports.comparison import Comparison
from categorize.reports.per_class import per_class_rows
from categorize.runs.folder import disk_errors

if TYPE_CHECKING:
    import pyarrow as pa

COMPARISON, MARKDOWN, PER_CLASS, PREDICTIONS = "comparison.json", "comparison.md", "per_class.csv", "predictions"
METRICS_FILE = "metrics.json"
PER_CLASS_COLUMNS = ("label", "support", "run", "precision", "recall", "f1", "predicted")


def write_comparison(
    folder: str | Path, comparison: Comparison, predictions: Iterable[tuple[str, pa.Table]]
) -> list[Path]:
    """Write the report and the runs' predictions; returns the report's paths.

    All is written beside its place first, so that a full disk leaves an earlier comparison as it was. Then the files of
    that one go, and `comparison.json`, the mark of a finished comparison, comes last.

    Args:
        predictions: file, from the folder, and table of each run.

    Raises:
        UserError: the folder cannot be written to.
    """
    folder = Path(folder)
    staged = folder / ".writing"
    try:
        with disk_errors(folder):
            shutil.rmtree(staged, ignore_errors=True)
            (staged / PREDICTIONS).mkdir(parents=True)
            (folder / PREDICTIONS).mkdir(exist_ok=True)
            tables = []
            for name, table in predictions:
                write_predictions(staged / name, table)
                tables.append(name)
            reports = [path.name for path in write_report(staged, comparison)]
            earlier = _files_of(folder / COMPARISON)
            (folder / COMPARISON).unlink(missing_ok=True)
            for name in earlier:
                (folder / name).unlink(missing_ok=True)
            for name in [*tables, *reports]:
                (staged / name).replace(folder / name)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return [folder / name for name in reports]


def _files_of(comparison: Path) -> list[str]:
    """What an earlier comparison wrote beside its `comparison.json`; other files of the folder are not ours."""
    try:
        named = [run.get("predictions") for run in json.loads(comparison.read_text(encoding="utf-8"))["runs"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
    ours = [name for name in named if isinstance(name, str) and name == f"{PREDICTIONS}/{Path(name).name}"]
    return [MARKDOWN, PER_CLASS, *ours]


def write_report(folder: str | Path, comparison: Comparison) -> list[Path]:
    """Write `comparison.md`, for a classification `per_class.csv`, and `comparison.json`; returns their paths.

    The folder is made where it is missing; files of the same names are replaced.

    Raises:
        UserError: the folder cannot be written to.
    """
    files = {MARKDOWN: comparison.markdown()}
    if rows := per_class_rows(comparison.runs):
        table = io.StringIO()
        writer = csv.DictWriter(table, PER_CLASS_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        # With the byte order mark, Excel reads UTF-8, and so Chinese labels, as such.
        files[PER_CLASS] = "\ufeff" + table.getvalue()
    files[COMPARISON] = _json(comparison.to_dict())
    return [_write(Path(folder) / name, text) for name, text in files.items()]


def write_metrics(folder: str | Path, metrics: Mapping[str, Any]) -> Path:
    """Write `metrics.json` of a run; raises as `write_report` does."""
    return _write(Path(folder) / METRICS_FILE, _json(metrics))


def _json(data: Mapping[str, Any]) -> str:
    # NaN is no JSON: an undefined measure is null, with its reason.
    return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


def _write(path: Path, text: str) -> Path:
    unfinished = path.with_name(path.name + ".incomplete")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise UserError(
            f"{path}: cannot be written ({error.strerror}); free space or choose another output_dir"
        ) from error
    return path
