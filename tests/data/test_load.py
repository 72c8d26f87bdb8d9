"""load_data counts everything unusual, and refuses what cannot work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from categorize.data.splits import load_recipe_data
from categorize.data.splitting.shares import Fractions
from categorize.errors import UserError
from categorize.recipe.data_sections import Columns, SplitSettings
from categorize.recipe.label_sections import LabelsSection
from categorize.text_tables import display_width
from tests.data.small_sources import SPLITS, comments, fails, load, official, write
from tests.recipes import SftRecipe


def test_a_prompt_that_names_no_column_of_the_data_stops_when_it_is_read(tmp_path: Path) -> None:
    source = write(tmp_path / "x.jsonl", comments(**{"the-date": "1 May"}))
    for template, said in (
        ("{text} on {the-date}", None),
        ("{text!r} {text}", "{text!r} names no column of the train rows; columns: 'text', 'id', 'label', 'the-date'"),
        ("{text} on {the_date}", "{the_date} names no column of the train rows"),
    ):
        recipe = SftRecipe.model_validate(
            {
                "kind": "sft",
                "name": "x",
                "data": {"source": str(source)},
                "model": {"name_or_path": "x"},
                "prompt": {"template": template},
                "output_dir": str(tmp_path),
            }
        )
        if said is None:
            assert load_recipe_data(recipe, write=False).splits.train.num_rows
            continue
        with pytest.raises(UserError) as caught:
            load_recipe_data(recipe, write=False)
        assert said in str(caught.value) and "\n" not in str(caught.value)


# ---------------------------------------------------------------- labels and counts
def test_everything_unusual_is_counted_and_shown(tmp_path: Path) -> None:
    rows = comments(300)
    for row, label in zip(rows, [None, "-1", "-1", "z", "z", "y"], strict=False):
        row["label"] = label
    rows[10]["text"] = "\u200b"
    rows[20]["text"] = rows[21]["text"]
    data = load(write(tmp_path / "a.jsonl", rows), LabelsSection(names=["a", "b", "从未出现"], unknown="drop"))
    report = data.report
    assert report.rows == 300
    assert report.texts == 299
    assert report.missing == {"": 1, "-1": 2}
    assert report.unknown == {"z": 2, "y": 1}
    assert report.dropped == 3
    assert sum(report.empty_texts.values()) == 1
    assert report.conflicts == 1
    assert sum(sum(counts.values()) for counts in report.label_counts.values()) == 294 - report.empty_texts.get(
        "train", 0
    )
    text = "\n".join(report.lines())
    for part in (
        "'-1' 2",
        "empty 1",
        "'z' 2",
        "3 rows became unlabelled",
        "empty texts",
        "'从未出现' has no training row",
    ):
        assert part in text
    assert json.loads(json.dumps(report.to_dict()))["rows"] == 300


def test_the_table_is_aligned_where_labels_are_chinese(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"t{i}", "label": ["积极的评论", "no"][i % 2]} for i in range(100)]
    lines = load(write(tmp_path / "a.jsonl", rows)).report.lines()
    start = next(i for i, line in enumerate(lines) if line.startswith("rows"))
    assert len({display_width(line) for line in lines[start - 1 : start + 3]}) == 1


def test_rows_without_a_text_are_not_trained_on_but_are_evaluated(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": "" if i % 2 else f"t{i}", "label": "ab"[i % 4 < 2], "g": str(i)} for i in range(100)]
    data = load(write(tmp_path / "a.jsonl", rows), columns=Columns(id="id", group="g"))
    assert all(data.splits.train["text"].to_pylist())
    assert "" in data.splits.test["text"].to_pylist()
    assert sum(data.report.empty_texts.values()) == 50


def test_a_class_with_one_row_is_a_warning_with_its_name(tmp_path: Path) -> None:
    rows = [*comments(), {"id": "one", "text": "single", "label": "rare"}]
    data = load(write(tmp_path / "a.jsonl", rows), LabelsSection(names=["a", "b", "rare"]))
    assert any("'rare' has one row" in warning for warning in data.report.warnings)


def test_an_inferred_set_has_the_labels_of_all_splits_and_says_what_train_lacks(tmp_path: Path) -> None:
    rows = [{**row, "label": {"a": "question", "b": "praise"}[row["label"]]} for row in comments(60)]
    odd = [{"id": f"x{i}", "text": f"q{i}", "label": label} for i, label in enumerate(["new", "qestion", "new"])]
    source = official(tmp_path, train=rows[:40], test=[*rows[40:], *odd])
    data = load(source)
    assert data.label_set.names == ["new", "praise", "qestion", "question"] and data.splits.test.num_rows == 23
    told = "train lacks labels that the set has from other splits: 'new' (test 2), 'qestion' (test 1; did you mean "
    assert any(warning.startswith(told + "'question'?)") for warning in data.report.warnings)
    message = fails(source, LabelsSection(names=["question", "praise"]))
    assert "'new' (2 rows: row 21 (id x0), row 23 (id x2), in test only)" in message
    assert load(source, LabelsSection(unknown="drop")).report.unknown == {"new": 2, "qestion": 1}


@pytest.mark.parametrize("word", ["NULL", "NA", "NaN", "none"])
def test_a_label_that_may_mean_nothing_brings_the_line_to_paste(tmp_path: Path, word: str) -> None:
    rows = [{**row, "label": word if i % 10 == 0 else row["label"]} for i, row in enumerate(comments(60))]
    path = write(tmp_path / "a.jsonl", rows)
    (told,) = [warning for warning in load(path).report.warnings if "counts as a class" in warning]
    assert f"'{word}' (6 rows)" in told
    pasted = yaml.safe_load(told.partition("set labels.missing: ")[2].partition(";")[0])
    assert load(path, LabelsSection(missing=pasted)).splits.unlabeled.num_rows == 6
    declared = load(path, LabelsSection(names=["a", "b", word]))
    assert not [warning for warning in declared.report.warnings if "counts as a class" in warning]


@pytest.mark.parametrize(("joined", "task"), [("|", "multi_label"), ("，", "multi_label"), (";", "single_label")])
def test_several_labels_in_a_cell_are_noticed_and_read_as_the_message_says(
    tmp_path: Path, joined: str, task: Any
) -> None:
    labels = ["joy", "fear", f"joy{joined}fear", f"anger{joined}joy", "anger", "Sci/Tech"]
    rows = [{"id": str(i), "text": f"t{i}", "label": labels[i % 6]} for i in range(60)]
    path = write(tmp_path / "a.jsonl", rows)
    (told,) = [w for w in load(path, LabelsSection(task=task)).report.warnings if "looks like several labels" in w]
    assert "fear' (20 rows of its kind)" in told
    assert ("labels.task: multi_label" in told) == (task == "single_label")
    said = told.partition("data.label_separator: ")[2]
    more = {"label_separator": yaml.safe_load(said)} if said else {}
    data = load(path, LabelsSection(task="multi_label"), **more)
    assert data.label_set.names == ["Sci/Tech", "anger", "fear", "joy"]
    if said:
        names = LabelsSection(task="multi_label", names=["joy", "fear", "anger", "Sci/Tech"])
        assert f"data.label_separator: {said}" in fails(path, names)


def test_unseen_labels_of_all_splits_are_told_at_once(tmp_path: Path) -> None:
    rows, odd = comments(40), [{"id": "x", "text": "q", "label": "new"}]
    also = [*odd, {"id": "y", "text": "q", "label": "newer"}]
    message = fails(official(tmp_path, train=rows, validation=odd, test=also), LabelsSection(names=["a", "b"]))
    assert "'new' (2 rows: row 1 (id x) of" in message and "validation.jsonl" in message and "'newer' (1 row" in message
    scores = LabelsSection(task="regression", minimum=0)
    numbers = [{**row, "label": i} for i, row in enumerate(rows)]
    low, word = [{"id": "x", "text": "q", "label": -5}], [{"id": "y", "text": "q", "label": "much"}]
    message = fails(official(tmp_path, train=numbers, validation=low, test=word), scores)
    assert "validation.jsonl: 1 row holds a score outside" in message and "test.jsonl: 1 row holds no number" in message


def test_all_unknown_spellings_have_their_counts_and_the_aliases_to_paste(tmp_path: Path) -> None:
    names: list[Any] = ["angry at the service", "pleased: very", "neither"]
    spelled = [f"{name}{mark * n}" for name in names[:2] for mark in "!?." for n in (1, 2)]
    rows = [
        {"id": str(i), "text": f"t{i}", "label": label}
        for i, label in enumerate([*names * 10, *(one for n, one in enumerate(spelled) for _ in range(n + 1))])
    ]
    path = write(tmp_path / "a.jsonl", rows)
    message = fails(path, LabelsSection(names=names))
    assert all(repr(one) in message for one in spelled) and " more" not in message
    assert f"{spelled[-1]!r} ({len(spelled)} rows: " in message and f"{spelled[0]!r} 1" in message
    pasted = yaml.safe_load(message.partition("paste labels.names: ")[2].partition("; else")[0])
    assert load(path, LabelsSection(names=pasted)).label_set.names == names
    many = [{"id": f"m{i}", "text": f"t{i}", "label": f"something else {i}"} for i in range(2000)]
    message = fails(write(tmp_path / "b.jsonl", [*rows[:30], *many]), LabelsSection(names=names))
    assert "more of 2,000 in all" in message and len(message) < 5000


@pytest.mark.parametrize("key", ["keep", "weight", "group"])
def test_a_column_that_only_one_published_file_has_is_empty_elsewhere(tmp_path: Path, key: str) -> None:
    rows = comments(60)
    source = official(
        tmp_path,
        train=[{**row, "extra": str(i % 30)} for i, row in enumerate(rows)],
        test=[{**row, "id": f"t{row['id']}"} for row in rows],
    )
    data = load(source, columns=Columns.model_validate({"id": "id", key: ["extra"] if key == "keep" else "extra"}))
    assert data.splits.test.num_rows == 60
    assert any(f"test.jsonl has no column 'extra' (data.columns.{key})" in note for note in data.report.notes)
    assert data.splits.test["weight"].to_pylist() == [1.0] * 60
    missing = Columns.model_validate({"id": "id", key: ["none"] if key == "keep" else "none"})
    assert "has no column 'none'" in fails(source, columns=missing)


def test_scores_are_summed_up(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"t{i}", "label": i / 100} for i in range(200)]
    data = load(write(tmp_path / "a.jsonl", rows), LabelsSection(task="regression"))
    assert abs(data.report.scores["train"]["mean"] - 1.0) < 0.1
    assert abs(data.splits.test.num_rows - 40) <= 2
    assert any("score mean" in line for line in data.report.lines())


def test_a_score_of_minus_one_that_counts_as_unlabelled_is_a_warning(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"t{i}", "label": [-1, -0.5, 0.5, 1][i % 4]} for i in range(80)]
    path = write(tmp_path / "a.jsonl", rows)
    assert any("labels.missing" in w for w in load(path, LabelsSection(task="regression")).report.warnings)
    assert load(path, LabelsSection(task="regression", missing=[""])).splits.unlabeled.num_rows == 0


@pytest.mark.parametrize(("minimum", "warned"), [(None, True), (-1, True), (0, False)])
def test_whether_minus_one_can_be_a_score_is_told_by_the_lowest_one(
    tmp_path: Path, minimum: float | None, warned: bool
) -> None:
    rows = [{"id": str(i), "text": f"t{i}", "label": [-1, 0, 1][i % 3]} for i in range(80)]
    labels = LabelsSection(task="regression", minimum=minimum)
    warnings = load(write(tmp_path / "a.jsonl", rows), labels).report.warnings
    assert any("'-1' 27 counts as unlabelled" in w for w in warnings) == warned


def test_rows_that_all_weigh_nothing_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{**row, "w": 0} for row in comments(60)])
    with pytest.raises(UserError, match="every row of train has the weight 0 in 'w'"):
        load(path, columns=Columns(id="id", weight="w"))


def test_a_source_without_a_label_column_is_all_unlabelled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", comments(5))
    data = load(path, LabelsSection(names=["a", "b"]), columns=Columns(id="id", label=None))
    assert {name: data.splits[name].num_rows for name in SPLITS} == {
        "train": 0,
        "validation": 0,
        "test": 0,
        "unlabeled": 5,
    }
    assert data.report.lines()


# ---------------------------------------------------------------- refused
def test_one_class_only_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{**row, "label": "a"} for row in comments(20)])
    assert "'a'" in fails(path)
    assert "every row of train has the class 'a'" in fails(path, LabelsSection(names=["a", "b"]))
    assert "every score" in fails(
        write(tmp_path / "b.jsonl", [{**row, "label": 2} for row in comments(20)]), LabelsSection(task="regression")
    )


def test_no_label_at_all_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{**row, "label": "-1"} for row in comments(20)])
    assert "labels.missing" in fails(path, LabelsSection(names=["a", "b"]))
    assert "label" in fails(path)


def test_all_texts_empty_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{**row, "text": " \u200b"} for row in comments(20)])
    assert "every text is empty" in fails(path)


def test_shares_that_leave_nothing_to_train_on_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to train on"):
        Fractions(0.5, 0.5, 0)
    path = write(tmp_path / "a.jsonl", comments(20))
    assert "nothing to train on" in fails(path, splits=SplitSettings(test=0.9, validation=0.2))
