"""Bootstrap intervals: vectorised measures are the measures, drawing is seeded, groups stay whole, coverage is sane."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.labels import Group, Label, LabelSet
from categorize.metrics.arrays import align
from categorize.metrics.intervals import (
    bootstrap_intervals,
    differences_of,
    mean_of,
    measure_with_intervals,
    paired_differences,
    resample,
)
from categorize.metrics.measures import measure
from categorize.metrics.progress import flat
from categorize.metrics.weighted import statistic
from categorize.predictions import Predictions

LABELS = (
    Label("joy", parent="positive"),
    Label("moved", parent="positive"),
    Label("worry", parent="negative"),
    Label("other"),
)
GROUPS = (Group("positive"), Group("negative"))
NAMES = [label.name for label in LABELS]
SINGLE = LabelSet("single_label", LABELS, GROUPS)
MULTI = LabelSet("multi_label", LABELS, GROUPS)
ORDINAL = LabelSet("ordinal", LABELS, GROUPS)
REGRESSION = LabelSet("regression", (Label("score"),))


def random_run(label_set: LabelSet, rows: int, seed: int, skill: float = 0.6) -> tuple[np.ndarray, Predictions]:
    """Gold and decided predictions, right with probability `skill`, a tenth of them invalid."""
    rng = np.random.default_rng(seed)
    ids, valid = [str(i) for i in range(rows)], rng.random(rows) > 0.1
    if label_set.is_regression:
        gold = rng.integers(0, 6, size=(rows, 1)).astype(float)
        return gold, Predictions(ids, score=np.round(gold[:, 0] + rng.normal(size=rows)), valid=valid)
    if label_set.is_multi_label:
        gold = (rng.random((rows, 4)) < 0.3).astype(float)
        predicted = np.where(rng.random((rows, 4)) < skill, gold, 1 - gold)
        decided = [[NAMES[j] for j in np.flatnonzero(row)] for row in predicted]
        return gold, Predictions(ids, decided=decided, valid=valid)
    position = rng.choice(4, size=rows, p=[0.5, 0.3, 0.15, 0.05])
    predicted = np.where(rng.random(rows) < skill, position, rng.integers(0, 4, rows))
    return np.eye(4)[position], Predictions(ids, decided=[[NAMES[j]] for j in predicted], valid=valid)


@pytest.mark.parametrize("label_set", [SINGLE, MULTI, ORDINAL, REGRESSION], ids=lambda one: one.task)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_weighted_measure_is_the_measure_of_the_repeated_rows(label_set: LabelSet, data: st.DataObject) -> None:
    rows = data.draw(st.integers(2, 12))
    gold, predictions = random_run(label_set, rows, data.draw(st.integers(0, 1000)))
    drawn = np.array(data.draw(st.lists(st.integers(0, rows - 1), min_size=2, max_size=12)))
    weights = np.bincount(drawn, minlength=rows)[None].astype(float)
    values = statistic(label_set, align(label_set, gold, predictions))(weights)
    result = measure(label_set, gold[drawn], predictions.take(drawn))
    if label_set.is_regression and not predictions.is_valid.all():
        # An invalid row keeps the mean of the whole split's gold in a resample.
        assert predictions.score is not None
        score = np.where(predictions.is_valid, predictions.score, gold.mean())
        filled = measure(label_set, gold[drawn], Predictions(predictions.ids, score=score).take(drawn))
        reasons = {k: v for k, v in result["undefined"].items() if k.endswith("_valid_only")} | {
            k: v for k, v in filled["undefined"].items() if not k.endswith("_valid_only")
        }
        of_valid = {name: value for name, value in result.items() if name.endswith("_valid_only")}
        result = filled | of_valid | {"undefined": reasons}
    for name, value in values.items():
        level, of = ("groups.", name.removeprefix("group_")) if name.startswith("group_") else ("", name)
        if {name, level + of, level + of.split("_")[0]} & set(result["undefined"]):
            assert np.isnan(value[0]), name
        else:
            assert value[0] == pytest.approx(flat(result)[name], abs=1e-9), name


@pytest.mark.parametrize("label_set", [SINGLE, MULTI, ORDINAL, REGRESSION], ids=lambda one: one.task)
def test_an_interval_holds_its_estimate_and_a_seed_fixes_it(label_set: LabelSet) -> None:
    gold, predictions = random_run(label_set, 300, 0)
    result = measure_with_intervals(label_set, gold, predictions, resamples=300, seed=5)
    intervals = result["intervals"]
    assert (intervals["unit"], intervals["units"], intervals["resamples"]) == ("row", 300, 300)
    numbers = flat(result)
    for name, (low, high) in intervals["measures"].items():
        assert low < numbers[name] < high, name
    assert bootstrap_intervals(label_set, gold, predictions, resamples=300, seed=5) == intervals
    assert bootstrap_intervals(label_set, gold, predictions, resamples=300, seed=6) != intervals


def test_the_interval_of_accuracy_covers_the_truth_about_as_often_as_it_says() -> None:
    two = LabelSet("single_label", (Label("joy"), Label("worry")))
    gold, ids = np.tile([1.0, 0.0], (150, 1)), [str(i) for i in range(150)]
    covered = 0
    for seed in range(200):
        right = np.random.default_rng(seed).random(150) < 0.8
        predictions = Predictions(ids, decided=[["joy"] if one else ["worry"] for one in right])
        intervals = bootstrap_intervals(two, gold, predictions, resamples=300, seed=seed)
        assert intervals is not None
        low, high = intervals["measures"]["accuracy"]
        covered += low <= 0.8 <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_rows_of_a_group_are_drawn_together_and_widen_the_interval() -> None:
    gold = np.tile([1.0, 0, 0, 0], (200, 1))
    group = [f"video {i // 20}" for i in range(200)]
    decided = [["joy"] if i // 20 < 7 else ["worry"] for i in range(200)]  # right or wrong by whole groups
    predictions = Predictions([str(i) for i in range(200)], decided=decided)
    alone = bootstrap_intervals(SINGLE, gold, predictions, seed=1)
    together = bootstrap_intervals(SINGLE, gold, predictions, seed=1, groups=group)
    assert alone is not None and together is not None
    assert (together["unit"], together["units"]) == ("group", 10)
    # Ten coins of 0.7 have a standard deviation of 0.145, two hundred one of 0.032.
    widths = [np.ptp(one["measures"]["accuracy"]) for one in (alone, together)]
    assert 0.10 < widths[0] < 0.15 and 0.45 < widths[1] < 0.65
    unknown = bootstrap_intervals(SINGLE, gold, predictions, resamples=10, groups=[None] * 200)
    assert unknown is not None and unknown["units"] == 200


def test_no_resamples_or_a_single_unit_give_no_interval() -> None:
    gold, predictions = random_run(SINGLE, 3, 0)
    assert bootstrap_intervals(SINGLE, gold, predictions, resamples=0) is None
    assert bootstrap_intervals(SINGLE, gold[:1], predictions.take([0])) is None
    assert bootstrap_intervals(SINGLE, gold, predictions, groups=["one video"] * 3) is None
    assert bootstrap_intervals(SINGLE, np.full((3, 4), np.nan), predictions) is None


def test_an_undefined_measure_has_no_interval() -> None:
    gold = np.array([[1.0], [2.0], [3.0], [4.0]])
    intervals = bootstrap_intervals(REGRESSION, gold, Predictions(list("abcd"), score=np.full(4, 2.5)))
    assert (
        intervals is not None and intervals["measures"]["pearson"] is None and intervals["measures"]["mae"] is not None
    )


def test_rows_without_gold_do_not_touch_the_interval() -> None:
    gold, predictions = random_run(SINGLE, 50, 3)
    unknown = gold.copy()
    unknown[40:] = np.nan
    first = bootstrap_intervals(SINGLE, gold[:40], predictions.take(range(40)), resamples=50)
    assert bootstrap_intervals(SINGLE, unknown, predictions, resamples=50) == first


def test_a_paired_difference_is_narrower_than_two_intervals() -> None:
    gold, better = random_run(SINGLE, 400, 0, skill=0.9)
    assert better.decided is not None
    worse = Predictions(
        better.ids, decided=[["other"] if i % 25 == 0 else d for i, d in enumerate(better.decided)], valid=better.valid
    )
    runs = {"better": better, "worse": worse}
    macro, accuracy = paired_differences(SINGLE, gold, runs, reference="better", seed=2)
    assert (macro.measure, accuracy.measure, accuracy.run) == ("macro_f1", "accuracy", "worse")
    assert accuracy.estimate == pytest.approx(
        measure(SINGLE, gold, worse)["accuracy"] - measure(SINGLE, gold, better)["accuracy"]
    )
    assert (
        accuracy.low is not None and accuracy.high is not None and accuracy.low < accuracy.estimate < accuracy.high < 0
    )
    assert accuracy.is_clear
    intervals = bootstrap_intervals(SINGLE, gold, better, seed=2)
    assert intervals is not None and accuracy.high - accuracy.low < np.ptp(intervals["measures"]["accuracy"])


def test_equal_runs_differ_by_nothing_and_no_resamples_leave_the_estimate() -> None:
    gold, predictions = random_run(REGRESSION, 60, 0)
    differences = paired_differences(REGRESSION, gold, {"a": predictions, "b": predictions}, reference="a")
    assert [(d.measure, d.estimate, d.low, d.high, d.is_clear) for d in differences] == [
        ("pearson", 0.0, 0.0, 0.0, False),
        ("mae", 0.0, 0.0, 0.0, False),
    ]
    bare = paired_differences(REGRESSION, gold, {"a": predictions, "b": predictions}, reference="a", resamples=0)
    assert bare[0].estimate == 0.0 and bare[0].low is None and not bare[0].is_clear


def test_several_seeds_are_compared_by_their_mean() -> None:
    gold, other = random_run(SINGLE, 300, 0, skill=0.7)
    rights = [np.random.default_rng(seed).random(300) < 0.75 for seed in range(3)]
    position = gold.argmax(axis=1)
    seeds = [
        Predictions(other.ids, decided=[[NAMES[(p + (not hit)) % 4]] for p, hit in zip(position, right, strict=True)])
        for right in rights
    ]
    drawn = [resample(SINGLE, gold, one, resamples=200, seed=1) for one in seeds]
    runs = {"other": resample(SINGLE, gold, other, resamples=200, seed=1), "seeds": mean_of(drawn)}
    (one,) = differences_of(runs, "other", ["accuracy"])
    mean = np.mean([right.mean() for right in rights])
    assert one.estimate == pytest.approx(mean - runs["other"].whole["accuracy"]) and one.test == "paired bootstrap"
    low, high = runs["seeds"].intervals["measures"]["accuracy"]  # type: ignore[index]
    widths = [np.ptp(single.intervals["measures"]["accuracy"]) for single in drawn]  # type: ignore[index]
    assert low < mean < high and high - low < min(widths)  # errors of three that err apart even out


def test_runs_that_predicted_other_rows_are_not_compared() -> None:
    gold, predictions = random_run(SINGLE, 10, 0)
    with pytest.raises(ValueError, match="different rows"):
        paired_differences(SINGLE, gold, {"a": predictions, "b": predictions.take(range(9, -1, -1))}, reference="a")


def test_many_rows_are_resampled_in_blocks_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    gold, predictions = random_run(MULTI, 40, 0)
    whole = bootstrap_intervals(MULTI, gold, predictions, resamples=30, seed=1)
    monkeypatch.setattr("categorize.metrics.intervals.CELLS_AT_ONCE", 100)
    blocks = bootstrap_intervals(MULTI, gold, predictions, resamples=30, seed=1)
    assert whole is not None and blocks is not None
    for name, bounds in whole["measures"].items():
        assert blocks["measures"][name] == pytest.approx(bounds)
