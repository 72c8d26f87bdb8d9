"""The ledger: every answer that was paid for, in sqlite files that a kill at any moment leaves sound.

A folder with one file for each process of a launch, which alone writes it; all are read. A key is (variant, BLAKE2b of
the rendered row): batch size and neighbours are not part of it, so that no other cut of a job pays again.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

from categorize.labeling.budget import Spent
from categorize.labeling.commits import Commits
from categorize.labeling.exchange import Labels, Outcome, Reply, Request, State, Stored, Tokens
from categorize.labeling.ledger_file import connect, ledger_errors
from categorize.labeling.locks import lock_ledger, take_folder

LABELLED, AGAIN, FAILED = 0, 1, 2
STATES: dict[int, State] = {LABELLED: "labelled", FAILED: "failed"}
OF_PROCESS = 1 << 40  # ids of requests: those of process 1 begin behind it
_KEYS = 900  # in one query; sqlite took 999 before 3.32
_ANSWER = """INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (variant, key) DO UPDATE SET state = excluded.state, labels = excluded.labels, reason = excluded.reason,
rationale = excluded.rationale, attempts = attempts + excluded.attempts, cost = cost + excluded.cost,
request = excluded.request, position = excluded.position, items = excluded.items, confidence = excluded.confidence,
reused = excluded.reused"""
_REQUEST = "INSERT INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_STORED = "state, labels, reason, rationale, attempts, cost, request, position, items, confidence, reused"


@dataclass(frozen=True)
class RawAnswer:
    """One request as it was answered; `text` is None where the server refused it."""

    name: str
    text: str | None
    finish_reason: str
    tokens: Tokens
    cost: float
    seconds: float
    keys: tuple[bytes, ...]


class Ledger:
    """Answers by (variant, key); opened by `Ledger.open`.

    What is recorded is committed by a thread, in groups, within 100 ms; until then it counts as in flight. Everything
    else is called from one thread.

    Attributes:
        folder: where the files lie.
        process: number of the file that this process writes.

    >>> from categorize.labeling.exchange import Item, Outcome, Reply, Request
    >>> ledger = Ledger.open(Path("job.ledger"))
    >>> variant = ledger.variant({"model": "llama", "prompt": "..."})
    >>> item = Item(b"0123456789abcdef", "great movie")
    >>> request = Request("u1", (item,), [], 20)
    >>> _ = ledger.record(variant, request, Reply("[1]"), [Outcome(item, (("good",),))], cost=0.01)
    >>> ledger.find(variant, [item.key])[item.key].labels
    (('good',),)
    >>> ledger.close()
    """

    def __init__(self, folder: Path, process: int, locks: Sequence[int]) -> None:
        self.folder, self.process = folder, process
        self._locks = locks
        self._path = folder / f"answers-{process}.sqlite"
        with ledger_errors(self._path):
            writer = connect(self._path, create=True)
            assert writer is not None
            self._readers: dict[Path, sqlite3.Connection] = {}
            self.refresh()
        self._next = self._first_request()
        self._commits = Commits(self._path, writer)

    @classmethod
    def open(cls, folder: str | Path, process: int = 0, restart: bool = False) -> Self:
        """The ledger at `folder`, made where there is none.

        Args:
            process: number of this process in its launch.
            restart: begin a new one; the old folder is renamed, see `set_aside`.

        Raises:
            UserError: another job has it, it cannot be written, or a file is damaged or not a ledger's.
        """
        folder = Path(folder)
        if restart and process == 0:
            set_aside(folder)
        locks = lock_ledger(folder, process)
        try:
            return cls(folder, process, locks)
        except BaseException:
            for lock in locks:
                os.close(lock)
            raise

    def refresh(self) -> None:
        """See the files that other processes have made meanwhile."""
        for path in sorted(self.folder.glob("answers-*.sqlite")):
            if path not in self._readers:
                with ledger_errors(path):
                    reader = connect(path)
                if reader is not None:
                    self._readers[path] = reader

    # ------------------------------------------------------------ variants
    def variant(self, identity: Mapping[str, Any]) -> int:
        """The number of what shapes answers beside the row; the same in every file and process."""
        text = json.dumps(identity, sort_keys=True, ensure_ascii=False)
        number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1
        self._commits.put([("INSERT OR IGNORE INTO variants VALUES (?, ?, ?)", [(number, text, time.time())])])
        return number

    def variants(self) -> dict[int, dict[str, Any]]:
        """All variants that there are answers of, newest first: their identities."""
        found = sorted(self._all("SELECT created, id, identity FROM variants"), reverse=True)
        return {number: json.loads(text) for _, number, text in found}

    # ------------------------------------------------------------ reading
    def find(self, variant: int, keys: Iterable[bytes]) -> dict[bytes, Stored]:
        """The answers to these keys that are settled: labelled, or failed for good."""
        query = f"SELECT key, {_STORED} FROM answers WHERE variant = ? AND state != 1 AND key IN "
        return {row[0]: _stored(row) for row in self._in(query, (variant,), keys)}

    def settled(self, variant: int, keys: Iterable[bytes], failed: bool = True) -> set[bytes]:
        """Those of the keys that have an answer.

        Args:
            failed: count what failed for good as answered.
        """
        state = "state != 1" if failed else "state = 0"
        query = f"SELECT key FROM answers WHERE variant = ? AND {state} AND key IN "
        return {key for (key,) in self._in(query, (variant,), keys)}

    def unsettled(self, variant: int) -> dict[bytes, tuple[int, int]]:
        """Rows that were to be asked about again when a job stopped: attempts, and how many the last request held."""
        query = "SELECT key, attempts, items FROM answers WHERE variant = ? AND state = 1"
        return {key: (attempts, items) for key, attempts, items in self._all(query, (variant,))}

    def elsewhere(self, variants: Sequence[int], keys: Sequence[bytes]) -> dict[bytes, Stored]:
        """Labels that these variants have for these keys; of several the first one's."""
        found: dict[bytes, Stored] = {}
        query = f"SELECT key, {_STORED} FROM answers WHERE variant = ? AND state = 0 AND key IN "
        for other in variants:
            if len(found) < len(keys):
                rows = self._in(query, (other,), [key for key in keys if key not in found])
                found |= {row[0]: _stored(row) for row in rows}
        return found

    def named(self, variant: int) -> set[str]:
        """Ids of the requests that have an answer, or never will."""
        return {name for (name,) in self._all("SELECT name FROM requests WHERE variant = ?", (variant,))}

    def spent(self) -> Spent:
        """What all requests of the ledger have cost."""
        query = "SELECT COUNT(*), SUM(input), SUM(cached), SUM(output), SUM(cost) FROM requests"
        columns = zip(*self._all(query), strict=True)
        requests, *tokens, money = (sum(value or 0 for value in column) for column in columns)
        return Spent(requests, Tokens(*tokens), float(money))

    def raw(self, request: int) -> RawAnswer:
        """A request and its answer as it came. Raises KeyError where there is no such request."""
        query = "SELECT name, raw, finish_reason, input, cached, output, cost, seconds, keys FROM requests WHERE id = ?"
        for name, text, reason, *tokens, cost, seconds, keys in self._all(query, (request,)):
            cut = tuple(keys[i : i + 16] for i in range(0, len(keys), 16))
            return RawAnswer(name, text, reason, Tokens(*tokens), cost, seconds, cut)
        raise KeyError(request)

    # ------------------------------------------------------------ writing
    @property
    def requests(self) -> int:
        """Requests that this process's file holds, of this job and of those before: the next one's number, less 1."""
        return self._next - 1 - self.process * OF_PROCESS

    def record(
        self,
        variant: int,
        request: Request,
        reply: Reply | None,
        outcomes: Sequence[Outcome],
        cost: float = 0.0,
        again: Collection[bytes] = frozenset(),
    ) -> int:
        """Keep a request, its raw answer and what it says of each item; returns the request's row number.

        Args:
            reply: None where the server refused the request.
            outcomes: one an item. Those without labels count as failed for good, unless they are in `again`.
            cost: of the whole request; its items share it.
            again: keys that will be asked about again.

        Raises:
            UserError: an earlier record could not be written (the disk is full, for instance).
        """
        number, self._next = self._next, self._next + 1
        share, count = cost / max(len(outcomes), 1), len(request.items)
        answers = [
            (
                variant,
                one.item.key,
                LABELLED if one.labels is not None else AGAIN if one.item.key in again else FAILED,
                _written(one.labels) if one.labels is not None else None,
                one.reason or None,
                one.rationale or None,
                1,
                share,
                number,
                one.position,
                count,
                one.confidence,
                0,
            )
            for one in outcomes
        ]
        keys = b"".join([one.key for one in request.items])
        said = (
            (None, "refused", 0, 0, 0) if reply is None else (reply.text, reply.finish_reason, *_counts(reply.tokens))
        )
        seconds = 0.0 if reply is None else reply.seconds
        row = (number, variant, request.id, *said, cost, seconds, keys, time.time())
        self._commits.put([(_REQUEST, [row]), (_ANSWER, answers)])
        return number

    def lost(self, request: Request, spent: Spent) -> None:
        """Keep what a request cost that was paid for and gave nothing."""
        number, self._next = self._next, self._next + 1
        said = (None, "lost", *_counts(spent.tokens), spent.money, 0.0)
        self._commits.put([(_REQUEST, [(number, 0, request.id, *said, b"", time.time())])])

    def take_over(self, variant: int, answers: Mapping[bytes, Stored]) -> None:
        """Keep labels of another variant as answers of this one, marked as reused; they cost nothing more."""
        taken = {key: replace(one, reason="", attempts=0, cost=0.0, reused=True) for key, one in answers.items()}
        self.keep(variant, taken)

    def keep(self, variant: int, answers: Mapping[bytes, Stored]) -> None:
        """Keep answers that no request of this variant gave: a student's, or those of another variant."""
        rows = [
            (
                variant, key, FAILED if one.labels is None else LABELLED,
                None if one.labels is None else _written(one.labels), one.reason or None, one.rationale or None,
                one.attempts, one.cost, one.request, one.position, one.items, one.confidence, int(one.reused),
            )
            for key, one in answers.items()
        ]  # fmt: skip
        self._commits.put([(_ANSWER, rows)])

    def flush(self) -> None:
        """Wait until everything that was recorded is on the disk. Raises UserError where it cannot be."""
        self._commits.flush()

    def close(self) -> None:
        """Commit what is left, close the files and let other jobs have the ledger. Raises UserError as `flush`."""
        try:
            self._commits.close()
        finally:
            for reader in self._readers.values():
                reader.close()
            self._readers.clear()
            for lock in self._locks:
                os.close(lock)
            self._locks = ()

    # ------------------------------------------------------------ queries
    def _first_request(self) -> int:
        own = self.process * OF_PROCESS
        query = "SELECT MAX(id) FROM requests WHERE id >= ? AND id < ?"
        last = max((top for (top,) in self._all(query, (own, own + OF_PROCESS), flush=False) if top), default=own)
        return int(last) + 1

    def _all(self, query: str, values: Sequence[Any] = (), flush: bool = True) -> list[tuple[Any, ...]]:
        """Rows of all files."""
        if flush:
            self._commits.flush()
        rows: list[tuple[Any, ...]] = []
        for path, reader in self._readers.items():
            with ledger_errors(path):
                rows += reader.execute(query, values).fetchall()
        return rows

    def _in(self, query: str, values: Sequence[Any], keys: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
        """Rows of all files for `... IN (keys)`."""
        self._commits.flush()
        ordered = sorted(keys)  # neighbours lie on one page
        for path, reader in self._readers.items():
            for start in range(0, len(ordered), _KEYS):
                part = ordered[start : start + _KEYS]
                with ledger_errors(path):
                    yield from reader.execute(f"{query}({','.join('?' * len(part))})", (*values, *part)).fetchall()


def set_aside(folder: Path) -> Path | None:
    """Rename a ledger, which is never deleted; where it went, None where there is none.

    Raises:
        UserError: a job has it, or it cannot be renamed.
    """
    if not folder.is_dir():
        return None
    locks = take_folder(folder)
    there = folder.with_name(f"{folder.name}.before-{datetime.now():%Y%m%d-%H%M%S}")
    try:
        with ledger_errors(folder):
            number = 1
            while there.exists():
                there, number = there.with_name(f"{there.name.partition('+')[0]}+{number}"), number + 1
            folder.rename(there)
    finally:
        for lock in locks:
            os.close(lock)
    return there


def _counts(tokens: Tokens) -> tuple[int, int, int]:
    return tokens.input, tokens.cached_input, tokens.output


@lru_cache(maxsize=1 << 16)
def _written(labels: Labels) -> str:
    return json.dumps(labels, ensure_ascii=False)


@lru_cache(maxsize=1 << 16)
def _read(text: str) -> Labels:
    return tuple(tuple(names) for names in json.loads(text))


def _stored(row: tuple[Any, ...]) -> Stored:
    _, state, labels, reason, rationale, attempts, cost, request, position, items, confidence, reused = row
    return Stored(
        STATES[state],
        None if labels is None else _read(labels),
        reason or "",
        rationale or "",
        attempts,
        cost,
        request,
        position,
        items,
        confidence,
        bool(reused),
    )
