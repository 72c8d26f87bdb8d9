"""Which files a source means, and one of them, whatever its form, as chunks of comments."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from categorize.danmu.chunks import Chunk, chunks_of_items
from categorize.danmu.elements import ElementReader
from categorize.danmu.items import Item, csv_rows, json_lines, json_values, parquet_rows
from categorize.danmu.opening import TextFile
from categorize.data.reading import places
from categorize.errors import UserError
from categorize.recipe.data_sections import FORMAT_OF_SUFFIX, CleaningOptions, DataSection, format_of_name

_READ = ("csv", "tsv", "json", "jsonl", "parquet")
FORMS = {".xml": "xml", **{suffix: form for suffix, form in FORMAT_OF_SUFFIX.items() if form in _READ}}
_KNOWN = f"{', '.join(FORMS)} (or .gz of each)"


@dataclass(frozen=True)
class Settings:
    """What the result depends on besides the files."""

    joint: str | None = None  # what stands between two tuples of a list; None: learned
    utc_offset: float = 8.0  # hours that the zone of `collect_YMDH` is ahead of UTC
    keep_scripted: bool = False  # whether positioned and scripted comments are rows as others
    cleaning: tuple[str | CleaningOptions, ...] = ()  # what makes `clean_text`

    @classmethod
    def from_section(cls, data: DataSection) -> Settings:
        """Those of a recipe's `data` section."""
        options = data.danmu
        return cls(options.joint, options.utc_offset, options.scripted == "keep", tuple(data.cleaning))

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**vars(self), "cleaning": [step if isinstance(step, str) else step.to_dict() for step in self.cleaning]}


def find_files(source: str) -> tuple[Path, list[Path]]:
    """The files of a source (a file, a folder or a pattern) in order of name, and the folder that names them.

    Raises UserError where there is none, or the name of one does not tell its form.
    """
    base, files = places.find_files(source, lambda file: form_of(file) is not None)
    if not files and Path(source).is_dir():
        raise UserError(f"data.source: {source} holds no danmu file; known: {_KNOWN}")
    if not files:
        raise UserError(f"data.source: {source}: no such file, folder or pattern (from {Path.cwd()})")
    for file in files:
        if form_of(file) is None:
            raise UserError(f"{file}: the name does not tell the form; name it one of {_KNOWN}")
    return base, files


def form_of(path: Path) -> str | None:
    """The form that a file's name tells."""
    return format_of_name(path, FORMS)


def stem_of(path: Path) -> str:
    """The file's name without `.xml.gz` and the like."""
    name = path.name
    while Path(name).suffix.lower() in {*FORMS, ".gz"}:
        name = Path(name).stem
    return name or path.name


def read_chunks(source: TextFile, settings: Settings) -> Iterator[Chunk | Item]:
    """The comments of one file, and the items of which nothing could be had.

    Raises UserError where the file cannot be read, or a table lacks columns.
    """
    items: Iterator[Item]
    match form_of(source.path):
        case "xml":
            return _of_xml(source)
        case "parquet":
            items = parquet_rows(source)
        case "csv" | "tsv" as form:
            items = csv_rows(source, "," if form == "csv" else "\t")
        case "jsonl":
            items = json_lines(source)
        case _:
            items = json_values(source)
    return chunks_of_items(items, settings.joint, settings.utc_offset)


def _of_xml(source: TextFile) -> Iterator[Chunk]:
    reader = ElementReader(source)
    for found in reader.batches():
        names, limit = reader.header, reader.header.get("maxlimit", "")
        chunk = Chunk(found.heads, found.texts, found.rejected)
        chunk.chat_id = names.get("chatid") or names.get("cid") or names.get("oid")
        chunk.maxlimit = int(limit) if limit.isascii() and limit.isdigit() else None
        chunk.notes.update(
            {f"<{name}> elements, which are not comments: not read": n for name, n in reader.others.items()}
        )
        reader.others.clear()
        yield chunk
