"""`look`: a file is read as it is, or as its refusals say, and what it holds is told; `lines` show it in a terminal."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from categorize.data.inspection.profile import Profile, places, profiled
from categorize.data.inspection.roles import Roles, roles_of
from categorize.data.raw_stream import RawStream
from categorize.data.reading.files import SourceFile
from categorize.data.reading.ways_out import WayOut, said
from categorize.data.stream import RowStream
from categorize.errors import UserError
from categorize.recipe.data_sections import DataSection
from categorize.recipe.wording import counted
from categorize.text_tables import fit, text_table

_TRIES = 6  # refusals in a row whose way out is taken
_EXAMPLE = 34  # columns of an example in the terminal
_WIDTH = 140
_SHOWN = 60  # columns of the file that are shown
_LABELS = 20  # labels that are shown
# Formats that are known by columns.
_BY_COLUMNS = {
    "danmu": (
        {"danmu_list"},
        {"progress", "content"},
        {"progress", "text"},
        {"p", "text"},
        {"p", "content"},
        {"p", "m"},
        {"mode", "pool", "text"},
    ),
    "transcript": ({"start", "end", "text"},),
}


@dataclass(frozen=True)
class Look:
    """What was found.

    Attributes:
        settings: keys of `data` that the file needs, with `source`.
        taken: refusals whose way out was taken, in their words.
    """

    settings: dict[str, Any]
    form: str
    rows: int
    profiles: dict[str, Profile]
    roles: Roles
    notes: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file as it was named."""
        source = self.settings["source"]
        return source if isinstance(source, str) else ", ".join(source.values())


def look(source: str, settings: Mapping[str, Any] | None = None) -> Look:
    """Read a file, whatever it is, as `settings` (keys of `data`) and its own refusals say.

    Raises:
        UserError: it cannot be read, and no key of a recipe would help.

    >>> from pathlib import Path
    >>> _ = Path("new.csv").write_text("5,how much is it?\\n3,the lid is cracked\\n5,what does it cost?\\n")
    >>> found = look("new.csv")
    >>> found.settings, found.roles.text
    ({'source': 'new.csv', 'header': False}, '1')
    """
    wanted: dict[str, Any] = {"source": source, **(settings or {})}
    taken: list[str] = []
    if "format" not in wanted and source.lower().removesuffix(".gz").endswith(".xml"):
        wanted["format"] = "danmu"
    for _ in range(_TRIES):
        try:
            found = _read(wanted)
        except WayOut as refused:
            way = next(
                (way for way in refused.ways if any(wanted.get(key) != value for key, value in way.items())), None
            )
            if way is None:
                raise
            wanted |= way
            taken.append(f"read with {said(**way)}: {refused}")
        else:
            return replace(found, taken=(*taken, *found.taken))
    raise UserError(f"{source}: cannot be read: {taken[-1]}")


def _read(wanted: Mapping[str, Any]) -> Look:
    first = _profiled(wanted)
    for form, shapes in _BY_COLUMNS.items():
        if "format" not in wanted and any(names <= set(first.profiles) for names in shapes):
            try:
                told = f"read with {said(format=form)}: its columns are those of {'raw ' * (form == 'danmu')}{form}"
                return replace(_profiled({**wanted, "format": form}), taken=(told,))
            except UserError:
                return first  # a table that has such columns
    if not (inside := places(first.profiles.values())):
        return first
    return _profiled(wanted, inside)


def _profiled(wanted: Mapping[str, Any], inside: list[str] | None = None) -> Look:
    columns = {**wanted.get("columns", {}), "label": None, "keep": inside or []}
    data = DataSection.model_validate({**wanted, "columns": columns})
    with ExitStack() as stack:
        outputs = "outputs"
        if data.format == "danmu":
            outputs = stack.enter_context(tempfile.TemporaryDirectory())
        stream = RowStream(data, outputs=outputs, texts=False)
        profiles = profiled(_tables(stream.parts))
        form = next((_form(part) for part in stream.parts.values()), "")
        notes = tuple(note for note in stream.notes if data.format != "danmu" or f"{outputs}/" not in note)
    rows = max((one.rows for one in profiles.values()), default=0)
    roles = roles_of(profiles, wanted.get("columns"))
    if data.format == "danmu" and "label" not in wanted.get("columns", {}):
        roles = Roles(roles.text, roles.id)  # their labels stand in a table of their own
    return Look(dict(wanted), data.format or form, rows, profiles, roles, notes)


def _tables(parts: Mapping[str, RawStream]) -> Iterator[pa.Table]:
    return (raw.table for part in parts.values() for raw in part)


def _form(part: RawStream) -> str:
    return part.source.form if isinstance(part.source, SourceFile) else "dataset"


def lines(found: Look) -> list[str]:
    """What a terminal shows: format, columns with examples, what they seem to be."""
    roles = found.roles
    rows = []
    for name, one in list(found.profiles.items())[:_SHOWN]:
        shown = ", ".join(repr(fit(value, _EXAMPLE)) for value in one.examples)
        rows.append([fit(name, 40), f"{one.filled:,}", f"{one.distinct:,}", roles.of(name) or _seems(one), shown])
    result = [f"{found.name}: {found.form}, {counted(found.rows, 'row')}, {counted(len(found.profiles), 'column')}"]
    header = ["column", "filled", "distinct", "seems", "examples"]
    result += [*found.taken, "", *text_table(header, rows, "lrrll", width=_WIDTH, shrink=(4, 0)).splitlines()]
    if len(found.profiles) > _SHOWN:
        result.append(f"... and {len(found.profiles) - _SHOWN:,} columns more")
    result += ["", *_about_labels(found), *(f"note: {note}" for note in found.notes)]
    return result


def _seems(profile: Profile) -> str:
    if not profile.filled:
        return "empty"
    if profile.is_nested:
        return "JSON"
    if profile.is_list:
        return "list"
    return "time" if profile.is_time else "number" if profile.is_number else ""


def _about_labels(found: Look) -> list[str]:
    result, roles = [], found.roles
    if roles.text is None:
        result.append("no column looks like a text")
    if roles.label is None and not roles.labels:
        way = "see docs/labeling.md for labels by a teacher"
        if found.form == "danmu":
            way = f"name a table with row_id and label as data.danmu.labels, or {way}"
        result.append(f"no column looks like a label: {way}")
    elif roles.task == "regression":
        result.append(f"{roles.label!r} looks like a score")
    else:
        shown = ", ".join(f"{fit(name, _EXAMPLE)} {n:,}" for name, n in list(roles.names.items())[:_LABELS])
        more = f", and {len(roles.names) - _LABELS:,} more" if len(roles.names) > _LABELS else ""
        result.append(f"labels ({len(roles.names):,}): {shown}{more}")
    if roles.nothing:
        shown = ", ".join(f"{value!r} {n:,}" for value, n in roles.nothing.items())
        result.append(f"taken for not labelled: {shown}; where it is a class, move it to labels.names")
    if roles.separator is not None:
        result.append(f"several labels of a cell stand between {roles.separator!r}")
    if roles.others:
        result.append(f"might be the label too: {', '.join(map(repr, roles.others[:5]))}")
    return result
