"""Labelled files as they are written: csv, tsv and xlsx row by row, JSON lines, Parquet; whole or not at all."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.data.export.folder import label_cells, write_rows
from categorize.data.reading.raw import scalar
from categorize.errors import UserError
from categorize.labeling.labelled import Labelled, Part
from categorize.labeling.student import Answers, code_of
from categorize.labels import LabelSet
from categorize.runs.folder import disk_errors
from categorize.writing import open_text

SEPARATOR = ";"  # of labels in one cell
FORMATS = (".csv", ".tsv", ".xlsx", ".jsonl", ".parquet")
ZIPPED = (".csv", ".tsv", ".jsonl")
WITH_BLANK_ROWS = ("csv", "tsv", "xlsx")
_EXACT = 10**15  # a sheet keeps fifteen digits of a number
_IN_SHEETS = (bool, int, float, date, clock, timedelta)


def check_output(output: Path, source: Path, overwrite: bool) -> None:
    """Raises UserError where the output is the input, is there, or has a name that tells no format."""
    form = _form(output)
    if form not in FORMATS or (output.suffix == ".gz" and form not in ZIPPED):
        raise UserError(f"--output: {output}: name it {', '.join(FORMATS)} (or .gz of {', '.join(ZIPPED)})")
    if output.exists() and source.exists() and output.samefile(source):
        raise UserError(f"--output: {output} is the input, which is never written over; name another file")
    if output.is_dir():
        raise UserError(f"--output: {output} is a folder; name a file in it")
    if output.exists() and not overwrite:
        raise UserError(f"--output: {output} is there; name another file, or replace it with --overwrite")


def write_output(output: Path, labelled: Labelled) -> None:
    """Write all parts; the file takes its place at the end.

    Raises:
        UserError: a part cannot be labelled, or the file not be written; what was there before stays.
    """
    form = _form(output)
    columns = new_columns(labelled.label_set, labelled.columns)
    staged = output.with_name(f".writing-{os.getpid()}-{output.name}")
    write: dict[str, Callable[[Path, Labelled, dict[str, str]], None]] = {".jsonl": _lines, ".parquet": _parquet}
    try:
        with disk_errors(output):
            output.parent.mkdir(parents=True, exist_ok=True)
            if form in write:
                write[form](staged, labelled, columns)
            else:
                header = [*labelled.columns, *columns.values()]
                rows = _rows(labelled, list(columns), is_sheet=form == ".xlsx")
                write_rows(staged, header, rows, excel=True, title=output.name.partition(".")[0])
            staged.replace(output)
    finally:
        staged.unlink(missing_ok=True)


def _form(output: Path) -> str:
    suffixes = [suffix.lower() for suffix in output.suffixes]
    return "".join((suffixes[:-1] if suffixes[-1:] == [".gz"] else suffixes)[-1:])


def new_columns(label_set: LabelSet, taken: Sequence[str]) -> dict[str, str]:
    """What is told of each row, and the column that it stands in; none of the input's."""
    told = ["score"] if label_set.is_regression else ["label", "code", "probability"]
    if code_of(label_set) is None and "code" in told:
        told.remove("code")
    names: dict[str, str] = {}
    for one in (*told, "valid"):
        name = one if one not in taken else f"predicted_{one}"
        while name in taken:
            name += "_"
        names[one] = name
    return names


def told(answers: Answers, label_set: LabelSet) -> dict[str, list[Any]]:
    """What is told of each row: a value, or a list of values for several labels; None where there is nothing."""
    valid: list[bool] = answers.valid.tolist()
    if label_set.is_regression:
        scores = answers.score.tolist()
        return {"score": [score if good else None for score, good in zip(scores, valid, strict=True)], "valid": valid}
    codes = code_of(label_set) or {}
    lists: list[Any] = [names if good else None for names, good in zip(answers.labels, valid, strict=True)]
    found = answers.probabilities
    chances: list[Any] = [None] * len(lists)
    if found is not None:
        index = label_set.index
        rows = np.round(found, 6).tolist()
        chances = [
            None if names is None else [row[index[name]] for name in names]
            for names, row in zip(lists, rows, strict=True)
        ]
    columns = {
        "label": lists,
        "code": [None if names is None else [codes.get(name, name) for name in names] for names in lists],
        "probability": chances,
    }
    if not label_set.is_multi_label:
        columns = {name: [one[0] if one else None for one in values] for name, values in columns.items()}
    return {**columns, "valid": valid}


