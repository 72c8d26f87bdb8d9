"""Generated collections are read back field by field, whatever their form and joint."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from categorize.danmu import Ingested, Settings, ingest
from demo.generate_danmu import Plan, Truth, write

CLEANING = ("nfkc", "control_characters", "whitespace")


def read(folder: Path) -> list[dict[str, Any]]:
    """All rows of a finished folder, those set apart too, times as numbers."""
    rows = pq.read_table(folder / "comments").to_pylist()
    if (folder / "apart").is_dir():
        rows += pq.read_table(folder / "apart").to_pylist()
    for row in rows:
        row["sent_at"] = round(row["sent_at"].timestamp() * 1000)
        for name in ("first_collected", "last_collected"):
            row[name] = round(row[name].timestamp())
    return rows


def expect_truth(done: Ingested, truth: Truth, file: Path) -> None:
    counts = done.counts
    assert {
        "elements": counts.elements,
        "rejected": sum(counts.rejected.values()),
        "parsed": counts.parsed,
        "records": counts.records,
        "set_apart": dict(counts.set_apart),
        "rows": counts.rows,
        "rows_apart": counts.rows_apart,
        "conflicts": counts.conflicts,
        "cut_collections": counts.cut_collections,
    } == truth.to_dict()
    expected = {row["row_id"]: row for row in pq.read_table(file).to_pylist()}
    found = {row["row_id"]: row for row in read(done.folder)}
    assert found.keys() == expected.keys()
    for row_id, row in expected.items():
        assert {name: found[row_id][name] for name in row} == row


@pytest.mark.parametrize(
    ("form", "joint", "opener", "closer"),
    [
        ("jsonl", ";", "", ""),
        ("jsonl.gz", "),(", "(", ")"),
        ("json", "\n", "", ""),
        ("csv", ",", "", ""),
        ("csv", "\n", "", ""),
        ("parquet", "|", "", ""),
        ("jsonl", "], [", "[[", "]]"),
        ("json", "; ", "", ""),
        ("parquet", ")(", "(", ")"),
    ],
)
def test_a_generated_collection_equals_the_truth(
    form: str, joint: str, opener: str, closer: str, tmp_path: Path
) -> None:
    truth = write(Plan(6000, len(joint) + len(form), form, joint, opener, closer, broken=0.005), tmp_path)
    done = ingest(str(tmp_path / "raw"), tmp_path / "out", Settings(cleaning=CLEANING))
    expect_truth(done, truth, tmp_path / "truth.parquet")


def test_a_named_joint_needs_no_detection(tmp_path: Path) -> None:
    truth = write(Plan(3000, 5, "jsonl", "哈"), tmp_path)
    done = ingest(str(tmp_path / "raw"), tmp_path / "out", Settings(joint="哈", cleaning=CLEANING))
    expect_truth(done, truth, tmp_path / "truth.parquet")


def test_the_result_does_not_depend_on_the_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from categorize.danmu import folder as module

    truth = write(Plan(8000, 3), tmp_path)
    one = ingest(str(tmp_path / "raw"), tmp_path / "one", Settings())
    monkeypatch.setattr(module, "_SMALL", 0)
    monkeypatch.setattr(module, "_TASK_BYTES", 100_000)
    monkeypatch.setattr(module, "_ROWS_OF_A_PART", 1000)
    two = ingest(str(tmp_path / "raw"), tmp_path / "two", Settings())
    expect_truth(two, truth, tmp_path / "truth.parquet")
    assert len(list((two.folder / "comments").iterdir())) > 1
    key = str
    assert sorted(read(one.folder), key=key) == sorted(read(two.folder), key=key)
    assert one.counts == two.counts


def test_clean_text_is_what_the_cleaning_steps_make_of_text(tmp_path: Path) -> None:
    from categorize.data.cleaning.steps import cleaner

    write(Plan(3000, 11, nasty=0.5), tmp_path)
    for steps in (CLEANING, ("whitespace", "repeated_punctuation")):
        done = ingest(str(tmp_path / "raw"), tmp_path / steps[0], Settings(cleaning=steps))
        clean = cleaner(steps)
        rows = pq.read_table(done.folder / "comments").to_pylist()
        assert [row["clean_text"] for row in rows] == [clean(row["text"]) for row in rows]
        assert done.counts.changed == sum(row["clean_text"] != row["text"] for row in rows) > 0


def test_scripted_comments_are_rows_where_the_recipe_keeps_them(tmp_path: Path) -> None:
    truth = write(Plan(3000, 2, scripted=0.1), tmp_path)
    done = ingest(str(tmp_path / "raw"), tmp_path / "out", Settings(keep_scripted=True))
    assert not (done.folder / "apart").exists()
    assert done.counts.rows == truth.distinct + truth.distinct_apart
    modes = Counter(pq.read_table(done.folder / "comments")["mode"].to_pylist())
    assert modes["positioned"] and modes["scripted"]


def test_every_reject_is_in_the_rejects_file_with_its_reason(tmp_path: Path) -> None:
    import json

    truth = write(Plan(4000, 4, broken=0.02, conflicts=0.2), tmp_path)
    done = ingest(str(tmp_path / "raw"), tmp_path / "out", Settings())
    lines = [json.loads(line) for line in (done.folder / "rejects.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == truth.rejected + truth.conflicts > 20
    assert all(line["reason"] and line["raw"] and ("file" in line or "row_id" in line) for line in lines)
    collections = pq.read_table(done.folder / "collections.parquet")
    assert collections.num_rows == truth.records
    assert sum(collections["elements"].to_pylist()) == truth.elements
    assert sum(collections["possibly_cut"].to_pylist()) == truth.cut_collections > 0
