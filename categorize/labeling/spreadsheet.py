"""The labelled table as spreadsheets of (custom_id, message, class), as they go to a provider and come back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from categorize.data.export.folder import NOT_LABELLED, SPREADSHEET, label_cells, write_rows
from categorize.labels import LabelSet

HEADER = ("custom_id", "message", "class")


def write_spreadsheets(run: Path, parts: Sequence[Path], column: str, label_set: LabelSet, form: str) -> list[Path]:
    """Write `unlabeled` (every row, class -1), `labeled` (-1 where a row has no label) and `purged` (without those)
    into a run's folder.

    A class is the label's code where the task has codes, else its name; several are separated by semicolons.

    Args:
        parts: files of the labelled table, in order.
        column: of the label.
        form: xlsx or csv.

    Raises:
        UserError: a sheet cannot hold the rows, or openpyxl is missing.
    """
    code = {label.name: label.code or label.name for label in label_set.labels}
    folder = run / SPREADSHEET
    folder.mkdir(parents=True, exist_ok=True)

    def rows(name: str) -> Iterator[tuple[str, str, str]]:
        for part in parts:
            for batch in pq.ParquetFile(part).iter_batches(columns=["id", "text", column]):
                for one, text, value in zip(*(batch[c].to_pylist() for c in ("id", "text", column)), strict=True):
                    if name == "unlabeled" or (value is None and name == "labeled"):
                        yield one, text or "", NOT_LABELLED
                    elif value is not None:
                        yield one, text or "", _class(value, code)

    files = [folder / f"{name}.{form}" for name in ("unlabeled", "labeled", "purged")]
    for file in files:
        hidden = file.with_name(f".{file.name}")  # a review writes them again: each appears whole
        write_rows(hidden, HEADER, rows(file.stem), excel=True, title=file.stem)
        hidden.replace(file)
    return files


def _class(value: Any, code: dict[str, str]) -> str:
    if isinstance(value, list):
        return label_cells([[code[name] for name in value]], ";")[0]
    return code[value] if isinstance(value, str) else f"{value:g}"
