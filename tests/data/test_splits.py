"""Splits: the promises of docs/data.md, over made-up and random data."""

from __future__ import annotations

import gzip
import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.data.rows import content_key
from categorize.data.splitting.folds import assign_folds
from categorize.data.splitting.shares import (
    TEST,
    TRAIN,
    VALIDATION,
    Fractions,
    assign,
    make_units,
    seeded_hash,
    stratum_value,
    unit_keys,
)
from categorize.errors import UserError

FRACTIONS = Fractions(0.2, 0.1, 42)
Values = Sequence[tuple[str, ...] | None]


def keys_of(*columns: list[str] | list[str | None] | None) -> list[str]:
    return unit_keys(*(None if one is None else pa.array(one, pa.string()) for one in columns)).to_pylist()


def split(
    keys: Sequence[str], values: Values, fractions: Fractions = FRACTIONS, known: dict[str, int] | None = None
) -> dict[str, int]:
    units = make_units(keys, values)
    return dict(zip(units.keys.to_pylist(), assign(units, fractions, known).tolist(), strict=True))


def made_up(rows: int = 3000, labels: int = 7, seed: int = 1) -> tuple[list[str], list[tuple[str, ...] | None]]:
    """Distinct texts with skewed labels, one or two a row."""
    source = random.Random(seed)
    names = [f"label {i}" for i in range(labels)]
    weights = [2.0**-i for i in range(labels)]
    values = [tuple(dict.fromkeys(source.choices(names, weights, k=source.choice((1, 1, 2))))) for _ in range(rows)]
    return [content_key([f"text {i}"]) for i in range(rows)], list(values)


SMALL_VALUES = st.none() | st.lists(st.sampled_from("abcd"), max_size=3, unique=True).map(tuple)
ROWS = st.lists(st.tuples(st.text("xyz", min_size=1, max_size=3), SMALL_VALUES), max_size=60)
FRACTION = st.sampled_from([0.0, 0.1, 0.25, 0.4])


@given(ROWS, FRACTION, FRACTION, st.integers(0, 9), st.randoms())
def test_the_split_does_not_depend_on_row_order(
    rows: list[tuple[str, tuple[str, ...] | None]], test: float, validation: float, seed: int, source: random.Random
) -> None:
    fractions = Fractions(test, validation, seed)
    first = split([key for key, _ in rows], [v for _, v in rows], fractions)
    source.shuffle(rows)
    assert split([key for key, _ in rows], [v for _, v in rows], fractions) == first
    assert set(first) == {key for key, v in rows if v is not None}


@given(ROWS, FRACTION, FRACTION, FRACTION, st.integers(0, 9))
def test_changing_validation_leaves_test_alone(
    rows: list[tuple[str, tuple[str, ...] | None]], test: float, one: float, other: float, seed: int
) -> None:
    # With a test share of 0 there is no test split to leave alone.
    keys, values = [key for key, _ in rows], [v for _, v in rows]
    a = split(keys, values, Fractions(test, one, seed))
    b = split(keys, values, Fractions(test, other, seed))
    assert {k for k, s in a.items() if s == TEST} == {k for k, s in b.items() if s == TEST}


@given(ROWS, ROWS, st.integers(0, 9))
def test_stored_keys_never_move(
    rows: list[tuple[str, tuple[str, ...] | None]], more: list[tuple[str, tuple[str, ...] | None]], seed: int
) -> None:
    fractions = Fractions(0.25, 0.25, seed)
    known = split([key for key, _ in rows], [v for _, v in rows], fractions)
    both = rows + more
    after = split([key for key, _ in both], [v for _, v in both], fractions, known)
    assert {key: after[key] for key in known} == known


