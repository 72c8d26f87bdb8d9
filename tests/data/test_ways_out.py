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
from categorize.recipe.data_sections import DataSection

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
