"""Files of other programs: old and open spreadsheets, Stata and SPSS, fastText lines, folders of texts."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest

from categorize.data.reading.ways_out import said
from categorize.data.source import read_source
from categorize.data.splits import load_data
from categorize.data.stream import stream_rows
from categorize.recipe.data_sections import Columns, DataSection
from categorize.recipe.label_sections import LabelsSection
from tests.data.test_readers import fails, read, section, spreadsheet
from tests.data.test_tables import put, rows

Cells = list[list[Any]]
TABLE: Cells = [["id", "text", "n"], ["a", '好, "quoted"', 2], ["b", "second", 2.5], ["c", "", 3]]
READ = [
    {"id": "a", "text": '好, "quoted"', "n": "2"},
    {"id": "b", "text": "second", "n": "2.5"},
    {"id": "c", "text": None, "n": "3"},
]


# ---------------------------------------------------------------- spreadsheets
def ods(cells: Cells) -> bytes:
    """A sheet as OpenDocument writes it."""
    import html

    def cell(value: Any) -> str:
        kind = "string" if isinstance(value, str) else f'float" office:value="{value}'
        inside = f"<text:p>{html.escape(str(value))}</text:p>"
        return f'<table:table-cell office:value-type="{kind}">{inside}</table:table-cell>'

    lines = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in cells)
    names = "".join(f' xmlns:{n}="urn:oasis:names:tc:opendocument:xmlns:{n}:1.0"' for n in ("office", "table", "text"))
    body = f'<office:body><office:spreadsheet><table:table table:name="评论">{lines}</table:table>'
    content = f"<office:document-content{names}>{body}</office:spreadsheet></office:body></office:document-content>"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr("content.xml", content)
        archive.writestr("META-INF/manifest.xml", "<manifest/>")
    return out.getvalue()


def xls(cells: Cells) -> bytes:
    """A sheet as Excel 97 writes it: BIFF8 records in a compound file of one stream."""

    def record(kind: int, data: bytes) -> bytes:
        return struct.pack("<HH", kind, len(data)) + data

    def cell(r: int, c: int, value: Any) -> bytes:
        if isinstance(value, str):
            return record(0x204, struct.pack("<HHHHB", r, c, 0, len(value), 1) + value.encode("utf-16-le"))
        return record(0x203, struct.pack("<HHHd", r, c, 0, value))

    def begin(kind: int) -> bytes:
        return record(0x809, struct.pack("<HHHHII", 0x600, kind, 0, 0, 0, 0))

    def sheet(at: int) -> bytes:
        return record(0x85, struct.pack("<IBBBB", at, 0, 0, 6, 0) + b"Sheet1")

    end, code_page = record(0x0A, b""), record(0x42, struct.pack("<H", 1200))
    at = len(begin(5) + code_page + sheet(0) + end)
    inside = b"".join(cell(r, c, v) for r, row in enumerate(cells) for c, v in enumerate(row))
    book = (begin(5) + code_page + sheet(at) + end + begin(16) + inside + end).ljust(4096, b"\0")
    sectors = -(-len(book) // 512)
    book = book.ljust(512 * sectors, b"\0")

    def entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
        title = name.encode("utf-16-le") + b"\0\0"
        head = title.ljust(64, b"\0") + struct.pack("<HBBIII", len(title), kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child)
        return head + bytes(36) + struct.pack("<IQ", start, size)

    chain = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, 2 + sectors), 0xFFFFFFFE]
    table = struct.pack(f"<{len(chain)}I", *chain).ljust(512, b"\xff")
    folder = entry("Root Entry", 5, 1, 0xFFFFFFFE, 0) + entry("Workbook", 2, 0xFFFFFFFF, 2, len(book))
    header = bytes.fromhex("D0CF11E0A1B11AE1") + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack("<I", 0) + b"\xff\xff\xff\xff" * 108
    return header + table + folder.ljust(512, b"\0") + book


@pytest.mark.parametrize(("name", "write"), [("a.ods", ods), ("a.xls", xls), ("a.ods.gz", ods)])
def test_old_and_open_spreadsheets_read_as_others_do(tmp_path: Path, name: str, write: Any) -> None:
    content = write(TABLE)
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    raw = read(tmp_path / name)
    assert rows(raw) == READ and raw.row_numbers.tolist() == [2, 3, 4]
    assert any("formulas could not be looked for, which the format does not tell" in note for note in raw.notes)
    (tmp_path / "b.xls").write_text("text,label\nx,y\n")
    assert "not a readable spreadsheet" in fails(tmp_path / "b.xls")


@pytest.mark.parametrize("write", [spreadsheet, ods, xls])
def test_a_sheet_without_a_header_and_one_with_several_are_read_as_tables_are(tmp_path: Path, write: Any) -> None:
    path = tmp_path / ("a.xls" if write is xls else "a.ods" if write is ods else "a.xlsx")
    path.write_bytes(write([[1, "good day"], [0, "bad day"], [1, "no day"]]))
    assert said(header=False) in fails(path)
    raw = read(path, header=False)
    assert rows(raw)[0] == {"0": "1", "1": "good day"} and raw.row_numbers.tolist() == [1, 2, 3]
    assert rows(read(path, header=["n", "text"]))[2] == {"n": "1", "text": "no day"}
    path.write_bytes(write([["n", "text"], [1, "a"], ["n", "text"], [2, "b"]]))
    raw = read(path)
    assert [row["text"] for row in rows(raw)] == ["a", "b"] and raw.row_numbers.tolist() == [2, 4]
    assert any("the header comes again 1 time; these rows were left out" in note for note in raw.notes)


# ---------------------------------------------------------------- statistics
@pytest.mark.parametrize("form", ["dta", "sav"])
def test_codes_of_stata_and_spss_read_as_their_value_labels(tmp_path: Path, form: str) -> None:
    pyreadstat = pytest.importorskip("pyreadstat")
    import pandas

    frame = pandas.DataFrame({"answer": ["好", "bad", ""], "topic": [1.0, 2.0, None], "n": [1.5, 2.0, 3.0]})
    write = getattr(pyreadstat, f"write_{form}")
    write(frame, tmp_path / f"a.{form}", variable_value_labels={"topic": {1: "Price", 2: "Fault"}})
    raw = read(tmp_path / f"a.{form}")
    assert rows(raw) == [
        {"answer": "好", "topic": "Price", "n": "1.5"},
        {"answer": "bad", "topic": "Fault", "n": "2"},
        {"answer": None, "topic": None, "n": "3"},
    ]
    assert any("codes read as their value labels in 'topic'" in note for note in raw.notes)
    (tmp_path / f"b.{form}").write_text("text,label\nx,y\n")
    assert f"not a readable .{form} file" in fails(tmp_path / f"b.{form}")


# ---------------------------------------------------------------- fastText
LINES = (
    "__label__sauce __label__cheese How much does potato starch affect a cheese sauce?\n"
    "\n"
    '__label__food-safety Dangerous pathogens, "quoted"\n'
    "Without one\n"
    "A text with its labels behind __label__baking __label__oven\n"
    "__label__tea Why __label__is this here\n"
)


def test_lines_of_fasttext_have_labels_in_front_or_behind(tmp_path: Path) -> None:
    path = put(tmp_path, LINES, "train.txt")
    assert "set data.format: fasttext" in fails(path)
    raw = read(path, format="fasttext")
    assert [(row["label"], row["text"]) for row in rows(raw)] == [
        (["sauce", "cheese"], "How much does potato starch affect a cheese sauce?"),
        (["food-safety"], 'Dangerous pathogens, "quoted"'),
        (None, "Without one"),
        (["baking", "oven"], "A text with its labels behind"),
        (["tea"], "Why __label__is this here"),
    ]
    assert raw.row_numbers.tolist() == [1, 3, 4, 5, 6]
    assert any("1 line with '__label__' inside the text" in note for note in raw.notes)
    assert any("1 line without a label" in note for note in raw.notes)
    path = put(tmp_path, "#good fine\n#bad #ugly no\n", "other.txt")
    assert "data.label_prefix" in fails(path, format="fasttext")
    assert [row["label"] for row in rows(read(path, format="fasttext", label_prefix="#"))] == [
        ["good"],
        ["bad", "ugly"],
    ]


def test_fasttext_lines_load_and_stream(tmp_path: Path) -> None:
    path = put(tmp_path, "".join(f"__label__{'ab'[i % 2]} text {i}\n" for i in range(60)), "a.txt")
    data = section(path, format="fasttext")
    loaded = load_data(data, LabelsSection())
    assert loaded.label_set.names == ["a", "b"]
    stream = stream_rows(data, loaded.label_set)
    assert [row["gold"] for block in stream for row in block.to_pylist()] == [["a"], ["b"]] * 30


# ---------------------------------------------------------------- texts
def texts(folder: Path, count: int = 40) -> Path:
    for i in range(count):
        name = folder / "train" / ("pos" if i % 2 else "neg") / f"{i:03}_7.txt"
        name.parent.mkdir(parents=True, exist_ok=True)
        name.write_text(f"review {i}\n第二行", encoding="utf-8")
    return folder / "train"


def test_a_folder_of_texts_is_a_document_each_and_its_folders_are_labels(tmp_path: Path) -> None:
    folder = texts(tmp_path)
    message = fails(folder)
    assert "is a folder with 40 text files in 'neg', 'pos'; set data.format: text" in message
    for source in (folder, folder / "*" / "*.txt"):
        raw = read(source, format="text")
        assert len(raw) == 40
        assert rows(raw)[0] == {"file": "neg/000_7.txt", "folder": "neg", "text": "review 0\n第二行"}
        assert any("40 documents of 2 folders" in note for note in raw.notes)
    message = fails(folder / "*" / "*.txt")
    assert said(format="text") in message and said(format="transcript") in message
    data = DataSection(source=str(folder), format="text", columns=Columns(id="file", label="folder"))
    loaded = load_data(data, LabelsSection())
    assert loaded.label_set.names == ["neg", "pos"]
    stream = stream_rows(data, loaded.label_set)
    assert [row["id"] for block in stream for row in block.to_pylist()][:2] == ["neg/000_7.txt", "neg/002_7.txt"]
    assert stream.done() == 1.0 and len(stream.digest()) == 32


def test_a_file_of_text_is_read_as_the_message_says(tmp_path: Path) -> None:
    path = put(tmp_path, "first line\nsecond, line\n", "a.txt")
    message = fails(path)
    a_line: dict[str, Any] = {"format": "tsv", "header": ["text"], "quoting": False}
    assert said(format="text") in message and said(**a_line) in message
    assert rows(read(path, format="text"))[0]["text"] == "first line\nsecond, line\n"
    assert [row["text"] for row in rows(read(path, **a_line))] == ["first line", "second, line"]
    path = put(tmp_path, "label\ttext\npos\tgood\n", "b.txt")
    assert said(format="tsv") in fails(path)
    assert rows(read(path, format="tsv")) == [{"label": "pos", "text": "good"}]


def test_texts_of_another_encoding_and_empty_ones_are_told(tmp_path: Path) -> None:
    folder = texts(tmp_path)
    (folder / "pos" / "empty.txt").write_text("")
    (folder / "pos" / "old.txt").write_bytes("这个很好看".encode("gb18030"))
    message = fails(folder, format="text")
    assert "old.txt" in message and said(encoding="gb18030") in message
    (folder / "pos" / "old.txt").unlink()
    raw = read_source(section(folder, format="text")).tables["all"]
    assert raw.table["text"].null_count == 1
