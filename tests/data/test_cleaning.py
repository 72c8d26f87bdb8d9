"""Cleaning: what goes, what stays, and that doing it twice changes nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.data.cleaning.steps import STEPS, cleaner, cleaning_step
from categorize.errors import UserError
from categorize.recipe.data_sections import DEFAULT_CLEANING

TEXTS = st.text(
    st.sampled_from("aé 中\t\n\r\u2028\u00a0\x00\x1f\u200b\u200c\u200d\ufe0f\u202e😀👩🏽♀ن") | st.characters()
)


@pytest.mark.parametrize("name", list(STEPS))
@given(text=TEXTS)
def test_a_step_done_twice_changes_nothing(name: str, text: str) -> None:
    once = STEPS[name].apply(text)
    assert STEPS[name].apply(once) == once


@given(TEXTS)
def test_default_cleaning_leaves_single_white_space_and_nothing_invisible(text: str) -> None:
    cleaned = cleaner(DEFAULT_CLEANING)(text)
    assert cleaned == cleaned.strip()
    assert not any(pair in cleaned for pair in ("  ", "\n\n", " \n", "\n "))
    assert not any(character in cleaned for character in "\x00\r\t\u200b\u202e\ufeff")


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("ＡＢＣ　１２３", "ABC 123"),
        ("a\u200bb\ufeffc\u202ed", "abcd"),
        ("line one\r\n\r\n  line two\x0bthree", "line one\nline two\nthree"),
        ("微\u200d信", "微信"),
        ("👩\u200d👩\u200d👧 🙂\u200d↔️ 👩🏽\u200d⚕️", "👩\u200d👩\u200d👧 🙂\u200d↔️ 👩🏽\u200d⚕️"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("bell\x07 tab\there", "bell tab here"),
        ("\u00a0", ""),
    ],
)
def test_default_cleaning_by_example(raw: str, clean: str) -> None:
    assert cleaner(DEFAULT_CLEANING)(raw) == clean


def test_steps_run_in_the_order_given() -> None:
    assert cleaner(["whitespace", "nfkc"])("a\u00a8") == "a \u0308"
    assert cleaner(["nfkc", "whitespace"])("\u00a8a") == "\u0308a"


def test_an_unknown_step_lists_those_there_are() -> None:
    with pytest.raises(UserError, match="whitespace"):
        cleaner(["lowercase"])


def test_a_step_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="nfkc"):
        cleaning_step(STEPS["nfkc"].apply)
