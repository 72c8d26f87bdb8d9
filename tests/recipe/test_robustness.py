"""Whatever a file holds, it is a recipe or a list of plain errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from categorize.errors import UserError
from categorize.methods.registry import METHODS
from categorize.recipe.scalars import dump
from categorize.recipe.sections import recipe_classes
from categorize.recipe.typecheck import homes
from tests.recipes import load_recipe

KEYS = st.sampled_from(sorted(homes(tuple(recipe_classes(METHODS).values())))) | st.text("abc.", min_size=1, max_size=3)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["x", "no", "lora", "tfidf", "1"])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=10
)
SECTIONS = ["data", "labels", "model", "adapter", "quantization", "training", "decision", "prompt", "evaluation"]
SECTION_VALUES: st.SearchStrategy[Any] = st.dictionaries(KEYS, VALUES, max_size=4) | VALUES
RECIPES = st.fixed_dictionaries(
    {"kind": st.sampled_from(["seqcls", "eval"])}, optional=dict.fromkeys(SECTIONS, SECTION_VALUES)
)
GOOD = """\
kind: seqcls
name: mine
data: {source: a.csv, splits: {test: 0.2}}
labels: {names: [a, b], codes: {0: a}}
model: {name_or_path: x}
training: {learning_rate: 1e-4, eval_strategy: no}
adapter: {type: lora, r: 8}
"""
SLIPS = st.text(":{}[],&*!|>'\"%@` \n\t-#ax1", max_size=4)

many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    try:
        load_recipe(path, environment={})
    except UserError as error:
        lines = str(error).splitlines()
        assert lines == list(dict.fromkeys(lines))
        assert all(line.startswith(str(path.parent)) for line in lines)
        assert "Input should" not in str(error)


@many
@given(recipe=RECIPES)
def test_any_values_under_known_keys_give_a_recipe_or_plain_errors(tmp_path: Path, recipe: dict[str, Any]) -> None:
    load(tmp_path / "r.yaml", dump(recipe))


@many
@given(at=st.integers(0, len(GOOD) - 1), length=st.integers(0, 5), slip=SLIPS)
def test_a_slip_of_the_keyboard_gives_a_recipe_or_plain_errors(tmp_path: Path, at: int, length: int, slip: str) -> None:
    load(tmp_path / "r.yaml", GOOD[:at] + slip + GOOD[at + length :])


@pytest.mark.parametrize("junk", [b"\x00", b"\xff\xfe", b"PK\x03\x04", "\u2028: 1".encode(), b"a: \xed\xa0\x80"])
def test_junk_gives_one_line(tmp_path: Path, junk: bytes) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(junk)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    assert len(str(caught.value).splitlines()) == 1
