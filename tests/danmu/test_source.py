"""Raw danmu as the source of a recipe."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import pytest

from categorize.data.source import read_source
from categorize.data.splits import load_data
from categorize.data.stream import stream_rows
from categorize.errors import UserError
from categorize.recipe.data_sections import DataSection
from categorize.recipe.label_sections import LabelsSection
from demo.generate_danmu import Plan, write
from tests.recipes import load_recipe
from tests.session.collections import write_recipe


def section(folder: Path, **options: Any) -> DataSection:
    return DataSection(source=str(folder / "raw"), format="danmu", **options)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generated")
    write(Plan(6000, 9, "jsonl.gz"), folder, with_labels=True)
    return folder


def test_the_columns_need_not_be_written_out(generated: Path, tmp_path: Path) -> None:
    data = section(generated)
    assert (data.columns.id, data.columns.group, data.columns.label) == ("row_id", "video_id", None)
    table = read_source(data, tmp_path).tables["all"].table
    row = table.to_pylist()[0]
    assert row["sent_at"].endswith("Z") and "T" in row["first_collected"]
    assert set(map(str, table.schema.types)) == {"string"}
    assert "clean_text" not in row
    assert len(list((tmp_path / "danmu").glob("raw-*/comments/*.parquet"))) == 1


def test_a_column_that_is_written_out_counts(generated: Path) -> None:
    data = section(generated, columns={"group": "chat_id", "id": None, "label": "mode"})
    assert (data.columns.id, data.columns.group, data.columns.label) == (None, "chat_id", "mode")
    assert DataSection(source="a.csv").columns.id is None


def test_labels_of_a_table_are_joined_by_row_id(generated: Path, tmp_path: Path) -> None:
    data = section(generated, columns={"label": "class"}, danmu={"labels": str(generated / "labels.csv")})
    loaded = load_data(data, LabelsSection(), outputs=tmp_path)
    with (generated / "labels.csv").open(encoding="utf-8") as file:
        labels = {row["row_id"]: row["class"] for row in csv.DictReader(file)}
    splits = loaded.splits
    found = {row["id"]: row["gold"][0] for name in ("train", "validation", "test") for row in splits[name].to_pylist()}
    assert found.items() <= labels.items() and len(found) > 0.9 * len(labels)
    groups = [set(splits[name]["group"].to_pylist()) for name in ("train", "validation", "test")]
    assert not groups[0] & groups[2] and not groups[0] & groups[1]
    assert any("comments found" in note for note in loaded.report.notes)
    assert any("labels of" in note for note in loaded.report.notes)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("id,class\n1,a\n", "has no column 'row_id'"),
        ("row_id,class\n1,a\n1,b\n", "row 3: row_id '1' comes twice, first in row 2"),
        ("row_id,class\n1,a\n2,b\n", "no row_id is one of these comments"),
        ("row_id,class\n26132238280000000,a\n", "loses their last digits"),
        ("row_id,class\n2.613223828068762e+16,a\n", "loses their last digits"),
        ("row_id,class\n2.61322E+16,a\n2.61322E+16,b\n", "comes twice, first in row 2 .*loses their last digits"),
        ("row_id,class\n,a\n", "row 2 has no row_id"),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(rows: str, message: str, generated: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text(rows, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        read_source(section(generated, danmu={"labels": str(tmp_path / "labels.csv")}), tmp_path)


def test_columns_that_labels_and_comments_share_are_those_of_the_comments(generated: Path, tmp_path: Path) -> None:
    comments = read_source(section(generated), tmp_path).tables["all"].table
    row_id, text = comments["row_id"][0].as_py(), comments["text"][0].as_py()
    (tmp_path / "labels.csv").write_text(f"row_id,text,class\n{row_id},other,a\n", encoding="utf-8")
    joined = read_source(section(generated, danmu={"labels": str(tmp_path / "labels.csv")}), tmp_path).tables["all"]
    assert (joined.table["text"][0].as_py(), joined.table["class"][0].as_py()) == (text, "a")
    assert "its columns text are not read" in joined.notes[-1]


def test_official_splits_may_be_raw_files(generated: Path, tmp_path: Path) -> None:
    first, *_, last = sorted((generated / "raw").iterdir())
    source = read_source(DataSection(source={"train": str(first), "test": str(last)}, format="danmu"), tmp_path)
    assert set(source.tables) == {"train", "test"}


def test_options_of_danmu_without_danmu_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = write_recipe(tmp_path / "r.yaml", data={"danmu": {"joint": ";"}})
    with pytest.raises(UserError, match=r"data\.danmu: does nothing without data\.format: danmu"):
        load_recipe(recipe)
    recipe = write_recipe(tmp_path / "r.yaml", data={"format": "danmu", "danmu": {"scripted": "drop"}, "sheet": 1})
    with pytest.raises(UserError) as caught:
        load_recipe(recipe)
    assert "data.sheet: is for xlsx" in str(caught.value) and "scripted" in str(caught.value)


@pytest.mark.skipif("CATEGORIZE_DATA" not in os.environ, reason="CATEGORIZE_DATA names no data folder")
def test_every_comment_of_the_real_files_is_accounted_for(tmp_path: Path) -> None:
    import gzip
    import re

    from categorize.danmu import Settings, ingest

    for file in sorted((Path(os.environ["CATEGORIZE_DATA"]) / "danmaku_raw").glob("*.gz")):
        text = gzip.decompress(file.read_bytes()).decode("utf-8")
        if ".xml" in file.name:
            elements = len(re.findall("<d p=", text))
        else:
            elements = sum(1 for _ in csv.DictReader(text.splitlines(keepends=True)))
        counts = ingest(str(file), tmp_path / file.name, Settings()).counts
        assert counts.elements == elements > 300
        assert counts.parsed + sum(counts.set_apart.values()) == elements  # each is well-formed: none is rejected


def test_a_stream_of_danmu_gives_the_comments_that_are_read_whole(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("categorize.data.reading.formats._ROWS", 1000)
    whole = read_source(section(generated), tmp_path).tables["all"]
    stream = stream_rows(section(generated), outputs=tmp_path)
    blocks = list(stream)
    assert len(blocks) > 4 and stream.rows == len(whole)
    fields = [row for block in blocks for row in block["fields"].to_pylist()]
    assert fields == whole.table.to_pylist()
    assert stream.notes == list(whole.notes)
