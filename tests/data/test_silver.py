"""Labels by a teacher: they train, are never held out, teach nothing near a test text, and move no gold row."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from categorize.data.splits import LoadedData
from categorize.data.splitting.selection import NEAR_SILVER, SILVER
from categorize.recipe.data_sections import Columns, Silver, SourceFiles, SplitSettings
from tests.data.small_sources import Row, fails, ids, load, where, write

LETTERS = [chr(0x4E00 + i) for i in range(2000)]


def sentence(seed: str, length: int = 30) -> str:
    return "".join(random.Random(seed).choices(LETTERS, k=length))


def rows_of(count: int, prefix: str, source: str | None) -> list[Row]:
    return [
        {"id": f"{prefix}{i}", "text": sentence(f"{prefix}{i}"), "label": "ab"[i % 3 == 0], "source": source}
        for i in range(count)
    ]


def reasons(data: LoadedData) -> dict[str, str]:
    return dict(zip(data.left_out["id"].to_pylist(), data.left_out["reason"].to_pylist(), strict=True))


def silver(path: Path | SourceFiles, **more: Any) -> LoadedData:
    return load(path, **{"silver": Silver(), **more})


GOLD = rows_of(100, "g", "gold")


@pytest.mark.parametrize("kind", ["warn", "group", "off"])
def test_gold_rows_stand_as_if_they_alone_were_labelled_and_silver_ones_train(tmp_path: Path, kind: Any) -> None:
    """Without any stored split, and although a chain of silver texts joins two gold ones."""
    splits = SplitSettings(near_duplicates=kind)
    alone = where(load(write(tmp_path / "a.jsonl", GOLD), splits=splits))
    one, other = GOLD[0]["text"], GOLD[1]["text"]
    chain = [
        {"id": f"x{i}", "text": other[: 2 * i] + one[2 * i :], "label": "a", "source": "teacher"} for i in range(16)
    ]
    more = [*rows_of(300, "s", "teacher"), *rows_of(20, "d", "duplicate"), *chain]
    random.Random(1).shuffle(more)
    data = silver(write(tmp_path / "b.jsonl", [*more[:150], *GOLD, *more[150:]]), splits=splits)
    found = where(data)
    assert {row: found[row] for row in alone} == alone
    assert {found[row] for row in found if row[0] in "sdx"} == {"train"}
    assert data.splits.train.num_rows >= 70 + 320
    assert "336 rows with a silver label (source: teacher 316, duplicate 20)" in "\n".join(data.report.lines())


def test_silver_rows_on_a_held_out_text_are_left_out_and_counted(tmp_path: Path) -> None:
    at = where(load(write(tmp_path / "a.jsonl", GOLD)))
    of = {name: [row for row in GOLD if at[row["id"]] == name] for name in ("train", "validation", "test")}
    more = []
    for name, rows in of.items():
        text = rows[0]["text"]
        more += [
            {"id": f"same {name}", "text": f" {text}\n", "label": "b", "source": "teacher"},
            {"id": f"near {name}", "text": f"{text}！呀", "label": "b", "source": "duplicate"},
            {"id": f"far {name}", "text": text[:10] + sentence(name), "label": "b", "source": "student"},
        ]
    path = write(tmp_path / "b.jsonl", [*more, *GOLD])
    data = silver(path)
    assert reasons(data) == {
        "same validation": SILVER, "same test": SILVER, "near validation": NEAR_SILVER, "near test": NEAR_SILVER,
    }  # fmt: skip
    assert {"same train", "near train", "far test", "far validation"} <= ids(data)["train"]
    assert data.report.left_out == {SILVER: 2, NEAR_SILVER: 2} and not data.report.near_overlaps
    assert not any(data.splits.train_overlap("test")) and not any(data.splits.train_overlap("validation"))
    assert f"2 rows: {NEAR_SILVER}" in "\n".join(data.report.lines())
    without = silver(path, splits=SplitSettings(near_duplicates="off"))
    assert reasons(without) == {"same validation": SILVER, "same test": SILVER}


def test_a_gold_test_file_beside_silver_labels(tmp_path: Path) -> None:
    test = [{"id": row["id"], "text": row["text"], "label": row["label"]} for row in GOLD]
    labelled = [
        *rows_of(200, "s", "teacher"),
        *rows_of(40, "h", "gold"),
        {"id": "same", "text": GOLD[3]["text"], "label": "a", "source": "teacher"},
        {"id": "near", "text": GOLD[4]["text"] + "呀", "label": "a", "source": "teacher"},
    ]
    train, gold_test = write(tmp_path / "t.jsonl", labelled), write(tmp_path / "g.jsonl", test)
    source = SourceFiles(train=str(train), test=str(gold_test))
    flagged = load(source)  # without the key: trained on, and told
    assert flagged.report.near_overlaps == {"test": 1} and flagged.report.overlaps["test"] == 1
    assert {"exact", "near"} <= set(flagged.splits.train_overlap("test"))
    data = silver(source)
    assert reasons(data) == {"same": SILVER, "near": NEAR_SILVER}
    assert data.splits.test.num_rows == 100 and not any(data.splits.train_overlap("test"))
    assert 0 < data.splits.validation.num_rows < 8
    assert {row[0] for row in ids(data)["validation"]} == {"h"}, "validation is cut from the gold rows alone"


def test_a_teachers_label_is_no_gold_for_a_published_test(tmp_path: Path) -> None:
    files = {
        "train": write(tmp_path / "t.jsonl", GOLD),
        "test": write(tmp_path / "u.jsonl", rows_of(9, "s", "teacher")),
    }
    data = silver(SourceFiles(**{name: str(path) for name, path in files.items()}))
    assert data.splits.test.num_rows == 0 and data.report.left_out == {SILVER: 9}


def test_no_gold_at_all_holds_nothing_out_and_says_so(tmp_path: Path) -> None:
    data = silver(write(tmp_path / "a.jsonl", rows_of(60, "s", "teacher")))
    assert data.report.split_rows == {"train": 60, "validation": 0, "test": 0, "unlabeled": 0}
    assert "no row has a label by people (data.silver): nothing is held out" in "\n".join(data.report.lines())


def test_silver_rows_of_a_held_out_group_are_left_out(tmp_path: Path) -> None:
    gold = [row | {"group": f"v{i % 25}"} for i, row in enumerate(GOLD)]
    more = [row | {"group": f"v{i % 30}"} for i, row in enumerate(rows_of(90, "s", "teacher"))]
    columns = Columns(id="id", group="group")
    alone = where(load(write(tmp_path / "a.jsonl", gold), columns=columns))
    of_group = {row["group"]: alone[row["id"]] for row in gold}
    data = silver(write(tmp_path / "b.jsonl", [*more, *gold]), columns=columns)
    assert {row: name for row, name in where(data).items() if row[0] == "g"} == alone
    expected = {row["id"] for row in more if of_group.get(row["group"], "train") != "train"}
    assert expected and {row for row, why in reasons(data).items() if why == SILVER} == expected


@pytest.mark.parametrize("stored", [True, False])
def test_every_fold_trains_on_silver_rows_and_tests_gold_ones(tmp_path: Path, stored: bool) -> None:
    more = [*rows_of(50, "s", "teacher"), {"id": "same", "text": GOLD[0]["text"], "label": "a", "source": "teacher"}]
    path, left, tested = write(tmp_path / "a.jsonl", [*GOLD, *more]), 0, set()
    for fold in range(4):
        splits = SplitSettings(folds=4, fold=fold)
        data = silver(path, splits=splits, split_file=tmp_path / "s.parquet" if stored else None)
        assert {f"s{i}" for i in range(50)} <= ids(data)["train"]
        left += reasons(data).get("same") == SILVER
        assert ("same" in ids(data)["train"]) == ("g0" in ids(data)["train"])
        tested |= ids(data)["test"]
    assert tested == {row["id"] for row in GOLD} and left >= 1


def test_a_silver_row_that_people_correct_stays_in_train_with_the_stored_split(tmp_path: Path) -> None:
    path, split_file = tmp_path / "a.jsonl", tmp_path / "s.parquet"
    alone = where(load(write(path, GOLD), split_file=split_file))
    more = rows_of(200, "s", "teacher")
    before = where(silver(write(path, [*GOLD, *more]), split_file=split_file))
    for row in more[::2]:
        row |= {"source": "reviewed", "label": "b"}
    after = where(silver(write(path, [*GOLD, *more]), split_file=split_file))
    assert after == before and {row: after[row] for row in alone} == alone
    anew = silver(path, split_file=split_file, resplit=True)
    assert any(row[0] == "s" for row in ids(anew)["test"])


def test_a_text_that_was_held_out_is_not_trained_on_when_only_its_silver_label_is_left(tmp_path: Path) -> None:
    path, split_file = tmp_path / "a.jsonl", tmp_path / "s.parquet"
    at = where(load(write(path, GOLD), split_file=split_file))
    lost = next(row for row in GOLD if at[row["id"]] == "test")
    rows = [row | {"source": "teacher"} if row is lost else row for row in GOLD]
    assert reasons(silver(write(path, rows), split_file=split_file)) == {lost["id"]: SILVER}


def test_whose_labels_are_gold_is_for_the_recipe_to_say(tmp_path: Path) -> None:
    rows = [*rows_of(40, "x", "coder 1"), *rows_of(40, "y", None), *rows_of(40, "z", "gpt")]
    rows = [{("who" if key == "source" else key): value for key, value in row.items()} for row in rows]
    path = write(tmp_path / "a.jsonl", rows)
    data = load(path, silver=Silver(column="who", gold=["coder 1"]))
    assert {row[0] for row in ids(data)["test"] | ids(data)["validation"]} == {"x", "y"}
    assert fails(path, silver=Silver()).startswith("data.silver.column: ")


def test_teachers_labels_in_test_are_warned_of_where_the_table_tells(tmp_path: Path) -> None:
    rows = [row | {"duplicate_of": None, "teacher": "m"} for row in rows_of(100, "s", "teacher")]
    path = write(tmp_path / "a.jsonl", [*rows, *(row | {"duplicate_of": None, "teacher": None} for row in GOLD)])
    data = load(path)
    held_out = [row for row in ids(data)["test"] | ids(data)["validation"] if row[0] == "s"]
    assert f"{len(held_out)} rows of validation and test have their label from a teacher" in "\n".join(
        data.report.warnings
    )
    assert "from a teacher" not in "\n".join(silver(path).report.warnings)
