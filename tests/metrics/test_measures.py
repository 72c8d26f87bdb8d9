"""Measures: equal to scikit-learn's, one number by every route, and nothing undefined passed off as a number."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk

from categorize.labels import Group, Label, LabelSet
from categorize.metrics.measures import measure
from categorize.metrics.modules import load_metric
from categorize.metrics.progress import flat, greater_is_better, headline
from categorize.predictions import Predictions

NAMES = ["joy", "worry", "criticism", "other"]
SINGLE = LabelSet("single_label", tuple(Label(name) for name in NAMES))
MULTI = LabelSet("multi_label", tuple(Label(name) for name in NAMES))
ORDINAL = LabelSet("ordinal", tuple(Label(name) for name in NAMES))
REGRESSION = LabelSet("regression", (Label("score"),))
GROUPED = LabelSet(
    "single_label",
    (
        Label("joy", parent="positive"),
        Label("moved", parent="positive"),
        Label("worry", parent="negative"),
        Label("other"),
    ),
    (Group("positive"), Group("negative")),
)

positions = st.lists(st.tuples(st.integers(0, 3), st.integers(-1, 3)), min_size=1, max_size=40)
indicators = st.lists(
    st.tuples(
        st.lists(st.booleans(), min_size=4, max_size=4), st.none() | st.lists(st.booleans(), min_size=4, max_size=4)
    ),
    min_size=1,
    max_size=40,
)
finite = st.floats(-100, 100).map(lambda value: round(value, 3))


@pytest.fixture(autouse=True)
def warnings_are_errors() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def single(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, Predictions]:
    """Gold and decided predictions of label positions; -1 is an invalid prediction."""
    gold = np.eye(4)[[g for g, _ in pairs]]
    decided = [[NAMES[p]] if p >= 0 else [] for _, p in pairs]
    valid = np.array([p >= 0 for _, p in pairs])
    return gold, Predictions([str(i) for i in range(len(pairs))], decided=decided, valid=valid)


def multi(rows: list[tuple[list[bool], list[bool] | None]]) -> tuple[np.ndarray, Predictions]:
    """Gold and decided predictions of indicators; None is an invalid prediction."""
    gold = np.array([g for g, _ in rows], dtype=float)
    decided = [[name for name, on in zip(NAMES, p or [False] * 4, strict=True) if on] for _, p in rows]
    return gold, Predictions(
        [str(i) for i in range(len(rows))], decided=decided, valid=np.array([p is not None for _, p in rows])
    )


def scored(gold: list[float], predicted: list[float]) -> tuple[np.ndarray, Predictions]:
    score = np.array(predicted, dtype=float)
    return np.array(gold, dtype=float)[:, None], Predictions([str(i) for i in range(len(gold))], score=score)


@settings(max_examples=40, deadline=None)
@given(positions)
def test_single_label_measures_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    result = measure(SINGLE, *single(pairs))
    gold, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    labels = sorted(set(gold) | set(predicted[predicted >= 0]))
    assert result["labels_in_macro"] == len(set(gold))
    assert result["accuracy"] == pytest.approx((gold == predicted).mean())
    for average in ("macro", "micro", "weighted"):
        for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            at = sorted(set(gold)) if average == "macro" else labels
            expected = function(gold, predicted, labels=at, average=average, zero_division=0)
            assert result[average][name] == pytest.approx(expected)
    for row, precision, recall in zip(
        result["per_class"],
        sk.precision_score(gold, predicted, labels=range(4), average=None, zero_division=0),
        sk.recall_score(gold, predicted, labels=range(4), average=None, zero_division=0),
        strict=True,
    ):
        assert (row["precision"], row["recall"]) == pytest.approx((precision, recall))
        position = NAMES.index(row["label"])
        assert (row["support"], row["predicted"]) == ((gold == position).sum(), (predicted == position).sum())
    assert np.sum(result["confusion"]["counts"]) == len(pairs)
    assert [row[-1] for row in result["confusion"]["counts"]] == [
        ((gold == j) & (predicted < 0)).sum() for j in range(4)
    ]
    if (predicted >= 0).all():
        assert result["micro"]["f1"] == pytest.approx(result["accuracy"])


@settings(max_examples=40, deadline=None)
@given(indicators)
def test_multi_label_measures_equal_scikit_learn(rows: list[tuple[list[bool], list[bool] | None]]) -> None:
    result = measure(MULTI, *multi(rows))
    gold = np.array([g for g, _ in rows], dtype=int)
    predicted = np.array([p or [False] * 4 for _, p in rows], dtype=int)
    valid = np.array([p is not None for _, p in rows])
    used = np.flatnonzero(gold.sum(axis=0) + predicted.sum(axis=0))
    assert result["accuracy"] == pytest.approx((valid & (gold == predicted).all(axis=1)).mean())
    if valid.all():
        assert result["hamming_loss"] == pytest.approx(sk.hamming_loss(gold, predicted))
    if not len(used):
        assert result["macro"] is None and result["undefined"]["macro"]
        return
    none_and_right = (valid & (gold.sum(axis=1) + predicted.sum(axis=1) == 0)).mean()
    supported = np.flatnonzero(gold.sum(axis=0))
    assert result["labels_in_macro"] == len(supported)
    if not len(supported):
        assert result["macro"] is None and result["undefined"]["macro"] == "no label has a gold row"
    for average in ("macro", "micro", "weighted", "samples") if len(supported) else ("micro", "weighted", "samples"):
        at = supported if average == "macro" else used
        for name, function in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
            expected = function(gold, predicted, labels=at, average=average, zero_division=0)
            if average == "samples":
                expected += none_and_right
            assert result[average][name] == pytest.approx(expected)


def test_perfect_label_sets_score_one_even_where_a_row_has_no_label() -> None:
    result = measure(
        MULTI, *multi([([False] * 4, [False] * 4), ([True, True, False, False], [True, True, False, False])])
    )
    assert (
        result["accuracy"] == result["samples"]["f1"] == result["macro"]["f1"] == 1.0 and result["hamming_loss"] == 0.0
    )


def test_an_invalid_row_without_gold_labels_is_still_wrong() -> None:
    result = measure(MULTI, *multi([([False] * 4, None), ([True, False, False, False], [True, False, False, False])]))
    assert (result["accuracy"], result["accuracy_valid_only"], result["hamming_loss"]) == (0.5, 1.0, 0.5)
    assert result["samples"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(finite, finite), min_size=3, max_size=40))
def test_regression_measures_equal_scikit_learn_and_scipy(pairs: list[tuple[float, float]]) -> None:
    gold, predicted = zip(*pairs, strict=True)
    result = measure(REGRESSION, *scored(list(gold), list(predicted)))
    assert result["mae"] == pytest.approx(sk.mean_absolute_error(gold, predicted))
    assert result["rmse"] == pytest.approx(sk.root_mean_squared_error(gold, predicted))
    if len(set(gold)) > 1:
        assert result["r2"] == pytest.approx(sk.r2_score(gold, predicted))
    if len(set(gold)) > 1 and len(set(predicted)) > 1:
        assert result["pearson"] == pytest.approx(pearsonr(gold, predicted).statistic)
        assert result["spearman"] == pytest.approx(spearmanr(gold, predicted).statistic)
    else:
        assert result["pearson"] is None and result["undefined"]["pearson"]


@settings(max_examples=40, deadline=None)
@given(positions)
def test_ordinal_measures_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = (np.array(column) for column in zip(*pairs, strict=True))
    result = measure(ORDINAL, *single(pairs))
    furthest = np.where(predicted < 0, np.where(gold >= 2, 0, 3), predicted)
    assert result["mae"] == pytest.approx(np.abs(gold - furthest).mean())
    if len(set(gold) | set(furthest)) > 1:
        expected = sk.cohen_kappa_score(gold, furthest, labels=range(4), weights="quadratic")
        assert result["quadratic_weighted_kappa"] == pytest.approx(expected)
    else:
        assert result["quadratic_weighted_kappa"] is None and result["undefined"]["quadratic_weighted_kappa"]


def agree(module: dict[str, float], measured: dict[str, Any]) -> None:
    expected = {name: value for name, value in flat(measured).items() if name != "valid_rate"}
    assert module == expected


@pytest.mark.parametrize("seed", range(3))
def test_the_evaluate_modules_give_the_same_numbers(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pairs = [(int(g), int(p)) for g, p in zip(rng.integers(0, 4, 50), rng.integers(-1, 4, 50), strict=True)]
    gold, predicted = [g for g, _ in pairs], [p for _, p in pairs]
    agree(
        load_metric("single_label").compute(predictions=predicted, references=gold, labels=4),
        measure(SINGLE, *single(pairs)),
    )
    agree(
        load_metric("ordinal").compute(predictions=predicted, references=gold, labels=4),
        measure(ORDINAL, *single(pairs)),
    )
    rows = [(list(g), None if i % 7 == 0 else list(p)) for i, (g, p) in enumerate(rng.random((50, 2, 4)) < 0.4)]
    marks = [[-1] * 4 if p is None else [int(on) for on in p] for _, p in rows]
    agree(
        load_metric("multi_label").compute(predictions=marks, references=[g for g, _ in rows]),
        measure(MULTI, *multi(rows)),
    )
    score, guess = rng.normal(size=50).tolist(), [*rng.normal(size=49).tolist(), float("nan")]
    agree(
        load_metric("regression").compute(predictions=guess, references=score),
        measure(REGRESSION, *scored(score, guess)),
    )


def test_rows_without_gold_are_left_out_and_counted() -> None:
    gold, predictions = single([(0, 0), (1, 1), (2, 0)])
    gold[2] = np.nan
    result = measure(SINGLE, gold, predictions)
    assert (result["rows"], result["rows_without_gold"], result["accuracy"]) == (2, 1, 1.0)
    assert result["labels_without_support"] == ["criticism", "other"] and result["labels_in_macro"] == 2


def test_a_split_without_gold_measures_nothing_and_says_so() -> None:
    result = measure(SINGLE, np.full((2, 4), np.nan), single([(0, 0), (1, 1)])[1])
    assert (
        result["rows"] == 0
        and result["valid_rate"] is None
        and result["undefined"] == {"rows": "no row has a gold label"}
    )


def test_an_invalid_prediction_counts_as_wrong_in_the_headline() -> None:
    result = measure(SINGLE, *single([(0, 0), (0, -1), (1, 1), (1, 0)]))
    assert (result["valid"], result["invalid"], result["valid_rate"]) == (3, 1, 0.75)
    assert result["accuracy"] == 0.5 and result["accuracy_valid_only"] == pytest.approx(2 / 3)
    joy = result["per_class"][0]
    assert (joy["precision"], joy["recall"], joy["predicted"]) == (0.5, 0.5, 2)
    assert result["confusion"]["counts"][0] == [1, 0, 0, 0, 1]


def test_several_or_no_decided_labels_are_not_an_answer_to_a_single_label_task() -> None:
    gold = np.eye(4)[[0, 1]]
    result = measure(SINGLE, gold, Predictions(["a", "b"], decided=[["joy", "worry"], []]))
    assert result["valid"] == 0 and result["accuracy"] == 0.0


def test_all_wrong_and_none_valid_are_zero_without_a_warning() -> None:
    wrong = measure(SINGLE, *single([(0, 1), (1, 0)]))
    assert wrong["accuracy"] == wrong["macro"]["f1"] == wrong["weighted"]["f1"] == 0.0
    none_valid = measure(SINGLE, *single([(0, -1), (1, -1)]))
    assert none_valid["accuracy"] == none_valid["macro"]["f1"] == 0.0
    assert (
        none_valid["accuracy_valid_only"] is None
        and none_valid["undefined"]["accuracy_valid_only"] == "no valid prediction"
    )
    nothing = measure(MULTI, *multi([([True, False, False, False], None)]))
    assert nothing["accuracy"] == nothing["samples"]["f1"] == 0.0 and nothing["hamming_loss"] == 1.0


def test_macro_averages_over_the_labels_with_gold_whatever_is_predicted() -> None:
    assert measure(SINGLE, *single([(0, 0), (1, 1)]))["macro"]["f1"] == 1.0
    predicted = measure(SINGLE, *single([(0, 0), (1, 1), (1, 2)]))
    assert predicted["labels_in_macro"] == 2 and "criticism" in predicted["labels_without_support"]
    assert predicted["macro"]["f1"] == pytest.approx((1 + 2 / 3) / 2)
    assert predicted["micro"]["f1"] == pytest.approx(2 / 3)
    everywhere = measure(MULTI, *multi([([True, False, False, False], [True, False, False, True])] * 3))
    assert everywhere["macro"]["f1"] == 1.0 and everywhere["accuracy"] == 0.0
    assert everywhere["micro"]["precision"] == everywhere["samples"]["precision"] == 0.5


def test_constant_predictions_have_no_correlation_and_a_reason() -> None:
    result = measure(REGRESSION, *scored([1.0, 2.0, 3.0], [0.1 + 0.2, 0.3, 0.3]))
    assert result["pearson"] is None and result["spearman"] is None
    assert result["undefined"]["pearson"] == "predictions are constant"
    assert flat(result)["pearson"] == 0.0  # what a trainer watches in its first steps
    assert measure(REGRESSION, *scored([2.0, 2.0], [1.0, 3.0]))["undefined"]["r2"] == "gold is constant"
    assert measure(REGRESSION, *scored([2.0], [1.0]))["undefined"]["r2"] == "fewer than two rows"


def test_an_invalid_score_counts_as_the_mean_of_the_gold() -> None:
    result = measure(REGRESSION, *scored([1.0, 2.0, 6.0], [1.0, 2.0, float("nan")]))
    assert result["valid"] == 2 and result["mae"] == pytest.approx(1.0) and result["mae_valid_only"] == 0.0
    assert result["pearson"] == pytest.approx(pearsonr([1, 2, 6], [1, 2, 3]).statistic)
    nothing = measure(REGRESSION, *scored([1.0, 2.0], [float("nan")] * 2))
    assert nothing["r2"] == 0.0 and nothing["undefined"]["pearson"] == "no valid prediction"


def test_a_label_confused_within_its_group_is_right_on_the_upper_level() -> None:
    gold = np.eye(4)[[0, 1, 2, 3]]
    result = measure(GROUPED, gold, Predictions(list("abcd"), decided=[["moved"], ["moved"], ["joy"], ["other"]]))
    assert result["accuracy"] == 0.5 and result["groups"]["accuracy"] == 0.75
    assert [row["label"] for row in result["groups"]["per_class"]] == ["positive", "negative", "other"]
    assert result["groups"]["macro"]["f1"] == pytest.approx((4 / 5 + 0 + 1) / 3)
    assert flat(result)["group_accuracy"] == 0.75
    both = LabelSet("multi_label", GROUPED.labels, GROUPED.groups)
    upper = measure(both, np.array([[1.0, 0, 1, 0]]), Predictions(["a"], decided=[["joy", "moved", "worry"]]))["groups"]
    assert upper["accuracy"] == 1.0


def test_log_loss_and_calibration_error_use_the_probabilities() -> None:
    gold, decided = single([(0, 0), (1, 1), (2, 1), (3, -1)])
    probabilities = np.array([[0.7, 0.1, 0.1, 0.1], [0.2, 0.8, 0.0, 0.0], [0.0, 0.6, 0.4, np.nan], [0.25] * 4])
    predictions = Predictions(decided.ids, probabilities, decided=decided.decided, valid=decided.valid)
    result = measure(SINGLE, gold, predictions)
    assert result["rows_with_probabilities"] == 3
    assert result["log_loss"] == pytest.approx(-np.log([0.7, 0.8, 0.4]).mean())
    assert result["expected_calibration_error"] == pytest.approx((0.3 + 0.2 + 0.6) / 3)
    gold, decided = multi([([True, False, False, False], [True, False, False, False])])
    predictions = Predictions(decided.ids, np.array([[0.9, 0.2, np.nan, np.nan]]), decided=decided.decided)
    assert measure(MULTI, gold, predictions)["log_loss"] == pytest.approx(-np.log([0.9, 0.8]).mean())


def test_calibration_error_is_zero_where_confidence_is_the_share_of_right_answers() -> None:
    gold = np.eye(4)[[0] * 7 + [1] * 3]
    probabilities = np.tile([0.7, 0.3, 0.0, 0.0], (10, 1))
    predictions = Predictions([str(i) for i in range(10)], probabilities, decided=[["joy"]] * 10)
    assert measure(SINGLE, gold, predictions)["expected_calibration_error"] == pytest.approx(0.0, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(indicators)
def test_metrics_are_json_without_nan(rows: list[tuple[list[bool], list[bool] | None]]) -> None:
    result = measure(MULTI, *multi(rows))
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_wrong_shapes_undecided_predictions_and_two_gold_labels_raise() -> None:
    gold, predictions = single([(0, 0), (1, 1)])
    with pytest.raises(ValueError, match="gold is"):
        measure(SINGLE, gold[:1], predictions)
    with pytest.raises(ValueError, match="DecisionRule"):
        measure(SINGLE, gold, Predictions(["a", "b"], np.full((2, 4), 0.25)))
    with pytest.raises(ValueError, match="1 rows have none or several"):
        measure(SINGLE, np.array([[1.0, 1, 0, 0], [0, 1, 0, 0]]), predictions)
    with pytest.raises(KeyError):
        measure(SINGLE, gold, Predictions(["a", "b"], decided=[["joy"], ["no such label"]]))


def test_a_trainer_finds_the_headline_measure_and_its_direction() -> None:
    assert headline(SINGLE) in flat(measure(SINGLE, *single([(0, 0), (1, 0)])))
    assert headline(REGRESSION) in flat(measure(REGRESSION, *scored([1.0, 2.0], [1.0, 1.0])))
    assert greater_is_better("eval_macro_f1") and greater_is_better("pearson")
    assert (
        not greater_is_better("eval_mae")
        and not greater_is_better("log_loss")
        and not greater_is_better("rmse_valid_only")
    )
    numbers = flat(measure(SINGLE, *single([(0, 0), (1, 0)])))
    assert "rows" not in numbers and all(isinstance(value, float) for value in numbers.values())
