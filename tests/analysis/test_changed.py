"""Changed texts: what changes are, that answers to them are compared right, and that ablations measure what is lost."""

from __future__ import annotations

import unicodedata
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.analysis.ablations import NAMES, ablate
from categorize.analysis.changed import ablations, invariance
from categorize.analysis.changes import CHANGES, full_width, punctuation, script, typos
from categorize.analysis.closer import look_closer
from categorize.analysis.variants import Variant, changed_rows, joined_documents
from categorize.predictions import Predictions
from tests.analysis.collections import ABC, inputs, output, table

TALK = "Ann: welcome all\nCEO: we grew\nand grew\nCEO: thank you\nOperator: Our first question.\nBob: why?\nCEO: luck"


@given(st.text(max_size=80))
def test_a_change_is_the_same_each_time_and_keeps_what_is_said(text: str) -> None:
    assert all(change(text) == change(text) for change in CHANGES.values())
    assert sorted(typos(text)) == sorted(text)
    wide = full_width(text)
    assert len(wide) == len(text) and unicodedata.normalize("NFKC", wide) == unicodedata.normalize("NFKC", text)
    letters = [character for character in text if not unicodedata.category(character).startswith(("P", "Z", "C"))]
    kept = [c for c in punctuation(text) if not unicodedata.category(c).startswith(("P", "Z", "C"))]
    assert kept == letters


def test_script_goes_to_the_other_one_and_leaves_other_languages_alone() -> None:
    assert script("汉字 and 头发") == "漢字 and 頭髮" and script("漢字 and 頭髮") == "汉字 and 头发"
    assert script("plain English") == "plain English"


def test_a_text_of_a_thousand_characters_has_ten_typos_or_a_few_less() -> None:
    text = "abcdefghij" * 100
    wrong = sum(a != b for a, b in zip(text, typos(text), strict=True))
    assert 14 <= wrong <= 22


def test_transcripts_lose_the_part_that_is_named() -> None:
    assert ablate("no_opening", TALK, 2) == "\n".join(TALK.split("\n")[3:])
    assert ablate("no_questions", TALK, 2) == "\n".join(TALK.split("\n")[:4])
    shuffled = ablate("shuffled_turns", TALK, 2)
    assert shuffled != TALK and shuffled == ablate("shuffled_turns", TALK, 2)
    assert sorted(shuffled.replace("\nand", "#and").split("\n")) == sorted(TALK.replace("\nand", "#and").split("\n"))
    assert ablate("no_questions", "Ann: hello\nBob: when do we leave?\nAnn: now", 2) == "Ann: hello"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("text", ["", "one line", "Ann: one turn alone", "Ann: is this all?"])
def test_a_text_without_the_part_stays_as_it_is(name: str, text: str) -> None:
    assert ablate(name, text, 1) == text


def test_only_documents_that_change_are_predicted_again() -> None:
    rows = table(["x", "y", "z"], [["a"], ["b"], ["c"]], {"text": ["ab", "12", "cd"], "other": ["1", "2", None]})
    made = changed_rows("invariance", "typos", rows, rows, ["text"], typos)
    assert made.documents.tolist() == [0, 2] and made.rows["id"].to_pylist() == ["r0", "r2"]
    fields = made.rows["fields"].combine_chunks()
    assert fields.field("text").to_pylist() == ["ba", "dc"] and fields.field("other").to_pylist() == ["1", None]


def test_a_document_of_several_rows_is_one_transcript() -> None:
    rows = table(["x"] * 3, [["a"], ["a"], ["b"]], {"text": ["Ann: hi", "Bob: ho", "Cid: he"]})
    rows = rows.set_column(1, "document_id", pa.array(["d", "d", "e"]))
    documents = rows.take(pa.array([0, 2]))
    whole = joined_documents(rows, documents, "text")
    assert whole["fields"].combine_chunks().field("text").to_pylist() == ["Ann: hi\nBob: ho", "Cid: he"]
    made = changed_rows("ablation", "no_opening", whole, whole, ["text"], lambda text: ablate("no_opening", text, 1))
    assert made.documents.tolist() == [0] and made.rows["document_id"].to_pylist() == ["d"]


def test_answers_before_and_after_are_compared() -> None:
    gold = [["a"]] * 20
    before = output(ABC, gold, "one", [["a"]] * 16 + [["b"]] * 3 + [None])
    after = Predictions(["x"] * 10, decided=[["a"]] * 4 + [["b"]] * 5 + [[]], valid=np.array([True] * 9 + [False]))
    documents = np.arange(10, 20)  # said a six times, b three times and nothing once
    variant = Variant("invariance", "typos", pa.table({}), documents)
    of = replace(inputs(ABC, ["t"] * 20, gold, [replace(before, changed={"typos": after})]), variants=[variant])
    found = invariance(of)
    assert found is not None
    one = found["one"]["typos"]
    assert (one["rows"], one["changed"], one["share"], one["before"], one["after"]) == (10, 2, 0.2, 0.6, 0.4)


def test_changes_that_matter_are_advice() -> None:
    gold = [["a"], ["b"]] * 100
    after = Predictions([f"r{i}" for i in range(200)], decided=[["a"]] * 200)
    run = replace(output(ABC, gold, "one", gold), changed={"script": after})
    of = replace(
        inputs(ABC, ["t"] * 200, gold, [run]), variants=[Variant("invariance", "script", pa.table({}), np.arange(200))]
    )
    (one,) = [one for one in look_closer(of).found["advice"] if one["code"] == "C19"]
    said = "the other Chinese script changes 50.0% of its predictions (accuracy 1.000, then 0.500); convert all texts"
    assert one["text"].startswith(said)


def test_an_ablation_shows_what_is_lost_with_its_interval() -> None:
    gold = [["a"], ["b"], ["c"]] * 40
    without = [["b"] if one == ["a"] else one for one in gold]
    run = output(ABC, gold, "one", gold)
    after = Predictions([f"r{i}" for i in range(120)], decided=without)
    variant = Variant("ablation", "no_opening", pa.table({}), np.arange(120))
    of = replace(inputs(ABC, ["t"] * 120, gold, [replace(run, changed={"no_opening": after})]), variants=[variant])
    found = ablations(of, resamples=200)
    assert found is not None
    one = found["one"]["no_opening"]
    assert (one["rows"], one["measure"], one["whole"]) == (120, "macro_f1", 1.0)
    assert one["share"] == pytest.approx(1 / 3) and one["without"] == pytest.approx((0 + 2 / 3 + 1) / 3)
    assert one["difference"] == pytest.approx(one["without"] - 1) and one["low"] < one["difference"] < one["high"] < 0
