"""Cleaning on columns is cleaning text by text."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.danmu.clean import clean
from categorize.data.cleaning.steps import cleaner
from demo.generate_danmu import NASTY

USUAL = ("nfkc", "control_characters", "whitespace")
ORDERS = [USUAL, ("whitespace", "nfkc", "control_characters"), (), ("whitespace", "urls", "nfkc"), ("laughter",)]
TEXTS = st.lists(st.text(st.characters(exclude_categories=("Cs",))), max_size=8)


def expect_same(texts: list[str], steps: tuple[str, ...]) -> None:
    one = cleaner(steps)
    assert clean(pa.array(texts, pa.string()), steps).to_pylist() == [one(text) for text in texts]


@pytest.mark.parametrize("steps", ORDERS)
def test_nasty_texts_are_cleaned_alike(steps: tuple[str, ...]) -> None:
    expect_same([*NASTY, *(f" {text}  x " for text in NASTY)], steps)


@given(texts=TEXTS, steps=st.sampled_from(ORDERS))
def test_any_texts_are_cleaned_alike(texts: list[str], steps: tuple[str, ...]) -> None:
    expect_same(texts, steps)


def test_every_character_is_cleaned_alike() -> None:
    characters = [chr(code) for code in range(0x11_0000) if not 0xD800 <= code <= 0xDFFF]
    step = 97  # neighbours in one text, then each between two that join
    expect_same(["".join(characters[i::step]) for i in range(step)], USUAL)
    expect_same([f"a{character} {character}中" for character in characters[:0x3000] + characters[0xF000:0xFFFF]], USUAL)
