"""Groups that hold rows of several labels: balanced, and as steady as the split of single rows."""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.data.splitting.folds import assign_folds
from categorize.data.splitting.groups import assign_group_folds, assign_groups
from categorize.data.splitting.shares import TEST, TRAIN, VALIDATION, Fractions, Units, assign, make_units
from categorize.predictions import IntArray
from categorize.recipe.data_sections import Columns, SplitSettings
from tests.data.small_sources import Row, load, where, write

FRACTIONS = Fractions(0.2, 0.1, 42)
Values = list[tuple[str, ...]]
Way = Callable[[Units, dict[str, int] | None], IntArray]


def by_shares(units: Units, known: dict[str, int] | None = None) -> IntArray:
    return assign_groups(units, FRACTIONS, known)


def by_folds(units: Units, known: dict[str, int] | None = None) -> IntArray:
    return assign_group_folds(units, 5, 42, known)


WAYS = pytest.mark.parametrize("way", [by_shares, by_folds])


def mixed(groups: int, labels: int, seed: int, even: bool = False) -> tuple[list[str], Values]:
    """Rows of groups, each of up to 1% of the rows, with a mix of labels of its own."""
    source = np.random.default_rng(seed)
    sizes = np.full(groups, 20) if even else (20 * source.lognormal(0, 0.8, groups)).astype(int) + 1
    for _ in range(20):
        sizes = np.minimum(sizes, max(1, int(sizes.sum() * 0.01)))
    overall = source.dirichlet(np.full(labels, 2.0))
    keys: list[str] = []
    values: Values = []
    for group, size in enumerate(sizes.tolist()):
        mix = source.dirichlet(overall * 2 * labels)
        keys += [f"g{group}"] * size
        values += [(f"l{n}",) for n in source.choice(labels, size, p=mix)]
    return keys, values


def result(way: Way, keys: list[str], values: Values, known: dict[str, int] | None = None) -> dict[str, int]:
    units = make_units(keys, values)
    return dict(zip(units.keys.to_pylist(), way(units, known).tolist(), strict=True))


def worst_share(keys: list[str], values: Values, part_of: dict[str, int], part: int) -> float:
    """By how much the share of any label in a part differs from that in all rows."""
    overall = Counter(label for labels in values for label in labels)
    inside = [labels for key, labels in zip(keys, values, strict=True) if part_of[key] == part]
    held = Counter(label for labels in inside for label in labels)
    return max(abs(held[label] / len(inside) - n / len(keys)) for label, n in overall.items())


@pytest.mark.parametrize(
    ("groups", "labels", "even"), [(100, 2, True), (150, 3, False), (300, 3, True), (400, 8, False)]
)
@pytest.mark.parametrize("seed", range(3))
def test_groups_of_up_to_a_hundredth_of_the_rows_keep_label_shares_within_a_point(
    groups: int, labels: int, even: bool, seed: int
) -> None:
    keys, values = mixed(groups, labels, seed, even)
    split, fold = result(by_shares, keys, values), result(by_folds, keys, values)
    for part, share in ((TRAIN, 0.7), (VALIDATION, 0.1), (TEST, 0.2)):
        assert worst_share(keys, values, split, part) <= 0.01
        assert abs(sum(split[key] == part for key in keys) / len(keys) - share) <= 0.015
    for number in range(5):
        assert worst_share(keys, values, fold, number) <= 0.01
        assert abs(sum(fold[key] == number for key in keys) / len(keys) - 0.2) <= 0.015


def test_groups_of_several_labels_a_row_keep_their_shares() -> None:
    source = random.Random(5)
    keys = [f"g{i}" for i in range(300) for _ in range(20)]
    leaning = {key: source.choice("abc") for key in keys}
    values = [tuple({leaning[key], source.choice("abcd")}) if source.random() < 0.9 else () for key in keys]
    split = result(by_shares, keys, values)
    assert max(worst_share(keys, values, split, part) for part in (TRAIN, VALIDATION, TEST)) <= 0.01


@WAYS
@pytest.mark.parametrize("seed", range(3))
def test_a_hundredth_more_groups_move_at_most_two_hundredths(way: Way, seed: int) -> None:
    keys, values = mixed(600, 3, seed)
    new = {f"g{i}" for i in random.Random(seed).sample(range(600), 6)}
    less = [(key, value) for key, value in zip(keys, values, strict=True) if key not in new]
    before = result(way, [key for key, _ in less], [value for _, value in less])
    after = result(way, keys, values)
    assert sum(after[key] != part for key, part in before.items()) <= 0.02 * len(before)


ROWS = st.lists(
    st.tuples(st.sampled_from("uvwxyz"), st.lists(st.sampled_from("abc"), max_size=2, unique=True).map(tuple)),
    max_size=40,
)


