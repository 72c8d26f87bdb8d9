"""Write new comments that nobody has labelled, in two spreadsheets, and the truth beside them.

    python -m demo.generate_new FOLDER [--first 1200] [--rest 3000] [--seed 11]

FOLDER/first.xlsx and FOLDER/rest.xlsx hold `custom_id`, `message` and `period`: before or after an event, behind which
more comments are negative. FOLDER/truth.csv holds the class of each, by name, as nobody knows it who labels real
comments. The same arguments give the same files.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
from pathlib import Path

from demo.grammar import CLASS_NAMES, TOPICS, compose
from demo.noise import roughen

PERIODS = {"before": (0.38, 0.20, 0.27, 0.15), "after": (0.28, 0.20, 0.37, 0.15)}  # shares of the classes
COLUMNS = ("custom_id", "message", "period")


def new_comments(count: int, seed: int) -> list[tuple[str, str, str, str]]:
    """So many comments: id, message, period, true class."""
    rng = random.Random(seed)
    comments = []
    for number in range(count):
        period = rng.choice(list(PERIODS))
        code = rng.choices(range(len(CLASS_NAMES)), PERIODS[period])[0]
        message = roughen(rng, compose(rng, rng.choice(TOPICS), code))
        comments.append((f"n{number + 1:05d}", message, period, CLASS_NAMES[code]))
    return comments


def write(folder: Path, first: int, rest: int, seed: int) -> None:
    """Write the three files."""
    from openpyxl import Workbook

    comments = new_comments(first + rest, seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("first", comments[:first]), ("rest", comments[first:])):
        book = Workbook(write_only=True)
        sheet = book.create_sheet("comments")
        for row in (COLUMNS, *(comment[:3] for comment in rows)):
            sheet.append(row)
        book.save(folder / f"{name}.xlsx")
    with (folder / "truth.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("custom_id", "class"), *((comment[0], comment[3]) for comment in comments)])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Write new comments without labels, and the truth beside them.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--first", type=int, default=1200, help="rows of first.xlsx (default 1200)")
    parser.add_argument("--rest", type=int, default=3000, help="rows of rest.xlsx (default 3000)")
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    write(options.folder, options.first, options.rest, options.seed)
    print(f"{options.folder}: first.xlsx {options.first} rows, rest.xlsx {options.rest} rows, truth.csv")


if __name__ == "__main__":
    sys.exit(main())
