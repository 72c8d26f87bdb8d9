"""Result and error files of a provider, as they were downloaded: lines in any order, twice, cut, or of other jobs."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from categorize.errors import UserError
from categorize.labeling.batches.providers import Provider, Result

ENDINGS = (".jsonl", ".json", ".ndjson", ".txt", ".gz")


@dataclass
class Found:
    """What files held beside answers.

    Attributes:
        files: that were read.
        broken: lines that are not JSON or not a result, each as `file:line`.
    """

    files: int = 0
    broken: list[str] = field(default_factory=list)


def result_files(places: Sequence[Path]) -> list[Path]:
    """The files of these places: files, and those of folders.

    Raises:
        UserError: a place that the recipe names is not there.
    """
    files: list[Path] = []
    for place in places:
        if place.is_dir():
            files += sorted(one for one in place.rglob("*") if one.suffix in ENDINGS and one.is_file())
        elif place.is_file():
            files.append(place)
        else:
            raise UserError(f"labeling.teacher.results: {place}: no such file or folder; download the results to there")
    return files


def read_results(files: Sequence[Path], provider: Provider, found: Found) -> Iterator[Result]:
    """What each line of the files says, in any order; lines that say nothing are noted."""
    for path in files:
        found.files += 1
        for number, line in _lines(path):
            try:
                yield provider.read(line if isinstance(line, Mapping) else json.loads(line))
            except (ValueError, KeyError, TypeError, AttributeError):
                found.broken.append(f"{path}:{number}")


def _lines(path: Path) -> Iterator[tuple[int, str | Mapping[str, Any]]]:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8-sig", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
    except (OSError, EOFError) as error:
        raise UserError(f"{path}: cannot be read ({error}); download it again") from None
