"""Paired tests: equal to statsmodels', corrected as it corrects, and silent where rows show nothing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar as oracle
from statsmodels.stats.multitest import multipletests

from categorize.labels import Label, LabelSet
from categorize.metrics.intervals import paired_differences
from categorize.metrics.significance import bootstrap_p_value, holm, mcnemar
from categorize.predictions import Predictions

TWO = LabelSet("single_label", (Label("yes"), Label("no")))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_equals_statsmodels(pairs: list[tuple[bool, bool]]) -> None:
    first, second = (np.array(column) for column in zip(*pairs, strict=True))
    table = [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    assert mcnemar(first, second) == pytest.approx(oracle(np.array(table), exact=True).pvalue)


@settings(max_examples=10, deadline=None)  # statsmodels collects all garbage in each call
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_equals_statsmodels(p_values: list[float]) -> None:
    assert holm(np.array(p_values)).tolist() == pytest.approx(multipletests(p_values, method="holm")[1].tolist())


def answers(right: np.ndarray) -> Predictions:
    return Predictions([str(i) for i in range(len(right))], decided=[["yes"] if one else ["no"] for one in right])


def test_the_test_of_equal_models_rejects_about_as_seldom_as_it_says() -> None:
    gold, rejected = np.tile([1.0, 0.0], (200, 1)), {"McNemar exact": 0, "paired bootstrap": 0}
    for seed in range(100):
        rng = np.random.default_rng(seed)
        runs = {name: answers(rng.random(200) < 0.8) for name in ("a", "b")}
        for one in paired_differences(TWO, gold, runs, reference="a", resamples=150, seed=seed):
            assert one.test is not None and one.p_value is not None
            rejected[one.test] += one.p_value < 0.05
    assert rejected["McNemar exact"] <= 10 and 1 <= rejected["paired bootstrap"] <= 14


def test_half_a_point_on_three_thousand_rows_is_not_shown() -> None:
    rng = np.random.default_rng(3)
    right = rng.random(3000) < 0.8
    other, flips = right.copy(), rng.permutation(3000)
    other[[i for i in flips if right[i]][:120]] = False  # 120 rows lost, 135 won: half a point
    other[[i for i in flips if not right[i]][:135]] = True
    gold = np.tile([1.0, 0.0], (3000, 1))
    one = paired_differences(TWO, gold, {"a": answers(right), "b": answers(other)}, reference="a")[1]
    assert one.measure == "accuracy" and one.estimate == pytest.approx(0.005)
    assert one.p_value is not None and one.p_value > 0.3 and not one.is_shown


def test_more_comparisons_need_more_evidence() -> None:
    gold, base = np.tile([1.0, 0.0], (100, 1)), np.arange(100) < 60
    better = base.copy()
    better[60:66] = True  # six rows won, none lost: p = 0.03
    runs = {"base": answers(base), "better": answers(better)}
    alone = paired_differences(TWO, gold, runs, reference="base", measures=["accuracy"])
    assert alone[0].p_value == alone[0].adjusted_p == pytest.approx(2 * 0.5**6) and alone[0].is_shown
    three = paired_differences(
        TWO, gold, {**runs, "c": answers(base), "d": answers(base)}, reference="base", measures=["accuracy"]
    )
    assert three[0].adjusted_p == pytest.approx(6 * 0.5**6) and not three[0].is_shown
    assert three[1].p_value == three[1].adjusted_p == 1.0


def test_rows_of_a_group_are_not_taken_for_independent() -> None:
    gold = np.tile([1.0, 0.0], (200, 1))
    first, second = np.arange(200) < 100, np.arange(200) < 120  # one of ten groups makes the difference
    runs, groups = {"a": answers(first), "b": answers(second)}, [f"video {i // 20}" for i in range(200)]
    args = {"reference": "a", "measures": ["accuracy"]}
    (by_row,) = paired_differences(TWO, gold, runs, **args)
    (by_group,) = paired_differences(TWO, gold, runs, groups=groups, **args)
    assert by_row.test == "McNemar exact" and by_row.is_shown
    assert by_group.test == "paired bootstrap" and not by_group.is_shown


def test_undefined_resamples_are_left_out_of_the_p_value() -> None:
    assert bootstrap_p_value(np.array([np.nan, 0.1, 0.2])) == pytest.approx(2 / 3)
    assert bootstrap_p_value(np.array([np.nan, np.nan, 0.2])) is None


def test_a_large_difference_is_shown_however_many_runs_are_compared() -> None:
    rng = np.random.default_rng(0)
    gold = np.tile([1.0, 0.0], (500, 1))
    runs = {"best": answers(rng.random(500) < 0.9)} | {f"run {i}": answers(rng.random(500) < 0.6) for i in range(60)}
    found = paired_differences(TWO, gold, runs, reference="best", measures=["macro_f1"], resamples=100)
    assert len(found) == 60 and all(one.test == "paired bootstrap" and one.is_shown for one in found)


def test_beyond_what_resamples_count_a_p_value_goes_on_as_the_normal_tail() -> None:
    draws = np.random.default_rng(1).normal(2.5, 1, size=20_000)
    reached = bootstrap_p_value(draws)
    beyond = bootstrap_p_value(draws[draws > 0][:500])
    assert reached == pytest.approx(2 * 0.0062, rel=0.15)  # twice the normal tail at 2.5
    assert beyond is not None and beyond <= 2 / 501
    assert bootstrap_p_value(np.full(50, 0.1)) == pytest.approx(2 / 51), "no spread, no tail"
