"""Loaded data written to a folder: splits, what was left out, and the three tables that spreadsheet users know.

The folder appears whole or not at all. Its files are what `data.source` reads again, with the same rows in the same
splits; docs/data.md lists the columns.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa

from categorize.data.reading.raw import SPLIT_NAMES
from categorize.data.report import LABELLED_SPLITS
from categorize.data.rows import fields_of
from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.recipe.sections import RecipeBase
from categorize.writing import json_text, open_text, whole_folder

MANIFEST = "dataset.json"
SPREADSHEET = "spreadsheet"
NOT_LABELLED = "-1"
# What a sheet can hold (Excel specifications and limits).
_SHEET_ROWS, _CELL_CHARACTERS, _TITLE_CHARACTERS = 1_048_576, 32_767, 31
_NOT_IN_TITLES = re.compile(r"[\[\]:*?/\\]")
_NOT_IN_SHEETS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")


@dataclass(frozen=True)
class Exported:
    """A folder of tables, before its description is written: the tables by file stem, and their format."""

    tables: dict[str, pa.Table]
    form: str

    def file(self, name: str) -> str:
        """The file of a table."""
        return f"{name}.{self.form}"

    @property
    def splits(self) -> list[str]:
        """Splits that have rows."""
        return [name for name in SPLIT_NAMES if name in self.tables]


def export_tables(data: LoadedData, recipe: RecipeBase, form: str = "parquet") -> Exported:
    """The tables of a folder: the splits that have rows, `purged` (all labelled rows of the splits, with a column
    `split`) and `rejected` (rows that are in no split, with their `reason`)."""
    tables = {name: split_table(data.splits[name], data, recipe) for name in SPLIT_NAMES if data.splits[name].num_rows}
    if labelled := [name for name in LABELLED_SPLITS if name in tables]:
        names = [name for name in labelled for _ in range(tables[name].num_rows)]
        tables["purged"] = pa.concat_tables([tables[name] for name in labelled]).append_column("split", [names])
    if data.left_out.num_rows:
        rejected = split_table(data.left_out, data, recipe)
        tables["rejected"] = rejected.append_column("reason", data.left_out["reason"])
    return Exported(tables, form)


def split_table(rows: pa.Table, data: LoadedData, recipe: RecipeBase) -> pa.Table:
    """Columns id, text (prepared as a model reads it) and label (a list for multi-label, a number for a regression);
    document, group, weight and the time where the recipe names such columns; and those of `columns.keep` and
    `columns.raters`."""
    named = recipe.data.columns
    if data.label_set.is_regression:
        label: Any = rows["gold_score"]
    elif data.label_set.is_multi_label:
        label = rows["gold"]
    else:
        label = pa.array([None if names is None else names[0] for names in rows["gold"].to_pylist()], pa.string())
    columns: dict[str, Any] = {"id": rows["id"], "text": rows["text"], "label": label}
    optional = {"document": "document_id", "group": "group", "weight": "weight"}
    columns |= {key: rows[column] for key, column in optional.items() if getattr(named, key) is not None}
    fields, by_time = fields_of(rows), recipe.data.splits.by_time
    kept = dict.fromkeys([*([by_time] if by_time is not None else []), *named.keep, *named.raters])
    return pa.table(columns | {kept_name(name): fields.field(name) for name in kept})


def kept_name(column: str) -> str:
    """The name under which a column of the source is written."""
    reserved = ("id", "text", "label", "document", "group", "weight", "split", "reason")
    return f"data.{column}" if column in reserved else column


def spreadsheet_rows(data: LoadedData) -> dict[str, list[tuple[str, str, str]]]:
    """The tables `unlabeled`, `labeled` and `purged` as rows of (custom_id, message, class).

    `unlabeled`: every row, class -1; `labeled`: every row, -1 where it has no usable label; `purged`: the labelled rows
    of the splits, without those that were left out. A class is the label's code where the recipe has codes. Ids are
    `LoadedData.places`: one names one row.
    """
    code = {label.name: label.code or label.name for label in data.label_set.labels}
    tables: dict[str | None, pa.Table] = {name: data.splits[name] for name in SPLIT_NAMES} | {None: data.left_out}
    # Each table keeps the order of the source.
    following = {
        name: zip(*(rows[column].to_pylist() for column in ("text", "gold", "gold_score")), strict=True)
        for name, rows in tables.items()
    }
    labeled = []
    ids, places = data.places["id"].to_pylist(), data.places["split"].to_pylist()
    for row_id, place in zip(ids, places, strict=True):
        text, names, score = next(following[place])
        value = NOT_LABELLED if names is None else ";".join(code[name] for name in names)
        labeled.append((row_id, text, value if score is None else _number(score)))
    return {
        "unlabeled": [(row_id, text, NOT_LABELLED) for row_id, text, _ in labeled],
        "labeled": labeled,
        "purged": [row for row, place in zip(labeled, places, strict=True) if place in LABELLED_SPLITS],
    }


def _number(score: float) -> str:
    return str(int(score)) if score.is_integer() else repr(score)


# ---------------------------------------------------------------- writing
def check_folder(folder: Path, overwrite: bool) -> None:
    """Raises UserError where the folder holds something, unless told to replace one that this command wrote."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / MANIFEST).is_file():
        raise UserError(f"{folder}: exists and was not written by this command; name another folder for --write")
    if not overwrite:
        raise UserError(f"{folder}: holds a written dataset; name another folder, or replace it with --overwrite")


