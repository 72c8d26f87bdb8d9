"""Files of Stata and SPSS, with the value labels that stand for their codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.raw import Block, batches, check_columns
from categorize.errors import UserError
from categorize.recipe.wording import first_few, quote


def dta_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """A Stata file. Codes that have a value label read as it; what is missing in any way is null."""
    return _blocks(file, "dta")


def sav_blocks(file: InputFile, options: ReadOptions) -> Iterator[Block]:
    """An SPSS file, see `dta_blocks`."""
    return _blocks(file, "sav")


def _blocks(file: InputFile, form: str) -> Iterator[Block]:
    """Read as a whole, as the library gives it. Raises UserError where it is missing, or the file is not such."""
    try:
        import pyreadstat
    except ImportError:
        way_out = "pip install 'categorize[statistics]', or save the file as csv"
        raise UserError(f"{file.name}: .{form} files need pyreadstat: {way_out}") from None
    if file.is_zipped:
        raise UserError(f"{file.name}: .{form} files are not read gzipped; unzip it")
    read = pyreadstat.read_dta if form == "dta" else pyreadstat.read_sav
    try:
        columns, about = read(str(file.path), output_format="dict")
    except (pyreadstat.ReadstatError, UnicodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{file.name}: not a readable .{form} file ({reason})") from None
    check_columns(list(columns), file.name)
    labels: dict[str, dict[Any, str]] = about.variable_value_labels
    values = {name: [_value(value, labels.get(name, {})) for value in cells] for name, cells in columns.items()}
    rows = zip(*values.values(), strict=True)
    numbers: list[int] = []
    for numbers, some in batches((number, row, 0) for number, row in enumerate(rows, 1)):
        yield Block.of_rows(file.name, list(values), some, numbers)
    if not numbers:
        raise UserError(f"{file.name}: the file holds no row")
    if named := [quote(name) for name in values if name in labels]:
        file.notes.append(f"{file.name}: codes read as their value labels in {first_few(named)}")


def _value(value: Any, labels: dict[Any, str]) -> Any:
    plain = value.item() if hasattr(value, "item") else value  # of numpy
    if isinstance(plain, float) and plain != plain:
        return None
    return labels.get(plain, plain)
