"""Each check fires where its fault was planted, with the figures of it, and can be left out by its code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from categorize.analysis.advice import Advice
from categorize.analysis.closer import look_closer
from categorize.analysis.inputs import Inputs, RunOutput
from categorize.analysis.registry import CHECKS, check_codes
from categorize.analysis.terminal import lines_of
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.metrics.measures import measure
from categorize.predictions import Predictions, Usage
from categorize.writing import json_text
from tests.analysis.collections import ABC, YES_NO, inputs, output, table


def advice(of: Inputs, code: str, **options: Any) -> list[dict[str, Any]]:
    return [one for one in look_closer(of, **options).found["advice"] if one["code"] == code]


def social() -> Inputs:
    """`social` is never found: 71 of its 100 rows go to other; 31 training rows have it."""
    labels = LabelSet("single_label", (Label("social"), Label("other"), Label("news")))
    gold = [["social"]] * 100 + [["other"]] * 100 + [["news"]] * 100
    said = [["other"]] * 71 + [["news"]] * 29 + gold[100:]
    train = table(["text"] * 231, [["social"]] * 31 + [["other"]] * 100 + [["news"]] * 100)
    return inputs(labels, [f"text {i}" for i in range(300)], gold, {"one": said}, train)


def test_a_label_that_is_never_found_is_told_with_where_its_rows_go() -> None:
    (one,) = advice(social(), "C03")
    said = "social: recall 0.00 of 100; 71% go to other; 31 training rows; try class weights, more rows or merge it"
    assert (one["text"], one["run"], one["label"], one["severity"]) == (said, "one", "social", "error")
    assert one["numbers"] == {"support": 100, "taken": 71, "training_rows": 31}


def test_a_check_is_left_out_by_its_code() -> None:
    assert not advice(social(), "C03", ignore=["C03"])
    with pytest.raises(UserError, match=r"evaluation\.ignore: 'C99' is not a check; there are C01"):
        check_codes(["C03", "C99"])


def test_a_run_that_the_baseline_reaches_is_told() -> None:
    gold = [["yes"]] * 80 + [["no"]] * 20
    of = inputs(YES_NO, ["text"] * 100, gold, {"one": [["yes"]] * 100, "two": gold})
    baseline = Predictions([f"r{i}" for i in range(100)], decided=[["yes"]] * 100)
    of = replace(of, baseline=measure(YES_NO, of.gold, baseline))
    (one,) = advice(of, "C01")
    assert one["run"] == "one" and "accuracy 0.800 against 0.800" in one["text"]


def test_invalid_answers_are_told_but_not_rows_that_a_rule_rejects() -> None:
    gold = [["yes"]] * 50
    said = [None] * 6 + [["yes"]] * 44
    (one,) = advice(inputs(YES_NO, ["text"] * 50, gold, {"one": said}), "C02")
    assert "6 of 50 answers (12.0%) are not valid" in one["text"] and one["severity"] == "error"
    rejected = output(YES_NO, gold, "one", said)
    scoped = RunOutput("one", replace(rejected.predictions, scope=np.zeros(50)), rejected.metrics)
    assert not advice(inputs(YES_NO, ["text"] * 50, gold, [scoped]), "C02")


def test_overconfidence_is_told_with_what_it_says_and_how_often_it_is_right() -> None:
    gold = [["yes"]] * 60 + [["no"]] * 40
    p = np.tile([0.95, 0.05], (100, 1))
    (one,) = advice(
        inputs(YES_NO, ["t"] * 100, gold, [output(YES_NO, gold, "one", [["yes"]] * 100, probabilities=p)]), "C06"
    )
    assert "says 95% on average and is right in 60%" in one["text"]


def test_rows_that_stand_in_train_are_counted() -> None:
    gold = [["yes"]] * 50
    of = inputs(YES_NO, ["t"] * 50, gold, {"one": gold}, overlap=["exact"] * 2 + ["near"] * 3 + [None] * 45)
    (one,) = advice(of, "C07")
    assert one["numbers"] == {"exact": 2, "near": 3, "rows": 50}


def test_a_difference_that_the_rows_cannot_show_is_told_with_how_many_would() -> None:
    gold = [["yes"]] * 300
    a = [["no"]] * 12 + [["yes"]] * 288
    b = [["yes"]] * 12 + [["no"]] * 15 + [["yes"]] * 273
    (one,) = advice(inputs(YES_NO, ["t"] * 300, gold, {"a": a, "b": b}), "C08")
    apart = np.array([-1] * 12 + [1] * 15 + [0] * 273)
    needed = (1.959964 * apart.std() / 0.01) ** 2
    assert (
        "differ by 1.0 points of accuracy" in one["text"] and f"about {needed:,.0f} rows would show it" in one["text"]
    )
    clear = {"a": a, "b": [["no"]] * 90 + [["yes"]] * 210}
    assert not advice(inputs(YES_NO, ["t"] * 300, gold, clear), "C08")


def test_labels_with_few_test_rows_and_another_share_than_in_train_are_named() -> None:
    gold = [["a"]] * 100 + [["b"]] * 95 + [["c"]] * 5
    train = table(["t"] * 600, [["a"]] * 100 + [["b"]] * 200 + [["c"]] * 300)
    of = inputs(ABC, [f"t {i}" for i in range(200)], gold, {"one": gold}, train)
    (few,), (mix,) = advice(of, "C09"), advice(of, "C10")
    assert "1 of 3 labels has fewer than 10 rows in the test split: c (5)" in few["text"]
    assert "2 labels with another share than in train: c 50.0% of train, 2.5% here" in mix["text"]


def test_texts_that_were_cut_are_told() -> None:
    gold = [["yes"]] * 20
    run = output(YES_NO, gold, "one", gold)
    cut = Predictions(run.predictions.ids, decided=gold, usage=Usage(rows=20, truncated_rows=8))
    (one,) = advice(inputs(YES_NO, ["t"] * 20, gold, [RunOutput("one", cut, run.metrics)]), "C11")
    assert "8 of 20 texts (40%)" in one["text"]


def test_labels_that_are_taken_for_each_other_are_told_once() -> None:
    gold = [["a"]] * 40 + [["b"]] * 40 + [["c"]] * 40
    said = [["b"]] * 12 + [["a"]] * 28 + [["a"]] * 10 + [["b"]] * 30 + [["c"]] * 40
    (one,) = advice(inputs(ABC, ["t"] * 120, gold, {"one": said}), "C14")
    assert one["text"].startswith("a and b are taken for each other in 22 of 80 rows")


def test_runs_that_could_help_each_other_are_told() -> None:
    gold = [["yes"]] * 100
    runs = {"a": [["no"]] * 10 + [["yes"]] * 90, "b": [["yes"]] * 89 + [["no"]] * 11}
    (one,) = advice(inputs(YES_NO, ["t"] * 100, gold, runs), "C15")
    assert "at least one of 2 runs is right in 100.0% of the rows, a alone in 90.0%" in one["text"]


def test_training_texts_with_different_labels_are_counted() -> None:
    train = table(["hello", "hello", "bye", "bye", "x"], [["a"], ["b"], ["a"], ["a"], ["c"]])
    (one,) = advice(inputs(ABC, ["t"] * 3, [["a"], ["b"], ["c"]], {"one": [["a"]] * 3}, train), "C16")
    assert one["text"].startswith("1 training text with different labels, such as 'hello': a / b")


def run_folder(path: Path, recipe: str, log: list[dict[str, float]], metrics: dict[str, Any]) -> Path:
    path.mkdir()
    (path / "run.json").write_text("{}")
    (path / "recipe.yaml").write_text(recipe)
    (path / "training_log.json").write_text(json.dumps(log))
    (path / "metrics.json").write_text(json.dumps(metrics))
    return path


HEAD = "kind: seqcls\nname: one\ndata: {source: rows.csv}\nmodel: {method: head, name_or_path: some/model}\n"
TFIDF = "kind: seqcls\nname: one\ndata: {source: rows.csv}\nlabels: {task: multi_label, names: [joy, fear, anger]}\n"


def test_overfit_is_told_from_the_log_and_from_validation(tmp_path: Path) -> None:
    gold = [["yes"], ["no"]] * 20
    said = [["yes"], ["yes"]] * 10 + [["yes"], ["no"]] * 10
    log = [{"step": 10 * i, "loss": 1 / i} for i in range(1, 7)]
    log += [{"step": 20, "eval_loss": 0.6}, {"step": 40, "eval_loss": 0.5}, {"step": 60, "eval_loss": 0.8}]
    folder = run_folder(tmp_path / "one", HEAD, log, {"validation": {"macro": {"f1": 0.97}}})
    run = replace(output(YES_NO, gold, "one", said), run=str(folder))
    rose, gap = advice(inputs(YES_NO, ["t"] * 40, gold, [run]), "C04")[::-1]
    assert "least (0.500) at step 40 and is 0.800 at the end (step 60)" in rose["text"] and rose["severity"] == "info"
    assert "macro_f1 was 0.970 on validation and is 0.7" in gap["text"]
    (one,) = advice(inputs(YES_NO, ["t"] * 40, gold, [run]), "C05")
    assert "every hyperparameter of its training is a default" in one["text"]


def test_thresholds_that_nobody_fitted_are_told(tmp_path: Path) -> None:
    several = LabelSet("multi_label", (Label("joy"), Label("fear"), Label("anger")))
    gold = [["joy"], [], ["fear"]] * 10
    recipe = TFIDF + "model: {method: tfidf, C: 2.0}\n"
    for name, more, told in (("one", "", 1), ("two", "decision: {thresholds: per_label}\n", 0)):
        folder = run_folder(tmp_path / name, recipe + more, [], {})
        run = replace(output(several, gold, "one", gold), run=str(folder))
        found = advice(inputs(several, ["t"] * 30, gold, [run]), "C05")
        assert ["thresholds are 0.5" in one["text"] for one in found] == [True] * told


def test_a_perfect_run_gets_no_advice_and_every_advice_is_json() -> None:
    gold = [["yes"], ["no"]] * 50
    closer = look_closer(inputs(YES_NO, [f"text {i}" for i in range(100)], gold, {"one": gold}))
    assert closer.found["advice"] == []
    found = look_closer(social()).found
    assert json.loads(json_text(found))["advice"] == found["advice"]
    assert [one["severity"] for one in found["advice"]] == sorted(
        (one["severity"] for one in found["advice"]), key=["error", "warning", "info"].index
    )


def test_the_terminal_says_three_findings_and_the_most_serious_advice() -> None:
    lines = lines_of(look_closer(social()).found)
    assert lines[0] == "Findings" and lines[4] == "" and lines[5].startswith("Advice")
    assert lines[1] == "social has most errors: 100 of 100 rows are missed, 0 given to rows of others (F1 0.00)"
    assert lines[6].startswith("C03 one: social: recall 0.00 of 100")


def test_every_check_is_described(root: Path) -> None:
    text = (root / "docs/evaluation.md").read_text(encoding="utf-8")
    assert all(f"`{code}`" in text for code in CHECKS)
    assert all((check.__doc__ or "").startswith(f"{code}: ") for code, check in CHECKS.items())
    assert Advice("C01", "info", "text").to_dict()["numbers"] == {}
