"""Two levels of labels: every way of deciding keeps to them, and the exact one finds the best of all sets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.label_rules import RowRules, RuleBroken
from categorize.labels import Label, LabelSet
from categorize.metrics.decision import DecisionRule
from categorize.metrics.hierarchy import Hierarchy, hierarchy_of, log_odds_above, pairs_of
from categorize.metrics.measures import measure
from categorize.predictions import Predictions
from categorize.recipe.decision_sections import DecisionSection
from categorize.recipe.label_sections import LabelsSection, RulesSection

WAYS = ("parents", "capped", "exact")
nan = float("nan")


def two_levels(rules: RulesSection | None = None) -> LabelSet:
    """Groups `happy`, a label too, and `social`, by rule, and a label outside of both."""
    names = [
        {"name": "happy", "labels": ["happy", "joy", "love"]},
        {"name": "social", "labels": ["hello", "ask"]},
        "other",
    ]
    return LabelSet.from_section(LabelsSection.model_validate({"task": "multi_label", "names": names, "rules": rules}))


groups = st.sampled_from([None, True, [], ["happy"], ["social"]])
rule_sections = st.builds(
    RulesSection, brings_parent=groups, parent_alone=groups, stands_alone=st.sampled_from([[], ["other"], ["ask"]])
)
cells = st.sampled_from([0.0, 0.03, 0.2, 0.45, 0.5, 0.55, 0.81, 0.97, 1.0, nan])


def kept(label_set: LabelSet, names: set[str], pairs: tuple[tuple[str, str], ...]) -> bool:
    """Whether the rules of rows, in their own words, leave a set as it is, and each pair is whole."""
    try:
        settled = set(label_set.settle(names)) == names
    except RuleBroken:
        return False
    return settled and all(parent in names for label, parent in pairs if label in names)


@settings(max_examples=150)
@given(rule_sections, st.booleans(), st.data())
def test_exact_decoding_finds_the_best_of_all_sets(rules: RulesSection, some: bool, data: st.DataObject) -> None:
    label_set = two_levels(rules)
    n = len(label_set)
    pairs = pairs_of(label_set)
    tree = Hierarchy(tuple(label_set.names), pairs, label_set.row_rules)
    p = np.array(data.draw(st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=4)))
    thresholds = np.array(data.draw(st.lists(st.sampled_from([0.1, 0.5, 0.7]), min_size=n, max_size=n)))
    sets = np.array(list(itertools.product([False, True], repeat=n)))
    allowed = np.array(
        [kept(label_set, {name for name, on in zip(label_set.names, row, strict=True) if on}, pairs) for row in sets]
    )
    assert tree.consistent(sets).tolist() == allowed.tolist()
    worth = log_odds_above(p, thresholds)
    found = tree.exact(p, thresholds, some=some)
    assert tree.consistent(found).all()
    for row, scores in zip(found, worth, strict=True):
        scored = allowed & ~(sets & (scores < -1e6)).any(axis=1)
        candidates = scored & sets.any(axis=1) if some and (scored & sets.any(axis=1)).any() else scored
        best = (sets[candidates] @ scores).max()
        assert row @ scores == pytest.approx(best, abs=1e-6)
        assert row.any() or not some or not (scored & sets.any(axis=1)).any()


def test_a_label_that_stands_alone_brings_the_parent_that_it_implies() -> None:
    label_set = two_levels(RulesSection(parent_alone=True, stands_alone=["ask"]))
    tree = Hierarchy(tuple(label_set.names), pairs_of(label_set), label_set.row_rules)
    assert ("ask", "social") in tree.pairs
    (row,) = tree.exact(
        np.where([name == "ask" for name in label_set.names], 0.4, 0.01)[None], np.full(7, 0.5), some=True
    )
    assert tree.consistent(row[None]).all()


@settings(max_examples=60)
@given(rule_sections, st.sampled_from(WAYS), st.sampled_from(["none", "top"]), st.data())
def test_what_is_decided_keeps_to_the_levels(rules: RulesSection, way: str, fallback: str, data: st.DataObject) -> None:
    if rules.brings_parent == [] and isinstance(rules.parent_alone, list):
        rules = rules.model_copy(update={"parent_alone": True})  # a parent that stands neither alone nor beside others
    label_set = two_levels(rules)
    n = len(label_set)
    p = np.array(data.draw(st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=6)))
    p = np.nan_to_num(p, nan=0.01)
    section = DecisionSection(hierarchy=way, fallback=fallback)
    predictions = Predictions([str(i) for i in range(len(p))], p)
    rule = DecisionRule.fit(section, label_set, predictions, np.full(p.shape, nan))
    decided = rule.apply(predictions).decided
    assert decided is not None
    assert [kept(label_set, set(names), pairs_of(label_set)) for names in decided] == [True] * len(p)


def test_a_parent_gets_no_label_that_stands_alone_where_others_were_chosen() -> None:
    label_set = two_levels(RulesSection(brings_parent=True, stands_alone=["ask"]))
    tree = Hierarchy(tuple(label_set.names), pairs_of(label_set), label_set.row_rules)
    p = np.array(
        [
            [{"social": 0.5, "ask": 0.03, "other": beside}.get(name, 0) for name in label_set.names]
            for beside in (0.5, 0)
        ]
    )
    decided = tree.settled(p >= 0.5, p)
    assert tree.consistent(decided).all()
    assert [[n for n, one in zip(label_set.names, row, strict=True) if one] for row in decided][1] == ["social", "ask"]


def test_ways_differ_in_what_an_improbable_parent_does() -> None:
    """A sure label of an improbable group: it brings the group, falls with it, or is weighed against it."""
    label_set = two_levels()
    assert label_set.names == ["happy", "joy", "love", "hello", "ask", "other"]
    p = np.array([[0.3, 0.6, 0.1, 0, 0, 0], [0.3, 0.9, 0.1, 0, 0, 0]])
    said = {}
    for way in WAYS:
        section = DecisionSection(hierarchy=way)
        rule = DecisionRule.fit(section, label_set, Predictions(["a", "b"], p), np.full(p.shape, nan))
        given_back = rule.apply(Predictions(["a", "b"], p))
        said[way] = given_back.decided
        assert given_back.probabilities is not None
        assert given_back.probabilities[0, 1] == (0.3 if way == "capped" else 0.6)
    both = ["happy", "joy"]
    assert said == {"parents": [both, both], "capped": [[], []], "exact": [[], both]}


def test_consistency_is_measured() -> None:
    label_set = two_levels(RulesSection(brings_parent=["happy"], stands_alone=["other"]))
    gold = label_set.encode([["happy", "joy"], ["other"], ["hello"], ["happy"]])
    decided = [["joy"], ["other"], ["hello", "other"], ["happy", "love"]]
    measured = measure(label_set, gold, Predictions(list("abcd"), decided=decided))
    assert measured["consistency"] == 0.5
    flat = LabelSet("multi_label", tuple(map(Label, label_set.names)))
    assert "consistency" not in measure(flat, gold, Predictions(list("abcd"), decided=decided))


def test_parents_count_where_the_gold_has_them() -> None:
    label_set = two_levels()
    follows = label_set.encode([["happy", "joy"], ["hello"]])
    tree = hierarchy_of(label_set, follows)
    assert tree is not None and tree.pairs == (("joy", "happy"), ("love", "happy"))
    assert hierarchy_of(label_set, label_set.encode([["joy"], ["happy", "love"]])) is None
    assert tree.rules == RowRules()
