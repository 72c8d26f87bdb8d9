"""One file in, a raw table out: its format from the name or the recipe."""

from __future__ import annotations

from pathlib import Path

from categorize.data.reading.formats import PARSERS
from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.raw import SPLIT_ALIASES, SPLIT_NAMES, RawTable
from categorize.errors import UserError
from categorize.recipe.data_sections import FORMAT_OF_SUFFIX, DataSection, format_of_name
from categorize.recipe.wording import similar


def read_file(path: str | Path, data: DataSection | None = None, key: str = "data.source") -> RawTable:
    """Read one file; `data` gives the format and the sheet where the name does not tell.

    Raises:
        UserError: see `read_source`.
    """
    path = Path(path)
    check_is_file(path, key)
    wanted = data.format if data is not None else None
    form = wanted if wanted in PARSERS else _format_of(path, key)
    file = InputFile(path)
    options = ReadOptions(data.sheet, data.encoding) if data is not None else ReadOptions()
    try:
        if not file.head().strip():
            raise UserError(f"{path}: the file is empty, or begins with 64 KB of nothing")
        return PARSERS[form](file, options)
    except OSError as error:
        raise UserError(f"{key}: {path} cannot be read: {error.strerror or error}") from None


def _format_of(path: Path, key: str) -> str:
    if (form := format_of_name(path)) is not None:
        return form
    known = ", ".join(FORMAT_OF_SUFFIX)
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
            raise UserError(f"{key}: {path} is a folder; name its files: source: {{{', '.join(splits)}}}")
        shown = ", ".join(inside[:8]) + (", ..." if len(inside) > 8 else "")
        raise UserError(f"{key}: {path} is a folder, not a file; it holds: {shown or 'nothing'}")
    if not path.exists():
        nearby = [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []
        close = similar(path.name, nearby, 0.6)
        hint = f"; did you mean {path.parent / close}?" if close else f" (looked in {path.parent.resolve()})"
        raise UserError(f"{key}: {path}: no such file{hint}")
