"""Every message that names a key of the recipe is right: the advice stands in it, is applied, and reads the file."""

from __future__ import annotations

import ast
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from categorize.data.reading import ways_out
from categorize.data.reading.ways_out import WayOut, said
from categorize.data.source import read_source
from categorize.data.splits import load_data
from categorize.recipe.data_sections import DataSection
from categorize.recipe.label_sections import LabelsSection

CHINESE = "text,label\n这个很好看,好\n一般,坏\n"
OBJECT = json.dumps({"a": [{"text": "x"}], "b": [{"text": "y"}, {"text": "z"}]})
# Name, content, settings, and how many rows each way gives.
REFUSED: list[tuple[str, str | bytes, dict[str, Any], list[int]]] = [
    ("a.csv", "3,good day\n4,bad day\n5,no day\n", {}, [3, 2]),
    ("a.csv", "id;text\n1;a\n", {}, [1, 1]),
    ("a.csv", "id\ttext\n1\ta\n", {}, [1, 1]),
    ("a.csv", "id|text\n1|a\n", {}, [1, 1]),
    ("a.tsv", "id,text\n1,a\n", {}, [1, 1]),
    ("a.csv", 'id,text\n1,"open\n2,b\n', {}, [2]),
    ("a.csv", CHINESE.encode("gb18030"), {}, [2]),
    ("a.csv", "text\nnaïve café, déjà vu\n".replace(",", "").encode("cp1252"), {}, [1]),
    ("a.csv", CHINESE.encode() + b"\xe5\xa5,x\n", {}, [3]),
    ("a.csv", CHINESE.encode("gb18030") + b"\x81,x\n", {"encoding": "gb18030"}, [3]),
    ("a.csv", CHINESE.encode("utf-16"), {}, [2]),
    ("a.csv", "text,label\nplain,x\n".encode("utf-16-le"), {}, [1]),
    ("a.json", '{"text": "x"}\n{"text": "y"}\n', {}, [2]),
    ("a.json", '{"text": "x"}', {}, [1]),
    ("a.json", OBJECT, {}, [1, 2]),
    ("a.json", OBJECT, {"records": "c"}, [1, 2]),
    ("a.jsonl", '[{"text": "x"},\n{"text": "y"}]', {}, [2]),
    ("a.jsonl", '{\n"rows": [{"text": "x"}]}', {}, [1]),
    ("a.csv", "text,p,q\nx,0.5,0\ny,0.1,1\n", {"columns": {"label": ["p", "q"]}}, [2]),
    ("a.csv", "text,p,q\nx,0.5,0\ny,0.1,1\n", {"columns": {"label": {"all_but": ["text"]}}}, [2]),
    ("a.txt", "__label__a x\n__label__b y\n", {}, [2]),
    ("a.txt", "label\ttext\na\tx\n", {}, [1]),
    ("a.txt", "one\ntwo\n", {}, [1, 2]),
    ("folder/a.txt", "one\ntwo\n", {"source": "folder"}, [1]),
    ("folder/a.txt", "one\ntwo\n", {"source": "folder/*.txt"}, [1, 1]),
    ("folder/train.csv", "text\na\n", {"source": "folder"}, [1]),
]


