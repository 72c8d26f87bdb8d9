"""Scalars are those of YAML 1.2, and what is written is read back."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from categorize.recipe.nodes import compose, to_plain
from categorize.recipe.problems import Problems
from categorize.recipe.scalars import dump, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("+12", 12),
        ("007", 7),
        ("0o17", 15),
        ("0xFF", 255),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("False", False),
        ("TRUE", True),
        ("null", None),
        ("~", None),
        ("", None),
    ],
)
def test_core_scalars_have_their_values(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "no",
        "No",
        "yes",
        "on",
        "off",
        "y",
        "n",
        "tRUE",
        "nUll",
        "1:30",
        "2024-01-01",
        "1_000",
        "0b1",
        "0o8",
        "1e",
        "e5",
        ".",
        "+",
        "inf",
        "nan",
        "0x",
        "--1",
        "١",
        "<<",
        "=",
        "1,000",
    ],
)
def test_everything_else_is_text(text: str) -> None:
    assert resolve(text) == text


def test_nan_is_read() -> None:
    assert math.isnan(resolve(".nan"))  # type: ignore[arg-type]


@given(st.integers())
def test_every_integer_is_read(number: int) -> None:
    assert resolve(str(number)) == number


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_as_python_writes_it_is_read(number: float) -> None:
    assert resolve(repr(number)) == number


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff"), max_size=30)
AMBIGUOUS = st.sampled_from(["no", "1e-4", "0o17", "null", "", "~", "true", "1_000", "1:30", "a: b", "- a", "#x", "<<"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT | AMBIGUOUS
KEYS = (TEXT | AMBIGUOUS).filter(lambda key: key not in ("", "<<"))
DATA = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=12
)


def read(text: str) -> Any:
    problems = Problems()
    node = compose(text, "x.yaml", problems)
    assert not len(problems)
    assert node is not None
    return to_plain(node)


@given(st.dictionaries(KEYS, DATA, min_size=1, max_size=4))
def test_what_is_dumped_is_read_back(data: dict[str, Any]) -> None:
    assert read(dump(data)) == data


@given(st.dictionaries(KEYS, DATA, min_size=1, max_size=4))
def test_readers_of_yaml_1_1_read_the_same_texts(data: dict[str, Any]) -> None:
    assert yaml.safe_load(dump(data)) == data
