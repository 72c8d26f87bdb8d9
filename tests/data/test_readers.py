"""Readers: every format gives the same strings, and every broken file one line that says where and what to do."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.data.reading.formats import parse
from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.raw import RawTable
from categorize.data.source import read_source
from categorize.errors import UserError
from categorize.recipe.data_sections import DataSection, SourceFiles

ROWS: list[dict[str, Any]] = [
    {"id": "007", "text": '你好, "world"\nnext', "label": "2"},
    {"id": "008", "text": "second", "label": None},
]


def section(source: Any, **more: Any) -> DataSection:
    return DataSection(source=source if isinstance(source, SourceFiles) else str(source), **more)


def read(source: Any, **more: Any) -> RawTable:
    return read_source(section(source, **more)).tables["all"]


def fails(source: Any, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        read_source(section(source, **more))
    message = str(caught.value)
    assert "\n" not in message
    return message


def separated(delimiter: str) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.DictWriter(out, ["id", "text", "label"], delimiter=delimiter)
    writer.writeheader()
    writer.writerows(ROWS)
    return out.getvalue().encode()


def spreadsheet(rows: list[list[Any]], title: str = "Sheet1") -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    page = book.active
    page.title = title
    for row in rows:
        page.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def parquet(columns: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


CONTENT = {
    "csv": separated(","),
    "tsv": separated("\t"),
    "json": json.dumps(ROWS).encode(),
    "jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    "parquet": parquet({key: [row[key] for row in ROWS] for key in ROWS[0]}),
    "xlsx": spreadsheet([list(ROWS[0]), *([row[key] for key in row] for row in ROWS)]),
}


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gz"])
@pytest.mark.parametrize("form", CONTENT)
def test_every_format_gives_the_same_strings(tmp_path: Path, form: str, zipped: bool) -> None:
    path = tmp_path / (f"rows.{form}.gz" if zipped else f"rows.{form}")
    path.write_bytes(gzip.compress(CONTENT[form]) if zipped else CONTENT[form])
    assert read(path).table.to_pylist() == ROWS


@given(
    st.lists(
        st.tuples(*[st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00\r"))] * 2).filter(any),
        min_size=1,
    )
)
def test_csv_cells_come_back_as_they_were_written(cells: list[tuple[str, str]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows([("the first", "the other"), *cells])
    table = parse("csv", InputFile("x.csv", out.getvalue().encode()), ReadOptions(header=True)).table
    assert [(row["the first"] or "", row["the other"] or "") for row in table.to_pylist()] == cells


JSON_VALUES = st.none() | st.text(st.characters(exclude_categories=["Cs"])) | st.booleans() | st.integers()


@given(st.lists(st.fixed_dictionaries({}, optional={"a": JSON_VALUES, "b": JSON_VALUES}), min_size=1))
def test_json_lines_come_back_as_strings(rows: list[dict[str, Any]]) -> None:
    content = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows).encode()
    table = parse("jsonl", InputFile("x.jsonl", content), ReadOptions()).table
    expected = [
        {
            key: value if (value := row.get(key)) is None or isinstance(value, str) else json.dumps(value)
            for key in table.column_names
        }
        for row in rows
    ]
    assert (table.to_pylist() or [{}] * len(rows)) == expected


def test_numbers_keep_their_spelling(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": 1.10, "y": 12345678901234567890, "z": true, "o": {"k": "值"}, "n": NaN}\n')
    assert read(path).table.to_pylist() == [
        {"x": "1.10", "y": "12345678901234567890", "z": "true", "o": '{"k": "值"}', "n": None}
    ]


def test_spreadsheet_numbers_and_dates_read_as_they_look(tmp_path: Path) -> None:
    import datetime

    path = tmp_path / "a.xlsx"
    path.write_bytes(spreadsheet([["n", "f", "b", "d"], [2, 2.5, True, datetime.date(2024, 5, 1)]]))
    assert read(path).table.to_pylist() == [{"n": "2", "f": "2.5", "b": "true", "d": "2024-05-01"}]


def test_parquet_types_become_strings_and_lists_stay_lists(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {
        "i": pa.array([3, None]),
        "f": pa.array([0.1, float("nan")], pa.float32()),
        "w": pa.array([2.0, 1e20]),
        "d": pa.array(["x", None]).dictionary_encode(),
        "l": pa.array([[1, 2], []]),
        "s": pa.array([{"k": 1}, None]),
    }
    path.write_bytes(parquet(columns))
    assert read(path).table.to_pylist() == [
        {"i": "3", "f": "0.1", "w": "2", "d": "x", "l": ["1", "2"], "s": '{"k": 1}'},
        {"i": None, "f": None, "w": "1e+20", "d": None, "l": [], "s": None},
    ]


def test_a_byte_order_mark_is_not_part_of_the_header(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"\xef\xbb\xbftext,label\nx,y\n")
    assert read(path).table.column_names == ["text", "label"]


def test_half_an_emoji_is_replaced_and_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "cut \\ud83d"}\n{"text": "whole \\ud83d\\ude00"}\n')
    raw = read(path)
    assert raw.table["text"].to_pylist() == ["cut \ufffd", "whole 😀"]
    assert "1 cells" in raw.notes[0]


def test_a_very_large_cell_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "x" * 300_000 + "\n")
    assert len(read(path).table["text"][0].as_py()) == 300_000


def test_an_unquoted_tsv_keeps_its_quotation_marks(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"Hello" he said\tx\n"open\ty\n')
    raw = read(path)
    assert raw.table["text"].to_pylist() == ['"Hello" he said', '"open']
    assert raw.notes


def test_row_numbers_count_as_a_spreadsheet_and_an_editor_do(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\na\n\nb\n")
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n\n{"text": "b"}\n')
    (tmp_path / "a.xlsx").write_bytes(spreadsheet([[], ["text"], ["a"], [None], ["b"]]))
    assert read(tmp_path / "a.csv").row_numbers.tolist() == [2, 4]
    assert read(tmp_path / "a.jsonl").row_numbers.tolist() == [1, 3]
    assert read(tmp_path / "a.xlsx").row_numbers.tolist() == [3, 5]


def test_a_line_separator_inside_a_json_string_ends_no_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "a\u2028b"}\n', encoding="utf-8")
    assert read(path).table["text"].to_pylist() == ["a\u2028b"]


def test_official_split_files_stay_apart(tmp_path: Path) -> None:
    for name in ("train", "test"):
        (tmp_path / f"{name}.csv").write_text(f"text\n{name}\n")
    source = read_source(section(SourceFiles(train=str(tmp_path / "train.csv"), test=str(tmp_path / "test.csv"))))
    assert source.is_split
    assert {name: t.table["text"].to_pylist() for name, t in source.tables.items()} == {
        "train": ["train"],
        "test": ["test"],
    }


# ---------------------------------------------------------------- bad input
def test_a_missing_file_names_the_one_that_was_meant(tmp_path: Path) -> None:
    (tmp_path / "comments.csv").write_text("text\nx\n")
    assert "did you mean" in fails(tmp_path / "coments.csv")
    assert "no such file" in fails(tmp_path / "nowhere" / "a.csv")


def test_a_name_in_a_folder_that_exists_is_not_a_hub_dataset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "comments").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "no such file" in fails("comments/january")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert "is a folder" in fails(tmp_path)


def test_a_folder_with_split_files_says_how_to_name_them(tmp_path: Path) -> None:
    for name in ("train.jsonl.gz", "dev.jsonl.gz", "README.md"):
        (tmp_path / name).write_bytes(b"x")
    message = fails(tmp_path)
    assert f"train: {tmp_path / 'train.jsonl.gz'}" in message
    assert f"validation: {tmp_path / 'dev.jsonl.gz'}" in message


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.parquet", "a.xlsx", "a.csv.gz"])
def test_an_empty_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    assert "empty" in fails(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", b"text,label\n"),
        ("a.json", b"[]"),
        ("a.parquet", parquet({"text": pa.array([], pa.string())})),
        ("a.xlsx", spreadsheet([["text"]])),
        ("b.xlsx", spreadsheet([])),
    ],
)
def test_a_file_without_rows_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    assert str(tmp_path / name) in fails(tmp_path / name)


def test_a_name_that_tells_no_format_lists_the_formats(tmp_path: Path) -> None:
    (tmp_path / "a.dat").write_text("text\nx\n")
    assert "data.format" in fails(tmp_path / "a.dat")
    assert len(read(tmp_path / "a.dat", format="csv")) == 1


def test_a_sheet_that_does_not_exist_lists_the_sheets(tmp_path: Path) -> None:
    (tmp_path / "a.xlsx").write_bytes(spreadsheet([["text"], ["x"]], title="评论"))
    for sheet in ("Sheet1", 3):
        assert "'评论'" in fails(tmp_path / "a.xlsx", sheet=sheet)
    assert len(read(tmp_path / "a.xlsx", sheet="评论")) == 1


@pytest.mark.parametrize("name", ["a.xlsx", "a.parquet"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text,label\nx,y\n")
    assert str(tmp_path / name) in fails(tmp_path / name)


def test_a_broken_json_line_gives_its_number(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n\n{"text": \n')
    assert "line 3" in fails(tmp_path / "a.jsonl")


def test_json_of_the_other_kind_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"text": "x"}\n{"text": "y"}\n')
    assert "jsonl" in fails(tmp_path / "a.json")
    (tmp_path / "a.jsonl").write_text('[{"text": "x"}]')
    assert "data.format: json" in fails(tmp_path / "a.jsonl")


def test_a_row_that_is_not_an_object_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n"y"\n')
    assert "line 2" in fails(tmp_path / "a.jsonl")
    (tmp_path / "a.json").write_text('[{"text": "x"}, 3]')
    assert "row 2" in fails(tmp_path / "a.json")


def test_duplicate_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,text\nx,y\n")
    (tmp_path / "a.jsonl").write_text('{"text": "x", "text": "y"}\n')
    assert "'text'" in fails(tmp_path / "a.csv")
    assert "line 1" in fails(tmp_path / "a.jsonl")


def test_other_encodings_are_named_with_the_place(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text\nok\n你好\n".encode("gbk"))
    message = fails(path)
    assert "byte 8, line 3" in message
    assert "GBK" in message
    path.write_bytes("text\nx\n".encode("utf-16"))
    assert "UTF-16" in fails(path)


@pytest.mark.parametrize(("header", "hint"), [("text;label", "semicolons"), ("text\tlabel", "data.format: tsv")])
def test_another_separator_in_a_csv_is_named(tmp_path: Path, header: str, hint: str) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\nx;y\n")
    assert hint in fails(tmp_path / "a.csv")


@pytest.mark.parametrize(("row", "hint"), [("a,b,c", "row 3 has 3 cells"), ("a", "row 3 has 1"), ('"a,b', "line 3")])
def test_a_row_of_another_length_and_an_open_quote_are_refused(tmp_path: Path, row: str, hint: str) -> None:
    (tmp_path / "a.csv").write_text(f"text,label\nx,y\n{row}\n")
    assert hint in fails(tmp_path / "a.csv")


def test_a_broken_gzip_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"text\n" + b"x\n" * 1000)[:-12])
    assert "gzip" in fails(tmp_path / "a.csv.gz")


# ---------------------------------------------------------------- datasets
def test_a_saved_dataset_gives_class_names(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        text=datasets.Value("string"),
        label=datasets.ClassLabel(names=["no", "yes"]),
        labels=datasets.Sequence(datasets.ClassLabel(names=["a", "b"])),
    )
    dataset = datasets.Dataset.from_dict({"text": ["x", "y"], "label": [1, -1], "labels": [[0, 1], []]}, features)
    dataset.select([1, 0]).save_to_disk(tmp_path / "one")
    assert read(tmp_path / "one").table.to_pylist() == [
        {"text": "y", "label": None, "labels": []},
        {"text": "x", "label": "yes", "labels": ["a", "b"]},
    ]
    datasets.DatasetDict(train=dataset, dev=dataset, extra=dataset).save_to_disk(tmp_path / "many")
    source = read_source(section(tmp_path / "many"))
    assert set(source.tables) == {"train", "validation"}
    assert "extra" in source.notes[0]


def test_a_dataset_without_train_lists_its_splits(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    datasets.DatasetDict(part1=datasets.Dataset.from_dict({"text": ["x"]})).save_to_disk(tmp_path / "d")
    assert "part1" in fails(tmp_path / "d")


def test_a_hub_dataset_that_cannot_be_loaded_is_one_line(tmp_path: Path, root: Path) -> None:
    code = (
        "from categorize.recipe.sections import DataSection; from categorize.data.source import read_source\n"
        "from categorize.errors import UserError\n"
        "try: read_source(DataSection(source='someone/nothing'))\n"
        "except UserError as error: print(error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path), "PYTHONPATH": str(root)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "someone/nothing" in done.stdout
