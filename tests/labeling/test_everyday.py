"""A file labelled by a run without a recipe: its own columns come back as they were, labels stand behind them."""

from __future__ import annotations

import csv
import datetime
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize import load_predictor
from categorize.errors import UserError
from categorize.labeling import everyday
from tests.data.test_readers import spreadsheet
from tests.labeling.students import WORDS, write_rows

Student = Callable[[str], Path]
TEXTS = ["好看 喜欢", "难看 讨厌 awful", "", "=1+1 great", "奇怪 strange 嗯"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def label(run: Path, *arguments: str) -> int:
    return everyday.main(["--run", str(run), *arguments])


def fails(capsys: pytest.CaptureFixture[str], run: Path, *arguments: str) -> str:
    capsys.readouterr()
    assert label(run, *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


def read_csv(path: str) -> list[list[str]]:
    content = Path(path).read_bytes()
    content = gzip.decompress(content) if path.endswith(".gz") else content
    return list(csv.reader(io.StringIO(content.decode("utf-8-sig"), newline="")))


def cells(path: str) -> list[list[Any]]:
    book = openpyxl.load_workbook(path)
    return [[cell.value for cell in row] for row in book.active.iter_rows()]


def expected(run: Path, texts: list[str]) -> tuple[list[str], list[float]]:
    found = load_predictor(str(run)).predict_texts(texts)
    assert found.decided is not None and found.probabilities is not None
    return [names[0] for names in found.decided], np.round(found.probabilities.max(axis=1), 6).tolist()


# ---------------------------------------------------------------- what comes back
def test_a_sheet_comes_back_with_its_cells_as_they_were_and_labels_behind(student: Student) -> None:
    day, moment = datetime.datetime(2024, 5, 1), datetime.datetime(2024, 5, 1, 12, 30)
    rows = [
        ["编号", "text", "天", "count", "ok", "share"],
        ["007", TEXTS[0], day, 3, True, 0.25],
        ["008", TEXTS[1], moment, None, False, 1e-9],
        [None] * 6,
        [123456789012345, None, None, -2.5, None, 7],
        ["010", TEXTS[4], "2024-05-01", 4, True, 1],
    ]
    Path("new.xlsx").write_bytes(spreadsheet(rows, "评论"))
    before = Path("new.xlsx").read_bytes()
    assert label(student("single"), "new.xlsx", "--output", "out.xlsx") == 0
    found = cells("out.xlsx")
    assert found[0] == [*rows[0], "label", "code", "probability", "valid"]
    assert [row[:6] for row in found] == rows, "a blank row keeps its place"
    names, chances = expected(student("single"), [TEXTS[0], TEXTS[1], "", TEXTS[4]])
    labelled = [found[i] for i in (1, 2, 4, 5)]
    assert [row[6] for row in labelled] == names and [row[8] for row in labelled] == chances
    assert [row[7] for row in labelled] == [{"good": "0", "bad": "1", "odd": "odd"}[name] for name in names]
    assert [row[9] for row in labelled] == ["true"] * 4 and found[3] == [None] * 10
    assert Path("new.xlsx").read_bytes() == before
    assert [path.name for path in Path().iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("form", ["csv", "csv.gz", "tsv", "xlsx"])
def test_texts_of_a_csv_stay_texts_with_leading_zeros_blank_rows_and_formulas(student: Student, form: str) -> None:
    rows = [["id", "text", "n"], *([f"00{i}", text, "1,50"] for i, text in enumerate(TEXTS))]
    rows[3:3] = [[]]
    with Path("new.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    assert label(student("single"), "new.csv", "--output", f"out.{form}") == 0
    if form == "xlsx":
        book = openpyxl.load_workbook("out.xlsx").active
        assert {cell.data_type for row in book.iter_rows(max_col=3, min_row=2) for cell in row} <= {
            "s",
            "inlineStr",
            "n",
        }
        assert book["B6"].value == "=1+1 great" and book["B6"].data_type in ("s", "inlineStr")
        found = [[str(cell) if cell is not None else "" for cell in row] for row in cells("out.xlsx")]
        found = [row if any(row) else [] for row in found]
    elif form == "tsv":
        found = list(csv.reader(Path("out.tsv").read_text(encoding="utf-8-sig").splitlines(), delimiter="\t"))
    else:
        found = read_csv(f"out.{form}")
    assert [row[:3] for row in found] == rows
    names, chances = expected(student("single"), TEXTS)
    labelled = [row for row in found[1:] if row]
    assert [row[3] for row in labelled] == names and [float(row[5]) for row in labelled] == chances


def test_json_lines_come_back_letter_for_letter(student: Student) -> None:
    lines = [
        '{"id": 12345678901234567890, "text": "好看", "x": [1.10, {"a": null}]}',
        '{ "text" : "难看 \\u8ba8" , "late": 1e5 }',
        '{"text": null}',
    ]
    Path("new.jsonl").write_text("\n".join([lines[0], "", *lines[1:]]))
    assert label(student("single"), "new.jsonl", "--output", "out.jsonl.gz") == 0
    found = gzip.decompress(Path("out.jsonl.gz").read_bytes()).decode().splitlines()
    names, chances = expected(student("single"), ["好看", "难看 讨", ""])
    for line, own, name, chance in zip(found, lines, names, chances, strict=True):
        assert line.startswith(own[:-1].strip())
        new = dict(list(json.loads(line).items())[-4:])
        assert new == {
            "label": name,
            "code": {"good": "0", "bad": "1"}.get(name, name),
            "probability": chance,
            "valid": True,
        }


def test_parquet_keeps_its_types(student: Student) -> None:
    table = pa.table({
        "id": pa.array([1, 2**60], pa.int64()),
        "text": ["好看", None],
        "when": pa.array([datetime.datetime(2024, 5, 1, 1, 2, 3), None], pa.timestamp("us")),
        "tags": [["a"], []],
        "s": [{"k": 1}, None],
    })  # fmt: skip
    pq.write_table(table, "new.parquet")
    assert label(student("multi"), "new.parquet", "--output", "out.parquet") == 0
    found = pq.read_table("out.parquet")
    assert found.select(table.column_names).equals(table)
    assert found.column_names[5:] == ["label", "probability", "valid"]
    predicted = load_predictor(str(student("multi"))).predict_texts(["好看", ""])
    assert found["label"].to_pylist() == [list(names) for names in predicted.decided or []]
    assert label(student("multi"), "new.parquet", "--output", "out.xlsx") == 0
    assert cells("out.xlsx")[1:3] == [
        [1, "好看", datetime.datetime(2024, 5, 1, 1, 2, 3), '["a"]', '{"k": 1}', *cells("out.xlsx")[1][5:]],
        [str(2**60), None, None, "[]", None, *cells("out.xlsx")[2][5:]],
    ]
    assert label(student("multi"), "new.parquet", "--output", "out.jsonl") == 0
    first = json.loads(Path("out.jsonl").read_text().splitlines()[0])
    assert first["id"] == 1 and first["tags"] == ["a"] and first["when"] == "2024-05-01T01:02:03"


def test_several_labels_are_joined_with_their_probabilities_and_a_score_is_a_number(student: Student) -> None:
    texts = ["好看 great", "难看 strange", "嗯 odd 奇怪", "x"]
    write_rows(Path("new.csv"), ["text"], [[text] for text in texts])
    assert label(student("multi"), "new.csv", "--output", "multi.csv") == 0
    found = read_csv("multi.csv")
    assert found[0] == ["text", "label", "probability", "valid"]
    predicted = load_predictor(str(student("multi"))).predict_texts(texts)
    assert predicted.decided is not None and predicted.probabilities is not None
    assert [row[1] for row in found[1:]] == [";".join(names) for names in predicted.decided]
    for row, names, chances in zip(found[1:], predicted.decided, predicted.probabilities, strict=True):
        shown = [chances[list(WORDS).index(name)] for name in names]
        assert [float(one) for one in row[2].split(";") if one] == pytest.approx(shown, abs=1e-6)
    assert label(student("score"), "new.csv", "--output", "score.csv") == 0
    found = read_csv("score.csv")
    scores = load_predictor(str(student("score"))).predict_texts(texts).score
    assert found[0] == ["text", "score", "valid"] and scores is not None
    assert [float(row[1]) for row in found[1:]] == scores.tolist()


def test_a_column_of_the_input_that_is_called_label_keeps_its_name(student: Student) -> None:
    write_rows(Path("new.csv"), ["text", "label", "predicted_label"], [["好看", "old", "older"]])
    assert label(student("single"), "new.csv", "--output", "out.csv") == 0
    assert read_csv("out.csv")[0] == [
        "text", "label", "predicted_label", "predicted_label_", "code", "probability", "valid",
    ]  # fmt: skip
    assert read_csv("out.csv")[1][:3] == ["好看", "old", "older"]


def test_blocks_are_labelled_as_one_and_memory_does_not_hold_the_file(
    student: Student, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("categorize.data.reading.raw._BATCH", 7)
    texts = [f"{TEXTS[i % 5]} {i}" for i in range(40)]
    write_rows(Path("new.csv"), ["text"], [[text] for text in texts])
    assert label(student("single"), "new.csv", "--output", "out.csv") == 0
    names, chances = expected(student("single"), texts)
    found = read_csv("out.csv")[1:]
    assert [row[1] for row in found] == names and [float(row[3]) for row in found] == chances


def test_what_was_labelled_is_counted_and_empty_texts_are_told(
    student: Student, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(Path("new.csv"), ["text", "x"], [[text, "y"] for text in TEXTS])
    assert label(student("single"), "new.csv", "--output", "out.csv") == 0
    names, _ = expected(student("single"), TEXTS)
    shown = capsys.readouterr().out
    assert "out.csv: 5 rows labelled by" in shown and "1 row with an empty text" in shown
    assert all(f"{name} {names.count(name)}" in shown for name in set(names))


# ---------------------------------------------------------------- what is refused
def test_the_text_column_may_have_another_name_and_one_that_is_missing_is_told_with_those_there(
    student: Student, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(Path("new.csv"), ["编号", "评论"], [["1", "好看"]])
    line = fails(capsys, student("single"), "new.csv", "--output", "out.csv")
    assert "new.csv has no column 'text'" in line and "columns: '编号', '评论'" in line and "--text COLUMN" in line
    assert "no column 'comment'" in fails(
        capsys, student("single"), "new.csv", "--output", "o.csv", "--text", "comment"
    )
    assert not Path("out.csv").exists()
    assert label(student("single"), "new.csv", "--output", "out.csv", "--text", "评论") == 0
    assert read_csv("out.csv")[1][:3] == ["1", "好看", expected(student("single"), ["好看"])[0][0]]


def test_neither_the_input_nor_unasked_another_file_is_overwritten(
    student: Student, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rows(Path("new.csv"), ["text"], [["好看"]])
    before = Path("new.csv").read_bytes()
    Path("other.csv").symlink_to("new.csv")
    for output in ("new.csv", "./new.csv", "other.csv"):
        assert "is the input" in fails(capsys, student("single"), "new.csv", "--output", output, "--overwrite")
    assert Path("new.csv").read_bytes() == before
    Path("out.csv").write_text("mine")
    assert "out.csv is there; name another file, or replace it with --overwrite" in fails(
        capsys, student("single"), "new.csv", "--output", "out.csv"
    )
    assert Path("out.csv").read_text() == "mine"
    assert label(student("single"), "new.csv", "--output", "out.csv", "--overwrite") == 0
    assert len(read_csv("out.csv")) == 2


def test_a_file_that_breaks_half_way_leaves_nothing(student: Student, capsys: pytest.CaptureFixture[str]) -> None:
    Path("new.csv").write_text("text,x\n" + "好看,1\n" * 20_000 + "one cell\n")
    Path("out.csv").write_text("mine")
    line = fails(capsys, student("single"), "new.csv", "--output", "out.csv", "--overwrite")
    assert "row 20002 has 1 cells" in line
    assert Path("out.csv").read_text() == "mine"
    assert sorted(path.name for path in Path().iterdir()) == ["new.csv", "out.csv"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["new.csv"], "--output is missing; name the file to write: --output labelled.csv"),
        (["--output", "out.csv"], "no file to label"),
        (["new.csv", "b.csv", "--output", "out.csv"], "2 files to label; name one"),
        (["new.csv", "--output", "out.txt"], "--output: out.txt: name it .csv, .tsv, .xlsx, .jsonl, .parquet"),
        (["new.csv", "--output", "out.xlsx.gz"], "--output: out.xlsx.gz: name it"),
        (["nev.csv", "--output", "out.csv"], "FILE: nev.csv: no such file; did you mean new.csv?"),
        (["new.csv", "--output", "out.csv", "--dry-run"], "unrecognized arguments: --dry-run"),
    ],
)
def test_a_wrong_command_is_one_line(
    student: Student, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    write_rows(Path("new.csv"), ["text"], [["好看"]])
    assert message in fails(capsys, student("single"), *arguments)


def test_a_run_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(Path("new.csv"), ["text"], [["好看"]])
    assert "outputs/none" in fails(capsys, Path("outputs/none"), "new.csv", "--output", "out.csv")


def test_an_output_without_a_run_says_what_is_missing() -> None:
    command = ["new.csv", "--output=out.csv"]
    assert everyday.is_everyday(command) and not everyday.is_everyday(["recipes/mine.yaml", "--dry-run"])
    with pytest.raises(UserError, match=r"--run is missing; name the run .*; a recipe names its output by output_dir"):
        everyday.parse(command)


def test_the_script_tells_a_run_from_a_recipe(student: Student, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import runpy

    write_rows(Path("new.csv"), ["text"], [["好看"]])
    arguments = ["run_label.py", "new.csv", f"--run={student('single')}", "--output", "out.csv"]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as left:
        runpy.run_path(str(root / "run_label.py"), run_name="__main__")
    assert left.value.code == 0 and len(read_csv("out.csv")) == 2


def test_a_file_is_labelled_as_the_message_that_refuses_it_says(
    student: Student, capsys: pytest.CaptureFixture[str]
) -> None:
    run = student("single")
    Path("new.csv").write_text(f"sep=;\r\nid;text\r\n1;{TEXTS[0]}\r\n2;{TEXTS[1]}\r\n", encoding="utf-8")
    assert label(run, "new.csv", "--output", "out.csv") == 0
    assert [row[:2] for row in read_csv("out.csv")] == [["id", "text"], ["1", TEXTS[0]], ["2", TEXTS[1]]]
    Path("bare.csv").write_text(f"5,{TEXTS[0]}\n6,{TEXTS[1]}\n7,{TEXTS[4]}\n", encoding="utf-8")
    assert "set data.header: false" in fails(capsys, run, "bare.csv", "--output", "bare_out.csv")
    given = ("bare.csv", "data.header=false", "--text", "1", "--output", "bare_out.csv")
    assert label(run, *given) == 0
    found = read_csv("bare_out.csv")
    assert [row[:2] for row in found] == [["0", "1"], ["5", TEXTS[0]], ["6", TEXTS[1]], ["7", TEXTS[4]]]
    assert [row[2] for row in found[1:]] == expected(run, [TEXTS[0], TEXTS[1], TEXTS[4]])[0]
    assert "does not say how a file is read" in fails(capsys, run, "new.csv", "data.dedupe=exact", "--output", "x.csv")
    objects = [{"text": text, "n": i} for i, text in enumerate(TEXTS[:2])]
    Path("new.json").write_text(json.dumps({"version": 1, "rows": objects}), encoding="utf-8")
    assert label(run, "new.json", "--output", "out.jsonl") == 0
    lines = [json.loads(line) for line in Path("out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [{key: line[key] for key in ("text", "n")} for line in lines] == objects
