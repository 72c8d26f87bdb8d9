"""LabelSet: the four tasks, every spelling of a label, and arrays that come back as they went."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.errors import UserError
from categorize.labels import Group, Label, LabelRules, LabelSet, UnknownLabel, spell
from categorize.recipe.label_sections import LabelsSection

NAMES = ["Positive", "Mild", "Negative"]


def label_set(found: list[str] | None = None, **section: Any) -> LabelSet:
    return LabelSet.from_section(LabelsSection.model_validate(section), found or ())


TWO_LEVELS: dict[str, Any] = {
    "task": "multi_label",
    "names": [
        {"name": "情感", "description": "what is felt", "labels": [{"name": "joy", "aliases": ["happy"]}, "worry"]},
        {"name": "social", "labels": ["presence"]},
        "other",
    ],
    "codes": {"1": "joy", "2": "worry", "3": "joy"},
}


# ---------------------------------------------------------------- spellings
@given(st.text())
def test_spelling_twice_changes_nothing_for_words(value: str) -> None:
    assert spell(f"  {value}\n") == spell(value)
    assert spell(spell(value)) in (spell(value), spell(value).strip())


@given(st.integers())
def test_a_whole_float_is_the_code(code: int) -> None:
    assert spell(f"{code}.0") == spell(str(code)) == str(code)


@pytest.mark.parametrize("value", ["2.5", "v2.0", "1.", "a.0", "2.0.0"])
def test_other_dots_stay(value: str) -> None:
    assert spell(value) == value


def test_a_label_is_known_by_name_alias_and_code() -> None:
    labels = label_set(**TWO_LEVELS)
    assert [labels.resolve(word) for word in ("joy", " happy", "１", "1.0", "3", "worry")] == ["joy"] * 5 + ["worry"]
    assert labels.labels[0].code == "1"
    assert labels.labels[0].aliases == ("happy", "3")
    assert all(labels.knows(word) for word in ("joy", "happy", "2", "-1", ""))
    assert not labels.knows("sorrow")
    assert not labels.knows("情感")


def test_what_means_unlabelled_is_none_unless_it_is_a_code() -> None:
    assert label_set(names=NAMES).resolve("-1") is None
    coded = label_set(names=NAMES, codes={"-1": "Negative", "0": "Mild", "1": "Positive"})
    assert coded.resolve("-1.0") == "Negative"
    assert coded.resolve("") is None


def test_a_label_outside_the_set_is_an_error_or_other() -> None:
    for rule in ("error", "drop"):
        with pytest.raises(UnknownLabel) as caught:
            label_set(names=NAMES, unknown=rule).resolve("Furious")
        assert caught.value.value == "Furious"
    assert label_set(names=[*NAMES, "other"], unknown="other").resolve("Furious") == "other"


# ---------------------------------------------------------------- tasks and arrays
@given(st.lists(st.none() | st.lists(st.sampled_from(NAMES), unique=True), max_size=20))
def test_multi_label_gold_comes_back(gold: list[list[str] | None]) -> None:
    labels = label_set(task="multi_label", names=NAMES)
    array = labels.encode(gold)
    assert array.shape == (len(gold), 3)
    assert labels.decode(array) == [names if names is None else sorted(names, key=NAMES.index) for names in gold]


@pytest.mark.parametrize("task", ["single_label", "ordinal"])
@given(gold=st.lists(st.none() | st.sampled_from(NAMES).map(lambda name: [name]), max_size=20))
def test_single_and_ordinal_gold_comes_back(task: str, gold: list[list[str] | None]) -> None:
    labels = label_set(task=task, names=NAMES)
    assert labels.decode(labels.encode(gold)) == gold
    assert labels.names == NAMES


@given(st.lists(st.none() | st.floats(allow_nan=False, allow_infinity=False), max_size=20))
def test_scores_come_back(scores: list[float | None]) -> None:
    labels = label_set(task="regression", minimum=1.0, maximum=5.0)
    array = labels.encode([None] * len(scores), scores)
    assert array.shape == (len(scores), 1)
    assert [None if np.isnan(value) else value for value in array[:, 0]] == scores


def test_truly_no_label_and_unknown_differ() -> None:
    array = label_set(task="multi_label", names=NAMES).encode([[], None])
    assert array[0].tolist() == [0, 0, 0]
    assert np.isnan(array[1]).all()


def test_encoding_a_label_that_the_set_has_not_is_an_error() -> None:
    with pytest.raises(KeyError):
        label_set(names=NAMES).encode([["Furious"]])


# ---------------------------------------------------------------- groups
def test_groups_hold_their_labels() -> None:
    labels = label_set(**TWO_LEVELS)
    assert labels.names == ["joy", "worry", "presence", "other"]
    assert labels.groups == (Group("情感", "what is felt"), Group("social"))
    assert labels.group_members().tolist() == [[True, False], [True, False], [False, True], [False, False]]


def test_ancestors_are_parents_that_are_labels_themselves() -> None:
    both = LabelSet("multi_label", (Label("joy", parent="emotion"), Label("emotion"), Label("x")), (Group("emotion"),))
    assert both.ancestors().tolist() == [[False, True, False], [False] * 3, [False] * 3]
    assert not label_set(**TWO_LEVELS).ancestors().any()


def test_a_subset_keeps_order_groups_and_rules() -> None:
    part = label_set(**TWO_LEVELS).subset(["other", "joy"])
    assert part.names == ["joy", "other"]
    assert [group.name for group in part.groups] == ["情感"]
    with pytest.raises(KeyError, match="sorrow"):
        part.subset(["sorrow"])


# ---------------------------------------------------------------- saving and inferring
@pytest.mark.parametrize(
    "section",
    [TWO_LEVELS, {"names": NAMES}, {"task": "ordinal", "names": NAMES}, {"task": "regression", "minimum": 1.0}],
)
def test_a_saved_set_comes_back(tmp_path: Path, section: dict[str, Any]) -> None:
    labels = label_set(**section)
    labels.save(tmp_path / "label_set.json")
    loaded = LabelSet.load(tmp_path / "label_set.json")
    assert loaded == labels
    assert loaded.fingerprint == labels.fingerprint


def test_the_fingerprint_tells_sets_apart() -> None:
    sets = [
        label_set(names=NAMES),
        label_set(names=NAMES[::-1]),
        label_set(task="ordinal", names=NAMES),
        label_set(names=NAMES, codes={"0": "Mild"}),
        label_set(names=NAMES, missing=[""]),
        label_set(names=[{"name": "Positive", "description": "x"}, *NAMES[1:]]),
    ]
    assert len({labels.fingerprint for labels in sets}) == len(sets)


def test_without_names_the_set_is_what_the_training_rows_hold() -> None:
    assert label_set(["b", "a ", "-1", "", "a", "２"]).names == ["2", "a", "b"]
    coded = label_set(["0", "1.0", "-1"], codes={"0": "Mild", "1.0": "Positive", "-1": "Negative"})
    assert coded.names == ["Mild", "Negative", "Positive"]
    assert coded.resolve("1") == "Positive"


# ---------------------------------------------------------------- refused
@pytest.mark.parametrize(
    ("section", "hint"),
    [
        ({"names": ["a"]}, "at least two"),
        ({"names": ["a", "b", "a"], "codes": {"1": "a"}}, "labels.names: 'a' is named twice"),
        ({"names": [{"name": "g", "labels": ["a", "b"]}, {"name": "g", "labels": ["c"]}]}, "'g' is named twice"),
        ({"names": ["A", "Ａ"]}, "'A' stands for both"),
        ({"names": [{"name": "a", "aliases": ["b"]}, "b"]}, "'b' stands for both"),
        ({"names": NAMES, "codes": {"0": "Furious"}}, "labels.codes: '0'"),
        ({"names": NAMES, "unknown": "other"}, "labels.other"),
        ({"task": "regression", "names": ["a", "b"]}, "leave out labels.names"),
        ({"names": [{"name": "g", "labels": [{"name": "h", "labels": ["a"]}]}, "b"]}, "two levels"),
    ],
)
def test_an_unsound_set_is_refused(section: dict[str, Any], hint: str) -> None:
    with pytest.raises(UserError, match=hint) as caught:
        label_set(**section)
    assert "\n" not in str(caught.value)


def test_a_parent_must_be_a_group() -> None:
    with pytest.raises(UserError, match="not a group"):
        LabelSet("single_label", (Label("a", parent="g"), Label("b")), (), LabelRules())


def test_one_found_class_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="found 'a'"):
        label_set(["a", "a", "-1"])
