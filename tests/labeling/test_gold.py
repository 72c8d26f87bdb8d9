"""Teachers that are asked about rows with gold are measured by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.labeling.jobs import NAMES, InProcess, meant, start, table, texts, write_recipe, write_rows


def swapped_at_the_end(asked: list[str], objects: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The last quarter of each request gets another label."""
    for i, (text, one) in enumerate(zip(asked, objects, strict=True)):
        if i >= len(asked) * 3 // 4:
            one["labels"] = [NAMES[(NAMES.index(meant(text)) + 1) % len(NAMES)]]
    return objects


def test_a_teacher_is_measured_by_the_gold_and_by_the_place_in_its_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [row | {"mood": meant(row["text"])} for row in texts(80)] + [
        row | {"mood": ""} for row in texts(8, "unknown")
    ]
    rows.append(rows[0] | {"id": "again"})  # counts once
    data = {"columns": {"text": "text", "id": "id", "label": "mood"}}
    source = write_rows(tmp_path, rows)
    recipe = write_recipe(tmp_path, source, data={"source": str(source)} | data, labeling={"rows": "all"})
    start(recipe, InProcess(swapped_at_the_end))
    one = json.loads((tmp_path / "job" / "metrics.json").read_text())["gold"]["in-process"]
    assert (one["texts"], one["without_label"], one["accuracy"]) == (80, 0, 0.75)
    assert one["low"] < 0.75 < one["high"]
    assert [part["accuracy"] for part in one["by_position"]] == [1.0] * (len(one["by_position"]) - 2) + [0.0, 0.0]
    assert "against gold, in-process: 75.0% right [" in capsys.readouterr().out
    assert table(tmp_path)["mood"].to_pylist()[:80] == [row["mood"] for row in rows[:80]]  # the gold stays visible


def test_rows_that_keep_their_gold_measure_nobody(tmp_path: Path) -> None:
    source = write_rows(tmp_path, [row | {"mood": "good"} for row in texts(8)] + [{"id": "x", "text": "x", "mood": ""}])
    columns = {"text": "text", "id": "id", "label": "mood"}
    start(write_recipe(tmp_path, source, data={"source": str(source), "columns": columns}), InProcess())
    assert not (tmp_path / "job" / "metrics.json").exists()
