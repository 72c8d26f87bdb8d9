"""Write a comparison and a run's metrics to files; each file appears whole or not at all."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from categorize.errors import UserError
from categorize.report.comparison import Comparison
from categorize.report.per_class import per_class_rows

METRICS_FILE = "metrics.json"
PER_CLASS_COLUMNS = ("label", "support", "run", "precision", "recall", "f1", "predicted")


def write_report(folder: str | Path, comparison: Comparison) -> list[Path]:
    """Write `comparison.md`, `comparison.json` and, for a classification, `per_class.csv`; returns their paths.

    The folder is made where it is missing; files of the same names are replaced.

    Raises:
        UserError: the folder cannot be written to.
    """
    files = {"comparison.md": comparison.markdown(), "comparison.json": _json(comparison.to_dict())}
    if rows := per_class_rows(comparison.runs):
        table = io.StringIO()
        writer = csv.DictWriter(table, PER_CLASS_COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        # With the byte order mark, Excel reads UTF-8, and so Chinese labels, as such.
        files["per_class.csv"] = "\ufeff" + table.getvalue()
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
