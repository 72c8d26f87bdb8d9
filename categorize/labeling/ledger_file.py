"""The sqlite files of a ledger: their tables, how one is opened and checked, and in one line what goes wrong."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from categorize.errors import UserError

APPLICATION = 0x63746C67  # in the header of each file: sqlite files of others are refused
VERSION = 1
TABLES = """
CREATE TABLE variants (id INTEGER PRIMARY KEY, identity TEXT NOT NULL, created REAL NOT NULL);
CREATE TABLE requests (
    id INTEGER PRIMARY KEY, variant INTEGER NOT NULL, name TEXT NOT NULL, raw TEXT, finish_reason TEXT,
    input INTEGER NOT NULL, cached INTEGER NOT NULL, output INTEGER NOT NULL, cost REAL NOT NULL, seconds REAL NOT NULL,
    keys BLOB NOT NULL, at REAL NOT NULL
);
CREATE TABLE answers (
    variant INTEGER NOT NULL, key BLOB NOT NULL, state INTEGER NOT NULL, labels TEXT, reason TEXT, rationale TEXT,
    attempts INTEGER NOT NULL, cost REAL NOT NULL, request INTEGER, position INTEGER NOT NULL, items INTEGER NOT NULL,
    confidence REAL, reused INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (variant, key)
) WITHOUT ROWID;
CREATE INDEX unsettled ON answers (variant) WHERE state = 1;
"""


@contextmanager
def ledger_errors(path: Path) -> Iterator[None]:
    """What sqlite and the system say of a file becomes one line."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise UserError(
            f"{path}: the ledger cannot be read or written ({error}); free or repair the place, run again"
        ) from error
    except sqlite3.DatabaseError as error:
        raise UserError(
            f"{path}: a damaged file, or not a ledger's ({error}); bring back a copy, or move it away: its answers are "
            "paid for again"
        ) from error
    except OSError as error:
        raise UserError(
            f"{path}: the ledger cannot be written ({error.strerror}); name another under labeling.ledger"
        ) from error


def connect(path: Path, create: bool = False) -> sqlite3.Connection | None:
    """A connection to one file, checked. A file without tables gets them under `create`, else there is nothing to read:
    its process is about to make them, or was killed before."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=60)
    try:
        new = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
        if new and create:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.executescript(
                f"BEGIN; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
            )
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if new and not create:
            connection.close()
            return None
        if application != APPLICATION:
            raise UserError(f"{path}: an sqlite file, but not a ledger's; name another folder under labeling.ledger")
        if version > VERSION:
            raise UserError(f"{path}: a ledger of a later version of categorize ({version}); upgrade")
        connection.execute("PRAGMA synchronous = FULL" if create else "PRAGMA query_only = ON")
        connection.execute(f"PRAGMA cache_size = {-64 * 1024}")
        connection.execute("PRAGMA wal_autocheckpoint = 16384")
    except BaseException:
        connection.close()
        raise
    return connection
