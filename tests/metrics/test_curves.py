"""Calibration by curves: scikit-learn's on the same input; of labels with few rows that of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.calibration import _SigmoidCalibration
from sklearn.isotonic import IsotonicRegression

from categorize.labels import Label, LabelSet
from categorize.metrics.curves import ENOUGH, Curves, Isotonic, Sigmoid, fit_isotonic, fit_sigmoid
from categorize.metrics.decision import DecisionRule
from categorize.metrics.measures import measure
from categorize.predictions import Predictions
from categorize.recipe.decision_sections import DecisionSection

NAMES = ("often", "also", "rare")


def cells(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are too sure, and gold that is drawn by their square roots."""
    rng = np.random.default_rng(seed)
    probabilities = rng.beta(0.5, 1.0, rows)
    return probabilities, (rng.random(rows) < np.sqrt(probabilities)).astype(float)


def test_an_isotonic_curve_is_scikit_learns() -> None:
    p, gold = cells(300)
    new = np.linspace(0, 1, 41)
    theirs = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, gold).predict(new)
    ours = fit_isotonic(p, gold)(new)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert (np.diff(ours) > 0).all(), "what was more probable stays so, on a step too"


def test_a_sigmoid_is_scikit_learns() -> None:
    p, gold = cells(300)
    new = np.linspace(0.01, 0.99, 41)
    theirs = _SigmoidCalibration().fit(np.log(p / (1 - p)), gold).predict(np.log(new / (1 - new)))
    np.testing.assert_allclose(fit_sigmoid(p, gold)(new), theirs, atol=1e-4)
    separable = fit_sigmoid(np.array([0.1] * 20 + [0.9] * 20), np.array([0.0] * 20 + [1.0] * 20))
    assert 0.9 < separable(np.array([0.9]))[0] < 1 - 1e-3


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
def test_a_label_with_too_few_rows_takes_the_curve_of_all(kind: str) -> None:
    p = np.stack([cells(200, seed)[0] for seed in range(3)], axis=1)
    gold = np.stack([cells(200, seed)[1] for seed in range(3)], axis=1)
    gold[:, 2] = 0.0
    gold[: ENOUGH - 1, 2] = 1.0
    p[0, 0] = np.nan
    curves = Curves.fit(kind, NAMES, p, gold)  # type: ignore[arg-type]
    assert curves is not None and set(curves.of_label) == {"often", "also"}
    draw = fit_isotonic if kind == "isotonic" else fit_sigmoid
    assert curves.of_label["often"] == draw(p[1:, 0], gold[1:, 0])
    assert curves.shared == draw(p[~np.isnan(p)], gold[~np.isnan(p)])
    found = curves.apply(NAMES, p, multi_label=True)
    np.testing.assert_array_equal(found[:, 2], curves.shared(p[:, 2]))
    assert np.isnan(found[0, 0]) and not np.isnan(found[1:]).any()


def test_calibrated_labels_of_a_row_sum_to_one_and_what_was_not_scored_stays_so() -> None:
    rising = Isotonic((0.0, 1.0), (0.0, 0.5))
    curves = Curves(Sigmoid(1.0, 0.0), {"often": rising})
    found = curves.apply(NAMES, np.array([[0.8, 0.1, 0.1], [0.5, np.nan, 0.5], [np.nan] * 3]), multi_label=False)
    np.testing.assert_allclose(found[0], np.array([0.4, 0.1, 0.1]) / 0.6, atol=1e-5)
    np.testing.assert_allclose(found[1], np.array([0.25, np.nan, 0.5]) / 0.75, atol=1e-5)
    assert np.isnan(found[2]).all()
    nothing = Curves.fit("isotonic", NAMES, np.full((5, 3), np.nan), np.eye(3)[[0, 1, 2, 0, 1]])
    assert nothing is None


@pytest.mark.parametrize("kind", ["isotonic", "platt"])
@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_a_rule_with_curves_is_surer_where_it_is_right_and_reloads_the_same(
    kind: str, task: str, tmp_path: Path
) -> None:
    label_set = LabelSet(task, tuple(Label(name) for name in NAMES))  # type: ignore[arg-type]
    rng = np.random.default_rng(1)
    right = rng.integers(0, 3, 900)
    logits = 8 * rng.normal(size=(900, 3)) + 10 * np.eye(3)[right]  # far too sure
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True) if task == "single_label" else 1 / (1 + np.exp(-logits))
    gold = np.eye(3)[right]
    fitted_on, other = slice(0, 600), slice(600, 900)
    section = DecisionSection(calibration=kind)  # type: ignore[arg-type]
    rule = DecisionRule.fit(section, label_set, Predictions([""] * 600, p[fitted_on]), gold[fitted_on])
    rule.save(tmp_path)
    again = DecisionRule.load(tmp_path)
    assert again == rule and rule.curves is not None
    new = Predictions([""] * 300, p[other])
    decided = again.apply(new)
    np.testing.assert_array_equal(decided.probabilities, rule.apply(new).probabilities)
    before = measure(label_set, gold[other], DecisionRule.default(label_set).apply(new))
    after = measure(label_set, gold[other], decided)
    assert after["log_loss"] < before["log_loss"] - 0.1 and after["accuracy"] > before["accuracy"] - 0.02
    if task == "single_label":
        assert decided.probabilities is not None
        np.testing.assert_allclose(decided.probabilities.sum(axis=1), 1.0)
