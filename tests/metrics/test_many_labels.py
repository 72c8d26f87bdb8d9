"""Measures of long label sets: recall among the first k, and what grows with the number of labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, hamming_loss, log_loss, top_k_accuracy_score

from categorize.labels import Label, LabelSet
from categorize.metrics.arrays import align
from categorize.metrics.decision import DecisionRule
from categorize.metrics.intervals import measure_with_intervals
from categorize.metrics.measures import measure, measure_names
from categorize.metrics.progress import flat
from categorize.metrics.scores import ranking_scores
from categorize.metrics.weighted import statistic
from categorize.predictions import Predictions


def label_set(task: Any, count: int) -> LabelSet:
    return LabelSet(task, tuple(Label(f"l{i}") for i in range(count)))


def decided(labels: LabelSet, probabilities: np.ndarray) -> Predictions:
    ids = [str(i) for i in range(len(probabilities))]
    return DecisionRule.default(labels).apply(Predictions(ids, probabilities))


def test_recall_at_k_is_the_share_of_gold_among_the_first_k() -> None:
    generator = np.random.default_rng(0)
    probabilities = generator.integers(0, 6, size=(60, 30)) / 10  # many ties
    probabilities[generator.random((60, 30)) < 0.2] = np.nan
    gold = (generator.random((60, 30)) < 0.1).astype(int)
    found = ranking_scores(gold, probabilities)
    assert list(found) == [f"recall_at_{k}" for k in (1, 3, 5, 10, 20)]
    for k in (1, 3, 5, 10, 20):
        for row in range(60):
            scored = [i for i in range(30) if not np.isnan(probabilities[row, i])]
            first = sorted(scored, key=lambda i: (-probabilities[row, i], i))[:k]
            held = set(np.flatnonzero(gold[row]))
            if held:
                assert found[f"recall_at_{k}"][row] == len(held & set(first)) / len(held)
            else:
                assert np.isnan(found[f"recall_at_{k}"][row])


def test_top_k_accuracy_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    probabilities = generator.dirichlet(np.ones(40), size=100)
    gold = generator.integers(40, size=100)
    for k in (3, 5, 10):
        expected = top_k_accuracy_score(gold, probabilities, k=k, labels=np.arange(40))
        assert ranking_scores(gold, probabilities)[f"top_{k}_accuracy"].mean() == pytest.approx(expected)
    assert list(ranking_scores(gold % 20, probabilities[:, :20])) == ["top_3_accuracy"]
    assert ranking_scores(gold % 3, probabilities[:, :3]) == {}


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_row_weights_count_as_repeated_rows(task: str) -> None:
    generator = np.random.default_rng(2)
    labels = label_set(task, 25)
    gold = np.eye(25)[generator.integers(25, size=40)]
    predictions = decided(labels, generator.random((40, 25)))
    weights = generator.integers(0, 3, size=40)
    rows = np.repeat(np.arange(40), weights)
    repeated = flat(measure(labels, gold[rows], predictions.take(rows)))
    weighted = statistic(labels, align(labels, gold, predictions))(weights[None].astype(float))
    ranked = [name for name in repeated if name.startswith(("recall_at", "top_"))]
    assert ranked
    for name in ranked:
        assert weighted[name][0] == pytest.approx(repeated[name])
    intervals = measure_with_intervals(labels, gold, predictions, resamples=50)["intervals"]["measures"]
    assert all(intervals[name][0] <= repeated[name] + 0.3 for name in ranked)


def test_an_invalid_row_finds_nothing() -> None:
    labels = label_set("multi_label", 30)
    gold = np.eye(30)[[3, 4]]
    predictions = Predictions(["a", "b"], gold.copy(), valid=np.array([True, False]))
    assert measure(labels, gold, DecisionRule.default(labels).apply(predictions))["recall_at_1"] == 0.5


def test_measures_of_thousands_of_labels_are_those_of_scikit_learn() -> None:
    generator = np.random.default_rng(3)
    labels = label_set("multi_label", 3000)
    gold = (generator.random((50, 3000)) < 0.002).astype(float)
    probabilities = np.clip(0.6 * gold + 0.49 * generator.random((50, 3000)), 0, 1)
    predictions = decided(labels, probabilities)
    measured = measure(labels, gold, predictions)
    chosen = (probabilities >= 0.5).astype(int)
    assert measured["micro"]["f1"] == pytest.approx(f1_score(gold, chosen, average="micro"))
    assert measured["weighted"]["f1"] == pytest.approx(f1_score(gold, chosen, average="weighted", zero_division=0))
    assert measured["samples"]["f1"] == pytest.approx(
        f1_score(gold, chosen, average="samples", zero_division=0) + float((~gold.any(1) & ~chosen.any(1)).mean())
    )
    assert measured["hamming_loss"] == pytest.approx(hamming_loss(gold, chosen))
    assert measured["log_loss"] == pytest.approx(log_loss(gold.ravel(), probabilities.ravel()))


def test_names_and_measures_need_no_square_of_the_labels() -> None:
    labels = label_set("single_label", 20_000)
    assert "top_5_accuracy" in measure_names(labels)
    predictions = Predictions(["a", "b"], decided=[["l3"], ["l19999"]])
    measured = measure(labels, labels.encode([["l3"], ["l4"]]), predictions)
    assert measured["accuracy"] == 0.5 and "confusion" not in measured
    assert measured["undefined"]["confusion"] == "more than 1,000 labels"
