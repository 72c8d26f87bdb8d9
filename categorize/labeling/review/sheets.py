"""The sheet that people fill in, as xlsx with a dropdown of the allowed labels and as csv, and how it is read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from categorize.data.export.folder import write_rows
from categorize.errors import UserError
from categorize.labeling.review.labelled import Vote
from categorize.labels import LabelSet
from categorize.prompts.parsing import NONE

OK = "ok"  # the given labels are right
REMARK = "remark"
SEPARATOR = "; "
TEXT_WIDTH, LABEL_WIDTH = 70, 24  # characters
RULE = (
    "Write ok where the label is right, else the right label from the list; leave rows empty that you did not look at."
)


@dataclass(frozen=True)
class Shown:
    """What the sheet shows of its rows.

    Attributes:
        ids, texts: of the rows.
        labels: of each label set by its column, one vote a row; empty under a blind review.
        beside: labels of another run, the same way, by the heading that they get.
        context: metadata columns, to be read along.
    """

    ids: Sequence[str]
    texts: Sequence[str]
    labels: Mapping[str, Sequence[Vote]]
    beside: Mapping[str, Sequence[Vote]]
    context: Mapping[str, Sequence[str | None]]


def reviewed_column(name: str, label_sets: Mapping[str, LabelSet]) -> str:
    """Heading of the column that people fill in.

    >>> reviewed_column("label", {"label": None}), reviewed_column("topic", {"topic": None, "mood": None})
    ('reviewed', 'topic reviewed')
    """
    return "reviewed" if len(label_sets) == 1 else f"{name} reviewed"


def cell(vote: Vote) -> str:
    """Labels as a cell of the sheet."""
    return "" if vote is None else SEPARATOR.join(vote) or NONE


def write_sheets(folder: Path, shown: Shown, label_sets: Mapping[str, LabelSet]) -> None:
    """Write `review.csv` and, where openpyxl is installed, `review.xlsx`."""
    columns: dict[str, Sequence[str]] = {"id": shown.ids, "text": shown.texts}
    columns |= {name: [value or "" for value in values] for name, values in shown.context.items()}
    empty = [""] * len(shown.ids)
    for name in label_sets:
        beside = ((heading, given) for heading, given in shown.beside.items() if heading.startswith(name))
        for heading, given in ((name, shown.labels.get(name)), *beside):
            if given is not None:
                columns[heading] = [cell(vote) for vote in given]
        columns[reviewed_column(name, label_sets)] = empty
    columns[REMARK] = empty
    rows = list(zip(*columns.values(), strict=True))
    write_rows(folder / "review.csv", list(columns), rows, excel=True)
    _write_workbook(folder / "review.xlsx", list(columns), rows, label_sets, bool(shown.labels))


def _write_workbook(
    path: Path, header: list[str], rows: Sequence[Sequence[str]], label_sets: Mapping[str, LabelSet], with_ok: bool
) -> None:
    try:
        from openpyxl import Workbook
        from openpyxl.styles import Alignment, Font, PatternFill
        from openpyxl.utils import get_column_letter
        from openpyxl.worksheet.datavalidation import DataValidation
    except ImportError:
        return  # the csv holds the same
    book = Workbook()
    sheet, allowed = book.active, book.create_sheet("labels")
    sheet.title = "review"
    for r, row in enumerate([header, *rows], 1):
        for c, value in enumerate(row, 1):
            one = sheet.cell(r, c)
            one.value, one.data_type = _sheet_text(value), "s"  # "=1+1" is a text here, and no formula
            one.alignment = Alignment(wrap_text=True, vertical="top")
            if r == 1:
                one.font = Font(bold=True)
    sheet.freeze_panes = "C2"
    for c, name in enumerate(header, 1):
        sheet.column_dimensions[get_column_letter(c)].width = TEXT_WIDTH if name == "text" else LABEL_WIDTH
    allowed.append([RULE if with_ok else "Write the label from the list; leave rows empty that you did not look at."])
    for c, (name, label_set) in enumerate(label_sets.items()):
        at = 1 + 3 * c
        words = [*([OK] if with_ok else []), *([] if label_set.is_regression else label_set.names)]
        words += [NONE] if label_set.is_multi_label else []
        described = {label.name: label.description for label in label_set.labels}
        for r, word in enumerate(words, 3):
            allowed.cell(r, at, word).data_type = "s"
            allowed.cell(r, at + 1, described.get(word, "")).data_type = "s"
        allowed.cell(2, at, name).font = Font(bold=True)
        allowed.column_dimensions[get_column_letter(at)].width = LABEL_WIDTH
        allowed.column_dimensions[get_column_letter(at + 1)].width = TEXT_WIDTH
        column = get_column_letter(header.index(reviewed_column(name, label_sets)) + 1)
        letter = get_column_letter(at)
        choice = DataValidation("list", formula1=f"labels!${letter}$3:${letter}${2 + len(words)}", allow_blank=True)
        # Several labels are typed, separated by semicolons, and scores are numbers: the list proposes there.
        choice.showErrorMessage = not (label_set.is_multi_label or label_set.is_regression)
        choice.error = "Choose a label of the list (sheet labels)."
        sheet.add_data_validation(choice)
        choice.add(f"{column}2:{column}{len(rows) + 1}")
        for r in range(2, len(rows) + 2):
            sheet[f"{column}{r}"].fill = PatternFill("solid", start_color="FFF8DC")
    book.save(path)


def _sheet_text(value: str) -> str:
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    if len(value) > 32_767:
        value = value[:32_760] + " (cut)"
    return str(ILLEGAL_CHARACTERS_RE.sub("\ufffd", value))


# ---------------------------------------------------------------- and back
def read_sheet(file: Path, label_sets: Mapping[str, LabelSet]) -> dict[str, dict[str, str]]:
    """The cells that people filled in, by row id and label column. Rows that nobody looked at are not there.

    Raises:
        UserError: the file is not a review, or a row stands in it twice.
    """
    from categorize.data.reading.files import read_file

    table = read_file(file, key="--reviewed").table
    wanted = {name: reviewed_column(name, label_sets) for name in label_sets}
    for column in ("id", *wanted.values()):
        if column not in table.column_names:
            raise UserError(
                f"{file}: column {column!r} is missing; columns: {', '.join(table.column_names)}; fill in the sheet "
                "that --review wrote"
            )
    cells: dict[str, dict[str, str]] = {}
    for i, one in enumerate(table["id"].to_pylist(), 2):
        found = {name: table[column][i - 2].as_py() for name, column in wanted.items()}
        written = {name: value.strip() for name, value in found.items() if value and value.strip()}
        if not written:
            continue
        if len(written) < len(wanted):
            missing = next(column for name, column in wanted.items() if name not in written)
            raise UserError(
                f"{file}: row {i} (id {one}): {missing!r} is empty; fill in all label columns of a row or none"
            )
        if one in cells:
            raise UserError(f"{file}: row {i}: id {one} stands there twice; delete one of the rows")
        cells[str(one)] = dict(written)
    return cells
