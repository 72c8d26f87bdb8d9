"""Splits by time and by folds, near duplicates kept together, samples, and duplicates left out."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.data.splits import LoadedData
from categorize.data.splitting.by_time import assign_by_time
from categorize.data.splitting.folds import assign_folds
from categorize.data.splitting.shares import TEST, TRAIN, VALIDATION, Fractions, make_units
from categorize.data.splitting.times import parse_date, read_times
from categorize.errors import UserError
from categorize.recipe.data_sections import Columns, Sample, SplitSettings
from categorize.recipe.label_sections import LabelsSection
from tests.data.small_sources import SPLITS, Row, comments, fails, ids, load, official, where, write

FRACTIONS = Fractions(0.2, 0.1, 42)


def label(i: int) -> str:
    return "ab"[i % 3 == 0]


# ---------------------------------------------------------------- folds
def fold_data(path: Path, fold: int, split_file: Path | None = None, folds: int = 5, **more: Any) -> LoadedData:
    settings = SplitSettings(folds=folds, fold=fold, near_duplicates="off")
    return load(path, splits=settings, split_file=split_file, **more)


def test_every_row_is_in_the_test_split_of_one_fold(tmp_path: Path) -> None:
    path, split_file = write(tmp_path / "a.jsonl", comments(203)), tmp_path / "s.parquet"
    tests: list[set[str]] = []
    for fold in range(5):
        data = fold_data(path, fold, split_file)
        assert ids(fold_data(path, fold))["test"] == ids(data)["test"]  # stored or not
        tests.append(ids(data)["test"])
        assert abs(len(tests[-1]) - 40) <= 3
        assert abs(data.splits.validation.num_rows - 20) <= 3
        assert set.union(*ids(data).values()) == {f"c{i}" for i in range(203)}
        assert abs(data.report.label_counts["a"]["test"] / len(tests[-1]) - 2 / 3) < 0.05
    assert sum(map(len, tests)) == len(set.union(*tests)) == 203


@given(
    st.lists(st.tuples(st.text("xyz", min_size=1, max_size=4), st.sampled_from("abc")), min_size=1, max_size=60),
    st.integers(2, 6),
    st.randoms(),
)
def test_a_unit_keeps_its_fold_in_any_order_and_when_rows_are_added(
    rows: list[tuple[str, str]], folds: int, source: random.Random
) -> None:
    def assigned(some: list[tuple[str, str]], known: dict[str, int] | None = None) -> dict[str, int]:
        units = make_units([key for key, _ in some], [(value,) for _, value in some])
        return dict(zip(units.keys.to_pylist(), assign_folds(units, folds, 7, known).tolist(), strict=True))

    first = assigned(rows)
    assert set(first.values()) <= set(range(folds))
    more = [*rows, *((f"new {i}", "abc"[i % 3]) for i in range(10))]
    source.shuffle(rows)
    assert assigned(rows) == first
    after = assigned(more, first)
    assert {key: after[key] for key in first} == first


def test_folds_are_even_within_one_row_of_each_label_and_groups_stay_whole() -> None:
    units = make_units([str(i) for i in range(103)], [(label(i),) for i in range(103)])
    folds = assign_folds(units, 5, 1)
    for name in "ab":
        counts = Counter(folds[[s == name for s in units.strata]].tolist())
        assert max(counts.values()) - min(counts.values()) <= 1
    source = random.Random(2)
    keys = [f"g{i}" for i in range(30) for _ in range(source.randint(5, 50))]
    large = make_units(keys, [("a",)] * len(keys))
    rows = np.bincount(assign_folds(large, 5, 1), weights=large.sizes)
    assert rows.max() / rows.min() < 1.3


def test_new_rows_spread_over_the_folds() -> None:
    units = make_units([str(i) for i in range(100)], [(label(i),) for i in range(100)])
    known = dict(zip(units.keys.to_pylist(), assign_folds(units, 5, 1).tolist(), strict=True))
    more = make_units([str(i) for i in range(200)], [(label(i),) for i in range(200)])
    counts = Counter(assign_folds(more, 5, 1, known).tolist())
    assert max(counts.values()) - min(counts.values()) <= 4


def test_folds_that_cannot_be_made_are_refused(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"t{i}", "label": label(i), "g": "xyz"[i % 3]} for i in range(60)]
    path = write(tmp_path / "a.jsonl", rows)
    message = fails(path, columns=Columns(id="id", group="g"), splits=SplitSettings(folds=5))
    assert "5 folds" in message and "3 units" in message
    from categorize.recipe.data_sections import SourceFiles

    source = SourceFiles(train=str(path), test=str(path))
    assert "publishes a test split" in fails(source, columns=Columns(), splits=SplitSettings(folds=5))


def test_all_folds_share_one_stored_file_and_shares_have_another(tmp_path: Path) -> None:
    path, split_file = write(tmp_path / "a.jsonl", comments()), tmp_path / "s.parquet"
    fold_data(path, 0, split_file)
    written = split_file.stat().st_mtime_ns
    fold_data(path, 3, split_file)
    assert split_file.stat().st_mtime_ns == written
    assert set(pq.read_table(split_file)["split"].to_pylist()) == {f"fold {i}" for i in range(5)}
    assert "folds 5, the recipe has None" in fails(path, split_file=split_file)
    assert "folds 5, the recipe has 4" in fails(path, split_file=split_file, splits=SplitSettings(folds=4))


# ---------------------------------------------------------------- time
def dated(count: int = 100) -> list[Row]:
    return [
        {"id": f"c{i}", "text": f"text {i}", "label": label(i), "day": f"2024-{1 + i // 28:02d}-{1 + i % 28:02d}"}
        for i in range(count)
    ]


BY_TIME = SplitSettings(by_time="day", near_duplicates="off")


def test_the_earliest_train_and_the_latest_test(tmp_path: Path) -> None:
    rows = dated()
    random.Random(1).shuffle(rows)
    data = load(write(tmp_path / "a.jsonl", rows), splits=BY_TIME)
    assert ids(data)["train"] == {f"c{i}" for i in range(70)}
    assert ids(data)["validation"] == {f"c{i}" for i in range(70, 80)}
    assert ids(data)["test"] == {f"c{i}" for i in range(80, 100)}
    assert any("validation from 2024-03-15, test from 2024-03-25" in note for note in data.report.notes)


def test_rows_of_one_time_stay_together_and_a_bent_share_is_a_warning(tmp_path: Path) -> None:
    rows = [{**row, "day": "2024-03-01" if i >= 50 else row["day"]} for i, row in enumerate(dated())]
    data = load(write(tmp_path / "a.jsonl", rows), splits=BY_TIME)
    assert ids(data)["test"] == {f"c{i}" for i in range(50, 100)}
    assert any("test split has 50%" in w and "50 rows share the time 2024-03-01" in w for w in data.report.warnings)


def test_rows_without_a_time_train_and_are_counted(tmp_path: Path) -> None:
    rows = [{**row, "day": None if i % 10 == 9 else row["day"]} for i, row in enumerate(dated())]
    data = load(write(tmp_path / "a.jsonl", rows), splits=BY_TIME)
    assert {f"c{i}" for i in range(9, 100, 10)} <= ids(data)["train"]
    assert any("10 labelled rows have no day" in note for note in data.report.notes)


def test_a_text_that_recurs_stands_where_it_first_appeared(tmp_path: Path) -> None:
    rows = dated()
    rows[95]["text"] = rows[75]["text"] = rows[0]["text"]
    data = load(write(tmp_path / "a.jsonl", rows), splits=BY_TIME)
    assert {"c0", "c75", "c95"} <= ids(data)["train"]
    assert any("2 rows are later than their split" in note for note in data.report.notes)


def test_stored_times_keep_their_cut_and_what_comes_later_is_test(tmp_path: Path) -> None:
    path, split_file = tmp_path / "a.jsonl", tmp_path / "s.parquet"
    before = where(load(write(path, dated()[:80]), splits=BY_TIME, split_file=split_file))
    after = where(load(write(path, dated()), splits=BY_TIME, split_file=split_file))
    assert {row: after[row] for row in before} == before
    assert {after[f"c{i}"] for i in range(80, 100)} == {"test"}


@given(
    st.lists(st.one_of(st.none(), st.integers(0, 30)), min_size=6, max_size=60).filter(
        lambda times: len({t for t in times if t is not None}) >= 3
    )
)
def test_no_training_time_is_later_than_a_held_out_one(times: list[int | None]) -> None:
    units = make_units([str(i) for i in range(len(times))], [("a",)] * len(times))
    values = np.array([np.nan if t is None else float(t) for t in times])
    split, _ = assign_by_time(units, values, FRACTIONS)
    spans = [values[(split == part) & ~np.isnan(values)] for part in (TRAIN, VALIDATION, TEST)]
    assert all(len(span) for span in spans)
    assert spans[0].max() < spans[1].min() and spans[1].max() < spans[2].min()
    assert (split[np.isnan(values)] == TRAIN).all()


@pytest.mark.parametrize(
    ("cell", "same"),
    [
        ("2024-03-05", "2024/3/5"),
        ("2024年3月5日", "2024-03-05T00:00:00Z"),
        ("2024-03-05 08:30", "2024-03-05T00:30:00Z".replace("00:30", "08:30")),
        ("2024-03-05T08:30:00+08:00", "2024-03-05 00:30"),
        ("2024-03", "2024-03-01"),
    ],
)
def test_dates_read_as_people_and_programs_write_them(cell: str, same: str) -> None:
    assert parse_date(cell) == parse_date(same) is not None


def test_a_cell_that_is_not_a_time_or_two_forms_are_refused_with_the_row(tmp_path: Path) -> None:
    rows = dated()
    rows[3]["day"] = "gestern"
    assert "row 4 (id c3): 'gestern'" in fails(write(tmp_path / "a.jsonl", rows), splits=BY_TIME)
    rows[3]["day"] = 1700000000
    assert "write all in one form" in fails(write(tmp_path / "a.jsonl", rows), splits=BY_TIME)
    assert "no column 'dya' (did you mean 'day'?)" in fails(tmp_path / "a.jsonl", splits=SplitSettings(by_time="dya"))
    with pytest.raises(UserError, match="2024-13-01"):
        read_times(["2024-13-01"], lambda row: f"row {row}", "key")
    same = [{**row, "day": "2024"} for row in dated()]
    assert "1 different times" in fails(write(tmp_path / "b.jsonl", same), splits=BY_TIME)


# ---------------------------------------------------------------- groups that fit no split
def test_a_group_that_leaves_a_split_empty_is_named_with_its_share(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"t{i}", "label": label(i), "v": "v1" if i < 95 else "v2"} for i in range(100)]
    message = fails(write(tmp_path / "a.jsonl", rows), columns=Columns(id="id", group="v"))
    assert "data.columns.group: 'v1' holds 95 of 100 labelled rows (95%)" in message
    rows = [{**row, "v": "v1" if i < 90 else f"v{i}"} for i, row in enumerate(rows)]
    data = load(write(tmp_path / "a.jsonl", rows), columns=Columns(id="id", group="v"))
    assert any("test split has" in w and "'v1' holds 90 of 100" in w for w in data.report.warnings)
    assert data.splits.validation.num_rows


# ---------------------------------------------------------------- near duplicates
LONG = "今天的直播内容非常精彩，主播讲解得很清楚，大家都学到了不少新的知识，希望下次还能看到"


def near_rows(count: int = 120) -> list[Row]:
    """Three variants of each of some long texts."""
    source = random.Random(4)
    characters = [chr(0x4E00 + i) for i in range(1500)]
    texts = ["".join(source.choices(characters, k=40)) for _ in range(count // 3)]
    return [{"id": f"n{i}", "text": texts[i // 3] + "啊呀哦"[i % 3], "label": label(i // 3)} for i in range(count)]


def test_near_duplicates_across_splits_are_counted_flagged_and_warned_of(tmp_path: Path) -> None:
    data = load(write(tmp_path / "a.jsonl", near_rows()))
    likeness = data.splits.train_overlap("test")
    assert Counter(likeness)["near"] == data.report.near_overlaps["test"] > 10
    assert any("nearly the text of a training row" in warning for warning in data.report.warnings)
    assert any("near_duplicates: group" in warning for warning in data.report.warnings)
    grouped = load(tmp_path / "a.jsonl", columns=Columns(id="id", group="id")).report
    assert grouped.near_overlaps and not any("near_duplicates: group" in warning for warning in grouped.warnings)
    off = load(tmp_path / "a.jsonl", splits=SplitSettings(near_duplicates="off"))
    assert off.report.near_overlaps == {}
    assert ids(off) == ids(data)


def test_grouped_near_duplicates_never_straddle_two_splits(tmp_path: Path) -> None:
    path, split_file = write(tmp_path / "a.jsonl", near_rows()), tmp_path / "s.parquet"
    settings = SplitSettings(near_duplicates="group")
    data = load(path, splits=settings, split_file=split_file)
    assert data.report.near_overlaps == {}
    place = where(data)
    assert all(len({place[f"n{3 * i + k}"] for k in range(3)}) == 1 for i in range(40))
    assert data.splits.test.num_rows > 12
    more = [*near_rows(), *({"id": f"m{i}", "text": near_rows()[i]["text"] + "了", "label": "a"} for i in range(60))]
    after = where(load(write(path, more), splits=settings, split_file=split_file))
    assert {row: after[row] for row in place} == place
    assert all(after[f"m{i}"] == after[f"n{i}"] for i in range(60))


# ---------------------------------------------------------------- duplicates
def test_duplicates_leave_train_alone_and_are_counted(tmp_path: Path) -> None:
    rows = [
        {"id": f"d{i}", "text": LONG + ["", "！！", "呀"][i % 3], "label": "ab"[i >= 60], "g": f"{i}"}
        for i in range(120)
    ]
    path = write(tmp_path / "a.jsonl", rows)
    columns = Columns(id="id", group="g")
    whole = load(path, columns=columns)
    exact = load(path, columns=columns, dedupe="exact")
    near = load(path, columns=columns, dedupe="near")
    for data in (exact, near):
        assert {n: ids(data)[n] for n in ("validation", "test")} == {n: ids(whole)[n] for n in ("validation", "test")}
    assert exact.splits.train.num_rows == 6  # three texts, each with both labels
    assert near.splits.train.num_rows == 2
    gone = whole.splits.train.num_rows - 2
    assert sum(near.report.left_out.values()) == gone == near.left_out.num_rows
    assert any("left out:" in line for line in near.report.lines())


def test_duplicates_of_documents_are_whole_documents(tmp_path: Path) -> None:
    turns = [["hello", "yes.", f"about {i % 30}"] for i in range(60)]  # each document twice
    rows = [
        {"id": f"{i}-{j}", "text": text, "label": "ab"[i % 2], "doc": f"d{i}"}
        for i, document in enumerate(turns)
        for j, text in enumerate(document)
    ]
    data = load(
        write(tmp_path / "a.jsonl", rows), columns=Columns(id="id", document="doc"), dedupe="exact",
        splits=SplitSettings(test=0.1, validation=0.0),
    )  # fmt: skip
    documents = Counter(data.splits.train["document_id"].to_pylist())
    assert set(documents.values()) == {3}  # none has lost a turn
    texts = [text for text in data.splits.train["text"].to_pylist() if text.startswith("about")]
    assert len(texts) == len(set(texts)) and sum(data.report.left_out.values()) % 3 == 0 < data.left_out.num_rows


# ---------------------------------------------------------------- sample
def test_a_larger_sample_holds_the_smaller_one_and_keeps_the_shares(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", comments(1000))
    whole, previous = load(path), set()
    for rows in (10, 57, 200, 699, 100_000):
        data = load(path, sample=Sample(rows=rows))
        train = ids(data)["train"]
        assert len(train) == min(rows, whole.splits.train.num_rows)
        assert previous <= train
        previous = train
        assert ids(data)["test"] == ids(whole)["test"]
        assert abs(data.report.label_counts["a"]["train"] / len(train) - 2 / 3) < 0.5 / len(train) + 0.05
        assert data.left_out.num_rows == 1000 - sum(data.splits[name].num_rows for name in SPLITS)
    assert ids(load(path, sample=Sample(rows=100, seed=1))) != ids(load(path, sample=Sample(rows=100)))


def test_a_sample_by_label_keeps_as_many_of_each_and_more_hold_fewer(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"text {i}", "label": "ab"[i % 5 == 0]} for i in range(400)]
    path = write(tmp_path / "a.jsonl", rows)
    kept = {}
    for each in (5, 20):
        train = load(path, sample=Sample(per_label=each, splits=["train"])).splits.train
        assert Counter(gold[0] for gold in train["gold"].to_pylist()) == {"a": each, "b": each}
        kept[each] = set(train["id"].to_pylist())
    assert kept[5] < kept[20]


def test_a_sample_smaller_than_any_document_is_refused(tmp_path: Path) -> None:
    rows = [{**row, "doc": f"d{i // 4}"} for i, row in enumerate(comments(80))]
    message = fails(write(tmp_path / "a.jsonl", rows), columns=Columns(id="id", document="doc"), sample=Sample(rows=3))
    assert re.search(r"data\.sample\.rows: 3 is less than .* the longest has 4 rows", message)


def test_a_sample_takes_from_the_splits_that_are_named(tmp_path: Path) -> None:
    rows = [{**row, "label": None if i % 2 else row["label"]} for i, row in enumerate(comments(400))]
    path = write(tmp_path / "a.jsonl", rows)
    whole = load(path)
    usual = load(path, sample=Sample(rows=20, stratified=False))
    assert [usual.splits[name].num_rows for name in SPLITS] == [
        20, whole.splits.validation.num_rows, whole.splits.test.num_rows, 20
    ]  # fmt: skip
    held_out = load(path, sample=Sample(rows=20, splits=["test"]))
    assert held_out.splits.test.num_rows == 20
    assert ids(held_out)["train"] == ids(whole)["train"]


def test_a_sample_does_not_depend_on_row_order(tmp_path: Path) -> None:
    rows = comments(300)
    one = load(write(tmp_path / "a.jsonl", rows), sample=Sample(rows=50))
    assert ids(load(write(tmp_path / "a.jsonl", rows[::-1]), sample=Sample(rows=50))) == ids(one)


def test_a_sample_takes_documents_whole(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"t{i}", "label": label(i // 7), "d": f"d{i // 7}"} for i in range(700)]
    path = write(tmp_path / "a.jsonl", rows)
    data = load(path, columns=Columns(id="id", document="d"), sample=Sample(rows=100))
    counts = Counter(data.splits.train["document_id"].to_pylist())
    assert set(counts.values()) == {7}
    assert sum(counts.values()) == 98


# ---------------------------------------------------------------- warnings
def test_few_training_rows_and_uneven_labels_are_warnings(tmp_path: Path) -> None:
    rows = [{"id": str(i), "text": f"t{i}", "label": "c" if i % 50 == 0 else label(i)} for i in range(400)]
    warnings = load(write(tmp_path / "a.jsonl", rows)).report.warnings
    assert any("fewer than 20 training rows: 'c'" in warning for warning in warnings)
    assert not [warning for warning in warnings if "more than chance" in warning]
    train, test = comments(200), [{**row, "id": f"t{i}", "label": "a"} for i, row in enumerate(comments(100))]
    data = load(official(tmp_path, train=train, test=test), LabelsSection())
    assert any("more than chance" in w and "'a'" in w and "of test" in w for w in data.report.warnings)


def test_a_key_that_does_nothing_for_this_source_is_told(tmp_path: Path) -> None:
    rows, held = near_rows(), [{**row, "id": f"h{row['id']}", "text": row["text"] + "了"} for row in near_rows()]
    both = official(tmp_path, train=rows, test=held)
    warnings = load(both, splits=SplitSettings(test=0.3)).report.warnings
    assert any("data.splits.test: 0.3 has no effect: the source publishes a test split" in w for w in warnings)
    # What is cut here is validation, and `group` would keep its texts apart from train.
    assert any("near_duplicates: group keeps" in w for w in warnings)
    every = official(tmp_path, train=rows, validation=held[:20], test=held[20:])
    near = load(every).report.warnings
    assert any("the splits are published, and kept" in w for w in near) and not any("group keeps" in w for w in near)
    settings = SplitSettings(validation=0.2, near_duplicates="group", seed=3)
    told = load(every, splits=settings).report.warnings
    assert any("data.splits.validation: 0.2 has no effect" in w for w in told)
    assert any("data.splits.seed and data.splits.near_duplicates: group have no effect" in w for w in told)
    assert not any("group keeps such texts" in w for w in told)
    single = write(tmp_path / "a.jsonl", rows)
    folds = load(single, splits=SplitSettings(folds=5, test=0.3)).report.warnings
    assert any("data.splits.test: 0.3 has no effect beside folds" in w for w in folds)
    quiet = load(single, splits=SplitSettings(test=0.3, validation=0.2, seed=3, near_duplicates="group"))
    assert not any("no effect" in w for w in quiet.report.warnings)


def test_validation_cut_from_few_rows_says_what_it_costs(tmp_path: Path) -> None:
    rows = comments(40)
    data = load(official(tmp_path, train=rows[:26], test=rows[26:]))
    held = data.splits.validation.num_rows
    (warning,) = [w for w in data.report.warnings if "validation has" in w]
    assert f"taken from the 26 of train: a measure on it moves by {100 / held:.0f} points with a single row" in warning
    assert f"training has {26 - held}" in warning and "data.splits.validation: 0" in warning
    whole = load(official(tmp_path, train=rows[:26], test=rows[26:]), splits=SplitSettings(validation=0))
    assert not any("validation has" in w for w in whole.report.warnings)
    assert not any("validation has" in w for w in load(write(tmp_path / "a.jsonl", comments(400))).report.warnings)
