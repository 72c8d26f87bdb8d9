"""Measures of probabilities, of ranks and of two levels: scikit-learn's and scipy's, also where they degenerate."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import somersd
from sklearn import metrics as sk

from categorize.labels import Group, Label, LabelSet
from categorize.metrics.arrays import align
from categorize.metrics.curve_points import POINTS, curves
from categorize.metrics.decision import DecisionRule
from categorize.metrics.measures import measure
from categorize.metrics.probabilistic import AREAS, risk_at_coverage
from categorize.metrics.progress import flat
from categorize.metrics.scores import concordance
from categorize.metrics.weighted import statistic
from categorize.predictions import Predictions

NAMES = ("joy", "moved", "worry", "other")
LABELS = (Label("joy", parent="positive"), Label("moved", parent="positive"), Label("worry", parent="negative"))
GROUPS = (Group("positive"), Group("negative"))
SINGLE = LabelSet("single_label", (*LABELS, Label("other")), GROUPS)
MULTI = LabelSet("multi_label", (*LABELS, Label("other")), GROUPS)
REGRESSION = LabelSet("regression", (Label("score"),))

seeds, rows_of, coarseness = st.integers(0, 10_000), st.integers(1, 30), st.sampled_from((2, 4, 1000))


@pytest.fixture(autouse=True)
def warnings_are_errors() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def random_probabilities(label_set: LabelSet, rows: int, seed: int, steps: int) -> tuple[np.ndarray, Predictions]:
    """Gold and decided predictions; few steps make many ties, and some labels may have no row, or all of them."""
    rng = np.random.default_rng(seed)
    ids = [str(i) for i in range(rows)]
    if label_set.is_multi_label:
        gold = (rng.random((rows, 4)) < rng.choice([0.0, 0.3, 0.5, 1.0], size=4)).astype(float)
        probabilities = rng.integers(0, steps + 1, size=(rows, 4)) / steps
    else:
        gold = np.eye(4)[rng.integers(0, rng.integers(1, 5), size=rows)]
        weights = rng.integers(1, steps + 1, size=(rows, 4)).astype(float)
        probabilities = weights / weights.sum(axis=1, keepdims=True)
    return gold, DecisionRule.default(label_set).apply(Predictions(ids, probabilities))


@settings(max_examples=60, deadline=None)
@given(rows_of, seeds, coarseness)
def test_scores_of_single_label_probabilities_equal_scikit_learn(rows: int, seed: int, steps: int) -> None:
    gold, predictions = random_probabilities(SINGLE, rows, seed, steps)
    found, p = measure(SINGLE, gold, predictions), predictions.probabilities
    assert p is not None
    position = gold.argmax(axis=1)
    assert found["log_loss"] == pytest.approx(sk.log_loss(position, p, labels=range(4)))
    assert found["brier"] == pytest.approx(((p - gold) ** 2).sum(axis=1).mean())
    if len(set(position)) > 1:
        assert found["brier"] == pytest.approx(sk.brier_score_loss(gold, p))
    assert found["top_3_accuracy"] == pytest.approx(
        np.mean([g in sorted(range(4), key=lambda j, r=r: (-p[r, j], j))[:3] for r, g in enumerate(position)])
    )
    check_areas(found, gold, p)
    assert found["rows_with_probabilities"] == rows


@settings(max_examples=60, deadline=None)
@given(rows_of, seeds, coarseness)
def test_scores_of_multi_label_probabilities_equal_scikit_learn(rows: int, seed: int, steps: int) -> None:
    gold, predictions = random_probabilities(MULTI, rows, seed, steps)
    found, p = measure(MULTI, gold, predictions), predictions.probabilities
    assert p is not None
    assert found["log_loss"] == pytest.approx(sk.log_loss(gold.ravel(), p.ravel(), labels=[0, 1]))
    assert found["brier"] == pytest.approx(((p - gold) ** 2).mean())
    check_areas(found, gold, p)
    chosen = (p >= 0.5).astype(int)
    held = np.flatnonzero(gold.sum(axis=0))
    if len(held):
        assert found["macro_jaccard"] == pytest.approx(
            sk.jaccard_score(gold[:, held], chosen[:, held], average="macro", zero_division=0)
            if len(held) > 1
            else sk.jaccard_score(gold[:, held[0]], chosen[:, held[0]], zero_division=0)
        )
        none = (gold.sum(axis=1) + chosen.sum(axis=1) == 0).mean()  # a row without labels, rightly: 1 and not 0
        assert found["samples_jaccard"] == pytest.approx(
            sk.jaccard_score(gold, chosen, average="samples", zero_division=0) + none
        )
    else:
        assert found["macro_jaccard"] is None and found["undefined"]["macro_jaccard"]


def check_areas(found: dict[str, Any], gold: np.ndarray, p: np.ndarray) -> None:
    labels = [j for j in range(4) if 0 < gold[:, j].sum() < len(gold)]
    if not labels:
        assert all(found[name] is None and found["undefined"][name] for name in AREAS)
        return
    for name, area in (("roc_auc", sk.roc_auc_score), ("pr_auc", sk.average_precision_score)):
        assert found[f"macro_{name}"] == pytest.approx(np.mean([area(gold[:, j], p[:, j]) for j in labels]))
        assert found[f"micro_{name}"] == pytest.approx(area(gold.ravel(), p.ravel()))


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=40))
def test_correlation_and_balanced_accuracy_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    decided = [[NAMES[p]] if p >= 0 else [] for p in predicted]
    found = measure(SINGLE, np.eye(4)[gold], Predictions([str(i) for i in range(len(gold))], decided=decided))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an answer that is no gold label, and one label alone
        assert found["mcc"] == pytest.approx(sk.matthews_corrcoef(gold, predicted), abs=1e-12)
        assert found["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(gold, predicted))
    if (predicted < 0).all():
        assert (found["accuracy"], found["mcc"], found["macro"]["f1"], found["hierarchical_f1"]) == (0, 0, 0, 0)


@settings(max_examples=80, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=2, max_size=40))
def test_concordance_is_that_of_all_pairs_and_of_somers_d(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    result = measure(REGRESSION, gold[:, None], Predictions([str(i) for i in range(len(gold))], score=predicted))
    if len(set(gold)) == 1:
        assert result["concordance"] is None and result["undefined"]["concordance"] == "gold is constant"
        return
    ahead = np.sign(gold[:, None] - gold) * np.sign(predicted[:, None] - predicted)
    unequal = gold[:, None] != gold
    assert result["concordance"] == pytest.approx((1 + ahead[unequal].mean()) / 2)
    if len(set(predicted)) > 1:
        assert result["concordance"] == pytest.approx((1 + somersd(gold, predicted).statistic) / 2)


def test_concordance_of_two_values_is_the_area_under_the_roc_curve() -> None:
    rng = np.random.default_rng(0)
    gold, predicted = rng.integers(0, 2, 500).astype(float), rng.normal(size=500).round(1)
    assert concordance(gold, predicted) == pytest.approx(sk.roc_auc_score(gold, predicted))


@pytest.mark.parametrize("label_set", [SINGLE, MULTI], ids=lambda one: one.task)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_weighted_scores_are_those_of_the_repeated_rows(label_set: LabelSet, data: st.DataObject) -> None:
    rows = data.draw(st.integers(2, 12))
    gold, predictions = random_probabilities(label_set, rows, data.draw(seeds), data.draw(coarseness))
    drawn = np.array(data.draw(st.lists(st.integers(0, rows - 1), min_size=2, max_size=12)))
    weights = np.bincount(drawn, minlength=rows)[None].astype(float)
    values = statistic(label_set, align(label_set, gold, predictions))(weights)
    result = measure(label_set, gold[drawn], predictions.take(drawn))
    names = ("log_loss", "brier", "expected_calibration_error", *AREAS, "hierarchical_f1", "hierarchical_precision")
    for name in (*names, *([] if label_set.is_multi_label else ["aurc"])):
        if result[name] is None:
            assert np.isnan(values.get(name, np.array([np.nan]))[0]), name
        else:
            assert values[name][0] == pytest.approx(result[name], abs=1e-9), name


def test_a_wrong_label_of_the_right_group_is_half_right() -> None:
    gold = SINGLE.encode([["joy"], ["joy"], ["other"], ["worry"]])
    decided = [["moved"], ["worry"], ["other"], []]
    found = measure(SINGLE, gold, Predictions(list("abcd"), decided=decided))
    # Nodes of the gold: 2 + 2 + 1 + 2; predicted: 2 + 2 + 1 + 0; shared: 1 + 0 + 1 + 0.
    assert (found["hierarchical_precision"], found["hierarchical_recall"]) == (2 / 5, 2 / 7)
    assert found["hierarchical_f1"] == 4 / 12
    assert "hierarchical_f1" not in measure(
        LabelSet("single_label", (Label("joy"), Label("other"))),
        gold[:, [0, 3]][[0, 1, 2]],
        Predictions(list("abc"), decided=[["joy"]] * 3),
    )


def test_a_label_that_is_also_the_group_is_one_node() -> None:
    labels = LabelSet(
        "multi_label", (Label("positive", parent="positive"), Label("joy", parent="positive")), (Group("positive"),)
    )
    gold = labels.encode([["positive", "joy"], ["positive"]])
    found = measure(labels, gold, Predictions(list("ab"), decided=[["joy"], ["positive", "joy"]]))
    assert (found["hierarchical_precision"], found["hierarchical_recall"]) == (3 / 4, 1.0)


def test_rows_of_one_confidence_are_kept_together_and_rows_without_one_come_last() -> None:
    risk = risk_at_coverage(np.array([0.5, np.nan, 0.5, 0.9]), np.array([True, True, False, False]))
    assert risk.tolist() == [0.0, 0.25, 1 / 3, 0.5]
    flipped = risk_at_coverage(np.array([0.5, 0.9, 0.5, np.nan]), np.array([False, False, True, True]))
    assert flipped.tolist() == risk.tolist()


def test_the_bins_of_the_reliability_curve_give_the_calibration_error() -> None:
    gold, predictions = random_probabilities(SINGLE, 400, 1, 1000)
    found, points = measure(SINGLE, gold, predictions), curves(SINGLE, gold, predictions)
    bins = points["reliability"]
    assert sum(one["rows"] for one in bins) == 400
    assert all(one["low"] <= one["confidence"] <= one["high"] == pytest.approx(one["low"] + 1 / 15) for one in bins)
    gaps = [one["rows"] * abs(one["accuracy"] - one["confidence"]) for one in bins]
    assert found["expected_calibration_error"] == pytest.approx(sum(gaps) / 400)


def test_curves_are_those_of_scikit_learn_thinned_and_end_where_they_must() -> None:
    gold, predictions = random_probabilities(SINGLE, 3000, 2, 1000)
    points, p = curves(SINGLE, gold, predictions), predictions.probabilities
    assert p is not None and {len(points[name]) for name in ("roc", "precision_recall", "risk_coverage")} == {POINTS}
    rates = set(map(tuple, np.array(sk.roc_curve(gold.ravel(), p.ravel())[:2]).T.tolist()))
    found = [(one["false_positive_rate"], one["true_positive_rate"]) for one in points["roc"]]
    assert found[0] == (0, 0) and found[-1] == (1, 1) and set(found) <= rates
    last = points["risk_coverage"][-1]
    assert last == {"coverage": 1.0, "risk": pytest.approx(1 - measure(SINGLE, gold, predictions)["accuracy"])}
    assert points["precision_recall"][-1]["recall"] == 1.0
    assert curves(SINGLE, gold, Predictions(predictions.ids, decided=predictions.decided)) == {}


def test_rows_without_probabilities_are_left_out_of_the_scores_and_last_in_risk() -> None:
    gold = np.eye(4)[[0, 1, 2]]
    p = np.array([[0.7, 0.1, 0.1, 0.1], [0.2, 0.6, 0.1, 0.1], [np.nan] * 4])
    found = measure(SINGLE, gold, DecisionRule.default(SINGLE).apply(Predictions(list("abc"), p)))
    assert found["rows_with_probabilities"] == 2 and found["accuracy"] == pytest.approx(2 / 3)
    assert found["log_loss"] == pytest.approx(-np.log([0.7, 0.6]).mean())
    assert found["aurc"] == pytest.approx(np.mean([0, 0, 1 / 3]))


def test_what_is_not_a_probability_is_refused_with_its_row() -> None:
    gold = np.eye(4)[[0, 1]]
    wrong = Predictions(["a", "b"], np.array([[0.25] * 4, [0.5, np.inf, 0, 0]]), decided=[["joy"], ["joy"]])
    with pytest.raises(ValueError, match=r"row 1 \(id 'b'\): a probability is not between 0 and 1: \[0.5, inf"):
        measure(SINGLE, gold, wrong)
    half = gold.copy()
    half[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"row 1 \(id 'b'\): the gold is NaN in part"):
        measure(SINGLE, half, Predictions(["a", "b"], decided=[["joy"], ["joy"]]))
    with pytest.raises(ValueError, match=r"row 0 \(id 'a'\): the gold is not finite: \[inf\]"):
        measure(REGRESSION, np.array([[np.inf]]), Predictions(["a"], score=np.array([1.0])))


def test_long_label_sets_have_no_areas() -> None:
    labels = LabelSet("single_label", tuple(Label(f"l{i}") for i in range(201)))
    gold, p = np.eye(201)[[3, 4]], np.full((2, 201), 1 / 201)
    found = measure(labels, gold, DecisionRule.default(labels).apply(Predictions(["a", "b"], p)))
    assert not set(AREAS) & set(flat(found)) and "brier" in found
