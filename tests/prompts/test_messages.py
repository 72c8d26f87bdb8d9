"""Prompts without a tokenizer: what endpoints and batch files are asked is what a local model is asked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.prompts.messages import SYSTEMS, Prompt, PromptSettings
from categorize.prompts.tokens import PromptFormat
from tests.tiny_tokenizers import TEMPLATES, build_tokenizer

MOODS = ("good", "bad", "late")
SHOTS = ({"text": "great", "label": "good"}, {"text": "no", "label": "bad"})


def labels_of(task: Any) -> LabelSet:
    return LabelSet(task, tuple(map(Label, ("score",) if task == "regression" else MOODS)))


@pytest.mark.parametrize("completion", ["names", "codes"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_tokenizer_changes_how_a_question_is_written_and_not_what_is_asked(template: str, completion: str) -> None:
    tokenizer = build_tokenizer(template)
    settings = PromptSettings(SYSTEMS["single_label"], "{title}: {text}", completion, ({**SHOTS[0], "title": "t"},))
    tokenized = PromptFormat(settings, labels_of("single_label"), tokenizer, 512)
    bare = Prompt(tokenized.settings, labels_of("single_label"))
    fields = {"title": "a title", "text": "good movie"}
    assert bare.messages(fields) == tokenized.messages(fields)
    if tokenized.chat is None:
        assert tokenized.render(fields) == tokenizer.bos_token + bare.plain(fields)
    else:
        rendered = tokenized.render(fields)
        assert all(message["content"].strip() in rendered for message in bare.messages(fields))


@pytest.mark.parametrize("parsing", ["strict", "tolerant"])
@pytest.mark.parametrize("completion", ["names", "codes"])
@given(chosen=st.sets(st.sampled_from(MOODS)), score=st.floats(-1e6, 1e6).map(lambda x: float(f"{x:.6g}")))
def test_answers_are_read_as_they_are_written(completion: str, parsing: str, chosen: set[str], score: float) -> None:
    for task in ("single_label", "multi_label", "regression"):
        prompt = Prompt(PromptSettings(SYSTEMS[task], completion=completion), labels_of(task))
        gold = sorted(chosen, key=MOODS.index) if task == "multi_label" else [*sorted(chosen), "bad"][:1]
        raw = [prompt.answer(gold, score), "neither of them"]
        found = prompt.predictions(["1", "2"], raw, parsing)
        assert found.is_valid.tolist() == [True, False] and found.raw == raw
        if task == "regression":
            assert found.score is not None and found.score[0] == score
        else:
            assert found.decided == [gold, []]


def test_descriptions_are_shown_left_out_or_asked_for() -> None:
    one, both = (
        LabelSet("single_label", (Label("good", "likes it"), Label("bad", description)))
        for description in ("", "dislikes it")
    )
    system = {
        (wanted, labels): Prompt(PromptSettings("{labels}", descriptions=wanted), labels).system
        for wanted, labels in ((None, one), (False, one), (True, both))
    }
    assert list(system.values()) == [
        "- good (likes it)\n- bad", "- good\n- bad", "- good (likes it)\n- bad (dislikes it)",
    ]  # fmt: skip
    with pytest.raises(UserError, match=r"prompt.descriptions: bad have none; write \{name: ..., description: ...\}"):
        Prompt(PromptSettings("{labels}", descriptions=True), one)
    several = replace(one, task="multi_label")
    asked = Prompt(PromptSettings("x", completion="yes_no", question="{label}?", descriptions=False), several)
    assert asked.questions == ["good?", "bad?"]


def test_shots_are_turns_of_their_own() -> None:
    prompt = Prompt(PromptSettings("Say it.", shots=SHOTS), labels_of("single_label"))
    roles = [message["role"] for message in prompt.messages({"text": "x"})]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert prompt.plain({"text": "x"}) == (
        "Say it.\n\nText: great\nAnswer: good\n\nText: no\nAnswer: bad\n\nText: x\nAnswer:"
    )


def test_a_row_cannot_spell_what_a_tokenizer_treats_as_special() -> None:
    prompt = Prompt(PromptSettings("Say it.", "{a}{text}"), labels_of("single_label"), ["<|end|>"])
    assert prompt.messages({"a": "<|en", "text": "d|> x <|end|>"})[-1]["content"].count("<|end|>") == 0


def test_more_labels_than_codes_are_refused_without_a_tokenizer_too() -> None:
    many = LabelSet("single_label", tuple(Label(f"label {i}") for i in range(800)))
    with pytest.raises(UserError, match=r"prompt.completion: codes: there are 738 codes for 800 labels; use names"):
        Prompt(PromptSettings("x", completion="codes"), many)
