"""The files that a source means: one, those below a folder, or those of a pattern."""

from __future__ import annotations

import glob
from collections.abc import Callable
from pathlib import Path

TEXT_SUFFIXES = (".txt", ".text", ".md")


def find_files(source: str | Path, is_known: Callable[[Path], bool]) -> tuple[Path, list[Path]]:
    """The files of a source in order of name, hidden ones left out, and the folder below which they lie; none where
    nothing is there.

    Of a folder, those at any depth that `is_known` takes; of a pattern (`raw/*.vtt`, `**` for any depth) all.
    """
    path = Path(source)
    if path.is_file():
        return path.parent, [path]
    base, pattern = path, "**/*"
    if not path.is_dir():
        first = next((i for i, part in enumerate(path.parts) if glob.has_magic(part)), len(path.parts) - 1)
        base = Path(*path.parts[:first])
        pattern = Path(*path.parts[first:]).as_posix()
        is_known = bool
    found = base.glob(pattern) if base.is_dir() else ()
    return base, sorted(f for f in found if f.is_file() and is_known(f) and not f.name.startswith("."))


def is_pattern(source: str | Path) -> bool:
    """Whether a source is a pattern, and no file or folder is called so."""
    return glob.has_magic(str(source)) and not Path(source).exists()


def is_text(path: Path) -> bool:
    """Whether a file's name is that of a text."""
    return Path(path.name.lower().removesuffix(".gz")).suffix in TEXT_SUFFIXES
