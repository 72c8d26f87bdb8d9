"""The request files of a job, round by round, and an index of what each request asked about.

A round is written whole: its index comes last, and a start that was killed before it writes the files again.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from categorize.labeling.batches.providers import PROVIDERS, Provider
from categorize.labeling.exchange import Item, Request
from categorize.recipe.labeling_sections import BatchFileTeacher
from categorize.writing import whole_file

KEY = 16  # bytes
REQUESTS, RESULTS, ROUNDS = "requests", "results", "rounds"


@dataclass(frozen=True)
class Sent:
    """A request that was written: its id, the keys of its items in the order in which they were handed to the prompt,
    the rotation, and the most that it may cost."""

    id: str
    keys: tuple[bytes, ...]
    rotation: int
    tokens: int
    money: float

    @property
    def items(self) -> list[Item]:
        """The items without their texts: all that reading an answer needs."""
        return [Item(key, "") for key in self.keys]


@dataclass
class Rounds:
    """The rounds of one vote in a job's folder.

    Attributes:
        folder: `OUTPUT.batches`.
        tag: tells this vote's requests from all others, in files and in custom ids.
    """

    folder: Path
    tag: str
    sent: dict[str, Sent] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, variant: int) -> Rounds:
        """The rounds that were written so far."""
        rounds = cls(folder, f"{variant:016x}"[-8:])
        for path in rounds.indexes:
            for row in pq.read_table(path).to_pylist():
                keys = tuple(row["keys"][i : i + KEY] for i in range(0, len(row["keys"]), KEY))
                rounds.sent[row["id"]] = Sent(row["id"], keys, row["rotation"], row["tokens"], row["money"])
        return rounds

    @property
    def indexes(self) -> list[Path]:
        """Index files, in order."""
        return sorted((self.folder / ROUNDS).glob(f"{self.tag}-*.parquet"))

    @property
    def next(self) -> str:
        """Name of the next round."""
        return f"{self.tag}-{len(self.indexes) + 1:03d}"

    def under_way(self, closed: Collection[str]) -> list[Sent]:
        """Requests without a result whose rows no later request asks about.

        Args:
            closed: ids of the requests that have one.
        """
        waiting = {name: one for name, one in self.sent.items() if name not in closed}
        keys = {key for one in waiting.values() for key in one.keys}
        latest = {key: one.id for one in self.sent.values() for key in one.keys if key in keys}
        return [one for one in waiting.values() if any(latest[key] == one.id for key in one.keys)]

    def write(self, requests: Iterable[tuple[Request, Sent]], section: BatchFileTeacher) -> list[Path]:
        """Write the next round; returns its files, none where there is no request."""
        name = self.next
        for stale in (self.folder / REQUESTS).glob(f"{name}-*"):
            stale.unlink()  # of a start that was killed
        files = Files(self.folder / REQUESTS, name, PROVIDERS[section.provider])
        written: list[Sent] = []
        with files:
            for request, sent in requests:
                files.add(json.dumps(PROVIDERS[section.provider].line(request, section), ensure_ascii=False))
                written.append(sent)
        if written:
            index = pa.table(
                {
                    "id": [one.id for one in written],
                    "keys": pa.array([b"".join(one.keys) for one in written], pa.binary()),
                    "rotation": pa.array([one.rotation for one in written], pa.int32()),
                    "tokens": pa.array([one.tokens for one in written], pa.int64()),
                    "money": pa.array([one.money for one in written], pa.float64()),
                }
            )
            (self.folder / RESULTS).mkdir(parents=True, exist_ok=True)
            with whole_file(self.folder / ROUNDS / f"{name}.parquet") as staged:
                pq.write_table(index, staged)
            self.sent |= {one.id: one for one in written}
        return files.paths


class Files:
    """Files of requests within a provider's limits; each appears whole."""

    def __init__(self, folder: Path, name: str, provider: Provider) -> None:
        self._folder, self._name, self._provider = folder, name, provider
        self.paths: list[Path] = []
        self._open: Iterator[Any] | None = None
        self._file: IO[str] | None = None
        self._context: Any = None
        self._held = self._size = 0

    def add(self, line: str) -> None:
        """Write one request, into the next file where this one is full."""
        size = len(line.encode()) + 2
        if self._file is not None and (
            self._held >= self._provider.requests or self._size + size > self._provider.size - len('{"requests": []}')
        ):
            self._close()
        if self._file is None:
            self._begin()
        assert self._file is not None
        between = ",\n" if self._provider.wrapped and self._held else ""
        self._file.write(between + line + ("" if self._provider.wrapped else "\n"))
        self._held, self._size = self._held + 1, self._size + size

    def _begin(self) -> None:
        ending = "json" if self._provider.wrapped else "jsonl"
        path = self._folder / f"{self._name}-{len(self.paths):04d}.{ending}"
        self._context = whole_file(path)
        self._file = self._context.__enter__().open("w", encoding="utf-8", newline="")
        self.paths.append(path)
        self._held = self._size = 0
        if self._provider.wrapped:
            self._file.write('{"requests": [')

    def _close(self, *error: Any) -> None:
        if self._file is None:
            return
        if self._provider.wrapped and not any(error):
            self._file.write("]}\n")
        self._file.close()
        self._file = None
        self._context.__exit__(*(error or (None, None, None)))

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        self._close(*error)
