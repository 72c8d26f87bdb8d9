"""The lock on a run folder that is being written: one process holds it until it ends, however it ends.

The folder itself is locked, so that no lock file stands in a run or beside it.
"""

from __future__ import annotations

import os
from pathlib import Path

from categorize.errors import UserError

_HELD: dict[Path, int] = {}  # descriptors of the folders that this process writes, by their place


def hold(path: Path) -> None:
    """Make this process the one that writes a folder, as long as it lives.

    Raises:
        UserError: another process writes it: a run that was started twice would mix the files of both.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where a folder cannot be locked
        return
    release(path)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            f"{path}: another process is writing this run; wait for it or end it, or name another output_dir"
        ) from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return
    _HELD[path.resolve()] = descriptor


def release(path: Path) -> None:
    """Let another process write the folder again; nothing where this one does not hold it."""
    if (descriptor := _HELD.pop(path.resolve(), None)) is not None:
        os.close(descriptor)