# ---------------------------------------------------------------- csv, tsv, xlsx
def _rows(labelled: Labelled, columns: Sequence[str], *, is_sheet: bool) -> Iterator[list[Any]]:
    """Rows of cells; a blank row where the input has one."""
    cell = _sheet_cell if is_sheet else _text_cell
    expected: int | None = None
    has_blanks = labelled.form in WITH_BLANK_ROWS
    for part in labelled:
        found = told(part.answers, labelled.label_set)
        own = [[cell(value) for value in _values(part, name)] for name in labelled.columns]
        cells = zip(*own, *(_told_cells(found[name], is_sheet) for name in columns), strict=True)
        for number, row in zip(part.block.numbers, cells, strict=True):
            expected = part.block.header + 1 if expected is None else expected
            while has_blanks and expected < number:
                expected += 1
                yield []
            expected = int(number) + 1
            yield list(row)


def _values(part: Part, name: str) -> list[Any]:
    """Cells of a column as the format has them."""
    columns = part.block.columns
    if isinstance(columns, pa.Table):
        return list(columns[name].to_pylist()) if name in columns.column_names else [None] * len(part.raw)
    return list(columns[name]) if name in columns else [None] * len(part.raw)


def _text_cell(value: Any) -> str:
    return scalar(value) or ""


def _sheet_cell(value: Any) -> Any:
    """A cell of a sheet: numbers and dates as such, unless they would lose something."""
    if isinstance(value, int) and abs(value) >= _EXACT:
        return str(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return scalar(value)
    if isinstance(value, float) and not np.isfinite(value):
        return scalar(value) or ""
    return value if isinstance(value, _IN_SHEETS) else scalar(value) or ""


def _told_cells(values: list[Any], is_sheet: bool) -> list[Any]:
    if any(isinstance(value, list) for value in values):
        joined = [None if v is None else [one if isinstance(one, str) else repr(one) for one in v] for v in values]
        return ["" if value == [] else cell for value, cell in zip(joined, label_cells(joined, SEPARATOR), strict=True)]
    if is_sheet:
        return [str(v).lower() if isinstance(v, bool) else "" if v is None else v for v in values]
    return [_text_cell(value) for value in values]


# ---------------------------------------------------------------- JSON lines, Parquet
def _lines(path: Path, labelled: Labelled, columns: dict[str, str]) -> None:
    """Each line of JSON lines as it was, with the new keys behind; other formats as objects."""
    own = labelled.own_lines()
    with open_text(path) as file:
        for part in labelled:
            found = told(part.answers, labelled.label_set)
            values = [found[name] for name in columns]
            objects = iter(()) if own is not None else iter(_objects(part, labelled.columns))
            for row in zip(*values, strict=True):
                new = json.dumps(dict(zip(columns.values(), row, strict=True)), ensure_ascii=False)
                line = next(own).strip() if own is not None else json.dumps(next(objects), ensure_ascii=False)
                inside = line[1:-1].rstrip()
                file.write(f"{{{inside}{', ' if inside else ''}{new[1:]}\n")


def _objects(part: Part, columns: Sequence[str]) -> list[dict[str, Any]]:
    cells = zip(*([_plain(value) for value in _values(part, name)] for name in columns), strict=True)
    return [dict(zip(columns, row, strict=True)) for row in cells]


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, float):
        return (
            int(scalar(value) or 0) if value.is_integer() and abs(value) < _EXACT else value if value == value else None
        )
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    return scalar(value)


def _parquet(path: Path, labelled: Labelled, columns: dict[str, str]) -> None:
    """Typed columns of Parquet stay as they are; those of other formats are strings."""
    import pyarrow.parquet as pq

    label = pa.list_(pa.string()) if labelled.label_set.is_multi_label else pa.string()
    chance = pa.list_(pa.float64()) if labelled.label_set.is_multi_label else pa.float64()
    types = {"label": label, "code": label, "probability": chance, "score": pa.float64(), "valid": pa.bool_()}
    writer: pq.ParquetWriter | None = None
    try:
        for part in labelled:
            own = part.block.columns if isinstance(part.block.columns, pa.Table) else part.raw.table
            found = told(part.answers, labelled.label_set)
            table = pa.table(
                {
                    **dict(zip(own.column_names, own.columns, strict=True)),
                    **{name: pa.array(found[one], types[one]) for one, name in columns.items()},
                }
            )
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
