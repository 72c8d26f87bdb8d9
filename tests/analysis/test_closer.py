"""Confusions, errors beside their nearest training rows, disagreements, shift: on evaluations with a known truth."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, ks_2samp
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from categorize.analysis.closer import look_closer
from categorize.analysis.confusion import confusion, labels_by_error
from categorize.analysis.disagreements import disagreements
from categorize.analysis.inputs import RunOutput
from categorize.analysis.rows import rows_table
from categorize.analysis.shift import shift
from categorize.labels import Group, Label, LabelSet
from categorize.predictions import Predictions
from categorize.writing import json_text
from tests.analysis.collections import ABC, YES_NO, inputs, output, table

REGRESSION = LabelSet("regression", (Label("score"),))
SEVERAL = LabelSet("multi_label", (Label("joy"), Label("fear"), Label("anger")))
LETTERS = st.sampled_from("abc-")


@given(st.lists(st.tuples(st.sampled_from("abc"), LETTERS), min_size=1, max_size=40))
def test_the_matrix_and_the_lines_by_label_are_scikit_learns(rows: list[tuple[str, str]]) -> None:
    gold, said = ([one[k] for one in rows] for k in (0, 1))
    answers = [None if one == "-" else [one] for one in said]
    of = inputs(ABC, gold, [[one] for one in gold], {"one": answers})
    found = confusion(of)
    assert found is not None
    expected = confusion_matrix(gold, said, labels=[*"abc", "-"])[:3]
    assert found["runs"]["one"]["counts"] == expected.tolist()
    pairs = found["runs"]["one"]["pairs"]
    assert sum(one["rows"] for one in pairs) == sum(g != s for g, s in rows)
    for one in pairs:
        column = "-" if one["predicted"] == "(invalid)" else one["predicted"]
        assert one["rows"] == rows.count((one["gold"], column))
        assert one["of_gold"] == one["rows"] / gold.count(one["gold"])
        assert one["of_predicted"] == one["rows"] / said.count(column)
    lines = {one["label"]: one for one in (labels_by_error(of) or {})["one"]}
    scores = precision_recall_fscore_support(gold, said, labels=[*"abc"], zero_division=0)
    for j, name in enumerate("abc"):
        for k, key in enumerate(("precision", "recall", "f1")):
            assert (lines[name][key] or 0.0) == pytest.approx(scores[k][j])
    errors = [one["missed"] + one["false"] for one in (labels_by_error(of) or {})["one"]]
    assert errors == sorted(errors, reverse=True)


def test_labels_stand_in_the_order_of_their_groups() -> None:
    labels = (Label("joy", parent="good"), Label("fear", parent="bad"), Label("love", parent="good"))
    grouped = LabelSet("single_label", labels, (Group("bad"), Group("good")))
    of = inputs(grouped, ["x", "y"], [["love"], ["fear"]], {"one": [["joy"], ["love"]]})
    found = confusion(of)
    assert (
        found is not None and found["labels"] == ["joy", "love", "fear"] and found["groups"] == ["good", "good", "bad"]
    )
    assert found["runs"]["one"]["counts"] == [[0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0]]


def test_of_several_labels_a_pair_is_what_is_missing_where_another_was_given() -> None:
    gold = [["joy"], ["joy", "fear"], ["anger"], []]
    of = inputs(SEVERAL, ["x"] * 4, gold, {"one": [["fear"], ["joy", "anger"], None, ["joy"]]})
    found = confusion(of)
    assert found is not None and "counts" not in found["runs"]["one"]
    pairs = {(one["gold"], one["predicted"]): one["rows"] for one in found["runs"]["one"]["pairs"]}
    assert pairs == {("joy", "fear"): 1, ("fear", "anger"): 1, ("anger", "(invalid)"): 1}


TRAIN = table(
    [
        "the card does not arrive",
        "where is my new card",
        "card arrived late",
        "transfer to my bank failed",
        "bank transfer",
    ],
    [["a"], ["a"], ["a"], ["b"], ["b"]],
)


def test_errors_stand_first_with_their_nearest_training_rows_and_tags() -> None:
    texts = ["my new card", "bank transfer", "zebra xylophone", "bank transfer failed"]
    gold = [["a"], ["a"], ["c"], ["b"]]
    p = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.5, 0.4], [0.1, 0.8, 0.1]])
    sure = output(ABC, gold, "sure", [["a"], ["b"], ["b"], ["b"]], probabilities=p)
    of = inputs(ABC, texts, gold, [sure, output(ABC, gold, "other", [["a"], ["b"], None, ["a"]])], TRAIN)
    rows = rows_table(of, ["r1"]).to_pylist()
    assert [one["id"] for one in rows] == ["r1", "r2", "r3", "r0"]
    first, second, third, right = rows
    assert first["neighbours"][0] == {"text": "bank transfer", "label": "b", "similarity": 1.0}
    assert {"wrong in every model", "likely label error", "the same text has another label in train"} <= set(
        first["tag"]
    )
    assert "neighbours have the predicted label" in first["tag"]
    assert set(second["tag"]) == {"wrong in every model", "models disagree", "no valid answer", "no close row"}
    assert second["neighbours"] == [] and second["predicted:other"] is None
    assert third["tag"] == ["models disagree"] and third["wrong:other"] and not third["wrong:sure"]
    assert right["tag"] == [] and right["neighbours"] == [] and right["confidence:sure"] == 0.8


def test_right_label_in_the_top_3_is_told_from_the_probabilities() -> None:
    labels = LabelSet("single_label", tuple(Label(name) for name in "abcde"))
    p = np.array([[0.4, 0.3, 0.2, 0.06, 0.04], [0.4, 0.3, 0.2, 0.06, 0.04]])
    of = inputs(
        labels, ["x", "y"], [["c"], ["d"]], [output(labels, [["c"], ["d"]], "one", [["a"], ["a"]], probabilities=p)]
    )
    tags = {one["id"]: one["tag"] for one in rows_table(of).to_pylist()}
    assert "right label in the top 3" in tags["r0"] and "right label in the top 3" not in tags["r1"]


def test_tags_speak_of_the_best_run_that_is_wrong() -> None:
    labels = LabelSet("single_label", tuple(Label(name) for name in "abcd"))
    gold = [["a"], ["a"], ["b"], ["c"]]
    near, far = [0.3, 0.4, 0.2, 0.1], [0.1, 0.4, 0.3, 0.2]  # the gold a is among the first three, and is not
    best = output(labels, gold, "best", [["b"], ["a"], ["b"], ["c"]], probabilities=np.array([near, far, near, near]))
    other = output(labels, gold, "other", [["b"], ["b"], ["b"], ["a"]], probabilities=np.array([far, far, near, near]))
    of = inputs(labels, ["v", "x", "y", "z"], gold, [other, best])
    assert of.best == "best" and of.blamed[:2].tolist() == [1, 0]
    tags = {one["id"]: "right label in the top 3" in one["tag"] for one in rows_table(of).to_pylist()}
    assert tags == {"r0": True, "r1": False, "r2": False, "r3": True}


def test_neighbours_that_disagree_are_called_that() -> None:
    train = table(["red apple pie", "red apple tart", "green tea"] * 10, [["a"], ["b"], ["c"]] * 10)
    of = inputs(ABC, ["red apple"], [["c"]], {"one": [["a"]]}, train)
    (row,) = rows_table(of).to_pylist()
    labels = [one["label"] for one in row["neighbours"]]
    assert len(labels) == 5 and set(labels) <= {"a", "b"}
    # Equal texts stand in train with one label each: five neighbours of one, or of both.
    assert ("neighbours disagree" in row["tag"]) == (max(map(labels.count, "ab")) <= 2)


def test_rows_without_gold_are_left_out_and_without_any_nothing_is_said() -> None:
    gold = [["yes"], None]
    of = inputs(YES_NO, ["x", "y"], gold, {"one": [["no"], ["no"]]})
    assert rows_table(of)["id"].to_pylist() == ["r0"]
    assert look_closer(inputs(YES_NO, ["x"], [None], {"one": [["no"]]})) == ({}, None)


@given(st.lists(st.tuples(LETTERS, LETTERS, LETTERS), min_size=1, max_size=30))
def test_disagreements_are_counted_by_pair(rows: list[tuple[str, str, str]]) -> None:
    runs = {f"run {k}": [None if one[k] == "-" else [one[k]] for one in rows] for k in range(3)}
    found = disagreements(inputs(ABC, ["x"] * len(rows), [["a"]] * len(rows), runs))
    assert found is not None
    assert found["rows"] == sum(len(set(one)) > 1 for one in rows) == len(found["ids"])
    assert found["any_right"] == sum("a" in one for one in rows) / len(rows)
    for pair, (i, j) in zip(found["pairs"], ((0, 1), (0, 2), (1, 2)), strict=True):
        apart = [one for one in rows if one[i] != one[j]]
        assert pair["rows"] == len(apart)
        assert pair["only_a_right"] == sum(one[i] == "a" for one in apart)
        assert pair["only_b_right"] == sum(one[j] == "a" for one in apart)
        assert pair["none_right"] == sum("a" not in (one[i], one[j]) for one in apart)


def test_shift_is_that_of_scipy_and_names_the_label_that_moved() -> None:
    train = table(["short"] * 300 + ["a longer text"] * 100, [["a"]] * 200 + [["b"]] * 150 + [["c"]] * 50)
    texts = ["a longer text"] * 150 + ["short"] * 50
    gold = [["a"]] * 80 + [["b"]] * 40 + [["c"]] * 80
    found = shift(inputs(ABC, texts, gold, {"one": gold}, train))
    assert found is not None
    assert found["classes"]["p_value"] == pytest.approx(chi2_contingency([[200, 150, 50], [80, 40, 80]]).pvalue)
    first = found["classes"]["labels"][0]
    assert (first["label"], first["train_share"], first["share"]) == ("c", 0.125, 0.4) and first["adjusted_p"] < 1e-6
    expected = ks_2samp([5] * 300 + [13] * 100, [13] * 150 + [5] * 50)
    assert found["length"]["p_value"] == pytest.approx(expected.pvalue)
    assert (found["length"]["train_median"], found["length"]["median"]) == (5, 13)


def test_the_same_rows_have_not_moved() -> None:
    gold = [["a"], ["b"], ["c"]] * 40
    found = shift(inputs(ABC, ["text"] * 120, gold, {"one": gold}))
    assert found is not None and found["classes"]["p_value"] == pytest.approx(1)
    assert all(one["adjusted_p"] == 1 for one in found["classes"]["labels"])


@pytest.mark.parametrize(
    ("label_set", "gold", "said"),
    [
        (YES_NO, [["yes"]] * 30, [["yes"]] * 30),  # one class, no error
        (YES_NO, [["yes"], ["no"]] * 15, [None] * 30),  # all invalid
        (SEVERAL, [[]] * 30, [["joy"]] * 30),  # no label at all
        (SEVERAL, [["joy"], []] * 15, [[], None] * 15),
        (REGRESSION, [1.0] * 30, [1.0] * 30),  # constant
        (REGRESSION, [float(i) for i in range(30)], [None, 2.0] * 15),
        (ABC, [["a"]], [["b"]]),  # one row
    ],
)
def test_degenerate_evaluations_are_looked_at_without_a_complaint(
    label_set: LabelSet, gold: list[object], said: list[object]
) -> None:
    texts = ["", "one text", "中文"] * 10
    runs = {"one": said, "two": list(reversed(said))}
    closer = look_closer(inputs(label_set, texts[: len(gold)], gold, runs, fields={"month": ["1"] * len(gold)}))
    json.loads(json_text(closer.found))  # raises on a NaN
    assert closer.rows is not None and closer.rows.num_rows == len(gold)


def test_a_regression_shows_how_far_scores_are_pulled_to_the_mean() -> None:
    gold = [float(i) for i in range(100)]
    said = [50 + (one - 50) / 2 for one in gold]
    closer = look_closer(inputs(REGRESSION, [f"text {i}" for i in range(100)], gold, {"one": said}))
    low, high = closer.found["residuals"]["one"][0], closer.found["residuals"]["one"][-1]
    assert (low["gold"], low["predicted"], high["gold"], high["predicted"]) == (9.5, 29.75, 89.5, 69.75)
    assert closer.found["findings"][0].startswith("the fifth of the rows with the lowest gold (mean 9.50)")
    assert closer.rows is not None and pa.types.is_float64(closer.rows["gold"].type)
    assert sum(closer.rows["wrong:one"].to_pylist()) == 9  # the tenth and the eleventh error are equal


@pytest.mark.slow
def test_fifteen_thousand_rows_of_six_runs_take_seconds_and_little_memory() -> None:
    import time
    import tracemalloc

    generator = np.random.default_rng(0)
    names = [f"w{i}" for i in range(3000)]
    weights = 1 / np.arange(1, 3001)
    drawn = generator.choice(names, size=(35_000, 12), p=weights / weights.sum())
    texts = [" ".join(one) for one in drawn]
    labels = LabelSet("single_label", tuple(Label(f"l{i}") for i in range(22)))
    gold = [[f"l{i}"] for i in generator.integers(0, 22, size=35_000)]
    ids = [f"r{i}" for i in range(15_000)]
    runs = []
    for r in range(6):
        p = generator.dirichlet(np.ones(22), size=15_000)
        p[np.arange(15_000), [int(one[0][1:]) for one in gold[:15_000]]] += 0.3
        decided = [[f"l{i}"] for i in p.argmax(axis=1)]
        runs.append(RunOutput(f"run {r}", Predictions(ids, p / p.sum(axis=1, keepdims=True), decided=decided)))
    of = inputs(labels, texts[:15_000], gold[:15_000], runs, table(texts[15_000:], gold[15_000:]))
    start = time.process_time()
    closer = look_closer(of)
    assert time.process_time() - start < 20
    assert closer.rows is not None and closer.rows.num_rows == 15_000
    tracemalloc.start()
    look_closer(of)
    assert tracemalloc.get_traced_memory()[1] < 600e6
    tracemalloc.stop()


def test_on_the_training_split_a_row_is_not_its_own_neighbour() -> None:
    texts = ["red apple pie", "red apple tart", "green tea leaves"]
    of = inputs(ABC, texts, [["a"], ["b"], ["c"]], {"one": [["b"], ["b"], ["c"]]})
    row = rows_table(replace(of, split="train")).to_pylist()[0]
    assert row["id"] == "r0" and [one["text"] for one in row["neighbours"]] == ["red apple tart"]
