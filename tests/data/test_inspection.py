"""`python -m categorize.data FILE`: any file is looked at, and the recipe to start from reads it."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize.data import __main__ as command
from categorize.data.inspection.look import look
from categorize.data.splits import load_recipe_data
from categorize.methods.registry import METHODS
from tests.data.test_forms import ods, xls
from tests.data.test_readers import spreadsheet
from tests.data.test_shaping import ANSWERS, TASKS
from tests.recipes import load_recipe

main = partial(command.main, METHODS)
COUNT = 90
TEXTS = [f"this is what person {i} wrote, and it is about {['price', 'fault', 'praise'][i % 3]}" for i in range(COUNT)]
TOPICS = ["Price", "Fault", "Praise"]
PLAIN: list[list[Any]] = [["nr", "comment", "topic"], *([i, TEXTS[i], TOPICS[i % 3]] for i in range(COUNT))]
OBJECTS = [dict(zip(("nr", "comment", "topic"), row, strict=True)) for row in PLAIN[1:]]


def lines(separator: str, quote: str = '"', header: bool = True) -> bytes:
    cells = ([str(row[0]), f"{quote}{row[1]}{quote}", str(row[2])] for row in (PLAIN if header else PLAIN[1:]))
    return ("\n".join(separator.join(row) for row in cells) + "\n").encode()


def parquet(objects: list[dict[str, Any]]) -> bytes:
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(objects), out)
    return bytes(out.getvalue().to_pybytes())


def statistics(form: str) -> bytes:
    pyreadstat = pytest.importorskip("pyreadstat")
    import pandas

    path = Path(f"made.{form}")
    frame = pandas.DataFrame({"comment": TEXTS, "topic": [1.0 + i % 3 for i in range(COUNT)]})
    labels = {"topic": {1.0 + i: topic for i, topic in enumerate(TOPICS)}}
    getattr(pyreadstat, f"write_{form}")(frame, path, variable_value_labels=labels)
    return path.read_bytes()


USUAL = {"id": "nr", "text": "comment", "label": "topic"}
HOT = [{"nr": i, "comment": TEXTS[i], "toxic": i % 2, "threat": int(i % 3 == 0)} for i in range(COUNT)]
FILES: dict[str, tuple[Any, dict[str, Any], list[str]]] = {
    "plain.csv": (lambda: lines(","), USUAL, TOPICS),
    "semicolons.csv": (lambda: b"sep=;\r\n" + lines(";"), USUAL, TOPICS),
    "bars.csv": (lambda: lines("|"), USUAL, TOPICS),
    "headerless.csv": (lambda: lines(",", header=False), {"id": "0", "text": "1", "label": "2"}, TOPICS),
    "old.csv": (lambda: b"nr,comment,topic\n" + "".join(
        f"{i},第{i}个人说这个很好看,{'好坏'[i % 2]}\n" for i in range(COUNT)).encode("gb18030"), USUAL, ["好", "坏"]),
    "unnamed.csv": (lambda: b",comment,topic\n" + lines(",", header=False),
                    {"id": "column 1", "text": "comment", "label": "topic"}, TOPICS),
    "plain.tsv": (lambda: lines("\t", quote=""), USUAL, TOPICS),
    "marks.tsv": (lambda: lines("\t", quote="").replace(b"\tthis is what person 3", b'\t"this is what person 3'),
                  USUAL, TOPICS),
    "plain.json": (lambda: json.dumps(OBJECTS).encode(), USUAL, TOPICS),
    "wrapped.json": (lambda: json.dumps({"version": 1, "data": OBJECTS}).encode(), USUAL, TOPICS),
    "two.json": (lambda: json.dumps({"rows": OBJECTS, "users": [{"name": "a"}]}).encode(), USUAL, TOPICS),
    "plain.jsonl": (lambda: "\n".join(map(json.dumps, OBJECTS)).encode(), USUAL, TOPICS),
    "tasks.json": (lambda: json.dumps(TASKS).encode(),
                   {"id": "id", "text": "data.text", "label": "annotations.0.result.0.value.choices"}, ["bad", "good"]),
    "answers.jsonl": (lambda: "\n".join(map(json.dumps, ANSWERS)).encode(),
                      {"id": "custom_id", "text": "response.body.choices.0.message.content", "label": "n"}, ["0", "1"]),
    "nested.parquet": (lambda: parquet(TASKS),
                       {"id": "id", "text": "data.text", "label": "annotations.0.result.0.value.choices"},
                       ["bad", "good"]),
    "hot.jsonl": (lambda: "\n".join(map(json.dumps, HOT)).encode(),
                  {"id": "nr", "text": "comment", "label": ["toxic", "threat"]}, ["threat", "toxic"]),
    "several.csv": (lambda: ("comment,tags\n" + "".join(
        f'"{TEXTS[i]}",{["a|b", "a", "b"][i % 3]}\n' for i in range(COUNT))).encode(),
        {"text": "comment", "label": "tags"}, ["a", "b"]),
    "plain.xlsx": (lambda: spreadsheet(PLAIN), USUAL, TOPICS),
    "plain.ods": (lambda: ods(PLAIN), USUAL, TOPICS),
    "plain.xls": (lambda: xls(PLAIN), USUAL, TOPICS),
    "codes.dta": (lambda: statistics("dta"), {"text": "comment", "label": "topic"}, TOPICS),
    "codes.sav": (lambda: statistics("sav"), {"text": "comment", "label": "topic"}, TOPICS),
    "lines.txt": (lambda: "".join(f"__label__{TOPICS[i % 3]} {TEXTS[i]}\n" for i in range(COUNT)).encode(),
                  {"text": "text", "label": "label"}, TOPICS),
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", list(FILES))
def test_the_recipe_to_start_from_reads_the_file_as_it_is(name: str, folder: Path) -> None:
    make, columns, labels = FILES[name]
    Path(name).write_bytes(make())
    assert main([name, "--recipe", "recipes/mine.yaml"]) == 0
    recipe = load_recipe("recipes/mine.yaml").recipe
    given = recipe.data.columns.model_dump(exclude_defaults=True)
    assert {"text": "text", "label": "label", **given} == columns
    data = load_recipe_data(recipe, write=False)
    assert sorted(data.label_set.names) == sorted(labels)
    rows = 60 if name.startswith(("tasks", "answers", "nested")) else COUNT
    assert data.report.rows == rows and not data.report.missing


def test_a_folder_of_texts_is_looked_at(folder: Path) -> None:
    for i, text in enumerate(TEXTS):
        path = Path("reviews") / TOPICS[i % 3] / f"{i}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert main(["reviews", "--recipe", "mine.yaml"]) == 0
    data = load_recipe_data(load_recipe("mine.yaml").recipe, write=False)
    assert sorted(data.label_set.names) == sorted(TOPICS) and data.report.rows == COUNT


def test_published_splits_in_a_folder_are_looked_at(folder: Path) -> None:
    for name in ("train", "dev", "test"):
        path = Path("set") / f"{name}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(lines(","))
    assert main(["set", "--recipe", "mine.yaml"]) == 0
    assert load_recipe("mine.yaml").recipe.data.source.validation == str(Path("set/dev.csv"))


def test_what_is_found_is_told_with_examples(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [[1, "long enough to be a text", "NULL"], *PLAIN[1:]]
    Path("a.csv").write_text("nr,comment,topic\n" + "\n".join(f'{i},"{c}",{t}' for i, (_, c, t) in enumerate(rows)))
    assert main(["a.csv"]) == 0
    shown = capsys.readouterr().out
    for part in (
        "a.csv: csv, 91 rows, 3 columns",
        "'long enough to be a text'",
        "labels (3): Price 30, Fault 30, Praise 30",
        "taken for not labelled: 'NULL' 1",
        "columns: {id: nr, text: comment, label: topic}",
        "missing: ['', '-1', 'NULL']",
        "--recipe recipes/mine.yaml writes it",
    ):
        assert part in shown, shown
    assert not Path("mine.yaml").exists()
    assert main(["a.csv", "data.columns.text=topic", "data.columns.label=comment"]) == 0
    assert "text: topic, label: comment" in capsys.readouterr().out


def test_ways_out_that_were_taken_are_told(folder: Path) -> None:
    Path("a.csv").write_bytes(lines(";", header=False).replace(b",", b""))
    found = look("a.csv")
    assert found.settings == {"source": "a.csv", "delimiter": ";", "header": False}
    assert [told.partition(": ")[0] for told in found.taken] == ["read with data.delimiter", "read with data.header"]


def test_raw_danmu_are_known(folder: Path) -> None:
    head = "12.5,1,25,16777215,1630000000,0,abcd"
    comments = "".join(f'<d p="{head},{i}">弹幕 {i}</d>' for i in range(1, 40))
    Path("video.xml").write_text(f"<i>{comments}</i>", encoding="utf-8")
    found = look("video.xml")
    assert (found.form, found.rows, found.roles.text, found.roles.id) == ("danmu", 39, "text", "row_id")
    table = "time,mode,size,color,timestamp,pool,user_hash,row_id,text\n"
    Path("video.csv").write_text(table + "".join(f"{head},{i},弹幕 {i}\n" for i in range(1, 40)), encoding="utf-8")
    found = look("video.csv")
    assert (found.form, found.rows, found.roles.label) == ("danmu", 39, None)
    assert found.taken == ("read with data.format: danmu: its columns are those of raw danmu",)
    elements = [
        {"id": i, "progress": 900 * i, "midHash": "ab", "ctime": 1626077354, "content": f"弹幕 {i}"} for i in range(39)
    ]
    Path("elements.json").write_text(json.dumps({"elems": elements}))
    four = [{"cid": i, "p": f"{i}.5,1,16777215,[Site]ab", "m": f"弹幕 {i}"} for i in range(1, 40)]
    Path("four.json").write_text(json.dumps({"count": 39, "comments": four}))
    for name in ("elements.json", "four.json"):
        found = look(name)
        assert (found.form, found.rows, found.roles.text) == ("danmu", 39, "text")


def test_transcripts_are_known(folder: Path) -> None:
    cues = "".join(f"00:00:{i:02}.000 --> 00:00:{i + 1:02}.000\n<v Jane Doe>sentence {i}.\n\n" for i in range(9))
    Path("talk.vtt").write_text(f"WEBVTT\n\n{cues}")
    segments = [{"start": i, "end": i + 1, "text": f" sentence {i}."} for i in range(9)]
    Path("talk.json").write_text(json.dumps({"text": "all of it", "language": "en", "segments": segments}))
    Path("talk.txt").write_text("".join(f"[Jane Doe] 14:05:1{i}\nsentence {i}, a -> b.\n\n" for i in range(9)))
    for name in ("talk.vtt", "talk.json", "talk.txt"):
        found = look(name)
        assert (found.form, found.rows, found.roles.text) == ("transcript", 1, "text")


def test_mistakes_are_one_line_and_leave_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.csv").write_bytes(lines(","))
    Path("there.yaml").write_text("kind: x\n")
    Path("numbers.csv").write_text("a,b\n1,2\n3,4\n")
    for arguments, said in (
        (["none.csv"], "no such file"),
        (["a.csv", "--recipe", "there.yaml"], "is there; name another file"),
        (["a.csv", "--recipe", "mine.txt"], "name it .yaml"),
        (["numbers.csv", "--recipe", "mine.yaml"], "no column of numbers.csv looks like a text"),
        (["a.csv", "--write", "folder"], "are for a recipe"),
        (["a.csv", "labels.task=regression"], "keys of data alone"),
        (["there.yaml", "--recipe", "mine.yaml"], "is a recipe already"),
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert said in error and error.startswith("error: ") and error.count("\n") == 1
    assert not Path("mine.yaml").exists() and not Path("mine.txt").exists()
