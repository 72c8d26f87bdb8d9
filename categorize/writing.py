"""What is written appears whole or not at all: under a hidden name beside its place, on the disk, then renamed. A disk
that is full and a place that cannot be written are one line."""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from categorize.errors import UserError

_LEFTOVER = ".tmp"
_CANNOT_WRITE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
}  # fmt: skip


def json_text(data: Any, *, allow_nan: bool = False) -> str:
    """JSON as every file of a run has it: two spaces, any script as it is, a line end. NaN raises unless allowed."""
    return json.dumps(data, ensure_ascii=False, indent=2, allow_nan=allow_nan) + "\n"


# ---------------------------------------------------------------- files
def open_text(path: Path, encoding: str = "utf-8") -> TextIO:
    """A text file to write, gzipped where its name says so; line ends stay as they are written."""
    if path.suffix == ".gz":
        return gzip.open(path, "wt", encoding=encoding, newline="")
    return path.open("w", encoding=encoding, newline="")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden name beside `path` to write to, in a folder that exists; the file takes its place at the end.

    Raises:
        OSError: it cannot be written; the earlier file stays.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_LEFTOVER}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file, as UTF-8; raises as `whole_file`."""
    with whole_file(path) as file:
        file.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Delete the files that a kill cut while they were written, at any depth."""
    for cut in folder.rglob(f"*{_LEFTOVER}"):
        cut.unlink()


# ---------------------------------------------------------------- folders
@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """The folder, empty, to fill with what is moved out of it; it is gone at the end, and what a kill left in it before
    the beginning."""
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty hidden folder beside `folder` to fill, which takes its place at the end; raises as `whole_file`.

    Hidden, since `<folder>.incomplete` may be an interrupted run's.
    """
    with staging(folder.with_name(f".{folder.name}.writing")) as staged:
        yield staged
        put_in_place(staged, folder)


def put_in_place(staged: Path, folder: Path) -> None:
    """Rename a finished folder to its name; what was there is moved aside first and deleted last."""
    finish_replacement(folder)
    replaced = _replaced_path(folder)
    if folder.exists():
        folder.rename(replaced)
    staged.rename(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def finish_replacement(folder: Path) -> None:
    """Finish what a crash in `put_in_place` left: the old folder comes back where the new one is not in place."""
    replaced = _replaced_path(folder)
    if replaced.is_dir():
        if folder.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(folder)


def _replaced_path(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.replaced")


# ---------------------------------------------------------------- what the disk allows
@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A full disk or a place that cannot be written becomes a one-line error."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # nothing is swallowed: what is not a failed write goes on as it came
        reason = _write_failure(error)
        if reason is None:
            raise
        raise UserError(f"{path}: cannot write: {reason}; what was there before is untouched") from error


def check_writable(path: Path) -> None:
    """Make the folder for a moment, in another that goes at once.

    Raises:
        UserError: the file system is read-only, the name too long, a part of the path a file, or the disk full.
    """
    try:
        above = next(one for one in path.absolute().parents if one.exists())
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=above) as probe:
            (Path(probe) / path.absolute().relative_to(above)).mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; name another output_dir") from error


def _write_failure(error: Exception) -> str | None:
    """Why writing failed; None for another error. safetensors and torch have their own exceptions for a full disk."""
    if isinstance(error, OSError):
        return error.strerror if error.errno in _CANNOT_WRITE else None
    text = " ".join(str(error).split())
    if type(error).__name__ == "SafetensorError" and "I/O" in text:
        return text
    if isinstance(error, RuntimeError) and "PytorchStreamWriter" in text:
        return "the disk is full or the file too large (torch could not write a checkpoint)"
    return None


def follow_umask(folder: Path) -> None:
    """Give the files that were written for their owner alone the rights that new files have here.

    safetensors makes every file so, whatever the umask says, and a colleague could not load a shared run.
    """
    umask = os.umask(0o077)  # there is no way to ask without setting
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) == 0o600:
            with suppress(OSError):  # a file system without such rights
                path.chmod(0o666 & ~umask)