@pytest.fixture
def advising(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the functions that made a `WayOut`."""
    seen: set[str] = set()
    plain = WayOut.__init__

    def init(self: WayOut, message: str, *ways: Mapping[str, Any]) -> None:
        seen.add(sys._getframe(1).f_code.co_name)
        plain(self, message, *ways)

    monkeypatch.setattr(WayOut, "__init__", init)
    return seen


def test_the_way_out_of_every_message_is_applied_and_reads_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, advising: set[str], root: Path
) -> None:
    for number, (name, content, settings, counts) in enumerate(REFUSED):
        folder = tmp_path / str(number)
        path = folder / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        monkeypatch.chdir(folder)
        start = {"source": name, **settings}
        with pytest.raises(ways_out.UserError) as caught:
            read_source(DataSection.model_validate(start))
        message, ways = str(caught.value), getattr(caught.value, "ways", ())
        assert "\n" not in message and len(ways) == len(counts), message
        for way, count in zip(ways, counts, strict=True):
            advice = said(**way) if "source" not in way else "source: {train: "
            assert advice in message, (advice, message)
            tables = read_source(DataSection.model_validate({**start, **way})).tables
            assert sum(map(len, tables.values())) == count, (message, way)
    assert advising == _functions_with_advice(root)


def _functions_with_advice(root: Path) -> set[str]:
    """Functions of the package that make a `WayOut`: a new one needs a file above."""
    found = set()
    for path in (root / "categorize/data").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                inner = [one for one in ast.walk(node) if isinstance(one, ast.FunctionDef) and one is not node]
                inside = {id(one) for function in inner for one in ast.walk(function)}
                calls = (one for one in ast.walk(node) if isinstance(one, ast.Call) and id(one) not in inside)
                if any(isinstance(call.func, ast.Name) and call.func.id == "WayOut" for call in calls):
                    found.add(node.name)
    return found


PRIVATE = (
    "what I tell you in confidence about my neighbour and nobody else should ever read, least of all in a log " * 3
)
TOLD: list[tuple[str, str, dict[str, Any], dict[str, Any]]] = [
    ("a.csv", f"{PRIVATE},1\n{PRIVATE},2\n{PRIVATE},3\n", {}, {}),
    ("a.csv", f"{PRIVATE},{PRIVATE}\nx,y\n", {"header": True}, {}),
    ("a.csv", f"text,label\n{PRIVATE},x,y\n", {}, {}),
    ("a.csv", f"label,text\na,b\n{PRIVATE},c\n", {}, {"names": ["a", "b"]}),
    ("a.csv", f"text,id\nx,{PRIVATE}\ny,{PRIVATE}\n", {"columns": {"id": "id", "label": None}}, {}),
    ("a.csv", f"text,label,w\nx,a,{PRIVATE}\n", {"columns": {"weight": "w"}}, {}),
    ("a.csv", f"text,label\nx,{PRIVATE}\ny,1\n", {}, {"task": "regression"}),
    ("a.csv", f"text,label\nx,{PRIVATE}\n", {}, {}),
    ("a.csv", f"{PRIVATE};x\n1;2\n", {}, {}),
    ("a.csv", f"text,p,q\nx,{PRIVATE},1\n", {"columns": {"label": ["p", "q"]}}, {"task": "multi_label"}),
    ("a.csv", f"text,label\nx,{PRIVATE}\n", {"where": {"label": "a"}}, {}),
    ("a.csv", f"{PRIVATE},b\nx,y\n", {"header": True, "columns": {"text": "txt"}}, {}),
    ("a.csv", f"text,day\nx,{PRIVATE}\n", {"columns": {"label": "day"}, "splits": {"by_time": "day"}}, {}),
    ("a.jsonl", f'"{PRIVATE}"\n', {}, {}),
    ("a.jsonl", f'{{"{PRIVATE}": 1, "{PRIVATE}": 2}}\n', {}, {}),
    ("a.json", f'["{PRIVATE}"]', {}, {}),
    ("a.json", f'{{"{PRIVATE}": ["x"]}}', {}, {}),
    ("a.txt", f"{PRIVATE}\n" * 3, {}, {}),
]


@pytest.mark.parametrize("number", range(len(TOLD)))
def test_no_message_holds_a_whole_comment(number: int, tmp_path: Path) -> None:
    name, content, settings, labels = TOLD[number]
    path = tmp_path / name
    path.write_text(content)
    data = DataSection.model_validate({"source": str(path), **settings})
    with pytest.raises(ways_out.UserError) as caught:
        load_data(data, LabelsSection.model_validate(labels))
    assert PRIVATE[:61] not in str(caught.value) and len(str(caught.value)) < 1500
