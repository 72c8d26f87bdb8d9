"""Small sources as files, and what `load_data` makes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from categorize.data.splits import LoadedData, load_data
from categorize.errors import UserError
from categorize.recipe.data_sections import Columns, DataSection, SourceFiles
from categorize.recipe.label_sections import LabelsSection

SPLITS = ("train", "validation", "test", "unlabeled")
Row = dict[str, Any]


def write(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path


def comments(count: int = 200, **more: Any) -> list[Row]:
    return [{"id": f"c{i}", "text": f"评论 {i}", "label": "ab"[i % 3 == 0], **more} for i in range(count)]


def section(path: Path | SourceFiles, columns: Columns | None = None, **more: Any) -> DataSection:
    source = path if isinstance(path, SourceFiles) else str(path)
    return DataSection(source=source, columns=columns or Columns(id="id"), **more)


def load(path: Path | SourceFiles, labels: LabelsSection | None = None, **more: Any) -> LoadedData:
    keys = {key: more.pop(key) for key in ("split_file", "resplit", "write") if key in more}
    return load_data(section(path, **more), labels or LabelsSection(), **keys)


def fails(path: Path | SourceFiles, labels: LabelsSection | None = None, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(path, labels, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


def ids(data: LoadedData) -> dict[str, set[str]]:
    return {name: set(data.splits[name]["id"].to_pylist()) for name in SPLITS}


def where(data: LoadedData) -> dict[str, str]:
    return {row: name for name in SPLITS for row in data.splits[name]["id"].to_pylist()}


def official(tmp_path: Path, **parts: list[Row]) -> SourceFiles:
    return SourceFiles(**{name: str(write(tmp_path / f"{name}.jsonl", rows)) for name, rows in parts.items()})
