"""Measures of an order in resamples: the exact ones are scikit-learn's, the linear ones are theirs at the whole sample
and move as they do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from categorize.labels import Label, LabelSet
from categorize.metrics import ranked
from categorize.metrics.decision import DecisionRule
from categorize.metrics.intervals import bootstrap_intervals, measure_with_intervals, paired_differences
from categorize.metrics.probabilistic import AREAS, scored_rows
from categorize.metrics.scores import concordance
from categorize.predictions import Predictions

TWO = LabelSet("single_label", (Label("a"), Label("b")))
SCORE = LabelSet("regression", (Label("score"),))
levels = st.sampled_from((2, 4, 1000))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(0, 10_000), levels)
def test_linear_areas_are_scikit_learns_and_their_moves_are_slopes(rows: int, seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    gold = (rng.random((rows, 3)) < 0.4).astype(int)
    gold[0] = [1, 0, 1]
    gold = np.vstack([gold, 1 - gold[:1]])  # each label has rows with and without it
    probabilities = rng.integers(0, steps + 1, size=gold.shape) / steps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranked, "AREA_CELLS", 0)
        linear = ranked.areas_of(scored_rows(gold, probabilities))
    exact = ranked.areas_of(scored_rows(gold, probabilities))
    whole = linear(np.ones((1, len(gold))))
    for kind, area in (("roc_auc", roc_auc_score), ("pr_auc", average_precision_score)):
        assert whole[f"macro_{kind}"][0] == pytest.approx(
            np.mean([area(*one) for one in zip(gold.T, probabilities.T, strict=True)])
        )
        assert whole[f"micro_{kind}"][0] == pytest.approx(area(gold.ravel(), probabilities.ravel()))
    step = 1e-6
    heavier = np.ones((len(gold), len(gold))) + step * np.eye(len(gold))  # a row each, by a millionth
    moved, slopes = linear(heavier), exact(heavier)
    for name in AREAS:
        inside = (moved[name] > 0) & (moved[name] < 1)  # what leaves 0 to 1 is cut off
        by_linear, by_exact = ((one[name] - whole[name][0])[inside] / step for one in (moved, slopes))
        assert by_linear == pytest.approx(by_exact, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 40), st.integers(0, 10_000), levels)
def test_concordance_of_resamples_is_that_of_the_repeated_rows(rows: int, seed: int, steps: int) -> None:
    rng = np.random.default_rng(seed)
    gold, predicted = rng.integers(0, 5, rows).astype(float), rng.integers(0, steps, rows).astype(float)
    drawn = rng.integers(0, rows, rows)
    weights = np.stack([np.bincount(drawn, minlength=rows), np.ones(rows)]).astype(float)
    found = ranked.concordance_of(gold, predicted)(weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranked, "PAIRED_ROWS", 0)
        linear = ranked.concordance_of(gold, predicted)(weights)
    if np.ptp(gold):
        assert found[1] == pytest.approx(concordance(gold, predicted)) == linear[1]
    else:
        assert np.isnan([found[1], *linear]).all()
    if np.ptp(gold[drawn]):
        assert found[0] == pytest.approx(concordance(gold[drawn], predicted[drawn]))
    else:
        assert np.isnan(found[0])


def test_linear_intervals_are_those_of_the_exact_bootstrap(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    ids, hits = [str(i) for i in range(600)], rng.random(600) < 0.2
    p = 1 / (1 + np.exp(-(2.0 * hits - 1 + rng.normal(size=600))))
    runs = {TWO: Predictions(ids, np.stack([p, 1 - p], axis=1)), SCORE: Predictions(ids, score=p.round(2))}
    groups = [f"video {i // 3}" for i in range(600)]
    for label_set, one in runs.items():
        gold = np.stack([hits, ~hits], axis=1).astype(float) if label_set is TWO else hits[:, None].astype(float)
        told: dict[str, Any] = {"gold": gold, "predictions": DecisionRule.default(label_set).apply(one)}
        exact, exact_of_groups = (bootstrap_intervals(label_set, **told, groups=of) for of in (None, groups))
        with monkeypatch.context() as patch:
            patch.setattr(ranked, "AREA_CELLS", 0)
            patch.setattr(ranked, "PAIRED_ROWS", 0)
            linear, of_groups = (bootstrap_intervals(label_set, **told, groups=of) for of in (None, groups))
        assert exact is not None and linear is not None and exact_of_groups is not None and of_groups is not None
        names = ["concordance"] if label_set is SCORE else list(AREAS)
        assert linear["linear"] == names and "linear" not in exact
        for name in names:
            width = np.ptp(exact["measures"][name])
            assert linear["measures"][name] == pytest.approx(exact["measures"][name], abs=0.1 * width)
            assert of_groups["measures"][name] == pytest.approx(exact_of_groups["measures"][name], abs=0.1 * width)


def test_one_label_alone_and_equal_probabilities_have_no_interval_or_that_of_chance() -> None:
    ids, gold = list("abcdef"), np.tile([1.0, 0.0], (6, 1))
    flat = DecisionRule.default(TWO).apply(Predictions(ids, np.full((6, 2), 0.5)))
    found = bootstrap_intervals(TWO, gold, flat, resamples=50)
    assert found is not None and not set(AREAS) & set(found["measures"])
    gold[:3] = [0.0, 1.0]
    found = bootstrap_intervals(TWO, gold, flat, resamples=50)
    assert found is not None and found["measures"]["macro_roc_auc"] == [0.5, 0.5]


def test_a_calibrated_model_may_have_no_calibration_error_at_all() -> None:
    """A plain percentile interval says it has some: chance makes the error of resamples larger still."""
    rng = np.random.default_rng(0)
    p = rng.random(500)
    first = rng.random(500) < p
    run = DecisionRule.default(TWO).apply(Predictions([str(i) for i in range(500)], np.stack([p, 1 - p], axis=1)))
    found = measure_with_intervals(TWO, np.stack([first, ~first], axis=1).astype(float), run, resamples=200)
    low, high = found["intervals"]["measures"]["expected_calibration_error"]
    assert low == 0.0 < found["expected_calibration_error"] <= high < 0.1


@pytest.mark.slow
@pytest.mark.parametrize(("overconfidence", "least"), [(1.0, 0.93), (1.6, 0.88)])
def test_the_interval_of_the_calibration_error_holds_the_truth(overconfidence: float, least: float) -> None:
    def drawn(rng: np.random.Generator, rows: int) -> tuple[np.ndarray, np.ndarray]:
        z = rng.normal(0.8, 1.5, size=rows)
        return 1 / (1 + np.exp(-z)), 1 / (1 + np.exp(-z / overconfidence))

    said, true = drawn(np.random.default_rng(0), 400_000)
    sure, right = np.maximum(said, 1 - said), np.where(said >= 0.5, true, 1 - true)
    bins = np.minimum((sure * 15).astype(int), 14)
    truth = np.abs(np.bincount(bins, right - sure)).sum() / len(sure)
    held, rule = 0, DecisionRule.default(TWO)
    ids = [str(i) for i in range(800)]
    for seed in range(100):
        rng = np.random.default_rng(1 + seed)
        said, true = drawn(rng, 800)
        first = rng.random(800) < true
        gold = np.stack([first, ~first], axis=1).astype(float)
        run = rule.apply(Predictions(ids, np.stack([said, 1 - said], axis=1)))
        found = bootstrap_intervals(TWO, gold, run, resamples=200, seed=seed)
        assert found is not None
        low, high = found["measures"]["expected_calibration_error"]
        held += low <= truth <= high
    assert held / 100 >= least


def test_differences_of_areas_are_paired() -> None:
    rng = np.random.default_rng(0)
    hits, ids = rng.random(600) < 0.3, [str(i) for i in range(600)]
    gold = np.stack([hits, ~hits], axis=1).astype(float)
    p = 1 / (1 + np.exp(-(hits + rng.normal(size=600))))
    rule = DecisionRule.default(TWO)
    near = np.clip(p + 0.01 * rng.normal(size=600), 0, 1)
    runs = {
        name: rule.apply(Predictions(ids, np.stack([one, 1 - one], axis=1))) for name, one in (("p", p), ("q", near))
    }
    (one,) = paired_differences(TWO, gold, runs, reference="p", measures=["micro_roc_auc"])
    alone = bootstrap_intervals(TWO, gold, runs["p"])
    assert alone is not None and one.low is not None and one.high is not None
    assert one.high - one.low < 0.3 * np.ptp(alone["measures"]["micro_roc_auc"])
