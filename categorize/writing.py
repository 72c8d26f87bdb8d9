"""Files and folders that appear whole or not at all: built under a hidden name beside their place, then renamed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def json_text(data: Any) -> str:
    """JSON as every file of a run has it: two spaces, any script as it is, a line end; NaN is refused."""
    return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=False) + "\n"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden name beside `path` to write to, in a folder that exists; the file takes its place at the end.

    Raises:
        OSError: it cannot be written; the earlier file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty hidden folder beside `folder` to fill, which takes its place at the end; raises as `whole_file`.

    Hidden, since `<folder>.incomplete` may be an interrupted run's.
    """
    staged = folder.with_name(f".{folder.name}.writing")
    try:
        if staged.exists():
            shutil.rmtree(staged)
        staged.mkdir(parents=True)
        yield staged
        put_in_place(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def put_in_place(staged: Path, folder: Path) -> None:
    """Rename a finished folder to its name; what was there is moved aside first and deleted last."""
    replaced = folder.with_name(f".{folder.name}.replaced")
    if replaced.exists():
        shutil.rmtree(replaced)
    if folder.exists():
        folder.rename(replaced)
    staged.rename(folder)
    if replaced.exists():
        shutil.rmtree(replaced)
