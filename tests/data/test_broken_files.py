"""Files that are broken, huge or unusual: one line that names the place and the way out, and never a lost row."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.data.reading import opening, raw
from categorize.data.reading.files import read_file
from categorize.data.reading.formats import parse
from categorize.data.reading.opening import InputFile, ReadOptions
from categorize.data.reading.progress import Progress
from categorize.data.reading.raw import RawTable
from categorize.data.reading.sheets import _hidden
from categorize.errors import UserError
from tests.data.test_readers import fails, read, section, spreadsheet
from tests.recipes import load_recipe

FORMATS = ("csv", "tsv", "jsonl", "json")


# ---------------------------------------------------------------- fuzzing
def csv_like() -> st.SearchStrategy[bytes]:
    pieces = st.sampled_from(
        [b"text,label\n", b"a,b\n", b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b"\t",
         b"'", b" ", "你好".encode(), "你好".encode("gb18030"), b"\\", b";", b'"a\nb",c\n', b"\xf0\x9f\x98\x80"]
    )  # fmt: skip
    return st.one_of(st.binary(max_size=200), st.lists(pieces, max_size=30).map(b"".join))


@settings(max_examples=400)
@given(csv_like(), st.booleans(), st.sampled_from([None, "gb18030", "utf-16", "latin-1"]))
def test_no_bytes_break_a_reader_and_no_record_is_lost(content: bytes, zipped: bool, encoding: str | None) -> None:
    for form in FORMATS:
        file = InputFile("fuzz", gzip.compress(content) if zipped else content)
        try:
            table = parse(form, file, ReadOptions(encoding=encoding))
        except UserError as error:
            assert "\n" not in str(error)
            assert str(error).startswith("fuzz")
            continue
        assert len(table) == table.table.num_rows == len(set(table.row_numbers.tolist())) > 0
        if form == "csv":
            text = content.decode(encoding or "utf-8-sig").replace("\x00", "")
            records = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
            found = [re.search(r"(\d+) (?:rows of separators alone|time)", note) for note in table.notes]
            left_out = sum(int(match[1]) for match in found if match is not None)
            assert len(table) + left_out == sum(bool(record) for record in records[1:])


def test_rows_that_a_spreadsheet_left_blank_are_counted_and_are_not_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(codecs.BOM_UTF8 + "编号,文本,,\r\n1,好,,\r\n,,,\r\n2,,,\r\n,,,\r\n,,,\r\n".encode())
    table = read(path)
    assert table.table.to_pylist() == [{"编号": "1", "文本": "好"}, {"编号": "2", "文本": None}]
    assert table.row_numbers.tolist() == [2, 4]
    assert table.notes == (f"{path}: 3 rows of separators alone were left out",)


CELL = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20)


@given(
    st.lists(st.tuples(CELL, CELL, CELL).filter(any), min_size=1, max_size=30),
    st.sampled_from(["utf-8", "utf-8-sig", "gb18030"]),
)
def test_every_cell_that_was_written_is_read_in_any_encoding(rows: list[tuple[str, ...]], encoding: str) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows([("the id", "a text", "its label"), *rows])
    file = InputFile("x.csv", out.getvalue().encode(encoding))
    options = ReadOptions(encoding=None if encoding.startswith("utf") else encoding, header=True)
    cells = zip(*(column.to_pylist() for column in parse("csv", file, options).table.columns), strict=True)
    assert [tuple(cell or "" for cell in row) for row in cells] == rows


# ---------------------------------------------------------------- batches
def test_rows_of_many_batches_are_one_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("categorize.data.reading.raw._BATCH", 7)
    rows = [{"id": str(i), "text": f"t{i}"} for i in range(100)]
    csv_path, lines_path = tmp_path / "a.csv", tmp_path / "a.jsonl"
    csv_path.write_text("id,text\n\n" + "".join(f"{row['id']},{row['text']}\n" for row in rows))
    # A column that only later rows have, and one that is a text first and a list then.
    objects = [
        {**row, **({"late": i} if i > 50 else {}), "tags": "a" if i < 20 else ["b", i]} for i, row in enumerate(rows)
    ]
    lines_path.write_text("\n".join(map(json.dumps, objects)))
    table = read(csv_path)
    assert table.table.to_pylist() == rows
    assert table.row_numbers.tolist() == list(range(3, 103))
    lines = read(lines_path).table
    assert lines["late"].to_pylist() == [None] * 51 + [str(i) for i in range(51, 100)]
    assert lines["tags"].to_pylist()[18:21] == [["a"], ["a"], ["b", "20"]]


def test_reading_holds_no_more_than_the_table_and_a_batch(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{i},{'some text ' * 5}{i}\n" for i in range(60_000))
    tracemalloc.start()
    try:
        table = read(path)
        _, peak = tracemalloc.get_traced_memory()  # Arrow's own memory is not traced: what is held as Python objects
    finally:
        tracemalloc.stop()
    assert len(table) == 60_000
    assert peak < 25e6


# ---------------------------------------------------------------- encodings
def test_an_encoding_is_named_by_the_error_and_read_by_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("text,label\n你好,好\n".encode("gb18030"))
    assert "set data.encoding: gb18030" in fails(path)
    assert read(path, encoding="gb18030").table.to_pylist() == [{"text": "你好", "label": "好"}]
    assert "are not ascii" in fails(path, encoding="ascii")
    path.write_bytes("text,label\n你好,好\n".encode("utf-16"))
    assert "data.encoding: utf-16" in fails(path)
    assert len(read(path, encoding="utf-16")) == 1
    path.write_bytes("text,label\nhello,good\n".encode("utf-16-le"))
    assert "utf-16-le" in fails(path)
    assert len(read(path, encoding="utf-16-le")) == 1


def test_a_file_that_changes_its_encoding_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first = json.dumps({"text": "你好"}, ensure_ascii=False).encode() + b"\n"
    path.write_bytes(codecs.BOM_UTF8 + first * 3 + '{"text": "é"}\n'.encode("latin-1"))
    message = fails(path)
    assert f"byte {3 + 3 * len(first) + 10}, line 4: 0xe9" in message


def test_an_encoding_that_does_not_exist_is_refused_in_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    for name in ("gbk1", "zip"):
        path.write_text(
            f"kind: seqcls\nname: a\ndata:\n  source: a.csv\n  encoding: {name}\nmodel: {{method: tfidf}}\n"
        )
        with pytest.raises(UserError, match=f"r.yaml:5: data.encoding: '{name}' is not an encoding of text"):
            load_recipe(path)


def test_nul_characters_go_with_a_note(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"text,label\na\x00b,c\nd,\x00\n")
    table = read(path)
    assert table.table.to_pylist() == [{"text": "ab", "label": "c"}, {"text": "d", "label": None}]
    assert "removed NUL characters from 2 lines" in table.notes[0]


# ---------------------------------------------------------------- cut, open and huge
def test_a_quotation_mark_that_never_closes_names_where_it_opens(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "x,y\n" * 40 + '"open,y\n' + "x,y\n" * 1000)
    message = fails(path)
    assert "line 42" in message
    assert "never closes" in message


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.json", "a.xlsx", "a.parquet"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_cut_gzip_file_is_refused_whole(tmp_path: Path, name: str, share: float) -> None:
    content = {
        "a.csv": b"text\n" + b"".join(b"row %d\n" % i for i in range(5000)),
        "a.jsonl": b"".join(b'{"text": "row %d"}\n' % i for i in range(5000)),
        "a.json": json.dumps([{"text": str(i)} for i in range(5000)]).encode(),
        "a.xlsx": spreadsheet([["text"], *([f"row {i}"] for i in range(50))]),
        "a.parquet": b"PAR1" + b"x" * 9000,
    }[name]
    zipped = gzip.compress(content)
    path = tmp_path / f"{name}.gz"
    path.write_bytes(zipped[: int(len(zipped) * share)])
    message = fails(path)
    assert "broken gzip file" in message and str(path) in message


def test_one_huge_cell_is_refused_with_its_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    huge = "x" * (raw.LARGEST_CELL + 1)
    (tmp_path / "a.csv").write_text(f"text,label\nx,y\n{huge},y\n")
    assert "line 3: a cell of more than" in fails(tmp_path / "a.csv")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "x"}) + "\n" + json.dumps({"text": huge}) + "\n")
    assert "row 2: column 'text' holds" in fails(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": huge * 2}) + "\n")
    assert "line 1: 33" in fails(tmp_path / "b.jsonl")


# ---------------------------------------------------------------- spreadsheets
def workbook(rows: list[list[Any]], merge: str | None = None) -> bytes:
    import openpyxl

    book = openpyxl.load_workbook(io.BytesIO(spreadsheet(rows)))
    if merge is not None:
        book.active.merge_cells(merge)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def test_a_merged_header_is_refused_and_other_merged_cells_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(workbook([["id", "text", None], ["1", "a", "b"]], merge="B1:C1"))
    assert "row 1: the header is merged over columns B to C" in fails(path)
    path.write_bytes(workbook([["id", "text"], [None, None], ["1", "a"]], merge="A1:A2"))
    assert "merged over rows 1 to 2" in fails(path)
    path.write_bytes(workbook([["id", "text"], ["1", "a"], ["2", "b"]], merge="B2:B3"))
    table = read(path)
    assert table.table["text"].to_pylist() == ["a", None]
    assert "1 merged areas" in table.notes[0]


def formulas(cells: str) -> bytes:
    """A sheet whose second row is written by hand: openpyxl saves no values of formulas."""
    import re
    import zipfile

    content = spreadsheet([["id", "text"], ["1", "a"]])
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(out, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "xl/worksheets/sheet1.xml":
                data = re.sub(rb'(<row r="2"[^>]*>).*?(</row>)', rb"\1" + cells.encode() + rb"\2", data, flags=re.S)
            new.writestr(name, data)
    return out.getvalue()


def test_formulas_read_as_their_saved_values_or_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(formulas('<c r="A2"><f>1+1</f><v>2</v></c><c r="B2" t="str"><f>"a"&amp;"b"</f><v>ab</v></c>'))
    table = read(path)
    assert table.table.to_pylist() == [{"id": "2", "text": "ab"}]
    assert "2 formulas read as the values" in table.notes[0]
    path.write_bytes(workbook([["id", "text"], ["1", '=CONCATENATE("a", "b")']]))
    assert "cell B2 is a formula without a saved value" in fails(path)


def test_cells_with_an_error_read_empty_and_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    cells = '<c r="A2" s="1" t="e"><f>VLOOKUP(1,B2:B9,1)</f><v>#N/A</v></c><c r="B2" t="e"><v>#REF!</v></c>'
    path.write_bytes(formulas(cells + '<c r="C2" t="str"><f>"t=e"</f><v>t="e"</v></c>'))
    path_of_texts = tmp_path / "b.xlsx"
    path_of_texts.write_bytes(workbook([["id", "text"], ["1", "a"], ["2", "#N/A"]]))
    assert "1 formulas" not in read(path).notes[0]
    assert "2 cells hold an error such as #N/A and read empty: A2, B2" in read(path).notes[1]
    assert "1 cells hold an error such as #N/A and read empty: B3" in read(path_of_texts).notes[0]


def test_empty_rows_and_columns_around_a_sheet_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(spreadsheet([[], [None, "id", "text"], [None, "1", "a"], [], [None, "2", "b", None, "note"]]))
    table = read(path)
    assert table.table.to_pylist() == [
        {"id": "1", "text": "a", "column 5": None},
        {"id": "2", "text": "b", "column 5": "note"},
    ]
    assert table.row_numbers.tolist() == [3, 5]


# ---------------------------------------------------------------- progress
def test_a_long_file_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]

    def clock() -> float:
        now[0] += 3.0
        return now[0]

    monkeypatch.setattr("categorize.data.reading.progress.time.monotonic", clock)
    monkeypatch.setattr(opening, "_EVERY", 10)
    path = tmp_path / "a.csv"
    path.write_text("text\n" + "".join(f"row {i}\n" for i in range(100)))
    assert len(read_file(path)) == 100
    lines = capsys.readouterr().err.splitlines()
    assert lines and all(line.startswith(f"reading {path}: ") and "rows" in line for line in lines)
    monkeypatch.setenv("RANK", "1")
    Progress("reading a", 10).update(5, 5)
    assert capsys.readouterr().err == ""
    # What one process does for all is told whichever it is.
    progress = Progress("reading a", 10, "comments", alike=False)
    progress.advance(4, 50)
    progress.advance(1, 10)
    assert capsys.readouterr().err == "reading a: 50%, 60 comments, 10/s\n"


def test_a_short_file_is_read_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("text\nx\n")
    table: RawTable = read_file(tmp_path / "a.csv", section(tmp_path / "a.csv"))
    assert len(table) == 1
    assert capsys.readouterr().err == ""


def test_formulas_that_could_not_be_looked_for_are_said_to_be() -> None:
    (note,) = _hidden(b"no archive", "Sheet", "a.xlsx, sheet 'Sheet'")
    assert note.startswith("a.xlsx, sheet 'Sheet': formulas could not be looked for")
