"""Baselines: the constant that is right most often on the training rows."""

from __future__ import annotations

import numpy as np
import pytest

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.metrics.baselines import baseline
from categorize.metrics.measures import measure

LABELS = tuple(Label(name) for name in ("joy", "worry", "other"))
SINGLE, MULTI = LabelSet("single_label", LABELS), LabelSet("multi_label", LABELS)
UNKNOWN = [np.nan] * 3


def test_the_majority_label_is_that_of_the_training_rows_with_gold() -> None:
    training = np.array([[0.0, 1, 0], [0, 1, 0], [1, 0, 0], UNKNOWN, UNKNOWN, UNKNOWN])
    predictions = baseline(SINGLE, training, ["a", "b"])
    assert predictions.decided == [["worry"], ["worry"]]
    assert measure(SINGLE, np.eye(3)[[1, 0]], predictions)["accuracy"] == 0.5


def test_equally_frequent_labels_go_to_the_first() -> None:
    assert baseline(SINGLE, np.eye(3)[[2, 1, 0, 1, 2]], ["a"]).decided == [["worry"]]


def test_a_multi_label_baseline_is_the_most_frequent_label_set() -> None:
    training = np.array([[1.0, 1, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1]])
    assert baseline(MULTI, training, ["a"]).decided == [["joy", "worry"]]
    assert baseline(MULTI, np.array([[0.0, 0, 0], [0, 1, 0], [1, 0, 0]]), ["a"]).decided == [["joy"]]
    assert baseline(MULTI, np.zeros((2, 3)), ["a"]).decided == [[]]


def test_a_regression_baseline_is_the_mean_and_has_no_correlation() -> None:
    label_set = LabelSet("regression", (Label("score"),))
    predictions = baseline(label_set, np.array([[1.0], [3.0], [np.nan]]), ["a", "b"])
    assert predictions.score is not None and predictions.score.tolist() == [2.0, 2.0]
    assert measure(label_set, np.array([[1.0], [3.0]]), predictions)["pearson"] is None


def test_no_training_row_with_gold_stops_with_the_way_out() -> None:
    with pytest.raises(UserError, match=r"data\.columns\.label"):
        baseline(SINGLE, np.array([UNKNOWN]), ["a"])
