"""Confident learning: labels that were flipped on purpose are found, and right ones are left alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.analysis.closer import look_closer
from categorize.analysis.inputs import RunOutput
from categorize.analysis.label_errors import doubtful, doubtful_cells, label_errors
from categorize.analysis.training_label_errors import training_label_errors
from categorize.labels import Label, LabelSet
from categorize.predictions import FloatArray, Predictions
from tests.analysis.collections import ABC, inputs, table


def probabilities(truth: FloatArray, generator: np.random.Generator) -> FloatArray:
    """Those of a good model: 0.8 on average for the true label."""
    drawn = generator.dirichlet([0.7, 0.7, 0.7], size=len(truth))
    drawn[np.arange(len(truth)), truth] += 3
    return np.asarray(drawn / drawn.sum(axis=1, keepdims=True))


def test_flipped_labels_come_first_and_few_others_are_in_doubt() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, size=1000)
    flipped = np.arange(1000) % 20 == 0
    given = np.where(flipped, (truth + 1) % 3, truth)
    p = probabilities(truth, generator)
    gold = [["abc"[i]] for i in given]
    run = RunOutput("one", Predictions([f"r{i}" for i in range(1000)], p, decided=[["abc"[i]] for i in truth]))
    found = label_errors(inputs(ABC, ["x"] * 1000, gold, [run]))
    assert found is not None
    # Those of which the model is less sure than it usually is of such a label stay out of it.
    assert 25 <= len(found) <= 50 and {one["id"] for one in found} <= {f"r{i}" for i in np.flatnonzero(flipped)}
    assert all(one["suggested"] == "abc"[truth[int(one["id"][1:])]] for one in found)
    assert [one["score"] for one in found] == sorted((one["score"] for one in found), reverse=True)


@given(st.integers(0, 2**32 - 1), st.integers(2, 6), st.integers(1, 40))
def test_it_is_the_definition_written_as_loops(seed: int, labels: int, rows: int) -> None:
    generator = np.random.default_rng(seed)
    p = generator.dirichlet(np.ones(labels), size=rows)
    given = generator.integers(0, labels, size=rows)
    better, score = doubtful(given, p)
    for i in range(rows):
        reached = [j for j in range(labels) if (given == j).any() and p[i, j] >= np.mean(p[given == j, j]) - 1e-15]
        counted = max(reached, key=lambda j: p[i, j], default=None)
        expected = 0.0 if counted is None or counted == given[i] else max(p[i, counted] - p[i, given[i]], 0.0)
        assert score[i] == pytest.approx(expected)
        if expected:
            assert better[i] == counted


def test_of_several_labels_a_missing_and_a_wrong_one_are_found() -> None:
    several = LabelSet("multi_label", (Label("joy"), Label("fear")))
    generator = np.random.default_rng(1)
    truth = generator.random((300, 2)) < 0.5
    p = np.where(truth, 0.9, 0.1) + generator.normal(scale=0.02, size=(300, 2))
    given = truth.copy()
    given[0, 0], given[1, 1] = not given[0, 0], not given[1, 1]
    cells = doubtful_cells(given, p)
    assert np.argwhere(cells > 0.5).tolist() == [[0, 0], [1, 1]]
    gold = [[name for name, has in zip(several.names, row, strict=True) if has] for row in given]
    run = RunOutput("one", Predictions([f"r{i}" for i in range(300)], np.clip(p, 0, 1), decided=gold))
    found = label_errors(inputs(several, ["x"] * 300, gold, [run]))
    assert found is not None and {one["id"] for one in found[:2]} == {"r0", "r1"}
    true = {
        f"r{i}": ", ".join(n for n, has in zip(several.names, truth[i], strict=True) if has) or "none" for i in (0, 1)
    }
    assert {one["id"]: one["suggested"] for one in found[:2]} == true


def test_nothing_is_said_without_probabilities() -> None:
    assert label_errors(inputs(ABC, ["x"], [["a"]], {"one": [["b"]]})) is None


@pytest.mark.parametrize("several", [False, True])
def test_flipped_labels_of_training_rows_are_found_by_models_that_did_not_learn_from_them(several: bool) -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, size=400)
    words = [f"{['red', 'green', 'blue'][one]} w{generator.integers(9)} w{generator.integers(9)}" for one in truth]
    flipped = np.arange(400) % 20 == 0
    gold = [["abc"[(one + hit) % 3]] for one, hit in zip(truth, flipped, strict=True)]
    label_set = LabelSet("multi_label", ABC.labels) if several else ABC
    of = inputs(label_set, ["red x"], [["a"]], {"one": [["a"]]}, table(words, gold), search_train=True)
    found, looked_at = training_label_errors(of) or ([], 0)
    # Some stay out of it, for the models are not sure enough of them.
    assert looked_at == 400 and len(found) >= 14
    assert {one["id"] for one in found} <= {f"r{i}" for i in np.flatnonzero(flipped)}
    if not several:  # else it may say of one of the two labels alone what it thinks of it
        assert all(one["suggested"] == "abc"[truth[int(one["id"][1:])]] for one in found)
    assert training_label_errors(replace(of, search_train=False)) is None
    closer = look_closer(of).found
    assert closer["train_label_errors_found"] == len(found)
    assert f"the labels of {len(found)} of 400 training rows are in doubt" in closer["findings"]


def test_what_many_labels_leave_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    of = inputs(ABC, ["x", "y"], [["a"], ["b"]], {"one": [["b"], ["b"]]})
    assert of.left_out == []
    monkeypatch.setattr("categorize.analysis.inputs.MOST_CELLS", 5)
    found = look_closer(of).found
    assert "counts" not in found and "label_errors" not in found
    told = "likely label errors and counts were not looked at: 2 rows x 3 labels are more than 5 cells"
    assert found["findings"][-1] == told
