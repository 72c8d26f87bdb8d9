"""Small labelling jobs for tests: a collection, its recipe, and teachers that live in the process."""

from __future__ import annotations

import asyncio
import csv
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from categorize.label import label
from categorize.labeling.budget import Budget
from categorize.labeling.exchange import Refused, Reply, Request, Tokens
from categorize.methods.registry import METHODS
from categorize.recipe.command import parse_command
from categorize.recipe.labeling_sections import TeacherSection

NAMES = ("good", "bad", "odd")
Row = Mapping[str, Any]


def meant(text: str) -> str:
    """The label that the teachers below give to a text."""
    return NAMES[crc32(text.encode()) % len(NAMES)]


class InProcess:
    """A teacher that answers every item by its text, and counts what it was asked.

    Args:
        spoil: changes the answer's objects: called with (texts, objects), gives objects or the answer's text.
        limit: texts that may be asked about together; more are refused.
        seconds: that an answer takes.
        log: file that gets a line with its texts for each request that was answered.
    """

    name = "in-process"

    def __init__(
        self,
        spoil: Callable[[list[str], list[dict[str, Any]]], Any] | None = None,
        limit: int | None = None,
        seconds: float = 0.0,
        model: str = "one",
        log: Path | None = None,
    ) -> None:
        self.identity: Mapping[str, Any] = {"type": "test", "model": model}
        self._spoil, self._limit, self._seconds, self._log = spoil, limit, seconds, log
        self.asked: Counter[str] = Counter()
        self.sizes: list[int] = []

    async def ask(self, request: Request) -> Reply:
        """Answer one request."""
        await asyncio.sleep(self._seconds)
        comments = json.loads(request.messages[-1]["content"])["comments"]
        texts = [one["text"] for one in comments]
        self.sizes.append(len(texts))
        if self._limit is not None and len(texts) > self._limit:
            raise Refused("too long")
        self.asked.update(texts)
        objects: Any = [{"comment_id": one["comment_id"], "labels": [meant(one["text"])]} for one in comments]
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(texts, ensure_ascii=False) + "\n")
        if self._spoil is not None:
            objects = self._spoil(texts, objects)
        text = objects if isinstance(objects, str) else json.dumps({"comments": objects}, ensure_ascii=False)
        return Reply(text, tokens=Tokens(input=100 + 10 * len(texts), output=10 * len(texts)))

    async def close(self) -> None:
        """Nothing is held."""

    def make(self, section: TeacherSection, budget: Budget, say: Callable[[str], None], trusted: bool) -> InProcess:
        """What `label` calls to get its teacher."""
        return self


def write_rows(folder: Path, rows: Sequence[Row]) -> Path:
    """A CSV file of rows."""
    path = folder / "comments.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_recipe(folder: Path, source: Path, **changes: Any) -> Path:
    """A recipe for the rows of `source`; `labeling` is laid over its section."""
    labeling = {
        "teacher": {
            "type": "endpoint",
            "url": "http://127.0.0.1:9/v1",
            "model": "tiny",
            "concurrency": 4,
            "prices": {"input": 1.0, "output": 2.0},
        },
        "items": 8,
    }
    recipe: dict[str, Any] = {
        "kind": "label",
        "name": "job",
        "output_dir": str(folder / "job"),
        "data": {"source": str(source), "columns": {"text": "text", "id": "id", "label": None}},
        "labels": {"names": list(NAMES)},
        "labeling": labeling | changes.pop("labeling", {}),
    }
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe | changes, allow_unicode=True), encoding="utf-8")
    return path


def start(recipe: Path, teacher: InProcess, *arguments: str) -> None:
    """Run a recipe as `run_label.py` does, with this teacher."""
    label(parse_command("run_label.py", "label", METHODS, [str(recipe), *arguments]), teacher.make)


def table(folder: Path) -> pa.Table:
    """The table of labels of the finished job, with its parts in order."""
    parts = sorted((folder / "job" / "labels").glob("part-*.parquet"))
    return pa.concat_tables([pq.read_table(part) for part in parts])


def texts(count: int, prefix: str = "comment") -> list[dict[str, str]]:
    """Rows with distinct texts."""
    return [{"id": f"{prefix[0]}{i}", "text": f"{prefix} {i}"} for i in range(count)]


def labels_of(rows: Iterable[Row]) -> list[str]:
    """What the teachers say of rows."""
    return [meant(row["text"]) for row in rows]
