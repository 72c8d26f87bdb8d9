"""Decision rules: thresholds are the best there are, a known temperature is found, no label comes by accident."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.errors import UserError
from categorize.labels import Group, Label, LabelSet
from categorize.metrics.calibration import apply_temperature, fit_temperature
from categorize.metrics.decision import DecisionRule
from categorize.metrics.measures import measure
from categorize.metrics.thresholds import best_global, best_per_label, exact
from categorize.predictions import Predictions
from categorize.recipe.decision_sections import DecisionSection

NAMES = ["joy", "worry", "other"]
SINGLE = LabelSet("single_label", tuple(Label(name) for name in NAMES))
MULTI = LabelSet("multi_label", tuple(Label(name) for name in NAMES))
REGRESSION = LabelSet("regression", (Label("score"),))
nan = float("nan")


def predictions(probabilities: Any, **columns: Any) -> Predictions:
    array = np.array(probabilities, dtype=float)
    return Predictions([str(i) for i in range(len(array))], array, **columns)


def softmax(logits: np.ndarray) -> np.ndarray:
    powered = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powered / powered.sum(axis=1, keepdims=True))


# Few distinct values, so that ties, equal columns and empty ones come up; the gaps between them are wide.
cells = st.sampled_from([0.0, 0.1, 0.25, 0.4, 0.5, 0.6, 0.9, 1.0, nan])
multi_label_rows = st.lists(
    st.tuples(st.lists(cells, min_size=3, max_size=3), st.lists(st.booleans(), min_size=3, max_size=3)),
    min_size=1,
    max_size=12,
)
TRIED = [0.0, 0.05, 0.2, 0.3, 0.45, 0.5, 0.55, 0.7, 0.95, 1.5]  # one in every gap between the values above


@settings(max_examples=150, deadline=None)
@given(multi_label_rows)
def test_tuned_thresholds_reach_the_best_f1_of_brute_force(rows: list[tuple[list[float], list[bool]]]) -> None:
    p, gold = np.array([p for p, _ in rows]), np.array([y for _, y in rows], dtype=float)

    def f1(j: int, threshold: float) -> float:
        on = np.nan_to_num(p[:, j], nan=-1) >= threshold
        return float(2 * (on & (gold[:, j] > 0)).sum() / max(1, on.sum() + gold[:, j].sum()))

    for j in range(3):
        if gold[:, j].any():
            assert f1(j, exact(p[:, [j]], gold[:, [j]])) == pytest.approx(max(f1(j, tried) for tried in TRIED))

    def macro(threshold: float) -> float:
        return float(np.mean([f1(j, threshold) for j in range(3) if gold[:, j].any()]))

    if gold.any():
        assert macro(exact(p, gold)) == pytest.approx(max(macro(tried) for tried in TRIED))


def test_a_label_without_positives_or_scores_keeps_one_half() -> None:
    p = np.array([[0.9, nan, 0.2], [0.1, nan, 0.1]] * 5)
    gold = np.array([[0.0, 1, 1], [0, 0, 0]] * 5)
    assert best_per_label(p, gold)[:2] == [0.5, 0.5]
    assert best_per_label(p, gold)[2] == pytest.approx(0.15)  # the middle of the gap
    assert best_global(np.full((2, 3), nan), gold[:2]) == 0.5 and best_global(p, np.zeros((10, 3))) == 0.5


def test_one_half_is_kept_where_it_is_as_good_as_any() -> None:
    p, gold = np.array([[0.8], [0.3], [0.1]]), np.array([[1.0], [0.0], [0.0]])
    assert best_per_label(p, gold) == [0.5] and best_global(p, gold) == 0.5


def test_probabilities_that_differ_by_rounding_alone_are_not_parted() -> None:
    p, gold = np.array([[0.3 * (1 + 1e-9)], [0.3], [0.1]]), np.array([[1.0], [0.0], [0.0]])
    assert 0.1 < exact(p, gold) < 0.3 - 1e-6


@pytest.mark.parametrize("held", [1, 6, 30])
@pytest.mark.parametrize("spread", [0.0, 1e-12, 0.3], ids=["constant", "nearly constant", "noise"])
def test_a_label_that_was_not_learned_keeps_one_half(held: int, spread: float) -> None:
    """Its best F1 is that of giving it to every row, or that of a chance."""
    rng = np.random.default_rng(held)
    gold = np.zeros((100, 1))
    gold[rng.permutation(100)[:held]] = 1
    kept = [best_per_label(9e-14 * (1 + spread * rng.random((100, 1))), gold) == [0.5] for _ in range(40)]
    assert np.mean(kept) > 0.9  # noise passes a test of 5% now and then
    assert all(kept) or spread == 0.3


def test_a_label_with_too_few_rows_takes_the_threshold_of_all() -> None:
    rng = np.random.default_rng(0)
    gold = (rng.random((200, 3)) < [0.3, 0.3, 0.0]).astype(float)
    gold[7, 2] = 1
    p = gold * 0.2 + rng.random((200, 3)) * 0.2
    first, second, rare = best_per_label(p, gold)
    assert rare == best_global(p, gold) == pytest.approx(0.2, abs=0.02) and {first, second} != {rare}
    p[:, 2] = 9e-14  # not learned
    assert not (p[:, 2] >= best_per_label(p, gold)[2]).any()
    p[:, 2] = 0.3  # the same everywhere, and over the threshold of all
    assert best_per_label(p, gold)[2] == 0.5


def test_a_label_that_most_rows_have_may_be_given_to_all_that_are_like_those_seen() -> None:
    p = np.linspace(0.2, 0.45, 50)[:, None]
    gold = np.ones((50, 1))
    gold[5::10] = 0
    assert best_per_label(p, gold) == [best_global(p, gold)] == [0.2], "nothing is known below 0.2"


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_temperature_scaling_finds_a_known_temperature(temperature: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 4)) * 2
    honest = softmax(logits)
    gold = np.eye(4)[(honest.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)]
    said = softmax(logits * temperature)  # too sure where above 1
    assert fit_temperature(said, gold, multi_label=False) == pytest.approx(temperature, rel=0.03)
    assert apply_temperature(said, temperature, multi_label=False) == pytest.approx(honest, abs=1e-4)
    honest = 1 / (1 + np.exp(-logits))
    gold = (rng.random((20_000, 4)) < honest).astype(float)
    said = 1 / (1 + np.exp(-logits * temperature))
    assert fit_temperature(said, gold, multi_label=True) == pytest.approx(temperature, rel=0.03)
    assert apply_temperature(said, temperature, multi_label=True) == pytest.approx(honest, abs=2e-3)


def test_temperature_leaves_out_what_was_not_scored_and_never_runs_away() -> None:
    perfect = np.array([[1.0, 0.0], [0.0, 1.0], [nan, nan], [0.5, nan]])
    gold = np.array([[1.0, 0], [0, 1], [1, 0], [0, 1]])
    assert 0.05 <= fit_temperature(perfect, gold, multi_label=False) <= 20
    assert fit_temperature(np.full((2, 2), nan), gold[:2], multi_label=False) == 1.0
    assert fit_temperature(perfect, np.full((4, 2), nan), multi_label=True) == 1.0
    scaled = apply_temperature(perfect, 2.0, multi_label=False)
    assert np.isnan(scaled[2]).all() and scaled[3, 0] == 1.0 and np.isnan(scaled[3, 1])


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_label_that_was_not_learned_does_not_move_the_temperature_of_the_others(multi_label: bool) -> None:
    rng = np.random.default_rng(2)
    p = np.hstack([softmax(rng.normal(size=(500, 3)) * 2), np.full((500, 1), 1e-13)])
    gold = np.eye(4)[(p.cumsum(axis=1) > rng.random((500, 1))).argmax(axis=1)]
    expected = fit_temperature(p[10:, :3], gold[10:, :3], multi_label=multi_label)
    if not multi_label:
        gold[:10] = np.eye(4)[3]  # rows of the label that training never saw
        assert fit_temperature(p, gold, multi_label=False) == pytest.approx(expected)
        return
    gold[:10, 3] = 1
    assert fit_temperature(p, gold, multi_label=True) == fit_temperature(p[:, :3], gold[:, :3], multi_label=True)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.floats(0.01, 1), min_size=3, max_size=3), min_size=1, max_size=5), st.floats(0.1, 10))
def test_temperature_keeps_the_order_of_the_labels(rows: list[list[float]], temperature: float) -> None:
    p = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    for multi_label in (False, True):
        scaled = apply_temperature(p, temperature, multi_label=multi_label)
        for before, after in zip(p, scaled, strict=True):
            for i, j in itertools.permutations(range(3), 2):
                if before[i] > before[j]:
                    assert after[i] >= after[j]


def test_calibration_makes_log_loss_smaller_and_leaves_decisions_alone() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(2000, 3))
    gold = np.eye(3)[(softmax(logits).cumsum(axis=1) > rng.random((2000, 1))).argmax(axis=1)]
    raw = predictions(softmax(logits * 4))
    rule = DecisionRule.fit(DecisionSection(calibration="temperature"), SINGLE, raw, gold)
    plain, calibrated = DecisionRule.default(SINGLE).apply(raw), rule.apply(raw)
    assert calibrated.decided == plain.decided
    assert measure(SINGLE, gold, calibrated)["log_loss"] < measure(SINGLE, gold, plain)["log_loss"] - 0.1


def test_a_single_label_goes_to_the_highest_scored_label_and_a_tie_to_the_first() -> None:
    rule = DecisionRule.default(SINGLE)
    decided = rule.apply(predictions([[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [nan, 0.1, nan], [nan, nan, nan]]))
    assert decided.decided == [["worry"], ["joy"], ["worry"], []]
    assert decided.is_valid.tolist() == [True, True, True, False]


def test_a_row_that_is_not_valid_decides_nothing() -> None:
    invalid = predictions([[0.9, 0.9, 0.9]], valid=np.array([False]))
    assert DecisionRule.default(SINGLE).apply(invalid).decided == [[]]
    section = DecisionSection(fallback="top")
    assert DecisionRule.fit(section, MULTI, invalid, np.ones((1, 3))).apply(invalid).decided == [[]]


def test_a_label_holds_from_its_threshold_on() -> None:
    rule = DecisionRule.fit(DecisionSection(thresholds=0.3), MULTI, predictions([[0.0] * 3]), np.zeros((1, 3)))
    assert rule.thresholds == (0.3, 0.3, 0.3)
    assert rule.apply(predictions([[0.3, 0.29, 0.9], [nan, 0.1, 0.2]])).decided == [["joy", "other"], []]


def test_the_fallback_gives_the_top_label_only_where_nothing_else_holds() -> None:
    section = DecisionSection(fallback="top")
    rule = DecisionRule.fit(section, MULTI, predictions([[0.0] * 3]), np.zeros((1, 3)))
    assert rule.apply(predictions([[0.1, 0.4, nan], [0.6, 0.7, 0.1], [nan] * 3])).decided == [
        ["worry"],
        ["joy", "worry"],
        [],
    ]


def test_thresholds_are_fitted_on_rows_with_gold_that_are_valid() -> None:
    p = [[0.30, 0.5, 0.5], [0.10, 0.5, 0.5]] * 5 + [[0.99, 0.5, 0.5], [0.98, 0.5, 0.5]]
    gold = np.array([[1.0, 0, 0], [0, 0, 0]] * 5 + [[nan] * 3, [0, 0, 0]])
    found = predictions(p, valid=np.array([True] * 11 + [False]))
    rule = DecisionRule.fit(DecisionSection(thresholds="per_label"), MULTI, found, gold)
    assert rule.thresholds == pytest.approx((0.2, 0.5, 0.5))
    shared = DecisionRule.fit(DecisionSection(thresholds="global"), MULTI, found, gold)
    assert len(set(shared.thresholds)) == 1


def test_tuned_thresholds_raise_macro_f1_on_the_rows_they_were_tuned_on() -> None:
    rng = np.random.default_rng(0)
    gold = (rng.random((500, 3)) < [0.5, 0.1, 0.03]).astype(float)
    raw = predictions(np.clip(gold * 0.2 + rng.random((500, 3)) * [0.8, 0.4, 0.3], 0, 1))
    rules = [DecisionRule.fit(DecisionSection(thresholds=t), MULTI, raw, gold) for t in (0.5, "global", "per_label")]
    plain, shared, own = (measure(MULTI, gold, rule.apply(raw))["macro"]["f1"] for rule in rules)
    assert plain < shared < own


def test_ancestors_follow_their_label_where_the_gold_does_so() -> None:
    label_set = LabelSet(
        "multi_label", (Label("emotion"), Label("joy", parent="emotion"), Label("other")), (Group("emotion"),)
    )
    raw = predictions([[0.1, 0.9, 0.1], [0.1, 0.1, 0.9]])
    closed = np.array([[1.0, 1, 0], [0, 0, 1]])
    rule = DecisionRule.fit(DecisionSection(), label_set, raw, closed)
    assert rule.hierarchy == "parents" and rule.apply(raw).decided == [["emotion", "joy"], ["other"]]
    open_gold = np.array([[0.0, 1, 0], [0, 0, 1]])
    rule = DecisionRule.fit(DecisionSection(), label_set, raw, open_gold)
    assert rule.hierarchy == "none" and rule.apply(raw).decided == [["joy"], ["other"]]
    assert DecisionRule.fit(DecisionSection(), MULTI, raw, closed).hierarchy == "none"


def test_generated_answers_pass_through_and_a_regression_keeps_its_score() -> None:
    answered = Predictions(["a", "b"], decided=[["joy"], []], valid=np.array([True, False]))
    assert DecisionRule.default(SINGLE).apply(answered) is answered
    assert (
        DecisionRule.fit(DecisionSection(thresholds="per_label"), MULTI, answered, np.ones((2, 3))).thresholds
        == (0.5,) * 3
    )
    scored = Predictions(["a", "b"], score=np.array([7.5, nan]))
    decided = DecisionRule.fit(DecisionSection(), REGRESSION, scored, np.array([[1.0], [2.0]])).apply(scored)
    assert decided.decided == [[], []] and decided.is_valid.tolist() == [True, False]
    assert decided.score is not None and decided.score[0] == 7.5


def test_what_cannot_be_decided_raises() -> None:
    with pytest.raises(ValueError, match="neither"):
        DecisionRule.default(SINGLE).apply(Predictions(["a"]))
    with pytest.raises(ValueError, match="3 labels"):
        DecisionRule.default(SINGLE).apply(predictions([[0.5, 0.5]]))
    with pytest.raises(ValueError, match="no score"):
        DecisionRule.default(REGRESSION).apply(Predictions(["a"]))


def test_a_saved_rule_decides_as_before(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = predictions(rng.random((50, 3)))
    gold = (rng.random((50, 3)) < 0.4).astype(float)
    section = DecisionSection(calibration="temperature", thresholds="per_label", fallback="top")
    rule = DecisionRule.fit(section, MULTI, raw, gold)
    rule.save(tmp_path / "decision_rule.json")
    loaded = DecisionRule.load(tmp_path / "decision_rule.json")
    assert loaded == rule and loaded.apply(raw).decided == rule.apply(raw).decided


def test_a_broken_or_missing_rule_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"decision_rule\.json: cannot read"):
        DecisionRule.load(tmp_path / "decision_rule.json")
    (tmp_path / "decision_rule.json").write_text('{"task": "single_label"}')
    with pytest.raises(UserError, match="not a decision rule"):
        DecisionRule.load(tmp_path / "decision_rule.json")


# ---------------------------------------------------------------- ordered labels
RANKS = LabelSet("ordinal", tuple(Label(name) for name in ("1", "2", "3", "4", "5")))
MEDIAN = DecisionSection(ordinal="median")


@settings(max_examples=200, deadline=None)
@given(st.lists(st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=5, max_size=5), min_size=1, max_size=8))
def test_the_median_has_the_least_expected_distance_of_brute_force(rows: list[list[int | None]]) -> None:
    """Weights are whole numbers, so that ties are ties; the lowest of equally good ranks is taken."""
    expected: list[list[str]] = []
    for row in rows:
        scored = [rank for rank, weight in enumerate(row) if weight is not None]
        distances = {rank: sum((row[other] or 0) * abs(rank - other) for other in scored) for rank in scored}
        expected.append([RANKS.names[min(scored, key=distances.__getitem__)]] if scored else [])
    weights = np.array([[nan if one is None else float(one) for one in row] for row in rows])
    with np.errstate(invalid="ignore"):
        p = np.where(
            np.nansum(weights, axis=1, keepdims=True) > 0, weights / np.nansum(weights, 1, keepdims=True), weights
        )
    rule = DecisionRule.fit(MEDIAN, RANKS, predictions(p), np.full((len(rows), 5), nan))
    decided = rule.apply(predictions(p))
    assert decided.decided == expected
    assert decided.is_valid.tolist() == [bool(names) for names in expected]


def test_mode_and_median_differ_where_the_mass_lies_aside_and_the_rule_is_saved(tmp_path: Path) -> None:
    p = [[0.4, 0.0, 0.1, 0.25, 0.25], [0.1, 0.2, 0.4, 0.2, 0.1]]
    gold = RANKS.encode([["4"], ["3"]])
    median = DecisionRule.fit(MEDIAN, RANKS, predictions(p), gold)
    mode = DecisionRule.fit(DecisionSection(), RANKS, predictions(p), gold)
    assert mode.apply(predictions(p)).decided == [["1"], ["3"]]
    assert median.apply(predictions(p)).decided == [["3"], ["3"]]
    for rule in (mode, median):
        rule.save(tmp_path)
        assert DecisionRule.load(tmp_path) == rule
    assert "ordinal" not in mode.to_dict()
    errors = [measure(RANKS, gold, one.apply(predictions(p)))["mae"] for one in (mode, median)]
    assert errors == [1.5, 0.5]
    assert DecisionRule.fit(MEDIAN, SINGLE, predictions([[0.5, 0.3, 0.2]]), SINGLE.encode([["joy"]])).ordinal == "mode"
