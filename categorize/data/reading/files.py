"""Files in, blocks of rows or raw tables out: the format from the name or the recipe; a folder of Parquet parts is one
file, and so are files that are a document each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from categorize.data.reading.formats import PARSERS, parquet_rows, whole_table
from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.places import is_text
from categorize.data.reading.plain_text import holds_texts, text_blocks, text_files, what_text_may_be
from categorize.data.reading.raw import SPLIT_ALIASES, SPLIT_NAMES, Block, RawTable
from categorize.data.reading.shaping import NO_SHAPING, Shaping
from categorize.data.reading.transcript_files import transcript_blocks, transcript_files
from categorize.data.reading.ways_out import WayOut, said
from categorize.errors import UserError
from categorize.recipe.data_sections import FORMAT_OF_SUFFIX, DataSection, format_of_name, is_of_documents
from categorize.recipe.wording import similar

PART = ".parquet"


@dataclass(frozen=True)
class SourceFile:
    """A file, or files that are read as one, and how it is read.

    Attributes:
        parts: Parquet files or documents that it consists of; a file consists of itself.
        change: what is done to the typed columns of parts.
        shaping: what the recipe makes of the columns.
        told: notes that are known before it is read.
    """

    path: Path
    form: str
    file: InputFile
    options: ReadOptions
    key: str
    parts: tuple[Path, ...]
    change: Callable[[pa.Table], pa.Table] | None = None
    told: tuple[str, ...] = ()
    shaping: Shaping = NO_SHAPING

    @property
    def name(self) -> str:
        """As messages name it."""
        return self.file.name

    @property
    def is_zipped_parquet(self) -> bool:
        """Whether it is a Parquet file that has to be unzipped before its columns are known."""
        return self.form == "parquet" and self.path.is_file() and self.file.is_zipped

    @property
    def is_of_documents(self) -> bool:
        """Whether each part is a row."""
        return is_of_documents("", self.form)

    def blocks(self) -> Iterator[Block]:
        """Its rows from the beginning. Raises UserError: see `read_source`."""
        return self.shaping.apply(self._blocks(), self.name, self.file.notes)

    def _blocks(self) -> Iterator[Block]:
        self.file.notes[:] = self.told
        try:
            if self.is_of_documents:
                yield from transcript_blocks(list(self.parts), self.file, self.options)
                return
            if self.form == "text":
                yield from text_blocks(self.parts, self.file, self.options)
                return
            if self.path.is_dir():
                yield from self._parts()
                return
            if not self.file.head().strip():
                raise UserError(f"{self.path}: the file is empty, or begins with 64 KB of nothing")
            yield from PARSERS[self.form](self.file, self.options)
        except OSError as error:
            raise UserError(f"{self.key}: {self.path} cannot be read: {error.strerror or error}") from None

    def _parts(self) -> Iterator[Block]:
        """Rows of all parts in the order of their names, numbered through; a part may be without rows."""
        number = 1
        for part in self.parts:
            for block in parquet_rows(InputFile(part)):
                assert isinstance(block.columns, pa.Table)
                columns, numbers = self.changed(block.columns), np.arange(number, number + len(block.numbers))
                yield replace(block, name=self.file.name, columns=columns, numbers=numbers)
                number += len(block.numbers)
        if number == 1:
            raise UserError(f"{self.path}: the folder holds no row")

    def changed(self, columns: pa.Table) -> pa.Table:
        """Typed columns as they are read."""
        return columns if self.change is None else self.change(columns)

    def table(self) -> RawTable:
        """All of it."""
        return whole_table(self.blocks(), self.file)


def open_file(path: str | Path, data: DataSection | None = None, key: str = "data.source") -> SourceFile:
    """A file by its path; `data` gives the format and the sheet where the name does not tell.

    Raises:
        UserError: there is no such file, or its name does not tell a format.
    """
    path = Path(path)
    wanted = data.format if data is not None else None
    options = ReadOptions.of(data) if data is not None else ReadOptions()
    shaping = Shaping.of(data) if data is not None else NO_SHAPING
    if key == "data.source.unlabeled":
        shaping = replace(shaping, labels=None)
    documents, told = (text_files(path, key), []) if wanted == "text" else transcript_files(path, wanted, key)
    parts = documents or parts_of(path)
    if not parts:
        check_is_file(path, key)
    form = "parquet" if parts else wanted if wanted in PARSERS else _format_of(path, key)
    if documents:
        form = "text" if wanted == "text" else "transcript"
    return SourceFile(
        path, form, InputFile(path), options, key, tuple(parts or [path]), told=tuple(told), shaping=shaping
    )


def read_file(path: str | Path, data: DataSection | None = None, key: str = "data.source") -> RawTable:
    """Read one file, see `open_file`. Raises UserError: see `read_source`."""
    return open_file(path, data, key).table()


def parts_of(path: Path) -> list[Path]:
    """The Parquet files of a folder that holds parts of one table, by name; none where it is something else."""
    if not path.is_dir():
        return []
    files = [item for item in path.iterdir() if not item.name.startswith((".", "_")) and item.is_file()]
    parts = sorted(item for item in files if item.suffix == PART)
    is_split = any(SPLIT_ALIASES.get(stem, stem) in SPLIT_NAMES for stem in (item.name.split(".")[0] for item in parts))
    return [] if is_split else parts


def _format_of(path: Path, key: str) -> str:
    if (form := format_of_name(path)) is not None:
        return form
    known = ", ".join(FORMAT_OF_SUFFIX)
    if is_text(path):
        what, ways = what_text_may_be(path)
        raise WayOut(f"{key}: {path}: the name does not tell the format; {what}", *ways)
    raise UserError(
        f"{key}: {path}: the name does not tell the format; set data.format or name it one of {known} (or .gz of each)"
    )


def check_is_file(path: Path, key: str) -> None:
    """Raises UserError, with what was likely meant, where a path is a folder or nothing; `key` named it."""
    if path.is_dir():
        inside = sorted(item.name for item in path.iterdir() if not item.name.startswith("."))
        by_split = {SPLIT_ALIASES.get(name.split(".")[0], name.split(".")[0]): name for name in inside}
        splits = [f"{split}: {path / by_split[split]}" for split in SPLIT_NAMES if split in by_split]
        if splits:
            named = {split: str(path / by_split[split]) for split in SPLIT_NAMES if split in by_split}
            ways = [{"source": named}] if "train" in named else []
            raise WayOut(f"{key}: {path} is a folder; name its files: source: {{{', '.join(splits)}}}", *ways)
        shown = ", ".join(inside[:8]) + (", ..." if len(inside) > 8 else "")
        problem = f"{key}: {path} is a folder, not a file; it holds: {shown or 'nothing'}"
        if any(is_of_documents(name, None) for name in inside):
            way = {"format": "transcript"}
            raise WayOut(f"{problem}; set {said(**way)} for a row each of its transcripts", way)
        if (texts := holds_texts(path)) is not None:
            way = {"format": "text"}
            why = f"{path} is a folder with {texts}"
            raise WayOut(f"{key}: {why}; set {said(**way)} to read a document a file", way)
        raise UserError(problem)
    if not path.exists():
        nearby = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        close = similar(path.name, nearby, 0.6)
        hint = f"; did you mean {path.parent / close}?" if close else f" (looked in {path.parent.resolve()})"
        raise UserError(f"{key}: {path}: no such file{hint}")
