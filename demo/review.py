"""Fill in a review sheet from the truth, as somebody would who knows the comments.

python -m demo.review outputs/demo_label_rest.review/review.xlsx outputs/demo_new/truth.csv
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path


def read_truth(path: Path) -> dict[str, str]:
    """The class of each comment by its id."""
    with path.open(encoding="utf-8", newline="") as file:
        return {row["custom_id"]: row["class"] for row in csv.DictReader(file)}


def fill(sheet_file: Path, truth: dict[str, str]) -> tuple[int, int]:
    """Write `ok` or the right label into the column `reviewed`; gives how many rows, and how many were wrong."""
    from openpyxl import load_workbook

    book = load_workbook(sheet_file)
    sheet = book["review"]
    column = {cell.value: cell.column for cell in sheet[1]}
    wrong = 0
    for row in range(2, sheet.max_row + 1):
        right = truth[sheet.cell(row, column["id"]).value]
        is_right = sheet.cell(row, column["label"]).value == right
        wrong += not is_right
        sheet.cell(row, column["reviewed"]).value = "ok" if is_right else right
    book.save(sheet_file)
    return sheet.max_row - 1, wrong


def main(sheet: str, truth: str) -> int:
    """Fill in the sheet, and say so."""
    rows, wrong = fill(Path(sheet), read_truth(Path(truth)))
    print(f"{sheet}: {rows} rows reviewed, {wrong} labels corrected")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
