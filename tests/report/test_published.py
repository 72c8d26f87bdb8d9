"""A published report of 14,849 comments comes out digit by digit; invalid answers count as wrong in the headline."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import classification_report

from categorize.labels import Label, LabelSet
from categorize.metrics.intervals import differences_of, resample
from categorize.metrics.measures import measure
from categorize.predictions import Predictions
from categorize.reports.comparison import EvaluatedRun, compare
from categorize.reports.rendering import as_text
from tests.report.published import confusion, rows_of

NAMES = ("Positive", "Mild", "Negative", "Irrelevant")
LABELS = LabelSet("single_label", tuple(map(Label, NAMES)))
PRECISION, RECALL, F1 = (0.44, 0.84, 0.53, 0.85), (0.82, 0.76, 0.47, 0.70), (0.58, 0.80, 0.50, 0.77)
SUPPORT = (1944, 6377, 1313, 5215)
ROWS, VALID, RIGHT = 14_849, 6_285, 2_359  # of the untuned model: 42.33% valid, 37.53% of these right


@pytest.fixture(scope="module")
def gold_and_runs() -> tuple[np.ndarray, dict[str, Predictions]]:
    gold, predicted = rows_of(confusion(PRECISION, RECALL, F1, SUPPORT, 0.7210))
    ids = [str(i) for i in range(ROWS)]
    order = np.random.default_rng(0).permutation(ROWS)
    untuned: list[list[str]] = [[] for _ in range(ROWS)]
    for place, row in enumerate(order[:VALID]):
        untuned[row] = [NAMES[(gold[row] + (place >= RIGHT)) % 4]]
    valid = np.array([bool(one) for one in untuned])
    tuned = Predictions(ids, decided=[[NAMES[j]] for j in predicted])
    return np.eye(4)[gold], {"tuned": tuned, "untuned": Predictions(ids, decided=untuned, valid=valid)}


def test_the_measures_print_the_published_digits(gold_and_runs: tuple[np.ndarray, dict[str, Predictions]]) -> None:
    gold, runs = gold_and_runs
    found = measure(LABELS, gold, runs["tuned"])
    printed = [
        (row["label"], *(f"{row[name]:.2f}" for name in ("precision", "recall", "f1")), row["support"])
        for row in found["per_class"]
    ]
    assert printed == [
        ("Positive", "0.44", "0.82", "0.58", 1944),
        ("Mild", "0.84", "0.76", "0.80", 6377),
        ("Negative", "0.53", "0.47", "0.50", 1313),
        ("Irrelevant", "0.85", "0.70", "0.77", 5215),
    ]
    assert (found["rows"], f"{found['accuracy']:.4f}") == (ROWS, "0.7210")
    names = [one[0] for one in runs["tuned"].decided or []]
    report = classification_report([NAMES[j] for j in gold.argmax(axis=1)], names, labels=NAMES, output_dict=True)
    for average in ("macro", "weighted"):
        for name in ("precision", "recall"):
            assert found[average][name] == pytest.approx(report[f"{average} avg"][name])
        assert found[average]["f1"] == pytest.approx(report[f"{average} avg"]["f1-score"])


def test_the_headline_of_the_untuned_model_counts_invalid_answers_as_wrong(
    gold_and_runs: tuple[np.ndarray, dict[str, Predictions]],
) -> None:
    gold, runs = gold_and_runs
    found = measure(LABELS, gold, runs["untuned"])
    assert (found["valid"], f"{found['valid_rate']:.2%}") == (VALID, "42.33%")
    assert (f"{found['accuracy']:.4f}", f"{found['accuracy_valid_only']:.4f}") == ("0.1589", "0.3753")
    assert sum(row[-1] for row in found["confusion"]["counts"]) == ROWS - VALID


def test_the_table_shows_both_runs_with_intervals_that_are_right(
    gold_and_runs: tuple[np.ndarray, dict[str, Predictions]],
) -> None:
    gold, runs = gold_and_runs
    drawn = {name: resample(LABELS, gold, one) for name, one in runs.items()}
    evaluated = [
        EvaluatedRun(name, "sft", {**measure(LABELS, gold, one), "intervals": drawn[name].intervals})
        for name, one in runs.items()
    ]
    differences = differences_of(drawn, "tuned", ["accuracy", "macro_f1"])
    text = as_text(compare(evaluated, differences=differences))
    for one, share in zip(evaluated, (0.7210, 0.1589), strict=True):
        low, high = one.intervals["accuracy"] or (0, 0)
        half = 1.96 * np.sqrt(share * (1 - share) / ROWS)  # of a binomial share
        assert (low, high) == pytest.approx((share - half, share + half), abs=0.0008)
    tuned, untuned = (" ".join(line.split()) for line in text.splitlines() if " sft " in line)
    assert tuned.startswith("tuned sft 0.721* [0.71") and " 100% " in tuned
    assert untuned.startswith("untuned sft 0.159 [0.15") and " 0.375 " in untuned and "6,285 (42.33%)" in untuned
    assert "untuned accuracy -0.562" in " ".join(text.split()) and "<0.001 yes" in " ".join(text.split())
