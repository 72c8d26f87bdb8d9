"""The thread that commits what a ledger records, in groups: one wait for the disk serves many requests."""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from categorize.errors import UserError

GATHER = 0.05  # seconds that a commit waits for more: an answer is on the disk within twice that
WAITING = 2000  # puts that may wait: a disk that is slower than the teacher slows the job down, not its memory

Statements = Sequence[tuple[str, Sequence[tuple[Any, ...]]]]  # SQL, and rows for it


class Commits:
    """Writes through one sqlite connection, which belongs to its thread from now on.

    Raises:
        UserError: (every method) a commit failed; nothing more is written.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path, self._connection = path, connection
        self._waiting: queue.Queue[Statements | threading.Event | None] = queue.Queue(WAITING)
        self._failure: Exception | None = None
        self._dirty = False
        self._thread = threading.Thread(target=self._work, name="ledger", daemon=True)
        self._thread.start()

    def put(self, statements: Statements) -> None:
        """Have statements committed soon, together."""
        self._check()
        self._dirty = True
        self._waiting.put(statements)

    def flush(self) -> None:
        """Wait until all that was put is on the disk."""
        if self._dirty:
            done = threading.Event()
            self._waiting.put(done)
            done.wait()
            self._dirty = False
        self._check()

    def close(self) -> None:
        """Commit what is left and close the connection."""
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join()
        self._check()

    def _check(self) -> None:
        if self._failure is not None:
            raise UserError(
                f"{self._path}: an answer could not be stored ({self._failure}); free the disk and run again: all "
                "that was stored before is there"
            ) from self._failure

    def _work(self) -> None:
        going = True
        while going:
            group, events, going = self._gather()
            try:
                if group and self._failure is None:
                    self._commit(group)
            except Exception as error:  # told to whoever puts or flushes next
                self._failure = error
            for event in events:
                event.set()
        self._connection.close()

    def _gather(self) -> tuple[list[Statements], list[threading.Event], bool]:
        """What came within the time that a commit waits, who waits for it, and whether more will come."""
        group: list[Statements] = []
        events: list[threading.Event] = []
        until = None
        while True:
            try:
                one = self._waiting.get(timeout=None if until is None else max(until - time.monotonic(), 0.0))
            except queue.Empty:
                return group, events, True
            if one is None:
                return group, events, False
            if isinstance(one, threading.Event):
                return group, [one], True
            group.append(one)
            until = until if until is not None else time.monotonic() + GATHER

    def _commit(self, group: Sequence[Statements]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for statements in group:
                for sql, rows in statements:
                    self._connection.executemany(sql, rows)
            self._connection.execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
