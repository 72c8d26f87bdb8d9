"""One job at a time has a ledger; the processes of one launch share it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from categorize.errors import UserError

CHANCES = 10  # tries to take a lock, within half a second
WAIT = 60.0  # seconds for the first process of a launch to take the ledger


def lock_ledger(folder: Path, process: int = 0) -> list[int]:
    """Take a ledger as long as the descriptors are open; none where files cannot be locked (Windows, some networks).

    The first process takes the folder; another takes its own part once the first of its own launch has the folder.

    Raises:
        UserError: another job has it.
    """
    if process == 0:
        taken = take_folder(folder)
        for descriptor in taken:
            for mark in folder.glob("done-*"):  # of an earlier launch; the other processes wait for what is written now
                mark.unlink()
            os.write(descriptor, _launch().encode())
        return taken
    own = folder / f"lock-{process}"
    until = time.monotonic() + WAIT
    while True:
        taken = _take(own, folder)
        if not taken:
            return []
        seen = 0  # how often another job was; once may be the mark of an earlier launch, which is about to be replaced
        while (state := _first(folder / "lock")) != "ours":
            seen = seen + 1 if state == "another's" else 0
            if seen >= CHANCES or time.monotonic() > until:
                os.close(taken[0])
                raise _taken(folder)
            time.sleep(0.05)
        if own.exists() and os.path.samestat(own.stat(), os.fstat(taken[0])):
            return taken
        os.close(taken[0])  # of a folder that the first process has set aside meanwhile


def take_folder(folder: Path) -> list[int]:
    """Take a ledger for this process alone; see `lock_ledger`."""
    taken = _take(folder / "lock", folder)
    for descriptor in taken:
        os.ftruncate(descriptor, 0)
    return taken


def _take(own: Path, folder: Path) -> list[int]:
    try:
        import fcntl
    except ImportError:
        return []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(own, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise UserError(f"{own}: cannot be written ({error.strerror}); name another labeling.ledger") from error
    for chance in range(CHANCES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if chance < CHANCES - 1:  # another process of the launch may be looking whether it is free
                time.sleep(0.05)
                continue
            os.close(descriptor)
            raise _taken(folder) from None
        except OSError:  # a file system without locks
            os.close(descriptor)
            return []
        break
    return [descriptor]


def _first(lock: Path) -> str:
    """Who has the folder: the first process of this launch, of another, or nobody."""
    if _is_free(lock):
        return "nobody's"
    launch = lock.read_text()
    return "ours" if launch == _launch() else "another's" if launch else "nobody's"


def leave_mark(folder: Path, process: int) -> None:
    """Tell the first process that this one has answered its share."""
    (folder / f"done-{process}").touch()


def wait_for_others(folder: Path, processes: int) -> None:
    """Wait until each other process of the launch has left its mark.

    Raises:
        UserError: one ended without.
    """
    until = time.monotonic() + WAIT
    for process in range(1, processes):
        done, lock = folder / f"done-{process}", folder / f"lock-{process}"
        while not done.exists():
            has_ended = _is_free(lock) and not done.exists()
            if has_ended and time.monotonic() > until:
                raise UserError(f"{folder}: process {process} of the launch ended before its rows were done; run again")
            time.sleep(0.1)


def _is_free(lock: Path) -> bool:
    """Whether no process has this lock."""
    import fcntl

    try:
        descriptor = os.open(lock, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _launch() -> str:
    """What the processes of one launch have in common."""
    names = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "WORLD_SIZE")
    return " ".join(["launch", *(os.environ.get(name, "-") for name in names)])


def _taken(folder: Path) -> UserError:
    return UserError(
        f"{folder}: another job is working with this ledger; wait for it or end it, or name another labeling.ledger"
    )