def write_folder(
    folder: Path, exported: Exported, data: LoadedData, recipe: RecipeBase, texts: dict[str, str], *, overwrite: bool
) -> list[str]:
    """Write tables, spreadsheet form, `dataset.json` and `texts` (name -> content); gives the files' names.

    Raises UserError as `check_folder`, and where the folder cannot be written or a sheet cannot hold the rows.
    """
    check_folder(folder, overwrite)
    manifest = {
        "name": recipe.name,
        "rows": {name: table.num_rows for name, table in exported.tables.items()},
        "split_fingerprints": data.splits.fingerprints,
        "label_set": data.label_set.to_dict(),
        "input": data.input_spec.to_dict(),
        "report": data.report.to_dict(),
    }
    try:
        with whole_folder(folder) as staged:
            (staged / SPREADSHEET).mkdir()
            for name, table in exported.tables.items():
                _write_table(staged / exported.file(name), table, recipe.data.label_separator)
            # Spreadsheet users open CSV or xlsx, not Parquet.
            form = "xlsx" if exported.form == "xlsx" else "csv"
            for name, rows in spreadsheet_rows(data).items():
                write_rows(staged / SPREADSHEET / f"{name}.{form}", ("custom_id", "message", "class"), rows, excel=True)
            for name, text in {**texts, MANIFEST: json_text(manifest)}.items():
                (staged / name).write_text(text, encoding="utf-8")
            return sorted(path.relative_to(staged).as_posix() for path in staged.rglob("*") if path.is_file())
    except OSError as error:
        raise UserError(f"{folder}: cannot be written: {error.strerror or error}; name another folder") from None


def _write_table(path: Path, table: pa.Table, separator: str) -> None:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        pq.write_table(table, path, compression="zstd")
        return
    columns = [label_cells(table[name].to_pylist(), separator) for name in table.column_names]
    write_rows(path, table.column_names, zip(*columns, strict=True), excel=False)


def label_cells(values: Sequence[Any], separator: str) -> list[str]:
    """Values as the readers read them back: several labels between separators, or as a list where that is unclear."""

    def cell(value: Any) -> str:
        if isinstance(value, list):
            plain = value and not any(separator in item or item.startswith("[") for item in value)
            return separator.join(value) if plain else json.dumps(value, ensure_ascii=False)
        return _number(value) if isinstance(value, float) else str("" if value is None else value)

    return [cell(value) for value in values]


def write_rows(
    path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], *, excel: bool, title: str | None = None
) -> None:
    """Write a csv, tsv or, by the name, an xlsx file; csv and tsv gzipped where the name says so.

    Args:
        rows: texts and numbers; in a sheet dates and the like too. A row without cells is a blank one.
        excel: a csv that Excel reads as UTF-8.
        title: of the sheet; the file's name by default.

    Raises UserError where openpyxl is missing, or a sheet cannot hold the rows.
    """
    if path.suffix == ".xlsx":
        _write_sheet(path, header, rows, title or path.stem)
        return
    # With the byte order mark, Excel reads UTF-8, and so Chinese text, as such.
    with open_text(path, "utf-8-sig" if excel else "utf-8") as file:
        # Line ends of RFC 4180: with "\n" alone, Python before 3.13 leaves a carriage return within a cell unquoted.
        delimiter = "\t" if ".tsv" in path.suffixes[-2:] else ","
        writer = csv.writer(file, lineterminator="\r\n", delimiter=delimiter)
        writer.writerow(header)
        writer.writerows(rows)


def _write_sheet(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]], title: str) -> None:
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
    except ImportError:
        raise UserError("xlsx files need openpyxl: pip install 'categorize[xlsx]', or write csv") from None
    book = Workbook(write_only=True)
    sheet = book.create_sheet(_NOT_IN_TITLES.sub(" ", title)[:_TITLE_CHARACTERS])
    for number, row in enumerate(chain([header], rows), 1):
        if number > _SHEET_ROWS:
            raise UserError(f"{path.name}: a sheet holds {_SHEET_ROWS} rows, there are more; write csv")
        cells: list[Any] = list(row)
        for i, value in enumerate(row):
            if isinstance(value, str):
                if len(value) > _CELL_CHARACTERS:
                    long = f"row {number} (id {row[0]}): a text of {len(value)} characters"
                    raise UserError(f"{path.name}: {long}, a cell holds {_CELL_CHARACTERS}; write csv")
                cells[i] = WriteOnlyCell(sheet, value=_NOT_IN_SHEETS.sub("\ufffd", value))
                cells[i].data_type = "s"  # "=1+1" is a text here, not a formula
        sheet.append(cells)
    book.save(path)
