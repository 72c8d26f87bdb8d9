"""Rules of what may stand together in a row: read from a recipe, kept by gold, answers and decisions alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from categorize.data.splits import load_data
from categorize.errors import UserError
from categorize.label_rules import RuleBroken
from categorize.labels import LabelSet
from categorize.methods.registry import METHODS
from categorize.metrics.arrays import group_names
from categorize.metrics.decision import DecisionRule
from categorize.predictions import Predictions
from categorize.prompts.messages import Prompt, PromptSettings
from categorize.recipe.data_sections import DataSection, SplitSettings
from categorize.recipe.decision_sections import DecisionSection
from categorize.recipe.label_sections import LabelDefinition, LabelsSection, RulesSection
from categorize.recipe.load import load_fragment

from .recipes import load_recipe

FEELINGS = LabelDefinition(name="feelings", aliases=["情绪"], description="Feels.", labels=["joy", "fear"])
SOCIAL = LabelDefinition(name="social", labels=["greeting", "question"])


def section(**rules: object) -> LabelsSection:
    return LabelsSection(
        task="multi_label", names=[FEELINGS, SOCIAL, "other"], rules=RulesSection.model_validate(rules)
    )


MIXED = LabelSet.from_section(section(brings_parent=["feelings"], parent_alone=["social"], stands_alone=["other"]))


def danmu() -> LabelSet:
    labels = load_fragment("recipes/tasks/danmu_multi_label.yaml", METHODS)["labels"]
    return LabelSet.from_section(LabelsSection.model_validate(labels))


def test_a_group_that_a_rule_makes_a_label_stands_before_its_own_labels() -> None:
    assert MIXED.names == ["feelings", "joy", "fear", "social", "greeting", "question", "other"]
    assert MIXED.labels[0].description == "Feels." and MIXED.resolve("情绪") == "feelings"
    assert group_names(MIXED) == ["feelings", "social", "other"]


def test_the_danmu_task_has_21_subcategories_four_main_ones_and_other_once() -> None:
    label_set = danmu()
    mains = [name for name in label_set.names if name in {group.name for group in label_set.groups}]
    assert mains == ["information", "emotions_positive", "emotions_negative", "social", "other"]
    assert len(label_set) == 21 + 4 + 1
    assert label_set.settle(["joy"]) == ["emotions_positive", "joy"]
    assert label_set.settle(["curiosity", "social"]) == ["curiosity"]
    assert label_set.settle(["information"]) == ["information"]
    for names in (["emotions_negative"], ["other", "joy"]):
        with pytest.raises(RuleBroken):
            label_set.settle(names)


@pytest.mark.parametrize(
    ("names", "settled"),
    [
        (["joy"], ["feelings", "joy"]),
        (["joy", "feelings", "fear"], ["feelings", "joy", "fear"]),
        (["social"], ["social"]),
        (["social", "question"], ["question"]),
        (["social", "joy"], ["feelings", "joy", "social"]),
        (["other"], ["other"]),
        ([], []),
        (["feelings"], "rule: 'feelings' needs one of its labels"),
        (["other", "social"], "rule: 'other' stands alone"),
    ],
)
def test_rows_are_settled_or_refused(names: list[str], settled: list[str] | str) -> None:
    if isinstance(settled, str):
        with pytest.raises(RuleBroken, match=settled):
            MIXED.settle(names)
    else:
        assert MIXED.settle(names) == settled and MIXED.settle(settled) == settled


def test_a_rule_for_all_groups_is_written_true() -> None:
    every = LabelSet.from_section(section(brings_parent=True))
    assert every.settle(["joy", "question"]) == ["feelings", "joy", "social", "question"]
    with pytest.raises(RuleBroken):
        every.settle(["social"])
    alone = LabelSet.from_section(section(parent_alone=True))
    assert alone.settle(["social"]) == ["social"]
    assert alone.settle(["social", "question"]) == ["social", "question"]  # nothing is said of them


def test_a_label_that_stands_alone_may_have_its_parent() -> None:
    label_set = LabelSet.from_section(section(brings_parent=True, stands_alone=["joy"]))
    assert label_set.settle(["joy"]) == label_set.settle(["feelings", "joy"]) == ["feelings", "joy"]


def test_without_rules_nothing_is_settled_and_the_fingerprint_stays() -> None:
    plain = LabelSet.from_section(LabelsSection(task="multi_label", names=[FEELINGS, SOCIAL, "other"]))
    assert not plain.row_rules and plain.settle(["other", "joy"]) == ["joy", "other"]
    assert set(plain.to_dict()["rules"]) == {"missing", "unknown", "other", "minimum", "maximum"}
    assert plain.fingerprint != MIXED.fingerprint


def test_rules_survive_saving(tmp_path: Path) -> None:
    MIXED.save(tmp_path)
    loaded = LabelSet.load(tmp_path)
    assert loaded == MIXED and loaded.fingerprint == MIXED.fingerprint and loaded.row_rules == MIXED.row_rules
    rule = DecisionRule.default(MIXED)
    rule.save(tmp_path)
    assert DecisionRule.load(tmp_path) == rule


def test_a_subset_keeps_the_rules_of_what_it_holds() -> None:
    part = MIXED.subset(["feelings", "joy", "social"])
    assert part.settle(["joy"]) == ["feelings", "joy"] and part.settle(["social"]) == ["social"]


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"brings_parent": ["joy"]}, r"labels.rules.brings_parent: 'joy' is not a group"),
        ({"parent_alone": ["nothing"]}, r"labels.rules.parent_alone: 'nothing' is not a group"),
        ({"stands_alone": ["nothing"]}, r"labels.rules.stands_alone: 'nothing' is not in labels.names"),
    ],
)
def test_a_rule_about_something_else_is_refused(rules: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        LabelSet.from_section(section(**rules))


def test_the_recipe_says_which_line_has_a_rule_about_something_else(tmp_path: Path) -> None:
    recipe = tmp_path / "r.yaml"
    text = (
        "kind: seqcls\nname: t\ndata: {source: a.csv}\nmodel: {method: tfidf}\nlabels:\n  task: TASK\n"
        "  names: [{name: feelings, labels: [joy, fear]}, other]\n  rules:\n    RULE\n"
    )
    for task, rule, message in (
        ("multi_label", "brings_parent: [joi]", "labels.rules.brings_parent: 'joi' is not a group of labels.names"),
        ("multi_label", "stands_alone: [others]", "did you mean other"),
        ("single_label", "stands_alone: [other]", "is for rows of several labels, but labels.task is single_label"),
        ("regression", "parent_alone: true", "is for labels in groups, but labels.task is regression"),
    ):
        recipe.write_text(text.replace("TASK", task).replace("RULE", rule))
        with pytest.raises(UserError, match=r"r\.yaml:9: .*" + message):
            load_recipe(recipe)
    recipe.write_text(text.replace("TASK", "multi_label").replace("RULE", "parent_alone: [feelings]"))
    assert "feelings" in LabelSet.from_section(load_recipe(recipe).recipe.labels).names


def test_single_labels_may_name_a_group_alone() -> None:
    labels = LabelsSection(names=[FEELINGS, "other"], rules=RulesSection(parent_alone=["feelings"]))
    label_set = LabelSet.from_section(labels)
    assert label_set.names == ["feelings", "joy", "fear", "other"] and label_set.settle(["joy"]) == ["joy"]


# ---------------------------------------------------------------- those who keep them
def gold(tmp_path: Path, cells: list[str]) -> list[list[str] | None]:
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"t{i},{cell}\n" for i, cell in enumerate(cells)))
    rules = section(brings_parent=["feelings"], parent_alone=["social"], stands_alone=["other"])
    splits = SplitSettings(test=0.0, validation=0.0)
    data = load_data(DataSection(source=str(path), splits=splits), rules, write=False)
    assert data.label_set == MIXED
    rows = pa.concat_tables([data.splits.train, data.splits.unlabeled])
    by_text: dict[str, list[str] | None] = dict(zip(rows["text"].to_pylist(), rows["gold"].to_pylist(), strict=True))
    return [by_text[f"t{i}"] for i in range(len(cells))]


def test_gold_cells_bring_their_parents(tmp_path: Path) -> None:
    assert gold(tmp_path, ["joy", "question;social", "other", "-1"]) == [
        ["feelings", "joy"],
        ["question"],
        ["other"],
        None,
    ]


def test_gold_against_the_rules_is_named_with_its_row(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows.csv: 2 rows against labels.rules \('other' stands alone\), first row 3"):
        gold(tmp_path, ["joy", "other;joy", "other;fear"])


def test_students_answers_keep_to_the_rules() -> None:
    prompt = Prompt(PromptSettings("{labels}"), MIXED)
    assert prompt.read("joy").labels == ("feelings", "joy")
    assert not prompt.read("other, joy").valid and not prompt.read("feelings").valid
    assert prompt.read("none").valid


def decided(rule: DecisionRule, **probabilities: float) -> list[str]:
    row = np.array([[probabilities.get(name, 0.0) for name in MIXED.names]])
    found = rule.apply(Predictions(["a"], row)).decided
    assert found is not None
    return found[0]


def test_decisions_keep_to_the_rules() -> None:
    rule = DecisionRule.default(MIXED)
    assert decided(rule, joy=0.9) == ["feelings", "joy"]
    assert decided(rule, social=0.9, question=0.6) == ["question"]
    assert decided(rule, social=0.9) == ["social"]
    assert decided(rule, feelings=0.9, joy=0.1, fear=0.3) == ["feelings", "fear"]
    assert decided(rule, other=0.9, joy=0.6) == ["other"]
    assert decided(rule, other=0.6, joy=0.9, question=0.55) == ["feelings", "joy", "question"]
    assert decided(rule) == []


def test_any_decision_is_a_row_that_the_rules_leave_alone() -> None:
    rng = np.random.default_rng(0)
    found = DecisionRule.default(MIXED).apply(Predictions(list(map(str, range(500))), rng.random((500, len(MIXED)))))
    assert found.decided is not None
    assert all(MIXED.settle(names) == names for names in found.decided)
    assert len({tuple(names) for names in found.decided}) > 20


def test_a_rule_goes_before_what_the_gold_does() -> None:
    label_set = LabelSet.from_section(section(brings_parent=["feelings"], parent_alone=True))
    raw = Predictions(["a", "b"], np.array([[0.1, 0.9, 0, 0, 0, 0, 0], [0, 0, 0, 0.2, 0.8, 0, 0]]))
    rule = DecisionRule.fit(DecisionSection(), label_set, raw, np.array([[0.0, 1, 0, 0, 0, 0, 0]] * 2))
    assert rule.hierarchy == "none" and rule.apply(raw).decided == [["feelings", "joy"], ["greeting"]]