@given(
    st.dictionaries(st.text(min_size=1), st.sampled_from(["a", "b", "c"]), max_size=80),
    FRACTION,
    FRACTION,
    st.integers(0, 9),
)
def test_quotas_are_right_within_one_row_of_each_stratum(
    labels: dict[str, str], test: float, validation: float, seed: int
) -> None:
    result = split(list(labels), [(label,) for label in labels.values()], Fractions(test, validation, seed))
    for label, total in Counter(labels.values()).items():
        counts = Counter(result[key] for key, value in labels.items() if value == label)
        assert abs(counts[TEST] - test * total) < 1
        assert abs(counts[VALIDATION] - validation * total) < 1


def test_many_small_strata_together_keep_the_share() -> None:
    values: Values = [(f"label {i}",) for i in range(5000)]
    counts = Counter(split([f"key {i}" for i in range(5000)], values).values())
    assert abs(counts[TEST] / 5000 - 0.2) < 0.02
    assert abs(counts[VALIDATION] / 5000 - 0.1) < 0.02


def test_few_rows_move_when_rows_are_added_and_none_with_the_stored_file() -> None:
    keys, values = made_up()
    less = split(keys[:-30], values[:-30])
    full = split(keys, values)
    assert sum(full[key] != s for key, s in less.items()) <= 0.01 * len(less)
    stuck = split(keys, values, known=less)
    assert all(stuck[key] == s for key, s in less.items())
    counts = Counter(stuck.values())
    assert abs(counts[TEST] / 3000 - 0.2) < 0.01


def test_renaming_labels_in_the_recipe_cannot_move_a_row() -> None:
    # Strata are raw values: the label set is not an argument here, and no value order but that of ties matters.
    keys, values = made_up()
    assert split(keys, values) == split(keys, [v and tuple(reversed(v)) for v in values])


def test_the_rarest_label_is_the_stratum() -> None:
    units = make_units(["k1", "k2", "k3", "k3"], [("common", "rare"), ("common",), ("common",), ("rarest",)])
    assert dict(zip(units.keys.to_pylist(), units.strata, strict=True)) == {
        "k1": "rare",
        "k2": "common",
        "k3": "rarest",
    }
    assert units.sizes.tolist() == [1, 1, 2]


def test_scores_share_one_stratum_and_codes_do_not() -> None:
    assert stratum_value("2.81") == stratum_value("-0.5") == stratum_value("1e-3")
    assert len({stratum_value(value) for value in ("2", "3", "2.81", "v1.2", "nan")}) == 5


def test_unlabelled_rows_are_not_part_of_the_quota() -> None:
    keys, values = made_up(rows=500)
    assert split([*keys, "new"], [*values, None]) == split(keys, values)


def test_where_all_rows_are_unlabelled_nothing_is_split() -> None:
    assert split(["a", "b"], [None, None]) == {}
    assert split([], []) == {}


def test_groups_stay_whole_and_are_dealt_out_to_the_quotas() -> None:
    source = random.Random(3)
    groups = [f"video {i}" for i in range(40) for _ in range(source.randint(20, 200))]
    texts = [content_key([f"{i}"]) for i in range(len(groups))]
    keys = keys_of(texts, None, groups)
    result = split(keys, [(source.choice("ab"),) for _ in keys])
    assert len(result) == 40
    rows = Counter(result[key] for key in keys)
    assert abs(rows[TEST] / len(keys) - 0.2) < 0.02
    assert abs(rows[VALIDATION] / len(keys) - 0.1) < 0.02


def test_one_text_that_fills_a_quota_goes_to_train() -> None:
    keys = ["often"] * 500 + [f"k{i}" for i in range(1000)]
    result = split(keys, [("a",)] * 1500)
    assert result["often"] == TRAIN
    assert abs(Counter(result.values())[TEST] - 200) <= 1


def test_a_row_without_a_group_is_split_by_its_text() -> None:
    keys = keys_of(["t1", "t2", "t2"], None, ["g", None, None])
    assert keys[1:] == ["t2", "t2"]
    assert keys_of(["t1", "t2"], ["d", "d"], None)[0] == keys_of(["t3"], ["d"], None)[0]
    assert keys_of(["t1"], ["x"], ["g"]) != keys_of(["t1"], None, None)


