"""`key=value` after the recipe."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.recipe.load import LoadedRecipe
from categorize.recipe.overrides import parse_overrides, split
from categorize.recipe.problems import Problems, render

from .conftest import Errors

Minimal = Callable[..., LoadedRecipe]


def test_values_are_yaml_1_2(minimal: Minimal) -> None:
    loaded = minimal("", "training.learning_rate=1e-4", "training.eval_strategy=no", "labels.names=[yes, no]")
    assert loaded.resolved["training"] == {"learning_rate": 1e-4, "eval_strategy": "no"}
    assert loaded.recipe.labels.names == ["yes", "no"]
    assert loaded.sources == ("r.yaml", "command line")


def test_a_value_may_hold_an_equals_sign_and_a_key_may_be_quoted(minimal: Minimal) -> None:
    loaded = minimal("", "training.optim_args=a=1,b=2", 'training.class_weights."v1.0"=2')
    assert loaded.resolved["training"] == {"optim_args": "a=1,b=2", "class_weights": {"v1.0": 2}}


def test_null_removes_a_section(minimal: Minimal) -> None:
    loaded = minimal("training: {bf16: true}\nadapter: {type: lora}\n", "adapter=null", "training.bf16=null")
    assert loaded.recipe.adapter is None  # type: ignore[union-attr]
    assert loaded.resolved["training"] == {}


def test_a_changed_type_drops_the_recipe_s_keys_but_no_other_override(minimal: Minimal) -> None:
    loaded = minimal("", "model.C=2", "model.method=tfidf", "model.min_df=3")
    assert loaded.resolved["model"] == {"C": 2, "method": "tfidf", "min_df": 3}


def test_errors_name_the_command_line(errors: Errors) -> None:
    assert errors("", "training.learning_rate=fast", "training.lr_scheduler_type=cosin") == [
        "command line: training.learning_rate: expected a number, found the text 'fast'",
        "command line: training.lr_scheduler_type: expected one of linear, cosine, cosine_with_restarts, polynomial, "
        "constant, constant_with_warmup, inverse_sqrt, reduce_lr_on_plateau, cosine_with_min_lr, "
        "cosine_warmup_with_min_lr, warmup_stable_decay, greedy, found the text 'cosin'; did you mean cosine?",
    ]


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("other.yaml", "command line: 'other.yaml' is not an override; write key=value"),
        ("=1", "command line: '' is not a dotted path"),
        ("a..b=1", "command line: 'a..b' is not a dotted path"),
        (".a=1", "is not a dotted path"),
        ("seed=", "command line: seed: has no value; write null to remove the key"),
        ("seed=#1", "command line: seed: '#1' is a comment, not a value; quote it"),
        ("labels.names=[a, b", "command line: labels.names: '[a, b' is not valid YAML"),
        ("labels.codes={a: x, a: y}", "command line: labels.codes.a: is set twice"),
        ("extends=base.yaml", "command line: extends: belongs into the recipe file"),
        ("foo=null", "command line: foo: unknown key"),
        ("training.trust_remote_code=true", "is a command-line flag, never a recipe key; pass --trust-remote-code"),
        ("kind=sequence", "command line: kind: expected seqcls, sft, eval or label, found the text 'sequence'"),
    ],
)
def test_malformed_overrides_are_refused(errors: Errors, override: str, said: str) -> None:
    assert any(said in line for line in errors("", override))


def test_overrides_that_contradict_each_other_are_refused(errors: Errors) -> None:
    assert "seed: is given twice: 'seed=1' and 'seed=2'; keep one" in errors("", "seed=1", "seed=2")[0]
    assert "contradicts adapter" in errors("", "adapter=null", "adapter.type=lora")[0]


NAMES = st.text(min_size=1, max_size=8).filter(lambda name: '"' not in name and name == name.strip())


@given(st.lists(NAMES, min_size=1, max_size=4), st.text(max_size=10))
def test_a_rendered_path_is_split_into_the_same_path(path: list[str], value: str) -> None:
    assert split(f"{render(tuple(path))}={value}") == (tuple(path), value)


@given(st.text(max_size=40))
def test_any_argument_is_read_or_noted(argument: str) -> None:
    problems = Problems()
    root = parse_overrides([argument], problems)
    assert root.entries or len(problems)
    assert all(line.startswith("command line: ") for line in problems.lines())