@WAYS
@settings(max_examples=40)
@given(ROWS, ROWS, st.randoms())
def test_groups_that_are_stored_stay_and_the_order_of_rows_does_not_matter(
    way: Way, rows: list[tuple[str, tuple[str, ...]]], more: list[tuple[str, tuple[str, ...]]], source: random.Random
) -> None:
    first = result(way, [key for key, _ in rows], [v for _, v in rows])
    shuffled = source.sample(rows, len(rows))
    assert result(way, [key for key, _ in shuffled], [v for _, v in shuffled]) == first
    both = rows + [(f"{key} new", v) for key, v in more]
    after = result(way, [key for key, _ in both], [v for _, v in both], first)
    assert {key: after[key] for key in first} == first


def test_new_groups_fill_what_the_stored_splits_lack() -> None:
    keys, values = mixed(400, 3, 1)
    known = {f"g{i}": TRAIN for i in range(150)}
    split = result(by_shares, keys, values, known)
    assert all(split[key] == TRAIN for key in known)
    for part, share in ((TEST, 0.2), (VALIDATION, 0.1)):
        assert abs(sum(split[key] == part for key in keys) / len(keys) - share) <= 0.015
        assert worst_share(keys, values, split, part) <= 0.01


@pytest.mark.parametrize("validation", [0.0, 0.3])
def test_changing_validation_leaves_the_test_groups_alone(validation: float) -> None:
    units = make_units(*mixed(120, 3, 2))
    other = assign_groups(units, Fractions(0.2, validation, 42))
    assert ((other == TEST) == (by_shares(units) == TEST)).all()
    assert (other == VALIDATION).any() == bool(validation)


@pytest.mark.parametrize("groups", [5, 6, 8, 12])
def test_few_groups_leave_no_split_empty(groups: int) -> None:
    keys, values = mixed(groups, 2, groups)
    keys, values = keys[: 20 * groups], [("ab"[i % 3 == 0],) for i in range(20 * groups)]
    keys = [f"g{i % groups}" for i in range(20 * groups)]
    for seed in range(10):
        split = assign_groups(make_units(keys, values), Fractions(0.2, 0.1, seed))
        assert set(split.tolist()) == {TRAIN, VALIDATION, TEST}
        assert set(assign_group_folds(make_units(keys, values), 5, seed).tolist()) == set(range(5))


def test_labels_of_a_group_count_and_not_its_rarest_one_alone(tmp_path: Path) -> None:
    """Through `load_data`, and a stored assignment keeps its rows."""
    source = random.Random(8)
    leaning = [source.betavariate(2, 3.8) for _ in range(120)]
    rows: list[Row] = [
        {"id": f"{i}-{j}", "text": f"text {i} {j}", "label": "ba"[source.random() < leaning[i]], "v": f"v{i}"}
        for i in range(120)
        for j in range(15)
    ]
    path, columns = write(tmp_path / "a.jsonl", rows), Columns(id="id", group="v")
    overall = sum(row["label"] == "a" for row in rows) / len(rows)
    split_file = tmp_path / "s.parquet"
    data = load(path, columns=columns, split_file=split_file)
    for name in ("train", "validation", "test"):
        assert abs(data.report.label_counts["a"][name] / data.splits[name].num_rows - overall) <= 0.01
    for number in range(5):
        fold = load(path, columns=columns, splits=SplitSettings(folds=5, fold=number))
        assert abs(fold.report.label_counts["a"]["test"] / fold.splits.test.num_rows - overall) <= 0.01
    place = where(data)
    more = [*rows, *({**row, "id": f"n{row['id']}", "v": f"n{row['v']}"} for row in rows[:300])]
    after = where(load(write(path, more), columns=columns, split_file=split_file))
    assert {row: after[row] for row in place} == place


def test_splits_without_groups_are_as_they_were() -> None:
    """Their assignment as it was before groups had a way of their own."""
    source = random.Random(7)
    times = [source.choice((1, 1, 1, 2, 3, 9, 40)) for _ in range(600)]
    keys = [f"t{i}" for i, n in enumerate(times) for _ in range(n)]
    units = make_units(keys, [tuple(source.sample("abcde", source.choice((1, 1, 2)))) for _ in keys])
    dealt = json.dumps([assign(units, FRACTIONS).tolist(), assign_folds(units, 5, 42).tolist()])
    assert hashlib.sha256(dealt.encode()).hexdigest() == AS_THEY_WERE


AS_THEY_WERE = "206eb539dc8dcf2f87d7b25533356c71fb22b9732f5eda1f8b84566311d68f2d"
