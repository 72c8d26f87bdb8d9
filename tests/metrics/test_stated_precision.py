"""Thresholds for a stated precision: the lowest that reach it on validation, and as precise on new rows on average."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.labels import Label, LabelSet
from categorize.metrics.decision import DecisionRule
from categorize.metrics.stated_precision import NEVER, lowest_threshold, lowest_thresholds
from categorize.predictions import Predictions
from categorize.recipe.decision_sections import DecisionSection, RejectSection
from tests.session.collections import write_collection, write_recipe
from tests.session.test_training_run import run

MULTI = LabelSet("multi_label", (Label("a"), Label("b")))
SINGLE = LabelSet("single_label", (Label("a"), Label("b"), Label("c")))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from((0.1, 0.2, 0.5, 0.7, 0.9, np.nan)), st.booleans()), min_size=1, max_size=25),
    st.sampled_from((0.3, 0.5, 0.75, 0.9)),
)
def test_the_threshold_is_the_lowest_that_reaches_the_precision(
    rows: list[tuple[float, bool]], precision: float
) -> None:
    scores, right = (np.array(column) for column in zip(*rows, strict=True))

    def reached(threshold: float) -> bool:
        given = np.nan_to_num(scores, nan=-1) >= threshold
        return bool(given.any() and right[given].sum() / (given.sum() + 1) >= precision)

    found = lowest_threshold(scores, right, precision)
    reaching = [one for one in (0.1, 0.2, 0.5, 0.7, 0.9) if (scores == one).any() and reached(one)]
    if found is None:
        assert not reaching
    else:
        given = set(scores[np.nan_to_num(scores, nan=-1) >= found])
        assert reached(found) and min(given) == min(reaching)


def noisy(rows: int, seed: int) -> tuple[np.ndarray, Predictions]:
    """Two labels; the probability of each is what it says."""
    rng = np.random.default_rng(seed)
    p = rng.random((rows, 2))
    gold = (rng.random((rows, 2)) < p).astype(float)
    return gold, Predictions([str(i) for i in range(rows)], p)


@pytest.mark.parametrize("thresholds", ["per_label", "global"])
def test_new_rows_are_as_precise_as_was_stated(thresholds: Any) -> None:
    section = DecisionSection(thresholds=thresholds, precision=0.9)
    reached = []
    for seed in range(60):
        gold, predictions = noisy(300, seed)
        rule = DecisionRule.fit(section, MULTI, predictions, gold)
        new_gold, new = noisy(3000, 1000 + seed)
        given = MULTI.encode(rule.apply(new).decided or []) > 0
        reached.append(new_gold[given].mean())
    assert np.mean(reached) > 0.89 and np.mean(reached) < 0.96  # above 0.8 a share of 0.9 is right


def test_a_label_that_cannot_reach_it_is_never_given_and_named() -> None:
    gold = np.array([[1.0, 0.0]] * 12 + [[0.0, 1.0]] * 3 + [[0.0, 0.0]] * 5)
    p = np.where(gold > 0, 0.8, 0.1)
    rule = DecisionRule.fit(
        DecisionSection(thresholds="per_label", precision=0.9), MULTI, Predictions(list(map(str, range(20))), p), gold
    )
    assert rule.thresholds[1] == NEVER and 0.1 < rule.thresholds[0] < 0.8
    assert rule.apply(Predictions(["x"], np.array([[1.0, 1.0]]))).decided == [["a"]]
    assert rule.notes == ["decision.precision is not reached on validation by 1 of 2 labels, which are never given: b"]
    assert DecisionRule.from_dict(json.loads(json.dumps(rule.to_dict()))) == rule
    assert lowest_thresholds(p, gold, 0.9, together=True) == [pytest.approx(0.45)] * 2


def test_rows_are_kept_as_long_as_enough_of_them_are_right() -> None:
    rng = np.random.default_rng(0)

    def rows(count: int) -> tuple[np.ndarray, Predictions]:
        top = rng.uniform(1 / 3, 1, size=count)
        guess = rng.integers(0, 3, size=count)
        other = (guess + rng.integers(1, 3, size=count)) % 3
        gold = np.eye(3)[np.where(rng.random(count) < top, guess, other)]
        p = np.where(np.eye(3)[guess] > 0, top[:, None], (1 - top[:, None]) / 2)
        return gold, Predictions([str(i) for i in range(count)], p)

    section = DecisionSection(reject=RejectSection(accuracy=0.9))
    gold, predictions = rows(2000)
    rule = DecisionRule.fit(section, SINGLE, predictions, gold)
    new_gold, new = rows(5000)
    decided = rule.apply(new)
    kept = decided.is_valid
    given = SINGLE.encode([names or None for names in decided.decided or []])
    right = given[kept].argmax(axis=1) == new_gold[kept].argmax(axis=1)
    assert 0.88 < right.mean() < 0.92 and 0.2 < kept.mean() < 0.45
    none = DecisionRule.fit(DecisionSection(reject=RejectSection(accuracy=0.999)), SINGLE, predictions, gold)
    assert none.notes == ["decision.reject.accuracy is not reached on validation: every row is rejected"]
    assert not none.apply(new).is_valid.any()


def test_a_recipe_states_a_precision_and_the_run_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_collection(tmp_path / "rows.csv", 400)
    sections: dict[str, Any] = {
        "data": {"columns": {"id": "id", "text": "text", "label": "moods"}, "splits": {"validation": 0.3}},
        "labels": {"task": "multi_label", "names": ["good", "bad", "late"]},
        "model": {"method": "tfidf"},
        "training": None,
    }
    decision = {"thresholds": "per_label", "precision": 0.9}
    recipe = str(write_recipe(tmp_path / "sure.yaml", **sections, decision=decision))
    assert run(recipe) == 0
    capsys.readouterr()
    rule = json.loads(Path("outputs/sure/decision_rule.json").read_text())
    measured = json.loads(Path("outputs/sure/metrics.json").read_text())["validation"]["per_class"]
    for threshold, label in zip(rule["thresholds"], measured, strict=True):
        assert label["precision"] >= 0.9 if threshold < 1 else label["predicted"] == 0
    assert any(threshold < 1 for threshold in rule["thresholds"])
    for change, told in (
        (
            "decision.thresholds=0.5",
            "decision.precision: is for tuned thresholds; write thresholds: per_label",
        ),
        ("decision.fallback=top", "decision.fallback: top gives labels below their thresholds"),
        ("labels.task=single_label", "decision.precision: decides among several labels a row"),
    ):
        assert run(recipe, change) == 2
        assert told in capsys.readouterr().err
    single = {**sections, "data": None, "labels": None}
    one = str(write_recipe(tmp_path / "one.yaml", **{k: v for k, v in single.items() if k in ("model", "training")}))
    assert run(one, "decision.reject={accuracy: 0.9, keep: 0.8}") == 2
    assert "says what is kept, and so does decision.reject.keep" in capsys.readouterr().err
