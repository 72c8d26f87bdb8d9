"""`python -m categorize.data`: tables that add up, and a folder that is whole, loads elsewhere and reads back alike."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from categorize.data import __main__ as command
from categorize.data.export.charts import bins, overview_svg
from categorize.data.export.datasheet import reload_section
from categorize.data.export.folder import Exported
from categorize.data.reading.files import read_file
from categorize.data.splits import LoadedData, load_recipe_data
from categorize.methods.registry import METHODS
from tests.recipes import load_recipe

main = partial(command.main, METHODS)
SPLITS = ("train", "validation", "test", "unlabeled")
Row = dict[str, Any]
LABELS = {"names": ["Price", "Fault", "Praise"], "codes": {"0": "Price", "1": "Fault", "2": "Praise"}}


def comments(count: int = 240) -> list[Row]:
    """Texts with commas, quotes, line breaks and Chinese; some not labelled, empty, failed or double."""
    rows = []
    for i in range(count):
        text = f'评论 {i}, "quoted"\nsecond line =1+{i}' if i % 4 else f"comment, {i}"
        label: Any = ["0", "1", "2"][i % 3]
        rows.append(
            {"nr": f"c{i:03}", "message": text, "class": label, "video": f"v{i % 30}", "day": f"2024-05-{1 + i % 28}"}
        )
    for row in rows[:30:3]:
        row["class"] = "-1"
    for row in rows[1:30:5]:
        row["class"] = ""
    rows[40]["message"] = " "
    rows[50]["message"], rows[50]["class"] = rows[53]["message"], rows[53]["class"]
    return rows


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_recipe(rows: list[Row], labels: dict[str, Any] | None = None, **data: Any) -> str:
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    Path("rows.jsonl").write_text(lines, encoding="utf-8")
    recipe = {
        "kind": "seqcls",
        "name": "mine",
        "data": {
            "source": "rows.jsonl",
            "columns": {"id": "nr", "text": "message", "label": "class", "keep": ["video"]},
            **data,
        },
        "labels": labels
        or {"names": ["Price", "Fault", "Praise"], "codes": {"0": "Price", "1": "Fault", "2": "Praise"}},
        "model": {"method": "tfidf"},
    }
    Path("mine.yaml").write_text(yaml.safe_dump(recipe, allow_unicode=True), encoding="utf-8")
    return "mine.yaml"


def reloaded(recipe: str, written: str, form: str = "parquet") -> tuple[LoadedData, LoadedData]:
    """The data of a recipe, and of one that reads the folder which was written from it."""
    first = load_recipe(recipe).recipe
    names = {name: None for name in SPLITS if (Path(written) / f"{name}.{form}").exists()}
    section = reload_section(Exported(names, form), first, written)  # type: ignore[arg-type]
    resolved = load_recipe(recipe).resolved
    kept = {key: resolved["data"][key] for key in ("cleaning", "label_separator") if key in resolved["data"]}
    again = {**resolved, "name": "again", "data": {**section, **kept}}
    Path("again.yaml").write_text(yaml.safe_dump(again, allow_unicode=True), encoding="utf-8")
    return load_recipe_data(first), load_recipe_data(load_recipe("again.yaml").recipe)


def rows_of(data: LoadedData) -> dict[str, list[Any]]:
    return {
        name: sorted(
            zip(*(data.splits[name][column].to_pylist() for column in ("id", "text", "gold_score")), strict=True)
        )
        + sorted(map(str, data.splits[name]["gold"].to_pylist()))
        for name in SPLITS
    }


def test_the_tables_add_up_and_nothing_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(comments(), dedupe="exact", sample={"rows": 100})
    assert main([recipe]) == 0
    shown = capsys.readouterr().out
    block = shown.split("\nrows\n")[1].split("\n\n")[0].splitlines()
    counts = {line.split()[0]: int(line.split()[-1]) for line in block if not line.startswith(" ")}
    assert counts["read"] == 240 == counts["rejected"] + counts["unlabeled"] + counts["purged"]
    assert "not in the sample" in shown
    assert not Path("outputs").exists()


@pytest.mark.parametrize("form", ["parquet", "csv", "xlsx"])
def test_a_written_folder_reads_back_with_the_same_rows_in_the_same_splits(folder: Path, form: str) -> None:
    recipe = write_recipe(comments(), dedupe="exact")
    assert main([recipe, "--write", "out/set", "--format", form]) == 0
    before, after = reloaded(recipe, "out/set", form)
    assert rows_of(before) == rows_of(after)
    assert before.splits.fingerprints == after.splits.fingerprints
    assert after.splits.train["fields"][0].as_py()["video"].startswith("v")
    assert before.report.label_counts == after.report.label_counts


@pytest.mark.parametrize("form", ["parquet", "csv"])
@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_several_labels_and_scores_read_back_too(folder: Path, task: str, form: str) -> None:
    rows = comments()
    for i, row in enumerate(rows):
        if task == "regression":
            row["class"] = None if i % 9 == 0 else i / 7
        else:
            row["class"] = None if i % 9 == 0 else [["a"], ["a", "b;c"], [], ["[d]"]][i % 4]
    labels = {"task": task} if task == "regression" else {"task": task, "names": ["a", "b;c", "[d]"]}
    recipe = write_recipe(rows, labels)
    assert main([recipe, "--write", "set", "--format", form]) == 0
    before, after = reloaded(recipe, "set", form)
    assert rows_of(before) == rows_of(after)


def test_kept_columns_come_back_as_they_were(folder: Path) -> None:
    odd = ["a\rb", "a\r\nb", "a\nb", " a ", '"', "a,b;c", "=1+1", "\u2028", "😀"]
    rows = [{**row, "video": odd[i % len(odd)]} for i, row in enumerate(comments(90))]
    assert main([write_recipe(rows, cleaning=[]), "--write", "set", "--format", "csv"]) == 0
    table = read_file("set/purged.csv").table
    kept = dict(zip(table["id"].to_pylist(), table["video"].to_pylist(), strict=True))
    assert kept == {row["nr"]: row["video"] for row in rows if row["nr"] in kept} and len(kept) > 60


def test_every_row_is_in_one_file_and_rejected_ones_have_a_reason(folder: Path) -> None:
    recipe = write_recipe(comments(), dedupe="exact", sample={"rows": 60})
    assert main([recipe, "--write", "set"]) == 0
    tables = {path.stem: pq.read_table(path) for path in Path("set").glob("*.parquet")}
    assert sum(tables[name].num_rows for name in (*SPLITS, "rejected")) == 240
    assert tables["purged"].num_rows == sum(tables[name].num_rows for name in SPLITS[:3])
    assert set(tables["purged"]["split"].to_pylist()) == set(SPLITS[:3])
    reasons = set(tables["rejected"]["reason"].to_pylist())
    assert "not in the sample" in reasons
    assert not list(Path().glob(".set*"))


def sheet(name: str) -> list[dict[str, str]]:
    with Path(f"set/spreadsheet/{name}.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_the_spreadsheet_form_has_codes_in_file_order(folder: Path) -> None:
    rows = comments()
    assert main([write_recipe(rows), "--write", "set"]) == 0
    labeled = sheet("labeled")
    assert [row["custom_id"] for row in labeled] == [row["nr"] for row in rows]
    assert [row["class"] for row in labeled] == [row["class"] if row["class"] else "-1" for row in rows]
    unlabeled = sheet("unlabeled")
    assert {row["class"] for row in unlabeled} == {"-1"}
    assert [row["message"] for row in unlabeled] == [row["message"] for row in labeled]
    gone = {row["nr"] for row in rows if row["class"] in ("", "-1")}
    purged = {row["custom_id"] for row in sheet("purged")}
    assert purged == {row["nr"] for row in rows} - gone - ({"c040"} - purged)
    assert labeled[1]["message"].startswith('评论 1, "quoted"\nsecond')


def test_ids_that_several_files_hold_lose_no_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{**row, "nr": str(i % 200)} for i, row in enumerate(comments(260))]
    recipe = write_recipe(rows[:200], source={"train": "rows.jsonl", "test": "test.jsonl"})
    Path("test.jsonl").write_text("\n".join(json.dumps(row) for row in rows[200:]), encoding="utf-8")
    assert main([recipe, "--write", "set"]) == 0
    assert "note: 60 ids come in more than one split, such as '0'" in capsys.readouterr().out
    labeled = sheet("labeled")
    assert len({row["custom_id"] for row in labeled}) == 260
    assert [row["custom_id"] for row in labeled[:1] + labeled[60:61] + labeled[200:201]] == ["train-0", "60", "test-0"]
    expected = [str(row["message"]).strip() for row in rows]
    assert [row["message"] for row in labeled] == expected
    purged = [row for row in labeled if row["class"] != "-1" and row["message"]]
    assert sheet("purged") == purged


def test_a_written_folder_loads_with_datasets_offline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    assert main([write_recipe(comments(), sample={"rows": 60}), "--write", "set"]) == 0
    loaded = datasets.load_dataset(str(folder / "set"), cache_dir=str(folder / "cache"))
    assert {name: split.num_rows for name, split in loaded.items()} == {
        name: pq.read_metadata(f"set/{name}.parquet").num_rows for name in SPLITS
    }
    assert set(loaded["train"].column_names) == {"id", "text", "label", "video"}
    purged = datasets.load_dataset(str(folder / "set"), "purged", cache_dir=str(folder / "cache"))
    assert purged["purged"].num_rows == pq.read_metadata("set/purged.parquet").num_rows


@pytest.mark.parametrize("form", ["parquet", "csv", "xlsx"])
def test_the_python_of_the_datasheet_reads_the_splits(folder: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    rows = comments()
    rows[4]["message"], rows[5]["message"] = "NA", "007"
    assert main([write_recipe(rows), "--write", "set", "--format", form]) == 0
    code = Path("set/README.md").read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    code = code.replace("path/of/this/folder", str(folder / "set"))
    *lines, last = code.strip().split("\n")
    scope: dict[str, Any] = {}
    exec("\n".join([*lines, f"loaded = {last}"]), scope)
    data = load_recipe_data(load_recipe("mine.yaml").recipe)
    loaded = scope["loaded"]
    assert {name: split.num_rows for name, split in loaded.items()} == {
        name: data.splits[name].num_rows for name in SPLITS if data.splits[name].num_rows
    }
    if form != "csv":  # the csv reader of datasets takes NA for nothing and 007 for a number
        for name, split in loaded.items():
            assert split["id"][:] == data.splits[name]["id"].to_pylist()
            assert [text or "" for text in split["text"][:]] == data.splits[name]["text"].to_pylist()


def test_the_datasheet_tells_what_is_known_and_asks_the_rest(folder: Path) -> None:
    recipe = write_recipe(comments())
    assert main([recipe, "--write", "set", "--license", "cc-by-4.0"]) == 0
    text = Path("set/README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "cc-by-4.0"
    assert front["size_categories"] == ["n<1K"]
    assert front["task_categories"] == ["text-classification"]
    for part in ("![", "overview.svg", "| Praise |", "`nfkc`", "seed 42", "To be filled in"):
        assert part in text
    assert str(folder) not in text
    manifest = json.loads(Path("set/dataset.json").read_text(encoding="utf-8"))
    assert manifest["rows"]["unlabeled"] == pq.read_metadata("set/unlabeled.parquet").num_rows


def test_a_folder_is_replaced_only_when_told_and_only_one_of_ours(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = write_recipe(comments())
    assert main([recipe, "--write", "set"]) == 0
    before = Path("set/dataset.json").read_text()
    assert main([recipe, "--write", "set"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([recipe, "data.splits.test=0.3", "--write", "set", "--overwrite"]) == 0
    assert Path("set/dataset.json").read_text() != before
    Path("mine").mkdir()
    Path("mine/thesis.doc").write_text("x")
    assert main([recipe, "--write", "mine", "--overwrite"]) == 2
    assert "was not written by this command" in capsys.readouterr().err
    assert Path("mine/thesis.doc").exists()


def test_an_interrupted_run_of_the_same_name_is_left_alone(folder: Path) -> None:
    checkpoints = Path("set.incomplete/checkpoints")
    checkpoints.mkdir(parents=True)
    assert main([write_recipe(comments()), "--write", "set"]) == 0
    assert checkpoints.exists()


def test_what_cannot_be_written_leaves_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = comments()
    rows[7]["message"] = "长" * 40_000
    assert main([write_recipe(rows), "--write", "set", "--format", "xlsx"]) == 2
    assert "a text of 40000 characters" in capsys.readouterr().err
    assert not Path("set").exists() and not list(Path().glob(".set*"))


def test_mistakes_on_the_command_line_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe = write_recipe(comments())
    for arguments in (
        [recipe, "--overwrite"],
        [recipe, "--format", "csv"],
        ["a=b"],
        [recipe, "data.splits.tset=1"],
        [],
    ):
        assert main(arguments) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1


def test_the_picture_is_well_formed_whatever_the_labels_hold() -> None:
    counts = {f'标签 <{i}> & "quotes" 很长很长很长很长很长很长很长': {"train": i, "test": 2} for i in range(40)}
    for lengths in (np.array([5, 10, 900]), np.array([], dtype=np.int64), np.zeros(3, dtype=np.int64)):
        root = ElementTree.fromstring(overview_svg(lengths, counts))
        assert "(11 more labels)" in "".join(root.itertext())
    assert ElementTree.fromstring(overview_svg(np.array([1]), {})) is not None
    _, numbers = bins(np.arange(1000))
    assert sum(numbers) == 1000
