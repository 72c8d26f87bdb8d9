"""Delimited files as people have them: without a header, with other separators, with quotation marks in the text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from categorize.data.reading.raw import RawTable
from categorize.data.reading.ways_out import said
from categorize.data.source import read_source
from categorize.recipe.data_sections import DataSection
from tests.data.test_readers import fails, read


def rows(raw: RawTable) -> list[dict[str, Any]]:
    return list(raw.table.to_pylist())


def put(tmp_path: Path, content: str, name: str = "a.csv") -> Path:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8", newline="")
    return path


# ---------------------------------------------------------------- headers
HEADERLESS = {
    "numbers": '3,"Wall St. Bears","Short-sellers are seeing green"\n4,"Oil, again","Prices soar"\n1,"Vote","Polls"\n',
    "twice": "0,0,so sad today\n1,0,what a day\n0,4,fine\n",
    "words": "ham,ok\nspam,win\nham,later\nham,lol\nspam,free\nham,where\n",
    "texts": "pos,The best film that I have seen in a very long time indeed\nneg,Bad\n",
    "dates": "2011-04-06 22:19,switch\n2011-04-07 10:00,off\n2011-04-08 11:30,again\n",
}


@pytest.mark.parametrize("kind", list(HEADERLESS))
def test_a_file_without_a_header_is_refused_and_read_as_the_message_says(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path, HEADERLESS[kind])
    message = fails(path)
    assert "data.header: false" in message and "rename" not in message
    raw = read(path, header=False)
    assert len(raw) == HEADERLESS[kind].count("\n") and raw.table.column_names[:2] == ["0", "1"]
    assert raw.row_numbers[0] == 1
    names = ["label", "title", "body"][: len(raw.table.column_names)]
    assert rows(read(path, header=names))[0] == dict(zip(names, rows(raw)[0].values(), strict=True))
    if kind != "twice":  # two columns of one name cannot be
        assert len(read(path, header=True)) == len(raw) - 1


@pytest.mark.parametrize(
    "content",
    ["2019,2020,text\n1,2,good day\n3,4,bad day\n", "How do you feel about this product all in all?,n\nwell,1\nbad,2\n",
     "pos,neg\na,b\n", "id,text\n1,a\n2,b\n", ",text\n0,a\n1,b\n"],
)  # fmt: skip
def test_a_header_that_is_one_is_not_doubted(tmp_path: Path, content: str) -> None:
    assert len(read(put(tmp_path, content))) == content.count("\n") - 1


def test_given_names_must_fit_and_a_header_of_these_names_is_no_row(tmp_path: Path) -> None:
    path = put(tmp_path, "0,a\n1,b\n")
    assert "names 3 columns, row 1 has 2 cells" in fails(path, header=["x", "y", "z"])
    path = put(tmp_path, "label,text\n0,a\n")
    assert rows(read(path, header=["label", "text"])) == [{"label": "0", "text": "a"}]


def test_columns_without_a_name_are_called_by_their_place(tmp_path: Path) -> None:
    path = put(tmp_path, 'v1,v2,,\nham,ok,,\nspam,"two", four,\nham,short\n')
    raw = read(path)
    assert raw.table.column_names == ["v1", "v2", "column 3"]  # the fourth holds nothing
    assert [row["column 3"] for row in rows(raw)] == [None, " four", None]
    assert any("called by their place: 'column 3'" in note for note in raw.notes)
    path = put(tmp_path, ",text\n0,a\n1,b\n")
    assert read(path).table.column_names == ["column 1", "text"]


def test_a_header_that_comes_again_is_left_out_and_counted(tmp_path: Path) -> None:
    path = put(tmp_path, "text,label\na,x\ntext,label\nb,y\ntext,label\n")
    raw = read(path)
    assert [row["text"] for row in rows(raw)] == ["a", "b"] and raw.row_numbers.tolist() == [2, 4]
    assert any("the header comes again 2 times; these rows were left out" in note for note in raw.notes)
    assert len(read(put(tmp_path, "text\na\ntext\n"))) == 2  # one cell may well be a text


# ---------------------------------------------------------------- separators
@pytest.mark.parametrize("delimiter", [";", "|", "\t", "^"])
def test_any_character_separates(tmp_path: Path, delimiter: str) -> None:
    content = f'id{delimiter}text\n1{delimiter}a, b\n2{delimiter}"c{delimiter}\nd"\n'
    raw = read(put(tmp_path, content), delimiter=delimiter)
    assert rows(raw) == [{"id": "1", "text": "a, b"}, {"id": "2", "text": f"c{delimiter}\nd"}]


@pytest.mark.parametrize(
    ("name", "content", "way"),
    [
        ("a.csv", "id;text\n1;a\n", {"delimiter": ";"}),
        ("a.csv", "id|text\n1|a\n", {"delimiter": "|"}),
        ("a.csv", "id\ttext\n1\ta\n", {"format": "tsv"}),
        ("a.tsv", "id,text\n1,a\n", {"format": "csv"}),
        ("a.tsv", "id;text\n1;a\n", {"delimiter": ";"}),
    ],
)
def test_another_separator_is_named_and_read_as_the_message_says(
    tmp_path: Path, name: str, content: str, way: dict[str, Any]
) -> None:
    path = put(tmp_path, content, name)
    assert said(**way) in fails(path)
    assert rows(read(path, **way)) == [{"id": "1", "text": "a"}]


def test_a_header_with_a_separator_may_be_one_column(tmp_path: Path) -> None:
    path = put(tmp_path, "text; as sent\na\n")
    assert 'data.delimiter: ","' in fails(path)
    assert rows(read(path, delimiter=",")) == [{"text; as sent": "a"}]


def test_the_line_that_names_the_separator_is_understood(tmp_path: Path) -> None:
    raw = read(put(tmp_path, "sep=;\r\nid;text\r\n1;a\r\n"))
    assert rows(raw) == [{"id": "1", "text": "a"}] and raw.row_numbers.tolist() == [3]
    assert any("the first line names the separator ';'" in note for note in raw.notes)


def test_a_row_of_another_width_speaks_of_its_own_separator(tmp_path: Path) -> None:
    message = fails(put(tmp_path, "id\ttext\n1\ta\tb\n", "a.tsv"))
    assert "row 2 has 3 cells, the header has 2" in message and "a tab" in message and "comma" not in message
    private = "something that nobody else should read " * 5
    message = fails(put(tmp_path, f"id,text\n{private},b,c\n"))
    assert private not in message and "something that" in message


# ---------------------------------------------------------------- quotation marks
def test_rows_between_two_cells_with_a_quotation_mark_do_not_vanish(tmp_path: Path) -> None:
    content = 'label\ttext\npos\t"Great\nneg\tBad\nneg\tworse\npos\tgood"\nneg\tno\n'
    raw = read(put(tmp_path, content, "a.tsv"))
    assert [row["text"] for row in rows(raw)] == ['"Great', "Bad", "worse", 'good"', "no"]
    assert any(
        "3 rows less, such as those of lines 2 to 5" in note and "data.quoting: true" in note for note in raw.notes
    )
    assert len(read(put(tmp_path, content, "a.tsv"), quoting=True)) == 2
    raw = read(put(tmp_path, content.replace("\t", ";")), delimiter=";")
    assert len(raw) == 5 and raw.notes


def test_a_csv_in_which_quotation_marks_may_have_swallowed_rows_says_so(tmp_path: Path) -> None:
    content = 'label,text\npos,fine\npos,"Great\nneg,Bad\npos,good"\nneg,no\n'
    raw = read(put(tmp_path, content))
    assert len(raw) == 3
    assert any("1 row of several lines (rows 3)" in note and "data.quoting: false" in note for note in raw.notes)
    assert len(read(put(tmp_path, content), quoting=False)) == 5
    letter = 'label,text\npos,fine\npos,"Dear sir,\nthank you, but no,\nyours"\n'
    assert read(put(tmp_path, letter)).notes == ()


def test_quoted_cells_of_a_tsv_are_read_as_such(tmp_path: Path) -> None:
    raw = read(put(tmp_path, 'label\ttext\npos\t"a ""b""\nc"\nneg\te\n', "a.tsv"))
    assert [row["text"] for row in rows(raw)] == ['a "b"\nc', "e"] and raw.notes == ()
    raw = read(put(tmp_path, 'label\ttext\npos\t"a ""b""\nc\td"\nneg\te\n', "a.tsv"))
    assert [row["text"] for row in rows(raw)] == ['a "b"\nc\td', "e"]
    assert any("which gives 1 rows less, such as those of lines 2 to 3" in note for note in raw.notes)
    raw = read(put(tmp_path, 'label\ttext\npos\t"Great"\nneg\te\n', "a.tsv"))
    assert [row["text"] for row in rows(raw)] == ["Great", "e"]
    assert any("data.quoting: false keeps them" in note for note in raw.notes)
    assert rows(read(put(tmp_path, 'label\ttext\npos\t"Great"\n', "a.tsv"), quoting=False))[0]["text"] == '"Great"'


def test_an_open_quotation_mark_names_the_key_that_reads_it(tmp_path: Path) -> None:
    assert "data.quoting" not in fails(put(tmp_path, 'label,text\npos,"Great, or\nneg,Bad\n'))  # it would not help
    path = put(tmp_path, 'label,text\npos,"Great\nneg,Bad\n')
    assert "set data.quoting: false" in fails(path)
    assert [row["text"] for row in rows(read(path, quoting=False))] == ['"Great', "Bad"]


# ---------------------------------------------------------------- JSON
def test_an_object_around_a_list_is_looked_into(tmp_path: Path) -> None:
    path = put(tmp_path, '{"version": 1, "data": {"items": [{"text": "a"}, {"text": "b"}]}}', "a.json")
    raw = read(path)
    assert [row["text"] for row in rows(raw)] == ["a", "b"]
    assert any("data.records: data.items; other keys of the object, not read: 'version'" in note for note in raw.notes)
    assert read(path, records="data.items").notes == ()


def test_several_lists_are_named_and_one_is_chosen(tmp_path: Path) -> None:
    path = put(tmp_path, '{"job": "7", "good": [{"text": "a"}], "bad": [{"text": "b"}, {"text": "c"}]}', "a.json")
    message = fails(path)
    assert "data.records: good (1 object), data.records: bad (2 objects)" in message and "jsonl" not in message
    assert len(read(path, records="bad")) == 2
    assert "no list of objects under data.records: worse" in fails(path, records="worse")


@pytest.mark.parametrize(
    "content", ['{"job": "7", "results": ["a"]}', '{\n"job": "7"\n}', '{"text": {"0": "a"}, "label": {"0": "x"}}']
)
def test_an_object_without_rows_gets_no_advice_that_reads_its_metadata(tmp_path: Path, content: str) -> None:
    message = fails(put(tmp_path, content, "a.json"))
    assert "jsonl" not in message and "the file is one object with the keys" in message


def test_json_of_another_kind_is_advised_only_where_that_reads_it(tmp_path: Path) -> None:
    path = put(tmp_path, '{"text": "a"}', "a.json")
    assert "set data.format: jsonl" in fails(path)
    assert rows(read(path, format="jsonl")) == [{"text": "a"}]
    path = put(tmp_path, '{\n"text": "a"}\n{\n"text": "b"}\n', "a.json")
    assert "jsonl" not in fails(path)
    path = put(tmp_path, '{\n"data": [{"text": "a"}]}\n', "a.jsonl")
    assert "set data.format: json" in fails(path)
    assert rows(read(path, format="json")) == [{"text": "a"}]
    assert "data.format" not in fails(put(tmp_path, '["a", "b"]\n["c", "d"]\n', "a.jsonl"))


def test_a_line_that_is_one_object_around_lists_is_told(tmp_path: Path) -> None:
    raw = read(put(tmp_path, '{"job": "7", "results": [{"text": "a"}, {"text": "b"}]}\n', "a.jsonl"))
    assert any("results (2)" in note and "data.format: json" in note for note in raw.notes)
    assert len(read(tmp_path / "a.jsonl", format="json")) == 2


# ---------------------------------------------------------------- encodings
def test_an_encoding_is_offered_only_where_it_makes_sense(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text, encoding in (
        ("Das Mädchen, schön und grün; déjà vu", "cp1252"),
        ("naïve café", "cp1252"),
        ("这个电影很好看", "gb18030"),
        ("這個電影很好看，我喜歡", "big5"),
    ):
        path.write_bytes(f'text\n"{text}"\n'.encode(encoding))
        assert said(encoding=encoding) in fails(path)
        assert rows(read(path, encoding=encoding)) == [{"text": text}]
    path.write_bytes("text\nПривет, мир\n".encode("cp1251"))
    message = fails(path)
    assert "gb18030" not in message and "cp1252" not in message and "name its data.encoding" in message


def test_broken_bytes_in_good_text_are_replaced_when_told_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    good = "text\n很好看\n不错\n".encode()
    path.write_bytes(good + "好好".encode()[:-1] + b"\nok\n" + "好".encode()[:2] + b"\xff\n")
    message = fails(path)
    assert "3 broken characters in 2 lines (4, 6)" in message and "set data.encoding_errors: replace" in message
    raw = read(path, encoding_errors="replace")
    assert [row["text"] for row in rows(raw)] == ["很好看", "不错", "好\ufffd", "ok", "\ufffd\ufffd"]
    assert any("3 broken characters in 2 lines (4, 6) became U+FFFD" in note for note in raw.notes)
    path.write_bytes("text\n\ufffd 是原来的\n".encode())  # one that was there is not counted
    assert read(path, encoding_errors="replace").notes == ()


def test_the_way_out_of_an_encoding_is_tried_in_a_recipe(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "' + "很好很好".encode() + b'\xe5"}\n')
    source = DataSection.model_validate({"source": str(path), "encoding_errors": "replace"})
    assert read_source(source).tables["all"].table["text"].to_pylist() == ["很好很好\ufffd"]
