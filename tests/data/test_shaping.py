"""Columns as exports have them: places inside others, a column for each label, rows that are not meant."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from categorize.data.input_spec import InputSpec
from categorize.data.reading.files import open_file
from categorize.data.splits import load_data
from categorize.data.stream import stream_rows
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.recipe.data_sections import Columns, DataSection
from categorize.recipe.label_sections import LabelsSection
from tests.data.test_tables import put

MULTI = LabelsSection(task="multi_label")

# What an annotation tool exports, and what a provider's batch answers.
TASKS = [
    {"id": i, "data": {"text": f"comment {i}"}, "annotations": [{"result": [{"value": {"choices": [c]}}]}]}
    for i, c in enumerate(["good", "bad"] * 30)
]
ANSWERS = [
    {"custom_id": f"r{i}", "response": {"body": {"choices": [{"message": {"content": f"answer {i}"}}]}}, "n": i % 2}
    for i in range(60)
]


def section(path: Path, columns: dict[str, Any], **more: Any) -> DataSection:
    return DataSection.model_validate({"source": str(path), "columns": columns, **more})


def load(path: Path, columns: dict[str, Any], labels: LabelsSection | None = None, **more: Any) -> Any:
    more.setdefault("splits", {"near_duplicates": "off"})
    return load_data(section(path, columns, **more), labels or LabelsSection())


def written(tmp_path: Path, objects: list[dict[str, Any]], form: str) -> Path:
    path = tmp_path / f"a.{form}"
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(objects), path)
    else:
        path.write_text(json.dumps(objects) if form == "json" else "\n".join(map(json.dumps, objects)))
    return path


def all_rows(loaded: Any) -> list[dict[str, Any]]:
    splits = (loaded.splits[name] for name in ("train", "validation", "test", "unlabeled"))
    return [row for split in splits for row in split.to_pylist()]


def fails(*args: Any, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(*args, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- places inside columns
@pytest.mark.parametrize("form", ["json", "jsonl", "parquet"])
def test_text_label_and_id_may_stand_deep_inside(tmp_path: Path, form: str) -> None:
    path = written(tmp_path, TASKS, form)
    columns = {"id": "id", "text": "data.text", "label": "annotations.0.result.0.value.choices"}
    found = all_rows(load(path, columns))
    assert len(found) == 60
    assert all(row["text"] == f"comment {row['id']}" for row in found)
    assert all(row["gold"] == [["good"], ["bad"]][int(row["id"]) % 2] for row in found)
    path = written(tmp_path, ANSWERS, form)
    columns = {"id": "custom_id", "text": "response.body.choices.0.message.content", "label": "n"}
    assert {row["text"] for row in all_rows(load(path, columns))} == {f"answer {i}" for i in range(60)}
    stream = stream_rows(section(path, columns), LabelSet.from_section(LabelsSection(names=["0", "1"])))
    rows = [row for block in stream for row in block.to_pylist()]
    assert [row["text"] for row in rows] == [f"answer {i}" for i in range(60)]
    assert rows[1]["gold"] == ["1"]


def test_all_items_of_a_list_are_labels(tmp_path: Path) -> None:
    objects = [{"text": f"t{i}", "spans": [{"tag": "a"}, {"tag": "b"}][: i % 3]} for i in range(60)]
    for form in ("jsonl", "parquet"):
        path = written(tmp_path, objects, form)
        loaded = load(path, {"text": "text", "label": "spans.*.tag"}, MULTI)
        assert sorted(row["gold"] for row in all_rows(loaded)) == [[]] * 20 + [["a"]] * 20 + [["a", "b"]] * 20


def test_a_cell_of_csv_that_is_json_is_looked_into(tmp_path: Path) -> None:
    cells = [f'"{{""text"": ""t{i}"", ""tags"": [""a""]}}",{"xy"[i % 2]}' for i in range(40)]
    path = put(tmp_path, "data,label\n" + "\n".join(cells) + "\n")
    assert {row["text"] for row in all_rows(load(path, {"text": "data.text"}))} == {f"t{i}" for i in range(40)}


def test_a_place_that_is_nowhere_is_refused_and_one_that_some_rows_lack_is_counted(tmp_path: Path) -> None:
    path = written(tmp_path, TASKS, "jsonl")
    assert "no row has 'data.txt', a place inside the column 'data'" in fails(path, {"text": "data.txt", "label": "id"})
    objects = [{"data": {"text": f"t{i}"} if i % 4 else {}, "label": "ab"[i % 2]} for i in range(40)]
    loaded = load(written(tmp_path, objects, "jsonl"), {"text": "data.text"})
    assert any("10 rows without 'data.text': nothing stands there" in note for note in loaded.report.notes)


def test_a_column_whose_name_has_a_dot_is_itself(tmp_path: Path) -> None:
    path = put(tmp_path, "data.text,label\n" + "\n".join(f"t{i},{'xy'[i % 2]}" for i in range(40)) + "\n")
    assert len(all_rows(load(path, {"text": "data.text"}))) == 40


# ---------------------------------------------------------------- rows
REVIEWED = [
    {"text": f"t{i}", "label": "ab"[i % 2], "answer": ["accept", "reject", "ignore"][i % 3], "score": i / 60}
    for i in range(60)
]


@pytest.mark.parametrize("form", ["jsonl", "json", "parquet", "csv"])
def test_rows_that_are_not_meant_are_left_out_and_counted(tmp_path: Path, form: str) -> None:
    if form == "csv":
        lines = [",".join(map(str, row.values())) for row in REVIEWED]
        path = put(tmp_path, "text,label,answer,score\n" + "\n".join(lines) + "\n")
    else:
        path = written(tmp_path, REVIEWED, form)
    loaded = load(path, {"text": "text"}, where={"answer": "accept"})
    assert {row["text"] for row in all_rows(loaded)} == {f"t{i}" for i in range(0, 60, 3)}
    (note,) = [note for note in loaded.report.notes if "data.where" in note]
    assert "40 of 60 rows are left out: answer: 'reject' 20, 'ignore' 20" in note
    both = {"answer": ["accept", "ignore"], "score": {"min": 0.5, "max": 0.75}}
    kept = [row["text"] for row in REVIEWED if row["answer"] != "reject" and 0.5 <= row["score"] <= 0.75]
    stream = stream_rows(section(path, {"text": "text"}, where=both))
    assert [row["text"] for block in stream for row in block.to_pylist()] == kept
    assert stream.rows is None and any("data.where" in note for note in stream.notes)


def test_a_filter_that_leaves_nothing_or_names_no_column_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, REVIEWED, "jsonl")
    assert "data.where leaves no row: answer: 'accept' 20" in fails(path, {"text": "text"}, where={"answer": "yes"})
    assert "has no column 'anser'; did you mean answer?" in fails(path, {"text": "text"}, where={"anser": "accept"})


def test_empty_cells_numbers_and_truth_are_told_apart(tmp_path: Path) -> None:
    objects = [{"text": f"t{i}", "n": [1, 1.0, None, True, "1"][i % 5]} for i in range(10)]
    for wanted, expected in ((1, [0, 1, 4]), ("1", [0, 4]), (None, [2]), (True, [3])):
        path = written(tmp_path, objects, "jsonl")
        file = open_file(path, section(path, {"text": "text"}, where={"n": wanted}))
        assert [i % 5 for i in (int(t[1:]) for t in file.table().table["text"].to_pylist())] == expected * 2


# ---------------------------------------------------------------- labels with a column each
def one_hot(tmp_path: Path, form: str = "csv") -> Path:
    objects = [{"id": i, "text": f"t{i}", "toxic": i % 2, "obscene": int(i % 3 == 0), "threat": 0} for i in range(60)]
    if form != "csv":
        return written(tmp_path, objects, form)
    lines = [",".join(map(str, row.values())) for row in objects]
    return put(tmp_path, "id,text,toxic,obscene,threat\n" + "\n".join(lines) + "\n")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
@pytest.mark.parametrize("label", [["toxic", "obscene", "threat"], {"all_but": ["id", "text"]}])
def test_columns_of_0_and_1_are_labels(tmp_path: Path, form: str, label: Any) -> None:
    path = one_hot(tmp_path, form)
    loaded = load(path, {"id": "id", "text": "text", "label": label}, MULTI)
    for row in all_rows(loaded):
        i = int(row["id"])
        assert set(row["gold"]) == {name for name, has in (("toxic", i % 2), ("obscene", i % 3 == 0)) if has}
    assert (loaded.label_set.names == ["obscene", "threat", "toxic"]) == isinstance(label, list)
    names = LabelSet.from_section(LabelsSection(task="multi_label", names=["toxic", "obscene", "threat"]))
    stream = stream_rows(section(path, {"text": "text", "label": label}), names)
    assert [row["gold"] for block in stream for row in block.to_pylist()][:4] == [
        ["obscene"], ["toxic"], [], ["toxic", "obscene"]
    ]  # fmt: skip


def test_one_column_of_1_a_row_is_a_single_label(tmp_path: Path) -> None:
    lines = [f"t{i},{int(i % 2 == 0)},{i % 2}" for i in range(40)]
    path = put(tmp_path, "text,good,bad\n" + "\n".join(lines) + "\n")
    loaded = load(path, {"text": "text", "label": ["good", "bad"]})
    assert {row["gold"][0] for row in all_rows(loaded)} == {"good", "bad"}


def test_scores_become_labels_by_the_threshold_that_the_message_names(tmp_path: Path) -> None:
    lines = [f"t{i},{i / 40},{1 - i / 40}" for i in range(40)]
    path = put(tmp_path, "text,toxic,fine\n" + "\n".join(lines) + "\n")
    message = fails(path, {"text": "text", "label": ["toxic", "fine"]}, MULTI)
    assert "row 3: the column 'toxic' of a label holds '0.025', not 0 or 1" in message
    assert "data.columns: {label: {columns: [toxic, fine], threshold: 0.5}}" in message
    label = {"columns": ["toxic", "fine"], "threshold": 0.5}
    gold = {row["text"]: row["gold"] for row in all_rows(load(path, {"text": "text", "label": label}, MULTI))}
    assert gold["t0"] == ["fine"] and gold["t39"] == ["toxic"] and set(gold["t20"]) == {"toxic", "fine"}


def test_rows_without_label_cells_are_unlabelled_and_gaps_are_counted(tmp_path: Path) -> None:
    lines = [f"t{i},{i % 2},{1 - i % 2}" for i in range(40)] + ["u1,,", "u2,-1,-1", "u3,1,"]
    path = put(tmp_path, "text,a,b\n" + "\n".join(lines) + "\n")
    loaded = load(path, {"text": "text", "label": ["a", "b"]}, MULTI)
    assert loaded.splits.unlabeled["text"].to_pylist() == ["u1", "u2"]
    assert any("1 row with empty cells or -1 among the labels" in note for note in loaded.report.notes)


def test_a_file_without_labels_needs_no_columns_of_them(tmp_path: Path) -> None:
    train = one_hot(tmp_path)
    rest = put(tmp_path, "id,text\n100,new\n", "rest.csv")
    source = {"train": str(train), "unlabeled": str(rest)}
    columns = {"id": "id", "text": "text", "label": ["toxic", "obscene", "threat"]}
    data = DataSection.model_validate({"source": source, "columns": columns, "splits": {"near_duplicates": "off"}})
    assert load_data(data, MULTI).splits.unlabeled["text"].to_pylist() == ["new"]


def test_a_run_that_reads_a_place_finds_it_in_any_table(tmp_path: Path) -> None:
    spec = InputSpec(Columns(text="data.text"), cleaning=())
    raw = open_file(written(tmp_path, TASKS, "jsonl")).table()
    assert spec.rows_from_table(raw)["text"].to_pylist()[:2] == ["comment 0", "comment 1"]
    assert spec.rows_from_table(pa.Table.from_pylist(TASKS))["text"].to_pylist()[:2] == ["comment 0", "comment 1"]


def test_a_label_column_that_is_missing_or_holds_words_is_refused(tmp_path: Path) -> None:
    path = one_hot(tmp_path)
    assert "data.columns.label" in fails(path, {"text": "text", "label": ["toxic", "obscne"]}, MULTI)
    assert "holds 't0', not 0 or 1; fix it" in fails(path, {"text": "text", "label": {"all_but": ["id"]}}, MULTI)
