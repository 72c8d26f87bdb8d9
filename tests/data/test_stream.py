"""Rows in blocks are those of `load_data`, whatever the source is, and memory stays flat."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.data.seen import SeenIds
from categorize.data.source import read_source
from categorize.data.splits import load_data
from categorize.data.stream import RowStream, stream_rows
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.recipe.data_sections import DataSection
from categorize.recipe.label_sections import LabelsSection
from tests.data.test_readers import spreadsheet

LABELS = LabelsSection.model_validate({"names": ["good", "bad"]})
ROWS = [
    {"id": f"{i:03}", "text": f"  comment Ｎo. {i}", "label": ("good", "bad", None)[i % 3], "extra": f"e{i}"}
    for i in range(60)
]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("categorize.data.reading.raw._BATCH", 7)
    monkeypatch.setattr("categorize.data.reading.formats._ROWS", 7)
    monkeypatch.setattr("categorize.data.raw_stream.ROWS", 7)


def table_of(rows: list[dict[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist(rows, pa.schema([(name, pa.string()) for name in rows[0]]))


def separated(rows: list[dict[str, Any]], mark: str) -> bytes:
    return "".join(
        mark.join(row) + "\n" for row in [list(rows[0]), *([v or "" for v in r.values()] for r in rows)]
    ).encode()


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def write(form: str, rows: list[dict[str, Any]] = ROWS) -> str:
    """Write rows in a form; gives the source."""
    path = Path(f"rows.{form}")
    kind = form.removesuffix(".gz")
    if kind == "folder":
        path.mkdir()
        for i in range(0, len(rows), 25):
            pq.write_table(table_of(rows[i : i + 25]), path / f"part-{i:05}.parquet")
        pq.write_table(table_of(rows).slice(0, 0), path / "part-99999.parquet")
        return str(path)
    if kind == "dataset":
        import datasets

        datasets.Dataset.from_list(rows).save_to_disk(str(path))
        return str(path)
    if kind == "parquet":
        pq.write_table(table_of(rows), path)
        content = path.read_bytes()
    elif kind == "xlsx":
        content = spreadsheet([list(rows[0]), *(list(row.values()) for row in rows)])
    elif kind == "json":
        content = json.dumps(rows).encode()
    else:
        content = lines(rows) if kind == "jsonl" else separated(rows, "," if kind == "csv" else "\t")
    path.write_bytes(gzip.compress(content) if form.endswith(".gz") else content)
    return str(path)


def section(source: Any, **columns: Any) -> DataSection:
    return DataSection.model_validate({"source": source, "columns": {"text": "text", "label": "label", **columns}})


def loaded(data: DataSection) -> pa.Table:
    """All rows as `load_data` gives them, by id."""
    splits = load_data(data, LABELS, write=False).splits
    return pa.concat_tables([splits[name] for name in ("train", "validation", "test", "unlabeled")]).sort_by("id")


FORMS = ["csv", "tsv", "jsonl", "json", "parquet", "xlsx", "folder", "dataset"]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    path = tmp_path_factory.mktemp("loaded") / "rows.csv"
    path.write_bytes(separated(ROWS, ","))
    return loaded(section(str(path), id="id"))


@pytest.mark.parametrize("form", [*FORMS, "csv.gz", "jsonl.gz", "parquet.gz"])
def test_a_stream_gives_the_rows_that_load_data_gives_in_input_order(form: str, expected: pa.Table) -> None:
    data = section(write(form), id="id")
    stream = stream_rows(data, LabelSet.from_section(LABELS))
    blocks = list(stream)
    assert len(blocks) > 8 and max(block.num_rows for block in blocks) == 7
    rows = pa.concat_tables(blocks)
    assert rows["fields"].combine_chunks().field("id").to_pylist() == [row["id"] for row in ROWS]
    assert rows.sort_by("id").equals(expected.cast(rows.schema))
    assert stream.columns == list(ROWS[0])
    assert stream.rows in (None, len(ROWS)) and stream.done() == 1.0
    assert [block.num_rows for block in stream] == [block.num_rows for block in blocks], "it can be read again"


@pytest.mark.parametrize("form", ["csv", "jsonl", "folder"])
def test_ids_that_are_made_are_those_of_load_data(form: str) -> None:
    data = section(write(form))
    assert pa.concat_tables(list(stream_rows(data))).sort_by("id")["id"].equals(loaded(data)["id"])


def test_split_files_are_one_stream_with_the_columns_of_all() -> None:
    Path("a.csv").write_bytes(separated(ROWS[:20], ","))
    Path("b.jsonl").write_bytes(lines([{"text": "new", "by": "me"}, {"text": "newer", "at": "home"}]))
    data = section({"train": "a.csv", "unlabeled": "b.jsonl"})
    rows = pa.concat_tables(list(stream_rows(data, LabelSet.from_section(LABELS))))
    assert rows["id"].to_pylist() == [*(f"train-{n}" for n in range(2, 22)), "unlabeled-1", "unlabeled-2"]
    assert rows["fields"].to_pylist()[-1] == dict.fromkeys(["id", "text", "label", "extra", "by"]) | {
        "text": "newer", "at": "home", "id": None,
    }  # fmt: skip
    assert rows["gold"].to_pylist()[:4] == [["good"], ["bad"], None, ["good"]]
    assert rows.sort_by("id").equals(loaded(data).cast(rows.schema))


def test_columns_that_only_later_lines_have_are_there_from_the_first_block_on() -> None:
    objects = [
        {"text": f"t{i}", **({"late": i} if i > 50 else {}), "tags": "a" if i < 20 else ["b", i]} for i in range(60)
    ]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, objects)))
    data = section("rows.jsonl", label=None)
    streamed = pa.concat_tables(list(stream_rows(data)))["fields"].combine_chunks()
    raw = read_source(data).tables["all"].table
    assert [field.name for field in streamed.type] == raw.column_names == ["text", "tags", "late"]
    assert streamed.field("tags").to_pylist() == [json.dumps(cell) for cell in raw["tags"].to_pylist()]


@pytest.mark.parametrize("place", [3, 40])
def test_an_id_that_comes_twice_is_named_with_both_rows(place: int) -> None:
    rows = [dict(row) for row in ROWS]
    rows[50]["id"] = rows[place]["id"]
    data = section(write("csv", rows), id="id")
    with pytest.raises(UserError, match=rf"ids come twice: '0\d\d' \(rows {place + 2} and 52\); make them unique"):
        list(stream_rows(data))


def test_a_broken_row_stops_the_stream_as_it_stops_the_reader() -> None:
    Path("rows.csv").write_bytes(separated(ROWS, ",") + b"one cell\n")
    data = section("rows.csv")
    messages = []
    for work in (lambda: list(stream_rows(data)), lambda: read_source(data)):
        with pytest.raises(UserError) as caught:
            work()
        messages.append(str(caught.value))
    assert messages[0] == messages[1] and "row 62 has 1 cells, the header has 4" in messages[0]


def test_a_label_column_that_the_recipe_names_must_be_there_and_the_default_one_need_not() -> None:
    Path("rows.csv").write_text("text,lable\na,good\n")
    labels = LabelSet.from_section(LABELS)
    with pytest.raises(
        UserError, match=r"data.columns.label: rows.csv has no column 'label' \(did you mean 'lable'\?\)"
    ):
        stream_rows(section("rows.csv"), labels)
    (rows,) = stream_rows(DataSection(source="rows.csv"), labels)
    assert rows["gold"].to_pylist() == [None]


# ---------------------------------------------------------------- shards
def sizes(stream: RowStream, rows: int, whole: bool) -> Iterator[list[str]]:
    """The documents (or ids) of each shard."""
    shards: dict[int, list[str]] = {}
    for piece in stream.pieces(rows, whole):
        shards.setdefault(piece.shard, []).extend(stream.prepare(piece)["document_id"].to_pylist())
    assert list(shards) == list(range(len(shards)))
    yield from shards.values()


@pytest.mark.parametrize("rows", [1, 7, 10, 25, 60, 100])
def test_shards_have_the_asked_rows_and_nothing_is_lost_between_them(rows: int) -> None:
    shards = list(sizes(stream_rows(section(write("csv"), id="id")), rows, whole=False))
    assert [row for shard in shards for row in shard] == [row["id"] for row in ROWS]
    assert {len(shard) for shard in shards[:-1]} <= {rows} and 0 < len(shards[-1]) <= rows


@settings(max_examples=40)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=12), st.integers(1, 30))
def test_a_shard_ends_where_a_document_does(counts: list[int], rows: int) -> None:
    table = [{"text": "x", "talk": f"d{i}"} for i, count in enumerate(counts) for _ in range(count)]
    Path("talks.csv").write_bytes(separated(table, ","))
    stream = stream_rows(section("talks.csv", label=None, document="talk"))
    shards = list(sizes(stream, rows, whole=True))
    assert [name for shard in shards for name in shard] == [row["talk"] for row in table]
    for shard, following in pairwise(shards):
        assert shard[-1] != following[0] and len(shard) >= rows
        assert len(shard) - shard.count(shard[-1]) < rows, "it ends with the document that filled it"
    positions = pa.concat_tables(list(stream))["position"].to_pylist()
    assert positions == [i for count in counts for i in range(count)]


# ---------------------------------------------------------------- memory
@given(st.lists(st.lists(st.sampled_from([f"id {i}" for i in range(40)]), max_size=12), max_size=12))
def test_the_set_of_seen_ids_tells_what_a_plain_set_tells(blocks: list[list[str]]) -> None:
    seen, plain = SeenIds(), set[str]()
    for block in blocks:
        expected = []
        for at, row_id in enumerate(block):
            if row_id in plain:
                expected.append(at)
            plain.add(row_id)
        assert seen.add(block) == expected


def test_a_stream_holds_no_more_than_some_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("categorize.data.reading.raw._BATCH", 500)

    def peak(rows: int) -> tuple[int, int]:
        path = tmp_path / f"{rows}.csv"
        path.write_text("id,text\n" + "".join(f"{i},{'some text ' * 5}{i}\n" for i in range(rows)))
        arrow = most = pa.total_allocated_bytes()
        tracemalloc.start()
        for _ in stream_rows(section(str(path), label=None, id="id")):
            most = max(most, pa.total_allocated_bytes())
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found, most - arrow

    few, many = peak(1_000), peak(5_000)
    assert many[0] - few[0] < 4_000 * 50, "bytes a row: its id's hash, and nothing else"
    assert many[1] - few[1] < 4_000 * 20
