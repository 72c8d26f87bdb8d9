"""Aggregation: what segments say becomes what the document is, whatever model said it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.data.input_spec import InputSpec
from categorize.data.segments.aggregation import vote
from categorize.metrics.decision import DecisionRule
from categorize.prediction.predictor import SegmentPredictions
from categorize.predictions import Predictions
from categorize.recipe.data_sections import Columns, Segments

LABELS = ("a", "b", "c")
NOTHING = float("nan")


def rows(documents: list[str], texts: list[str] | None = None) -> pa.Table:
    table = pa.table({"text": texts or ["x"] * len(documents), "d": documents})
    return InputSpec(Columns(document="d")).rows_from_table(table)


def decide(
    probabilities: Any,
    aggregation: Any = "vote",
    *,
    documents: list[str] | None = None,
    rule: DecisionRule | None = None,
    texts: list[str] | None = None,
    **columns: Any,
) -> Predictions:
    given = None if probabilities is None else np.array(probabilities, dtype=float)
    n = len(given) if given is not None else len(next(iter(columns.values())))
    table = rows(documents or ["d"] * n, texts)
    spec = InputSpec(Columns(document="d"), segments=Segments(aggregation=aggregation))
    predictions = Predictions(table["id"].to_pylist(), given, **columns)
    rule = rule or DecisionRule("single_label", LABELS)
    return SegmentPredictions(predictions, table, spec).decide(rule)


# ---------------------------------------------------------------- votes
def test_the_majority_of_segments_decides_against_the_mean() -> None:
    segments = [[0.4, 0.35, 0.25], [0.4, 0.35, 0.25], [0.0, 1.0, 0.0]]
    assert decide(segments, "vote").decided == [["a"]]
    assert decide(segments, "mean").decided == [["b"]]
    np.testing.assert_allclose(decide(segments, "vote").probabilities, [[0.8 / 3, 1.7 / 3, 0.5 / 3]])


def test_a_tie_goes_to_the_higher_mean_probability_never_to_class_order() -> None:
    assert decide([[0.5, 0.4, 0.1], [0.1, 0.8, 0.1]]).decided == [["b"]]
    assert decide([[0.1, 0.5, 0.4], [0.0, 0.1, 0.9]]).decided == [["c"]]
    # Three-way, and equal in everything but the order of the segments.
    assert decide([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]).decided == [["c"]]


@given(st.permutations([0, 1, 2]), st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=1, max_size=6))
def test_the_order_of_the_labels_never_decides(order: list[int], numbers: list[tuple[int, int, int]]) -> None:
    values = np.array(numbers, dtype=float) + 1
    values /= values.sum(axis=1, keepdims=True)
    tops = np.sort(values, axis=1)
    if (tops[:, -1] - tops[:, -2] < 1e-9).any():
        return  # a segment itself is undecided, which the decision rule settles
    first = decide(values).decided
    moved = decide(values[:, order], rule=DecisionRule("single_label", tuple(LABELS[i] for i in order))).decided
    assert first == moved


def test_segments_that_are_not_valid_do_not_vote() -> None:
    valid = np.array([False, False, True])
    result = decide([[1, 0, 0], [1, 0, 0], [0, 0, 1]], valid=valid)
    assert (result.decided, result.is_valid.tolist()) == ([["c"]], [True])
    none = decide([[1, 0, 0], [1, 0, 0]], valid=np.array([False, False]))
    assert (none.decided, none.is_valid.tolist()) == ([[]], [False])
    assert decide([[1, 0, 0], [1, 0, 0], [0, 0, 1]], "mean", valid=valid).decided == [["c"]]


def test_the_rule_decides_segments_that_vote_and_documents_otherwise() -> None:
    rule = DecisionRule("multi_label", LABELS, thresholds=(0.2, 0.5, 0.9))
    segments = [[0.35, 0.6, 0.0], [0.35, 0.1, 0.0], [0.0, 0.6, 1.0]]
    assert decide(segments, "vote", rule=rule).decided == [["a", "b"]]
    assert decide(segments, "mean", rule=rule).decided == [["a"]]
    assert decide(segments, "max", rule=rule).decided == [["a", "b", "c"]]


def test_a_label_of_half_the_segments_holds_where_its_mean_probability_reaches_its_threshold() -> None:
    segments = [[0.45, 0.9, 0.0], [0.1, 0.3, 0.0]]
    assert decide(segments, rule=DecisionRule("multi_label", LABELS, thresholds=(0.4, 0.55, 0.5))).decided == [["b"]]


def test_fallback_and_ancestors_hold_for_documents_whose_segments_disagree() -> None:
    rule = DecisionRule("multi_label", LABELS, thresholds=(0.5,) * 3, fallback="top", ancestors=(("a", "c"),))
    segments = [[0.6, 0.0, 0.0], [0.0, 0.9, 0.0], [0.0, 0.0, 0.7]]
    assert decide(segments, rule=rule).decided == [["b"]]
    from dataclasses import replace

    followed = replace(rule, hierarchy="parents")
    assert decide([[0.6, 0, 0], [0.6, 0, 0], [0, 0.9, 0]], rule=followed).decided == [["a", "c"]]


def test_generated_answers_vote_whatever_the_aggregation() -> None:
    answers = {"decided": [["b"], ["a"], ["b"], ["a"]], "valid": np.array([True, True, True, False])}
    for aggregation in ("mean", "vote", "max", "confidence_weighted"):
        result = decide(None, aggregation, raw=["b", "a", "b", "?"], **answers)
        assert (result.decided, result.raw, result.probabilities) == ([["b"]], ["b\na\nb\n?"], None)
    # Without probabilities a tie goes to the earlier answer.
    assert decide(None, decided=[["c"], ["a"]]).decided == [["c"]]
    long = decide(None, "length_weighted", decided=[["a"], ["a"], ["b"]], texts=["x", "x", "x" * 9])
    assert long.decided == [["b"]]


def test_generated_labels_of_a_multi_label_task_need_a_majority_or_one_answer_with_max() -> None:
    rule = DecisionRule("multi_label", LABELS, thresholds=(0.5,) * 3)
    answers = {"decided": [["a", "b"], ["a"], ["c"]]}
    assert decide(None, "mean", rule=rule, **answers).decided == [["a"]]
    assert decide(None, "max", rule=rule, **answers).decided == [["a", "b", "c"]]
    assert decide(None, "mean", rule=rule, decided=[["a"], []]).decided == [[]]


@given(st.lists(st.integers(0, 2), min_size=1, max_size=9))
def test_votes_do_not_depend_on_how_documents_are_mixed(choices: list[int]) -> None:
    decided = [[LABELS[i]] for i in choices]
    apart = vote(decided, np.ones(len(choices), bool), np.zeros(len(choices), np.int64), 1, LABELS, multi_label=False)
    twice = [one for one in decided for _ in range(2)]
    mixed = vote(
        twice, np.ones(len(twice), bool), np.arange(len(twice), dtype=np.int64) % 2, 2, LABELS, multi_label=False
    )
    assert mixed == [apart[0], apart[0]]


# ---------------------------------------------------------------- means
def test_weighted_means_trust_sure_and_long_segments() -> None:
    segments = [[1.0, 0.0, 0.0], [0.3, 0.4, 0.3], [0.3, 0.4, 0.3]]
    plain = decide(segments, "mean").probabilities
    sure = decide(segments, "confidence_weighted").probabilities
    long = decide(segments, "length_weighted", texts=["x", "x" * 4, "x" * 5]).probabilities
    assert plain is not None and sure is not None and long is not None
    np.testing.assert_allclose(long[0], [0.37, 0.36, 0.27])
    assert sure[0, 0] > plain[0, 0] > long[0, 0]
    np.testing.assert_allclose(sure.sum(), 1.0)
    # Nobody is sure of anything: the plain mean.
    np.testing.assert_allclose(decide([[1 / 3] * 3] * 2, "confidence_weighted").probabilities, [[1 / 3] * 3])


@pytest.mark.parametrize("aggregation", ["mean", "max", "vote", "confidence_weighted", "length_weighted"])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5), st.floats(0, 1))
def test_equal_segments_give_the_document_their_own_probabilities(
    aggregation: Any, noise: list[float], p: float
) -> None:
    n = len(noise)
    for rule in (
        DecisionRule("single_label", ("a", "b")),
        DecisionRule("multi_label", ("a", "b"), thresholds=(0.5, 0.5)),
    ):
        result = decide([[p, 1 - p]] * n, aggregation, rule=rule)
        np.testing.assert_allclose(result.probabilities, [[p, 1 - p]], atol=1e-12)
        assert result.decided == decide([[p, 1 - p]], aggregation, rule=rule).decided


def test_labels_that_were_not_scored_stay_unknown() -> None:
    for aggregation in ("mean", "max", "confidence_weighted", "length_weighted"):
        result = decide([[NOTHING, 0.4, 0.6], [NOTHING, 0.2, 0.8]], aggregation).probabilities
        assert result is not None and np.isnan(result[0]).tolist() == [True, False, False]


@pytest.mark.parametrize(
    ("how", "expected"), [("mean", [4.0, 2.0]), ("median", [1.5, 2.0]), ("length_weighted", [8.125, 2.0])]
)
def test_scores_of_documents(how: Any, expected: list[float]) -> None:
    rule = DecisionRule("regression", ("score",))
    documents = ["x", "y", "x", "x", "y", "z"]
    texts = ["x", "x", "x", "x" * 10, "x", "x"]
    score = np.array([1.0, 2.0, 1.5, 9.5, NOTHING, NOTHING])
    result = decide(None, how, rule=rule, documents=documents, texts=texts, score=score)
    assert result.score is not None
    np.testing.assert_allclose(result.score[:2], expected)
    assert result.is_valid.tolist() == [True, True, False]