def test_another_seed_is_another_split() -> None:
    keys, values = made_up()
    assert split(keys, values) != split(keys, values, Fractions(0.2, 0.1, 43))
    assert seeded_hash(1, "a") != seeded_hash(2, "a")


def test_shares_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(UserError, match="nothing to train on"):
        Fractions(0.6, 0.4, 1)


def test_two_processes_split_alike(root: Path) -> None:
    code = (
        "from tests.data.test_splits import made_up, split; import hashlib\n"
        "print(hashlib.sha256(repr(sorted(split(*made_up()).items())).encode()).hexdigest())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1


def test_the_algorithm_has_not_changed() -> None:
    """A changed order would silently put old test rows into new training sets; raise `split_file.VERSION` if so."""
    result = split([f"key {i}" for i in range(20)], [("a",)] * 20)
    assert sorted(k for k, s in result.items() if s == TEST) == PINNED_TEST
    assert sorted(k for k, s in result.items() if s == VALIDATION) == PINNED_VALIDATION


PINNED_TEST = ["key 12", "key 14", "key 16", "key 19"]
PINNED_VALIDATION = ["key 13", "key 5"]


# ---------------------------------------------------------------- real data
def goemotions() -> tuple[list[str], list[tuple[str, ...] | None]]:
    folder = Path(os.environ.get("CATEGORIZE_DATA", "")) / "goemotions"
    if not os.environ.get("CATEGORIZE_DATA") or not folder.is_dir():
        pytest.skip("CATEGORIZE_DATA names no folder with goemotions")
    keys, values = [], []
    for name in ("train", "validation", "test"):
        with gzip.open(folder / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                keys.append(content_key([row["text"]]))
                values.append(tuple(row["labels"]))
    return keys, list(values)


def test_label_shares_hold_on_a_real_multi_label_set() -> None:
    keys, values = goemotions()
    result = split(keys, values)
    totals = Counter(label for v in values for label in v or ())
    held = Counter(label for key, v in zip(keys, values, strict=True) if result[key] == TEST for label in v or ())
    worst = max(abs(held[label] / (0.2 * n) - 1) for label, n in totals.items())
    assert worst < 0.08


def test_few_rows_move_on_a_real_multi_label_set() -> None:
    keys, values = goemotions()
    keep = np.random.default_rng(0).random(len(keys)) >= 0.01
    before = split(
        [k for k, kept in zip(keys, keep, strict=True) if kept],
        [v for v, kept in zip(values, keep, strict=True) if kept],
    )
    after = split(keys, values)
    assert sum(after[key] != s for key, s in before.items()) < 0.003 * len(before)


@pytest.mark.parametrize(("groups", "size", "labels"), [(30, 10, 2), (60, 5, 2), (100, 20, 4), (40, 50, 5)])
@pytest.mark.parametrize("seed", range(5))
def test_groups_of_one_label_each_keep_the_shares_of_the_labels(groups: int, size: int, labels: int, seed: int) -> None:
    keys = [f"g{group}" for group in range(groups) for _ in range(size)]
    values = [(f"l{group % labels}",) for group in range(groups) for _ in range(size)]
    units = make_units(keys, values)
    split, fold = assign(units, Fractions(0.2, 0.1, seed)), assign_folds(units, 5, seed)
    for target, share in ((TEST, 0.2), (VALIDATION, 0.1)):
        held = Counter(units.strata[i] for i in np.flatnonzero(split == target))
        assert abs(sum(held.values()) - share * groups) <= 1
        assert all(abs(held[f"l{n}"] - share * groups / labels) <= 1 for n in range(labels))
    for number in range(5):
        held = Counter(units.strata[i] for i in np.flatnonzero(fold == number))
        assert all(abs(held[f"l{n}"] - groups / labels / 5) < 1 for n in range(labels))
