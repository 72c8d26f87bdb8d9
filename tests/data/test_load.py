"""load_data: the same split in every recipe, everything unusual counted, and what cannot work refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from categorize.data.splits import LoadedData, default_split_file, load_data, load_recipe_data
from categorize.data.splitting.shares import Fractions
from categorize.errors import UserError
from categorize.recipe.data_sections import Columns, DataSection, SourceFiles, SplitSettings
from categorize.recipe.sections import LabelsSection
from categorize.text_tables import display_width
from tests.recipes import SftRecipe

SPLITS = ("train", "validation", "test", "unlabeled")
Row = dict[str, Any]


def write(path: Path, rows: Sequence[Row]) -> Path:
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    return path


def comments(count: int = 200, **more: Any) -> list[Row]:
    return [{"id": f"c{i}", "text": f"评论 {i}", "label": "ab"[i % 3 == 0], **more} for i in range(count)]


def section(path: Path | SourceFiles, columns: Columns | None = None, **more: Any) -> DataSection:
    source = path if isinstance(path, SourceFiles) else str(path)
    return DataSection(source=source, columns=columns or Columns(id="id"), **more)


def load(path: Path | SourceFiles, labels: LabelsSection | None = None, **more: Any) -> LoadedData:
    keys = {key: more.pop(key) for key in ("split_file", "resplit", "write") if key in more}
    return load_data(section(path, **more), labels or LabelsSection(), **keys)


def fails(path: Path | SourceFiles, labels: LabelsSection | None = None, **more: Any) -> str:
    with pytest.raises(UserError) as caught:
        load(path, labels, **more)
    message = str(caught.value)
    assert "\n" not in message
    return message


def ids(data: LoadedData) -> dict[str, set[str]]:
    return {name: set(data.splits[name]["id"].to_pylist()) for name in SPLITS}


def where(data: LoadedData) -> dict[str, str]:
    return {row: name for name in SPLITS for row in data.splits[name]["id"].to_pylist()}


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


# ---------------------------------------------------------------- splits
def test_every_row_is_in_one_split_and_shares_are_kept(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", comments()))
    sizes = {name: table.num_rows for name, table in ((n, data.splits[n]) for n in SPLITS)}
    assert sum(sizes.values()) == 200
    assert len(set.union(*ids(data).values())) == 200
    assert abs(sizes["test"] - 40) <= 2
    assert abs(sizes["validation"] - 20) <= 2
    assert sizes["unlabeled"] == 0
    assert data.label_set.names == ["a", "b"]


def test_two_recipes_over_one_source_split_alike(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", comments())
    plain = load(path)
    named = load(path, LabelsSection(names=["Good", "Bad"], codes={"a": "Good", "b": "Bad"}), cleaning=[])
    assert ids(plain) == ids(named)
    assert plain.splits.fingerprints != named.splits.fingerprints  # the gold differs


def test_equal_texts_never_straddle_two_splits(tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "text": f"  text\t{i % 90}" if i % 2 else f"ｔext {i % 90}", "label": "ab"[i % 2]}
        for i in range(300)
    ]
    data = load(write(tmp_path / "a.jsonl", rows))
    texts = [set(data.splits[name]["content_hash"].to_pylist()) for name in SPLITS]
    assert sum(map(len, texts)) == len(set.union(*texts)) == 90


def test_documents_that_are_labelled_in_their_first_row_alone_are_warned_of(tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "text": f"text {i}", "label": "ab"[i // 3 % 2] if i % 3 == 0 else "", "doc": f"d{i // 3}"}
        for i in range(300)
    ]
    data = load(write(tmp_path / "a.jsonl", rows), columns=Columns(id="id", document="doc"))
    (warning,) = [one for one in data.report.warnings if "labelled in some rows only" in one]
    assert warning.startswith("100 documents, such as 'd0', are") and "other 200 rows are unlabeled" in warning
    whole = [{**row, "label": "ab"[int(row["doc"][1:]) % 2]} for row in rows]
    report = load(write(tmp_path / "b.jsonl", whole), columns=Columns(id="id", document="doc")).report
    assert not any("some rows only" in one for one in report.warnings)


@pytest.mark.parametrize("column", ["group", "document"])
def test_blanks_around_a_group_or_document_make_no_other_one(column: str, tmp_path: Path) -> None:
    rows = [
        {"id": str(i), "text": f"text {i}", "label": "ab"[i % 2], "who": f"Ann {i % 40}" + " " * (i % 3)}
        for i in range(400)
    ]
    rows[7]["who"] = rows[11]["who"] = "  "
    data = load(write(tmp_path / "a.jsonl", rows), columns=Columns.model_validate({"id": "id", column: "who"}))
    place = where(data)
    for name in {row["who"].strip() for row in rows} - {""}:
        assert len({place[row["id"]] for row in rows if row["who"].strip() == name}) == 1
    cells = "group" if column == "group" else "document_id"
    found = {cell for split in SPLITS for cell in data.splits[split][cells].to_pylist()}
    assert len(found) == (41 if column == "group" else 42)  # blank ones: no group, documents of their own


def test_groups_and_documents_never_straddle_two_splits(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"text {i % 50}", "label": "ab"[i % 2], "video": f"v{i % 40}"} for i in range(400)]
    path = write(tmp_path / "a.jsonl", rows)
    for columns in (Columns(id="id", group="video"), Columns(id="id", document="video")):
        data = load(path, columns=columns)
        videos = [{fields["video"] for fields in data.splits[name]["fields"].to_pylist()} for name in SPLITS]
        assert sum(map(len, videos)) == len(set.union(*videos)) == 40
        # Groups win over equal texts; those are counted and can be told apart.
        assert data.report.overlaps["test"] == data.splits.seen_in_train("test").sum() > 0


def test_rows_with_an_empty_document_are_split_by_their_text(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"text {i % 30}", "label": "ab"[i % 2], "d": None} for i in range(120)]
    data = load(write(tmp_path / "a.jsonl", rows), columns=Columns(id="id", document="d"))
    assert data.report.overlaps == {}
    assert data.splits.train["document_id"].to_pylist() == data.splits.train["id"].to_pylist()


def test_correcting_a_label_or_adding_rows_moves_no_stored_row(tmp_path: Path) -> None:
    path, split_file = tmp_path / "a.jsonl", tmp_path / "s.parquet"
    rows = comments()
    before = where(load(write(path, rows), split_file=split_file))
    for row in rows[::5]:
        row["label"] = "b"
    rows.reverse()
    more = [{"id": f"n{i}", "text": f"new {i}", "label": "ab"[i % 2]} for i in range(100)]
    data = load(write(path, more + rows), split_file=split_file)
    after = where(data)
    assert {row: after[row] for row in before} == before
    assert abs(data.splits.test.num_rows - 60) <= 3
    assert where(load(path, split_file=split_file)) == after


def test_a_row_that_becomes_labelled_leaves_the_others_alone(tmp_path: Path) -> None:
    path, split_file = tmp_path / "a.jsonl", tmp_path / "s.parquet"
    rows = comments()
    for row in rows[:40]:
        row["label"] = None
    before = where(load(write(path, rows), split_file=split_file))
    assert {split for row, split in before.items() if int(row[1:]) < 40} == {"unlabeled"}
    for row in rows[:40]:
        row["label"] = "a"
    after = where(load(write(path, rows), split_file=split_file))
    assert all(after[row] == split for row, split in before.items() if split != "unlabeled")
    assert "unlabeled" not in after.values()


def test_resplit_forgets_the_stored_assignment(tmp_path: Path) -> None:
    path, split_file = tmp_path / "a.jsonl", tmp_path / "s.parquet"
    rows = comments()
    load(write(path, rows[:50]), split_file=split_file)
    write(path, rows)
    fresh = where(load(path))
    assert where(load(path, split_file=split_file)) != fresh
    assert where(load(path, split_file=split_file, resplit=True)) == fresh
    assert where(load(path, split_file=split_file)) == fresh


def test_changing_validation_leaves_test_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", comments())
    more = load(path, splits=SplitSettings(validation=0.3))
    assert ids(load(path))["test"] == ids(more)["test"]
    assert more.splits.validation.num_rows >= 58


def test_the_stored_file_is_written_whole_and_by_the_first_process_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, split_file = write(tmp_path / "a.jsonl", comments()), tmp_path / "deep" / "s.parquet"
    first = load(path, split_file=split_file, write=False)
    monkeypatch.setenv("RANK", "1")
    assert ids(load(path, split_file=split_file)) == ids(first)
    assert not split_file.exists()
    monkeypatch.setenv("RANK", "0")
    load(path, split_file=split_file)
    table = pq.read_table(split_file)
    assert table.num_rows == 200
    assert table.equals(first.splits.assignment)
    assert [item.name for item in split_file.parent.iterdir()] == ["s.parquet"]
    written = split_file.stat().st_mtime_ns
    load(path, split_file=split_file)
    assert split_file.stat().st_mtime_ns == written


def test_a_stored_split_of_other_settings_or_a_broken_one_is_refused(tmp_path: Path) -> None:
    path, split_file = write(tmp_path / "a.jsonl", comments()), tmp_path / "s.parquet"
    load(path, split_file=split_file)
    message = fails(path, split_file=split_file, splits=SplitSettings(seed=7))
    assert "seed 42" in message
    assert "--resplit" in message
    split_file.write_bytes(b"broken")
    assert "--resplit" in fails(path, split_file=split_file)
    load(path, split_file=split_file, resplit=True)
    load(path, split_file=split_file)


def test_a_split_that_cannot_be_stored_is_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", comments())
    (tmp_path / "file").write_text("x")
    assert "cannot be stored" in fails(path, split_file=tmp_path / "file" / "s.parquet")


def test_a_recipe_that_cannot_work_stores_nothing(tmp_path: Path) -> None:
    path, split_file = write(tmp_path / "a.jsonl", comments()), tmp_path / "s.parquet"
    fails(path, LabelsSection(names=["a", "c"]), split_file=split_file)
    assert not split_file.exists()


def test_recipes_of_one_source_share_the_stored_file(tmp_path: Path) -> None:
    one = section(tmp_path / "comments.csv.gz")
    other = one.model_copy(update={"cleaning": [], "columns": Columns(id="id", label="other")})
    path = default_split_file(one, tmp_path)
    assert path == default_split_file(other, tmp_path)
    assert path.parent == tmp_path / "splits"
    assert path.name.startswith("comments-")
    assert len(path.stem) == len("comments-") + 12
    changes: list[dict[str, Any]] = [
        {"sheet": "b"},
        {"columns": Columns(text="t")},
        {"columns": Columns(group="g")},
        {"splits": SplitSettings(seed=1)},
        {"splits": SplitSettings(validation=0.2)},
    ]
    assert len({path, *(default_split_file(one.model_copy(update=change), tmp_path) for change in changes)}) == 6
    named = one.model_copy(update={"splits": SplitSettings(file="here.parquet")})
    assert default_split_file(named, tmp_path) == Path("here.parquet")


def test_fingerprints_do_not_depend_on_row_order(tmp_path: Path) -> None:
    rows = comments()
    one = load(write(tmp_path / "a.jsonl", rows)).splits.fingerprints
    assert load(write(tmp_path / "b.jsonl", rows[::-1])).splits.fingerprints == one
    rows[0]["label"] = "a"
    assert load(write(tmp_path / "c.jsonl", rows)).splits.fingerprints != one


# ---------------------------------------------------------------- official splits
def official(tmp_path: Path, **parts: list[Row]) -> SourceFiles:
    return SourceFiles(**{name: str(write(tmp_path / f"{name}.jsonl", rows)) for name, rows in parts.items()})


def test_official_splits_are_kept_and_their_overlaps_counted(tmp_path: Path) -> None:
    rows = comments()
    source = official(tmp_path, train=rows[:150], validation=rows[140:170], test=rows[145:], unlabeled=rows[:3])
    data = load(source, columns=Columns(), split_file=tmp_path / "s.parquet")
    assert {name: data.splits[name].num_rows for name in SPLITS} == {
        "train": 150,
        "validation": 30,
        "test": 55,
        "unlabeled": 3,
    }
    assert data.report.overlaps == {"validation": 10, "test": 5}
    assert data.splits.test["id"].to_pylist()[0] == "test-1"
    assert data.splits.unlabeled["gold"].to_pylist() == [None] * 3
    assert not (tmp_path / "s.parquet").exists()


def test_a_split_that_is_not_published_is_cut_from_train(tmp_path: Path) -> None:
    rows = comments()
    with_test = load(official(tmp_path, train=rows[:150], test=rows[150:]))
    assert ids(with_test)["test"] == {row["id"] for row in rows[150:]}
    assert abs(with_test.splits.validation.num_rows - 15) <= 2
    alone = load(official(tmp_path, train=rows))
    assert abs(alone.splits.test.num_rows - 40) <= 2


def test_split_files_may_differ_in_their_columns(tmp_path: Path) -> None:
    source = official(tmp_path, train=comments(50, extra="x"), test=comments(20), unlabeled=[{"id": "u", "text": "t"}])
    data = load(source)
    assert data.splits.test["fields"][0].as_py()["extra"] is None
    assert data.splits.train.schema == data.splits.unlabeled.schema


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


def test_an_inferred_set_that_lacks_a_label_of_test_names_it(tmp_path: Path) -> None:
    rows = comments(60)
    message = fails(official(tmp_path, train=rows[:40], test=[*rows[40:], {"id": "x", "text": "q", "label": "new"}]))
    assert "'new' (1 row: row 21 (id x), in test only)" in message


def test_unseen_labels_of_all_splits_are_told_at_once(tmp_path: Path) -> None:
    rows, odd = comments(40), [{"id": "x", "text": "q", "label": "new"}]
    also = [*odd, {"id": "y", "text": "q", "label": "newer"}]
    message = fails(official(tmp_path, train=rows, validation=odd, test=also))
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
