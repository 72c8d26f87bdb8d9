"""Comments as rows of a csv or JSON lines file: a column for each field, or a column `p` that holds them all."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from categorize.danmu.collections import COLUMNS, Chunk, described
from categorize.danmu.elements import head
from categorize.danmu.fields import ALIASES, wrong_field
from categorize.errors import UserError

_BATCH = 20_000  # rows that are held
_WHOLE = re.compile(r"(-?\d+)\.0*")


class Naming:
    """Which column holds which field. Raises UserError where one is missing."""

    def __init__(self, columns: Sequence[str]) -> None:
        folded = {column.strip().casefold(): column for column in columns}
        found = {field: [folded[a] for a in aliases if a in folded][:1] for field, aliases in ALIASES.items()}
        self.text = found.pop("text")
        self.p = folded.get("p")
        self.fields = [column for names in found.values() for column in names]
        missing = [field for field, names in found.items() if not names] if self.p is None else []
        if not self.text:
            missing.append("text")
        if missing:
            raise UserError(
                f"no column {', '.join(map(repr, missing))} (and no danmu_list); columns: "
                f"{', '.join(map(repr, columns))}"
            )


def chunks_of_rows(rows: Iterable[tuple[int, Mapping[str, Any]]], utc_offset: float) -> Iterator[Chunk]:
    """The rows of one file, a chunk of each collection at a time; rows of several collections may stand mixed."""
    known: dict[tuple[str, ...], Naming | str] = {}
    numbers: dict[tuple[Any, ...], int] = {}
    held: dict[tuple[Any, ...], Chunk] = {}
    for count, (number, row) in enumerate(rows, 1):
        names = tuple(row)
        if names not in known:
            known[names] = _naming(names)
        here = tuple(row.get(column) for column in COLUMNS[:4])
        if here not in held:
            held[here] = described(row, numbers.setdefault(here, len(numbers)), utc_offset)
            held[here].scattered = True
        _add(held[here], number, row, known[names])
        if not count % _BATCH:
            yield from held.values()
            held.clear()
    yield from held.values()


def _naming(names: Sequence[str]) -> Naming | str:
    try:
        return Naming(names)
    except UserError as error:
        return str(error)


def _add(chunk: Chunk, number: int, row: Mapping[str, Any], naming: Naming | str) -> None:
    if isinstance(naming, str):
        chunk.rejected.append((number, naming, str(dict(row))))
        return
    text = row.get(naming.text[0])
    if naming.p is not None:
        fields, wrong = head(str(row.get(naming.p) or ""))
    else:
        fields, wrong = _repaired([_written(row.get(column)) for column in naming.fields])
    if wrong:
        chunk.rejected.append((number, wrong, str(dict(row))))
        return
    chunk.heads.append(fields)
    chunk.texts.append("" if text is None else str(text))


def _repaired(values: list[str]) -> tuple[str, str]:
    """Fields as written, `25.0` as 25 and `#FFFFFF` as a number, joined; and what is wrong with one, or nothing."""
    wrong = wrong_field(values)
    if wrong is None:
        return ",".join(values), ""
    values = [values[0], *(match.group(1) if (match := _WHOLE.fullmatch(v)) else v for v in values[1:7]), values[7]]
    color = values[3].lower().removeprefix("#").removeprefix("0x")
    if color != values[3].lower() and re.fullmatch("[0-9a-f]{6}", color):
        values[3] = str(int(color, 16))
    wrong = wrong_field(values)
    if wrong is None:
        return ",".join(values), ""
    if re.search(r"[.eE]", values[7]):
        return "", f"row_id {values[7][:40]!r} has lost its last digits: a spreadsheet took it for a number"
    return "", wrong


def _written(value: Any) -> str:
    return "" if value is None else str(value).strip()
