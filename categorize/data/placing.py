"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path


def staging_path(folder: Path) -> Path:
    """Where a folder is built, hidden beside its place; `<folder>.incomplete` may be an interrupted run's."""
    return folder.with_name(f".{folder.name}.writing")


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
