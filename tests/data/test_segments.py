"""Segments: every cut fits its limit, loses nothing that it should keep, and comes out the same again."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.data.input_spec import InputSpec
from categorize.data.segment_counts import SegmentCounts
from categorize.data.segments.cuts import Document, Segment, cut_by_minutes, cut_documents, limit_of
from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.recipe.data_sections import CleaningOptions, Columns, Segments

DATA = os.environ.get("CATEGORIZE_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="CATEGORIZE_DATA names no folder with the real datasets")
PLAIN = PlainTokens()


def cut(text: str, tokens: TokenCounter = PLAIN, **options: Any) -> list[str]:
    [segments] = cut_documents([Document("d", [text])], Segments(**options), tokens)
    return [segment.text for segment in segments]


def squeezed(text: str) -> str:
    return "".join(text.split())


DIALOGUE = """intro
Ann: What is it? I wonder.
Ann: Really?
Bob: Which one?
Bob: It is this. And that.
more of it
Ann: Thanks!
Ann: And the price?
Bob: Ten."""


# ---------------------------------------------------------------- by example
def test_plain_tokens_are_words_characters_and_marks() -> None:
    text = "It's 12:30，好的ABC! カ"
    assert [text[a:b] for a, b in PLAIN.spans([text])[0]] == [
        *("It", "'", "s", "12", ":", "30", "，", "好", "的", "ABC", "!", "カ")
    ]
    assert PLAIN.lengths([text, ""]).tolist() == [12, 0]
    assert PLAIN.spans([""])[0].shape == (0, 2)


def test_windows_share_the_stride_with_the_one_before() -> None:
    text = " ".join(map(str, range(10)))
    assert cut(text, by="tokens", max_tokens=4) == ["0 1 2 3", "4 5 6 7", "8 9"]
    assert cut(text, by="tokens", max_tokens=4, stride=2) == ["0 1 2 3", "2 3 4 5", "4 5 6 7", "6 7 8 9"]
    assert cut(text, by="tokens", max_tokens=20, stride=2) == [text]


def test_each_turn_is_a_segment_and_long_ones_are_cut_at_sentences() -> None:
    assert cut(DIALOGUE, by="turns")[:4] == ["intro", "Ann: What is it? I wonder.", "Ann: Really?", "Bob: Which one?"]
    assert cut(DIALOGUE, by="turns", max_tokens=6)[5:7] == ["Bob: It is this.", "And that.\nmore of it"]


def test_a_question_goes_with_its_answers() -> None:
    assert cut(DIALOGUE, by="question_answer") == [
        "intro",
        DIALOGUE[len("intro\n") : DIALOGUE.index("\nAnn: And")],
        "Ann: And the price?\nBob: Ten.",
    ]
    assert cut("Audience Q: tell us\nCEO: no\nAudience Q: why\nCEO: so", by="question_answer") == [
        "Audience Q: tell us\nCEO: no",
        "Audience Q: why\nCEO: so",
    ]
    assert cut("Q1: Tell us.\nA1: no\nQ2: Say why.\nA2: so", by="question_answer") == [
        "Q1: Tell us.\nA1: no",
        "Q2: Say why.\nA2: so",
    ]
    assert cut("what?\nthis\nand that\nwhy?\nso", by="question_answer") == ["what?\nthis\nand that", "why?\nso"]
    assert cut("用户：贵吗？\n系统：您要哪个？\n用户：这个。\n用户：远吗？\n系统：不远", by="question_answer") == [
        "用户：贵吗？\n系统：您要哪个？\n用户：这个。",
        "用户：远吗？\n系统：不远",
    ]


def test_packed_holds_whole_turns_up_to_the_limit_and_cuts_only_longer_ones() -> None:
    text = "Ann: a b\nBob: c\nAnn: " + "d " * 12 + ". e f\nBob: g"
    assert cut(text, by="packed", max_tokens=8) == [
        "Ann: a b\nBob: c",
        "Ann: d d d d d d",
        "d d d d d d .",
        "e f\nBob: g",
    ]


def test_minutes_begin_at_stamps() -> None:
    text = "a\n[00:00:10] b\n[00:04:59] c\n[00:05:00] d\n[00:21:00] e\n[00:00:05] f"
    assert [part.strip() for part in cut_by_minutes(text, 5)] == [
        "a\n[00:00:10] b\n[00:04:59] c",
        "[00:05:00] d",
        "[00:21:00] e",
        "[00:00:05] f",
    ]
    assert cut_by_minutes("no stamp at 12:30", 5) == ["no stamp at 12:30"]
    assert cut_by_minutes("12:31 a\n1:02:03 b", 1) == ["12:31 a\n", "1:02:03 b"]


def test_a_speakers_label_before_a_stamp_goes_with_it() -> None:
    text = "Speaker 1 (00:12): a\nSpeaker 2 (01:12): b\nAnn: [02:01] c\nso [03:00] d"
    assert cut_by_minutes(text, 1) == [
        "Speaker 1 (00:12): a\n", "Speaker 2 (01:12): b\n", "Ann: [02:01] c\nso ", "[03:00] d",
    ]  # fmt: skip
    assert cut_by_minutes("das ich [00:01]: a\ndas ich [01:01]: b", 1, ["das ich"])[1] == "das ich [01:01]: b"


def test_baselines_keep_the_part_that_they_are_named_for() -> None:
    text = " ".join(map(str, range(10)))
    assert cut(text, by="head", max_tokens=4) == ["0 1 2 3"]
    assert cut(text, by="tail", max_tokens=4) == ["6 7 8 9"]
    assert cut(text, by="head_tail", max_tokens=5) == ["0 1 2\n8 9"]
    assert all(
        cut(text, by=by, max_tokens=10) == [text]
        for by in ("head", "tail", "head_tail", "random_sentences", "textrank")
    )


def test_random_sentences_depend_on_seed_and_document_alone_and_keep_their_order() -> None:
    text = " ".join(f"s{i} x." for i in range(50))
    drawn = cut(text, by="random_sentences", max_tokens=30)[0]
    numbers = [int(word[1:]) for word in drawn.split() if word[0] == "s"]
    assert numbers == sorted(numbers) and len(numbers) == 10
    assert cut(text, by="random_sentences", max_tokens=30) == [drawn]
    assert cut(text, by="random_sentences", max_tokens=30, seed=7) != [drawn]
    other = cut_documents(
        [Document("e", [text]), Document("d", [text])], Segments(by="random_sentences", max_tokens=30), PLAIN
    )
    assert other[1][0].text == drawn != other[0][0].text


# ---------------------------------------------------------------- properties
BY = ("tokens", "turns", "question_answer", "packed", "head", "tail", "head_tail", "random_sentences", "textrank")
TEXTS = st.lists(
    st.sampled_from(["Ann: ", "用户：", "a", "word ", "好", "。", ". ", "? ", "\n", "😀", "longword", " "]), max_size=40
).map("".join)  # fmt: skip


@pytest.fixture(scope="module")
def counters() -> dict[str, TokenCounter]:
    from categorize.labels import LabelSet
    from categorize.nn.text_tokens import PromptTokens, TokenizerTokens
    from categorize.prompts.tokens import PromptFormat
    from categorize.recipe.label_sections import LabelsSection
    from categorize.recipe.sections import PromptSection
    from tests.tiny_tokenizers import build_tokenizer

    labels = LabelSet.from_section(LabelsSection(names=["positive", "negative"]))
    prompt = PromptFormat.from_section(PromptSection(), labels, build_tokenizer("chatml"), 120)
    return {
        "plain": PLAIN,
        "byte-level": TokenizerTokens(build_tokenizer(), 64),
        "prompt": PromptTokens(prompt),
    }


@pytest.mark.parametrize("counter", ["plain", "byte-level", "prompt"])
@pytest.mark.parametrize("by", BY)
@given(text=TEXTS, limit=st.integers(8, 20))
@settings(max_examples=15)
def test_no_segment_is_longer_than_the_limit_by_the_models_own_count(
    counters: dict[str, TokenCounter], by: Any, counter: str, text: str, limit: int
) -> None:
    tokens = counters[counter]
    parts = cut(text, tokens, by=by, max_tokens=limit)
    assert parts
    assert tokens.lengths(parts).max() <= limit
    if by in ("turns", "question_answer", "packed", "tokens"):
        assert squeezed("".join(parts)) == squeezed(text)
    else:
        assert len(parts) == 1


@pytest.mark.parametrize("counter", ["plain", "byte-level"])
@given(words=st.integers(0, 60), limit=st.integers(8, 20), stride=st.integers(0, 7))
@settings(max_examples=30)
def test_windows_with_a_stride_leave_no_gap_and_cut_no_word(
    counters: dict[str, TokenCounter], counter: str, words: int, limit: int, stride: int
) -> None:
    parts = cut(" ".join(map(str, range(words))), counters[counter], by="tokens", max_tokens=limit, stride=stride)
    assert counters[counter].lengths(parts).max() <= limit
    ranges = [[int(word) for word in part.split()] for part in parts if part]
    seen = -1
    for numbers in ranges:
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        assert numbers[0] <= seen + 1 <= numbers[-1]
        seen = numbers[-1]
    assert seen == words - 1


@given(TEXTS, st.floats(0.1, 30))
def test_stretches_of_minutes_are_the_whole_text(text: str, minutes: float) -> None:
    assert "".join(cut_by_minutes(text, minutes)) == text


# ---------------------------------------------------------------- rows
def spec(cleaning: Any = (), columns: Columns | None = None, **options: Any) -> InputSpec:
    return InputSpec(columns or Columns(), None, tuple(cleaning), Segments(**options))


def table(texts: list[str], **columns: list[Any]) -> pa.Table:
    return pa.table({"text": texts, **columns})


def test_a_segment_keeps_its_documents_id_label_group_and_columns() -> None:
    columns = Columns(id="n", group="g", keep=["k"])
    ours = spec(columns=columns, by="turns")
    rows = ours.rows_from_table(table(["Ann: a\nBob: b", "c"], n=["x", "y"], g=["1", "2"], k=["p", "q"]))
    gold = pa.array([["good"], None], pa.list_(pa.string()))
    rows = rows.set_column(rows.schema.get_field_index("gold"), "gold", gold)
    segments = ours.expand(rows, PLAIN)
    assert segments.schema == rows.schema
    assert segments["id"].to_pylist() == ["x#0", "x#1", "y#0"]
    assert segments["document_id"].to_pylist() == ["x", "x", "y"]
    assert segments["position"].to_pylist() == [0, 1, 0]
    assert segments["text"].to_pylist() == ["Ann: a", "Bob: b", "c"]
    assert segments["gold"].to_pylist() == [["good"], ["good"], None]
    assert segments["group"].to_pylist() == ["1", "1", "2"]
    # A prompt that reads the raw column reads the segment, never the whole document.
    assert [one["text"] for one in segments["fields"].to_pylist()] == ["Ann: a", "Bob: b", "c"]
    assert [one["k"] for one in segments["fields"].to_pylist()] == ["p", "p", "q"]
    assert ours.documents(segments)["id"].to_pylist() == ours.documents(rows)["id"].to_pylist() == ["x", "y"]


@pytest.mark.parametrize(("weighting", "weights"), [("document", [2 / 3] * 3 + [5.0]), ("segment", [2.0] * 3 + [5.0])])
def test_segments_share_their_documents_weight_unless_told(weighting: Any, weights: list[float]) -> None:
    ours = spec(columns=Columns(weight="w"), by="turns", weighting=weighting)
    rows = ours.rows_from_table(table(["a\nb\nc", "d"], w=["2", "5"]))
    np.testing.assert_allclose(ours.expand(rows, PLAIN)["weight"].to_numpy(), weights)


def test_rows_of_one_document_are_joined_before_they_are_cut() -> None:
    ours = spec(columns=Columns(document="d"), by="packed", max_tokens=6)
    rows = ours.rows_from_table(table(["Ann: a", "Cid: x", "Bob: b", "Ann: c"], d=["1", "2", "1", "1"]))
    segments = ours.expand(rows, PLAIN)
    assert segments["text"].to_pylist() == ["Ann: a\nBob: b", "Ann: c", "Cid: x"]
    assert segments["id"].to_pylist() == ["1#0", "1#1", "2#0"]


def test_minutes_are_cut_before_cleaning_takes_the_stamps_away() -> None:
    ours = spec(["timestamps", "whitespace"], by="minutes", minutes=5.0)
    rows = ours.rows_from_texts(["[00:01] a\n[04:00] b\n[06:00] c", "no stamps"])
    segments = ours.expand(rows, PLAIN)
    assert segments["text"].to_pylist() == ["a\nb", "c", "no stamps"]
    counts = SegmentCounts.of(ours, rows, segments, PLAIN)
    assert (counts.documents, counts.segments, counts.without_stamps) == (2, 3, 1)
    assert any("1 documents have no time stamp" in line for line in counts.lines("train"))


def test_the_speaker_of_a_turn_becomes_a_field_where_asked() -> None:
    field = CleaningOptions.model_validate({"speakers": {"style": "field", "names": ["die kundin"]}})
    ours = spec([field], by="turns", max_tokens=4)
    segments = ours.expand(ours.rows_from_texts(["die kundin: a b c d e\nBob: f"]), PLAIN)
    assert segments["text"].to_pylist() == ["a b c d", "e\nBob: f"]
    assert {one["speaker"] for one in segments["fields"].to_pylist()} == {"die kundin"}
    plain = spec([CleaningOptions.model_validate({"speakers": {"style": "field"}})], by="turns")
    turns = plain.expand(plain.rows_from_texts(["SPEAKER_01: a\nb\n用户：c"]), PLAIN)
    assert turns["text"].to_pylist() == ["a\nb", "c"]
    assert [one["speaker"] for one in turns["fields"].to_pylist()] == ["Speaker 1", "用户"]


def test_an_empty_document_stays_as_one_empty_segment() -> None:
    by: Any
    for by in BY:
        ours = spec(["whitespace"], by=by, max_tokens=4)
        segments = ours.expand(ours.rows_from_texts([" ", "a"]), PLAIN)
        assert segments["text"].to_pylist() == ["", "a"], by
        assert ours.expand(ours.rows_from_texts(["a"]).slice(0, 0), PLAIN).num_rows == 0


def test_a_cut_without_tokens_or_limit_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="need the tokens"):
        spec(by="turns").expand(spec().rows_from_texts(["a"]))
    with pytest.raises(ValueError, match="number of tokens"):
        cut("a", by="packed")
    assert limit_of(Segments(by="packed", max_tokens=99), PLAIN) == 99


def test_the_models_room_bounds_the_recipes_number(tiny: Callable[..., Path]) -> None:
    from categorize.nn.text_tokens import TokenizerTokens
    from categorize.nn.tokenizer import load_tokenizer, tokenize

    tokenizer = load_tokenizer(str(tiny("bert")))
    tokens = TokenizerTokens(tokenizer, 16)
    assert limit_of(Segments(by="tokens"), tokens) == limit_of(Segments(by="tokens", max_tokens=16), tokens) == 14
    parts = cut("good movie bad " * 30, tokens, by="tokens", max_tokens=16)
    assert tokenize(tokenizer, parts, 16).truncated == 0


def test_a_prompt_that_names_the_text_column_counts_it(counters: dict[str, TokenCounter]) -> None:
    from categorize.labels import LabelSet
    from categorize.nn.text_tokens import PromptTokens
    from categorize.prompts.tokens import PromptFormat
    from categorize.recipe.label_sections import LabelsSection
    from categorize.recipe.sections import PromptSection
    from tests.tiny_tokenizers import build_tokenizer

    labels = LabelSet.from_section(LabelsSection(names=["positive", "negative"]))
    section = PromptSection(template="{comment}")
    prompt = PromptFormat.from_section(section, labels, build_tokenizer("chatml"), 120)
    texts = ["good movie", "", "bad " * 9]
    assert PromptTokens(prompt).lengths(texts).tolist() == counters["prompt"].lengths(texts).tolist()


# ---------------------------------------------------------------- real documents
def rows_of(name: str) -> list[dict[str, Any]]:
    assert DATA is not None
    with gzip.open(Path(DATA) / name, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


@needs_data
def test_dialogues_are_cut_into_questions_that_the_user_asked() -> None:
    asked = total = 0
    for row in rows_of("crosswoz_domains_zh/validation.jsonl.gz"):
        parts = cut(row["text"], by="question_answer")
        assert squeezed("".join(parts)) == squeezed(row["text"])
        asked += sum(part.startswith("用户") for part in parts)
        total += len(parts)
    assert asked / total > 0.97


@needs_data
def test_meetings_are_packed_within_the_limit_and_whole() -> None:
    documents = [Document(row["id"], [row["text"]]) for row in rows_of("qmsum_meetings/test.jsonl.gz")[:6]]
    cuts: list[list[Segment]] = cut_documents(documents, Segments(by="packed", max_tokens=256), PLAIN)
    for document, segments in zip(documents, cuts, strict=True):
        lengths = PLAIN.lengths([segment.text for segment in segments])
        assert lengths.max() <= 256
        assert lengths[:-1].mean() > 200  # packed, not scattered
        assert squeezed("".join(segment.text for segment in segments)) == squeezed(document.pieces[0])
