"""Vectors on the disk, by what made them and by text, so that none is computed twice.

One SQLite file a featurizer, named by a hash of its identity: vectors of a changed model stand in another file. SQLite
lets several processes write one file, and undoes what a kill cut.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from categorize.features.featurizer import Vectors
from categorize.predictions import BoolArray

FOLDER = "CATEGORIZE_EMBEDDINGS_CACHE"
KEPT = "CREATE TABLE IF NOT EXISTS embeddings (key BLOB PRIMARY KEY, vector BLOB NOT NULL, cut INTEGER NOT NULL)"
ASKED = 500  # keys in one query; SQLite takes 999 everywhere
WAITS = 60.0  # seconds for another writer


def cache_folder(named: str | None = None) -> Path:
    """Where vectors are kept: the folder that is named, else the environment's, else one in the user's cache."""
    return Path(named or os.environ.get(FOLDER) or Path.home() / ".cache" / "categorize" / "embeddings").expanduser()


class EmbeddingCache:
    """Kept vectors of one featurizer.

    Args:
        folder: of all kept vectors.
        identity: of the featurizer: everything that shapes a vector.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.identity = json.dumps(identity, sort_keys=True, ensure_ascii=False)
        self.path = folder / f"{hashlib.sha256(self.identity.encode()).hexdigest()[:32]}.sqlite"

    @staticmethod
    def key(text: str) -> bytes:
        """What a text is found by."""
        return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()

    def find(self, texts: Sequence[str]) -> dict[str, tuple[Vectors, bool]]:
        """The vectors of those texts that have one, and whether the text was cut; none where the cache cannot be
        read."""
        if not self.path.is_file():
            return {}
        found: dict[str, tuple[Vectors, bool]] = {}
        try:
            with self._opened() as database:
                for start in range(0, len(texts), ASKED):
                    named = {self.key(text): text for text in texts[start : start + ASKED]}
                    places = ",".join("?" * len(named))
                    query = f"SELECT key, vector, cut FROM embeddings WHERE key IN ({places})"
                    for key, vector, cut in database.execute(query, tuple(named)):
                        found[named[key]] = np.frombuffer(vector, dtype="<f4"), bool(cut)
        except sqlite3.Error:
            return {}
        return found

    def add(self, texts: Sequence[str], vectors: Vectors, cut: BoolArray) -> str | None:
        """Keep vectors [texts, features], and which texts were cut; all of them or none. Why they could not be kept,
        else None."""
        rows = zip(texts, vectors, cut, strict=True)
        values = ((self.key(text), vector.astype("<f4").tobytes(), int(short)) for text, vector, short in rows)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as database:
                database.execute(KEPT)
                database.execute("CREATE TABLE IF NOT EXISTS made_by (identity TEXT PRIMARY KEY)")
                database.execute("INSERT OR IGNORE INTO made_by VALUES (?)", (self.identity,))
                database.executemany("INSERT OR IGNORE INTO embeddings VALUES (?, ?, ?)", values)
        except (sqlite3.Error, OSError) as error:
            return f"{self.path}: vectors cannot be kept: {error}; delete the file, or set another cache_dir"
        return None

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        """A connection within one transaction."""
        database = sqlite3.connect(self.path, timeout=WAITS)
        try:
            with database:
                yield database
        finally:
            database.close()
