"""Weak segments: one that was planted is found, none is found where errors fall by chance, and tests are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import fisher_exact, hypergeom
from statsmodels.stats.proportion import proportion_confint

from categorize.analysis.inputs import Inputs
from categorize.analysis.segments import p_values, slices, weak_segments
from categorize.analysis.traits import Condition, conditions, word_conditions, words
from categorize.labels import Label, LabelSet
from tests.analysis.collections import YES_NO, inputs

WORDS = ["card", "cash", "loan", "rate", "fees", "bank", "code", "visa", "form", "mail", "open", "stop"]
MONTHS = ["2024-01", "2024-02", "2024-03", "2024-04", None]


def evaluation(seed: int, rows: int = 600, error: float = 0.15, runs: int = 1) -> Inputs:
    """Random texts, months, languages and speakers, of which none has to do with the errors."""
    generator = np.random.default_rng(seed)
    texts = [" ".join(generator.choice(WORDS, size=n)) for n in generator.integers(1, 9, size=rows)]
    fields = {
        "month": [MONTHS[i] for i in generator.integers(0, len(MONTHS), size=rows)],
        "speaker": [f"s{i}" for i in generator.geometric(0.2, size=rows)],
    }
    wrong = {f"run {r}": generator.random(rows) < error for r in range(runs)}
    said = {name: [["no"] if one else ["yes"] for one in of_run] for name, of_run in wrong.items()}
    return inputs(YES_NO, texts, [["yes"]] * rows, said, fields=fields)


def searched(of: Inputs) -> dict[str, list[dict[str, object]]]:
    found = weak_segments(of, [*conditions(of), *word_conditions(of)])
    assert found is not None and found["looked_at"] > 100 * len(of.runs)
    return dict(found["runs"])


@pytest.mark.slow
def test_nothing_is_found_where_errors_fall_by_chance_in_at_least_95_of_100_evaluations() -> None:
    false = sum(any(searched(evaluation(seed)).values()) for seed in range(200))
    assert false <= 10


def test_a_planted_segment_of_two_conditions_is_found_and_named_first() -> None:
    of = evaluation(1, rows=1500)
    fields = {name: of.rows["fields"].combine_chunks().field(name).to_pylist() for name in ("month", "speaker")}
    holds = [
        "card" in text.split() and month == "2024-03" for text, month in zip(of.texts, fields["month"], strict=True)
    ]
    assert 60 < sum(holds) < 200
    generator = np.random.default_rng(2)
    wrong = generator.random(len(holds)) < np.where(holds, 0.7, 0.1)
    said = {"one": [["no"] if one else ["yes"] for one in wrong]}
    planted = inputs(YES_NO, of.texts, [["yes"]] * len(wrong), said, fields=fields)
    (first, *others) = searched(planted)["one"]
    assert {(one["column"], one["value"]) for one in first["conditions"]} == {("word", "card"), ("month", "2024-03")}
    assert first["segment"] == "month = 2024-03 and with the word 'card'"
    assert first["rows"] == sum(holds)
    assert first["error_rate"] == wrong[holds].mean() and first["elsewhere"] == wrong[~np.array(holds)].mean()
    assert first["adjusted_p"] < 0.05 and not others


def test_two_runs_are_one_family_of_tests_and_keep_their_own_segments() -> None:
    of = evaluation(3, rows=1000, runs=2)
    rows = np.array([text.startswith("loan") for text in of.texts])
    long = np.array([len(text) for text in of.texts]) > 30
    wrong = [np.where(long, 0.5, 0.1) > np.random.default_rng(4).random(1000), rows & False]
    said = {f"run {r}": [["no"] if one else ["yes"] for one in of_run] for r, of_run in enumerate(wrong)}
    found = searched(inputs(YES_NO, of.texts, [["yes"]] * 1000, said))
    assert found["run 0"][0]["segment"].startswith("length") and not found["run 1"]


@given(st.data())
def test_the_test_of_a_segment_is_fishers(data: st.DataObject) -> None:
    wrong = np.array(data.draw(st.lists(st.booleans(), min_size=4, max_size=60)))
    rows = np.array(data.draw(st.lists(st.booleans(), min_size=len(wrong), max_size=len(wrong))))
    if not 0 < rows.sum() < len(rows):
        return
    of = inputs(
        YES_NO, ["x"] * len(wrong), [["yes"]] * len(wrong), {"a": [["no"] if one else ["yes"] for one in wrong]}
    )
    counts = [[(wrong & rows).sum(), (~wrong & rows).sum()], [(wrong & ~rows).sum(), (~wrong & ~rows).sum()]]
    for side in ("greater", "less"):
        (p,) = p_values(of.outcomes[0], [rows], side)
        assert p == pytest.approx(fisher_exact(np.array(counts), side).pvalue, rel=1e-9, abs=1e-12)
    assert hypergeom.sf(-1, 10, 3, 5) == 1


def test_a_slice_has_wilsons_interval_and_a_corrected_p_value() -> None:
    texts = ["short"] * 60 + ["a much longer text of many words"] * 40
    said = {"one": [["yes"]] * 60 + [["no"]] * 30 + [["yes"]] * 10}
    of = inputs(YES_NO, texts, [["yes"]] * 100, said, fields={"month": ["1", "2"] * 50})
    found = slices(of, conditions(of))["one"]
    long = next(one for one in found if one["value"] == "32 characters")
    low, high = proportion_confint(30, 40, method="wilson")
    assert (long["column"], long["rows"], long["error_rate"]) == ("length", 40, 0.75)
    assert (long["low"], long["high"]) == (pytest.approx(low), pytest.approx(high))
    assert long["adjusted_p"] < 1e-10
    months = [one for one in found if one["column"] == "month"]
    assert [one["value"] for one in months] == ["1", "2"] and all(one["adjusted_p"] > 0.5 for one in months)


def test_a_regression_has_mean_absolute_errors_and_finds_a_planted_segment() -> None:
    generator = np.random.default_rng(5)
    regression = LabelSet("regression", (Label("score"),))
    texts = [" ".join(generator.choice(WORDS, size=4)) for _ in range(800)]
    gold = generator.normal(size=800)
    hard = np.array(["loan" in text for text in texts])
    said = gold + generator.normal(size=800) * np.where(hard, 1.5, 0.3)
    of = inputs(regression, texts, gold.tolist(), {"one": said.tolist()})
    found = weak_segments(of, word_conditions(of))
    assert found is not None and found["runs"]["one"][0]["segment"] == "with the word 'loan'"
    one = slices(of, [Condition("word", "loan", hard)])["one"][0]
    assert one["error_rate"] == pytest.approx(np.abs(said - gold)[hard].mean())
    assert one["low"] < one["error_rate"] < one["high"]


def test_traits_are_told_by_length_script_overlap_and_columns() -> None:
    texts = ["short text"] * 40 + ["这是一条中文评论，不长"] * 40 + ["中文 mixed with some words"] * 40
    days = [f"2024-{1 + i % 3:02d}-{1 + i % 28:02d}" for i in range(120)]
    fields = {"day": days, "views": [str(i * i) for i in range(120)], "speaker": ["anna", "ben"] * 60}
    of = inputs(
        YES_NO, texts, [["yes"]] * 120, {"a": [["yes"]] * 120}, fields=fields, overlap=["near"] * 30 + [None] * 90
    )
    found = {(one.column, one.value): int(one.rows.sum()) for one in conditions(of)}
    assert found[("Han characters", "none")] == 40 and found[("Han characters", "half or more")] == 40
    assert found[("Han characters", "under half")] == 40
    assert found[("text in train", "near")] == 30 and found[("text in train", "no")] == 90
    assert {value for column, value in found if column == "day"} == {"2024-01", "2024-02", "2024-03"}
    assert found[("speaker", "anna")] == 60
    assert sum(n for (column, _), n in found.items() if column == "views") == 120
    assert words("My card, 信用卡 can't 5") == {"my", "card", "信用", "用卡", "can't"}
