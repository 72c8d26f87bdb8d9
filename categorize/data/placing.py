"""Folders that appear whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path


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
