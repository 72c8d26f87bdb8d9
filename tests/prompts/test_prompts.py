"""Prompts: training and use see the same tokens, answers are whole and end, texts cannot break out of their place."""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.prompts.messages import SYSTEMS, PromptSettings, number
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.sections import PromptSection
from categorize.training.sft_trainer import PromptCollator, PromptRows
from tests.tiny_tokenizers import ENDS, SPECIAL, TEMPLATES, build_tokenizer

LABELS = LabelSet(
    "single_label",
    (Label("positive", "likes it"), Label("negative"), Label("好评"), Label("social"), Label("social presence")),
)
MOODS = LabelSet("multi_label", (Label("good"), Label("bad"), Label("late")))
SCORE = LabelSet("regression", (Label("score"),))
TEXT = st.text(st.characters(codec="utf-8"), max_size=40)


def prompt_format(
    chat: str = "chatml", label_set: LabelSet = LABELS, max_length: int = 512, **values: Any
) -> PromptFormat:
    return PromptFormat(PromptSettings(SYSTEMS[label_set.task], **values), label_set, build_tokenizer(chat), max_length)


FORMATS = {name: prompt_format(name) for name in TEMPLATES}


def reloaded(prompt: PromptFormat, folder: Path) -> PromptFormat:
    """As prediction has it: from `prompt.json` and the tokenizer that was saved beside it."""
    from categorize.nn.tokenizer import load_tokenizer

    (folder / "prompt.json").write_text(json.dumps(prompt.to_dict(), ensure_ascii=False), encoding="utf-8")
    prompt.tokenizer.save_pretrained(folder)
    data = json.loads((folder / "prompt.json").read_text(encoding="utf-8"))
    return PromptFormat.from_dict(data, prompt.label_set, load_tokenizer(str(folder)))


# ---------------------------------------------------------------- answers
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_loss_is_on_the_answer_and_its_end_alone(template: str) -> None:
    prompt = FORMATS[template]
    tokenizer = prompt.tokenizer
    rows = [
        prompt.encode({"text": text}, [name]) for text, name in zip(["a", "good movie"], LABELS.names, strict=False)
    ]
    items = PromptRows(rows, np.full(2, 2.0))
    batch = PromptCollator(tokenizer.pad_token_id, 8)([items[i] for i in range(2)])
    assert batch["input_ids"].shape[1] % 8 == 0
    for i, (row, name) in enumerate(zip(rows, LABELS.names, strict=False)):
        labels = batch["labels"][i].tolist()
        start, end = len(row.prompt_ids), len(row)
        assert labels[:start] == [-100] * start
        assert tuple(labels[start:end]) == row.completion_ids
        assert labels[end:] == [-100] * (len(labels) - end)
        assert tokenizer.decode(row.completion_ids).strip() == name + ENDS[template]
        assert row.completion_ids[-1] == prompt.end_id == tokenizer.convert_tokens_to_ids(ENDS[template])
        assert batch["loss_weights"][i] == 2.0 * len(row.completion_ids)
    assert prompt.end_id != tokenizer.pad_token_id


@pytest.mark.parametrize("template", ["chatml", "llama3", "gemma"])
def test_prompt_and_answer_are_what_the_chat_template_makes_of_them(template: str) -> None:
    """Token by token, up to the end of the answer's turn."""
    prompt = FORMATS[template]
    row = prompt.encode({"text": "good movie"}, ["social presence"])
    system = SYSTEMS["single_label"].replace(
        "{labels}", "- positive (likes it)\n- negative\n- 好评\n- social\n- social presence"
    )
    turns = [{"role": "system", "content": system}, {"role": "user", "content": "good movie"}]
    if template == "gemma":  # knows no system role: the instruction opens the first turn
        turns = [{"role": "user", "content": f"{system}\n\ngood movie"}]
    turns.append({"role": "assistant", "content": "social presence"})
    text = prompt.tokenizer.apply_chat_template(turns, tokenize=False)
    whole = prompt.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tuple(whole[: len(row)]) == row.prompt_ids + row.completion_ids
    assert (system in prompt._head[0]) == (template != "gemma"), "the instruction is tokenized once"
    assert prompt.tokenizer.decode(whole[len(row) :]) in ("", "\n")


def test_an_instruction_that_a_template_would_leave_out_opens_the_first_turn() -> None:
    """The first templates of Phi-3 pass over a system role without a word: the model would never learn its labels."""
    tokenizer = build_tokenizer("chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace(
        "{% for m in messages %}", "{% for m in messages if m['role'] != 'system' %}"
    )
    shots = ({"text": "one", "label": "negative"},)
    prompt = PromptFormat(PromptSettings(SYSTEMS["single_label"], shots=shots), LABELS, tokenizer, 512)
    text = prompt.render({"text": "good movie"})
    assert "Read the text and answer with the one label" in text and "- social presence" in text
    assert text.count("<|im_start|>user") == 2 and "one<|im_end|>" in text and "good movie<|im_end|>" in text
    assert prompt.end_id == tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_an_answer_stands_behind_the_thinking_that_a_template_opens() -> None:
    tokenizer = build_tokenizer("chatml")
    tokenizer.chat_template = tokenizer.chat_template.replace("assistant\n", "assistant\n<think>\n")
    prompt = PromptFormat(PromptSettings(SYSTEMS["single_label"]), LABELS, tokenizer, 512)
    assert prompt.render({"text": "x"}).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    # As Qwen3's own template writes it where thinking is off.
    tokenizer.chat_template = tokenizer.chat_template.replace("<think>\n", "<think>\n\n</think>\n\n")
    assert prompt.render({"text": "x"}).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")


def test_a_prompt_without_a_chat_template_begins_with_the_begin_token_and_ends_before_a_space() -> None:
    prompt = FORMATS["plain"]
    row = prompt.encode({"text": "good movie"}, ["positive"])
    text = prompt.tokenizer.decode(row.prompt_ids)
    assert text.startswith("<bos>Read the text") and text.endswith("Text: good movie\nAnswer:")
    assert prompt.tokenizer.decode(row.completion_ids) == " positive<eos>"


@pytest.mark.parametrize("template", TEMPLATES)
def test_several_labels_stand_in_the_order_of_the_set(template: str) -> None:
    prompt = prompt_format(template, MOODS)
    assert prompt.answer(["late", "good"]) == "good, late"
    assert prompt.answer([]) == "none"


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12))
def test_a_score_is_written_without_an_exponent(score: float) -> None:
    text = number(score)
    assert set(text) <= set("-.0123456789") and text != "-0"
    assert float(text) == float(f"{score:.6g}")


@pytest.mark.parametrize("template", TEMPLATES)
def test_codes_are_one_token_each_and_survive_saving(template: str, tmp_path: Path) -> None:
    prompt = prompt_format(template, completion="codes")
    assert all(len(ids) == 2 for ids in prompt.completions.values())
    assert len(set(prompt.words)) == len(LABELS)
    assert f"- {prompt.words[0]}: positive (likes it)" in prompt.render({"text": "x"})
    again = reloaded(prompt, tmp_path)
    assert again.settings == prompt.settings
    assert again.completions == prompt.completions


def test_more_labels_than_codes_are_refused_in_one_line() -> None:
    many = LabelSet("single_label", tuple(Label(f"label {i}") for i in range(300)))
    with pytest.raises(UserError, match=r"prompt.completion: codes: the tokenizer has \d+ single-token codes for 300"):
        prompt_format("chatml", many, completion="codes")


@pytest.mark.parametrize("name", ["a, b", "none"])
def test_labels_that_a_list_of_answers_cannot_hold_are_refused(name: str) -> None:
    labels = LabelSet("multi_label", (Label(name), Label("c")))
    with pytest.raises(UserError, match=r"rename it or set prompt.completion: codes") as error:
        prompt_format("chatml", labels).check_answers()
    assert "\n" not in str(error.value)
    prompt_format("chatml", labels, completion="codes").check_answers()
    prompt_format("chatml", LabelSet("single_label", labels.labels)).check_answers()


def test_labels_that_the_tokenizer_cannot_tell_apart_are_refused() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = Tokenizer(models.WordLevel({"[UNK]": 0, "[EOS]": 1, "good": 2}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]", eos_token="[EOS]", pad_token="[UNK]")
    labels = LabelSet("single_label", (Label("good"), Label("bad"), Label("late")))
    with pytest.raises(UserError, match=r"'bad' and 'late' are the same tokens to this tokenizer"):
        PromptFormat(PromptSettings("x"), labels, tokenizer).check_answers()


# ---------------------------------------------------------------- training and use
@pytest.mark.parametrize("template", TEMPLATES)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXT, answer=st.sampled_from(LABELS.names))
def test_a_training_prompt_is_the_prediction_prompt_token_by_token(template: str, text: str, answer: str) -> None:
    prompt = FORMATS[template]
    learned, used = prompt.encode({"text": text}, [answer]), prompt.encode({"text": text})
    assert learned.prompt_ids == used.prompt_ids
    assert learned.truncated == used.truncated
    assert used.completion_ids == ()
    whole = prompt.tokenizer(prompt.render({"text": text}), add_special_tokens=False)["input_ids"]
    assert list(used.prompt_ids) == whole


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_saved_prompt_gives_the_same_tokens(template: str, tmp_path: Path) -> None:
    shots = ({"title": "one", "text": "great", "label": "positive"}, {"title": "", "text": "no", "label": "negative"})
    prompt = prompt_format(template, shots=shots, template="{title}: {text}")
    again = reloaded(prompt, tmp_path)
    for text in ("good", "讨厌 这个", "", "<|im_end|> x", "word " * 400):
        fields = {"text": text, "title": "a title"}
        assert again.encode(fields) == prompt.encode(fields)
        assert again.encode(fields, ["好评"]) == prompt.encode(fields, ["好评"])
    assert again.prefix_ids == prompt.prefix_ids
    assert again.end_id == prompt.end_id


def test_shots_are_answered_as_rows_are() -> None:
    section = PromptSection(completion="codes", shots=[{"text": "great", "label": "positive"}])
    prompt = PromptFormat.from_section(section, LABELS, build_tokenizer("chatml"), 512)
    assert f"great<|im_end|>\n<|im_start|>assistant\n{prompt.words[0]}<|im_end|>" in prompt.render({"text": "x"})
    with pytest.raises(UserError, match=r"label 'nice' is not in the label set"):
        prompt_format(shots=({"text": "x", "label": "nice"},))
    for shot, name in (({"text": "x"}, "label"), ({"text": "x", "label": "positive"}, "title")):
        with pytest.raises(UserError, match=rf"prompt.shots: .* has no {name}; give label and all"):
            prompt_format(shots=(shot,), template="{title}: {text}" if name == "title" else "{text}")


def test_the_answer_of_a_regression_s_shot_is_a_number_as_rows_have_it() -> None:
    prompt = prompt_format("chatml", SCORE, shots=({"text": "great", "label": " 4.50"},))
    assert "assistant\n4.5<|im_end|>" in prompt.render({"text": "x"})
    for wrong in ("nine", "nan", "", "inf"):
        with pytest.raises(UserError, match=rf"prompt.shots: label '{wrong}' is not a number"):
            prompt_format("chatml", SCORE, shots=({"text": "x", "label": wrong},))


# ---------------------------------------------------------------- templates
@pytest.mark.parametrize("template", TEMPLATES)
def test_braces_in_instructions_labels_shots_and_rows_are_text(template: str) -> None:
    """Else a row's text, or a shot's answer, would enter the instruction."""
    braces = "{row} {answer} {system} {shots} {text} {labels}"
    labels = LabelSet("single_label", (Label("good", braces), Label("bad")))
    prompt = PromptFormat(
        PromptSettings(
            f"Say it. {braces.removesuffix(' {labels}')}\n{{labels}}", shots=({"text": braces, "label": "bad"},)
        ),
        labels,
        build_tokenizer(template),
        512,
    )
    text = prompt.render({"text": f"SECRET {braces}"})
    assert text.count("SECRET") == 1 and text.count("bad") == 2, "the row once; the label in the list and in the shot"
    assert text.count("{row} {answer} {system} {shots} {text}") == 4 and text.count("{labels}") == 3


def test_a_template_names_any_column_and_doubles_braces_that_are_text() -> None:
    prompt = prompt_format(template='{{"review": "{Customer Review}", "on": "{the-date}", "as": "{text!r}"}}')
    assert prompt.columns == ["Customer Review", "text", "text!r", "the-date"]
    fields = {"Customer Review": "{text}", "the-date": "1 May", "text!r": "r", "text": "unused"}
    assert '{"review": "{text}", "on": "1 May", "as": "r"}' in prompt.render(fields)
    with pytest.raises(UserError, match=r"prompt.template: '\{text\} \{': a brace of no placeholder; write \{\{"):
        prompt_format(template="{text} {")


def test_the_template_of_an_older_run_is_read_as_it_was() -> None:
    """Braces around anything but a word were text."""
    data = prompt_format().to_dict()
    data["template"] = '{"t": "{text}", {{title}}} {text!r}'
    del data["braces"]
    older = PromptFormat.from_dict(data, LABELS, build_tokenizer("chatml"))
    assert '{"t": "a", {b}} {text!r}' in older.render({"text": "a", "title": "b"})
    assert PromptFormat.from_dict(older.to_dict(), LABELS, older.tokenizer).settings == older.settings


# ---------------------------------------------------------------- the shared prefix
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_prefix_is_the_longest_that_all_prompts_share(template: str) -> None:
    prompt = FORMATS[template]
    texts = ["a", "zebra", "中文", "7 days", "(so)", "é", "x y", "Ω", "\n"]
    rows = [prompt.encode({"text": text}) for text in texts]
    shared = [row for row in rows if row.prefix_ids]
    assert len(shared) >= 6
    assert {row.prefix_ids for row in shared} == {prompt.prefix_ids}
    assert len({row.row_ids[0] for row in shared}) > 1, "one token more is not shared"
    assert len(prompt.prefix_ids) > len(prompt.encode({"text": "a"})) / 2


def test_a_row_that_merges_with_the_prompt_keeps_its_whole_prompt() -> None:
    """`Text: ` and `go` are one token of this tokenizer."""
    prompt = FORMATS["plain"]
    row = prompt.encode({"text": "good movie"})
    assert row.prefix_ids == () and prompt.prefix_ids
    assert list(row.prompt_ids) == prompt.tokenizer(prompt.render({"text": "good movie"}))["input_ids"]
    assert prompt.encode({"text": "a"}).prefix_ids == prompt.prefix_ids


def test_a_template_without_the_row_leaves_something_behind_the_prefix() -> None:
    row = prompt_format(template="always the same").encode({"text": "x"})
    assert row.row_ids


# ---------------------------------------------------------------- texts that spell special tokens
def turns(prompt: PromptFormat, row: EncodedPrompt) -> list[int]:
    special = set(prompt.tokenizer.convert_tokens_to_ids(SPECIAL))
    return [token for token in row.prompt_ids if token in special]


@pytest.mark.parametrize("template", TEMPLATES)
@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(st.sampled_from([*SPECIAL, "<|im_", "end|>", "<", "|>", "<bos", "x"]), TEXT), max_size=6))
def test_a_text_cannot_end_its_turn(template: str, parts: list[str]) -> None:
    prompt = FORMATS[template]
    assert turns(prompt, prompt.encode({"text": "".join(parts)})) == turns(prompt, prompt.encode({"text": "a"}))


def test_fields_cannot_spell_a_special_token_together() -> None:
    prompt = prompt_format(template="{title}{text}")
    honest = turns(prompt, prompt.encode({"title": "a", "text": "b"}))
    assert turns(prompt, prompt.encode({"title": "<|im_", "text": "end|>"})) == honest
    around = prompt_format(template="<{text}>")
    assert turns(around, around.encode({"text": "|im_end|"})) == honest


def test_a_template_may_have_special_tokens_of_its_own() -> None:
    prompt = prompt_format(template="{title}<|eot_id|>{text}")
    row = prompt.encode({"title": "a", "text": "b <|eot_id|>"})
    assert row.prompt_ids.count(prompt.tokenizer.convert_tokens_to_ids("<|eot_id|>")) <= 1


# ---------------------------------------------------------------- length
@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("label_set", [LABELS, MOODS, SCORE], ids=["single", "multi", "score"])
def test_a_long_text_is_shortened_and_counted_and_its_answer_is_whole(template: str, label_set: LabelSet) -> None:
    prompt = prompt_format(template, label_set, max_length=140)
    gold: list[dict[str, Any]] = (
        [{"score": 3.25}, {"score": -12.5}]
        if label_set.is_regression
        else [{"gold": [name]} for name in label_set.names]
        + [{"gold": label_set.names[: 3 if label_set is MOODS else 1]}]
    )
    for text in ("word " * 300, "好看" * 300, "x" * 600):
        for answer in gold:
            row = prompt.encode({"text": text}, **answer)
            assert row.truncated
            assert len(row) <= 140
            whole = prompt.completion_ids(prompt.answer(answer.get("gold", ()), answer.get("score")))
            assert row.completion_ids == whole
            assert prompt.encode({"text": text}).prompt_ids == row.prompt_ids, "gold does not move the cut"
        kept = prompt.tokenizer.decode(row.row_ids)
        assert text[:20] in kept and len(row.prompt_ids) > 140 - prompt.answer_room - 8, "no more is cut than must be"
    assert not prompt.encode({"text": "short"}).truncated


def test_the_longest_column_is_shortened_where_the_template_has_no_text() -> None:
    prompt = prompt_format(template="{title}: {body}", max_length=160)
    row = prompt.encode({"text": "unused", "title": "a title", "body": "word " * 300}, ["negative"])
    assert row.truncated and len(row) <= 160
    assert "a title: word word" in prompt.tokenizer.decode(row.prompt_ids)


def test_a_row_whose_other_columns_are_too_long_is_shortened_too() -> None:
    """One long title in a million rows must not end a run."""
    prompt = prompt_format(template="{title} {text}", max_length=160)
    row = prompt.encode({"text": "x", "title": "word " * 300}, ["negative"])
    assert row.truncated and len(row) <= 160
    assert "word word" in prompt.tokenizer.decode(row.prompt_ids)
    assert row.completion_ids == prompt.completion_ids("negative")
    assert prompt.encode({"text": "x", "title": "word " * 300}).prompt_ids == row.prompt_ids


def test_a_column_that_is_not_there_and_an_instruction_that_does_not_fit_are_named() -> None:
    prompt = prompt_format(template="{title} {text}", max_length=160)
    with pytest.raises(UserError, match=r"\{title\} names no column; columns: \['text'\]"):
        prompt.encode({"text": "x"})
    with pytest.raises(UserError, match=r"instruction and answer take .* tokens, max_length is 20"):
        prompt_format(max_length=20)


def test_no_row_vanishes() -> None:
    """TRL drops rows whose answer was cut away (trl#6668)."""
    import pyarrow as pa

    from categorize.data.input_spec import InputSpec
    from categorize.methods.sft.fit import encode_rows

    texts = ["short", "word " * 500, "", "讨厌" * 400]
    rows = InputSpec().rows_from_texts(texts)
    gold = pa.array([["positive"], ["negative"], ["好评"], ["social presence"]], pa.list_(pa.string()))
    rows = rows.set_column(rows.schema.get_field_index("gold"), "gold", gold)
    encoded = encode_rows(prompt_format(max_length=140), rows)
    assert len(encoded) == 4
    assert [row.truncated for row in encoded] == [False, True, False, True]
    assert all(row.completion_ids for row in encoded)


# ---------------------------------------------------------------- templates of published models
FAMILIES = ["qwen2_5", "qwen3", "llama3", "llama3_2", "gemma", "gemma3", "phi3", "glm4moe", "gptoss", "cohere"]


def published(family: str) -> Any:
    """The test tokenizer with the chat template of a model family that TRL ships."""
    import trl

    template = (Path(trl.__file__).parent / "chat_templates" / f"{family}.jinja").read_text(encoding="utf-8")
    tokenizer = build_tokenizer("plain")
    tokenizer.add_tokens(sorted(set(re.findall(r"<\|\w+\|>", template))), special_tokens=True)
    tokenizer.chat_template = template
    return tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_of_published_templates_are_what_these_make_of_whole_conversations(family: str) -> None:
    tokenizer = published(family)
    prompt = PromptFormat(PromptSettings("Say it.\n{labels}"), MOODS, tokenizer, 4000)
    answered = prompt.render({"text": "good movie"}) + "bad" + tokenizer.decode([prompt.end_id])
    system = "Say it.\n- good\n- bad\n- late"
    turns = [{"role": "system", "content": system}, {"role": "user", "content": "good movie"}]
    if family == "gemma":
        turns = [{"role": "user", "content": f"{system}\n\ngood movie"}]
    turns.append({"role": "assistant", "content": "bad"})
    whole = tokenizer.apply_chat_template(turns, tokenize=False, enable_thinking=False)
    today = [datetime.date.today().strftime(form) for form in ("%d %b %Y", "%Y-%m-%d")]
    whole = whole.replace(today[0], "26 Jul 2024").replace(today[1], "2024-07-26")
    if family == "glm4moe":  # has no end of turn
        answered = answered.removesuffix("<eos>")
    assert whole.startswith(answered)
    row = prompt.encode({"text": "good movie"}, ["bad"])
    assert row.prompt_ids == prompt.encode({"text": "good movie"}).prompt_ids
    assert row.prompt_ids.count(tokenizer.bos_token_id) == whole.count("<bos>") <= 1


@pytest.mark.parametrize("family", ["llama3_2", "gptoss"])
def test_a_run_is_asked_the_same_on_every_day(family: str) -> None:
    """Their templates tell the model the date."""
    prompt = PromptFormat(PromptSettings("Say it."), MOODS, published(family), 4000)
    text = prompt.render({"text": "x"})
    assert ("Today Date: 26 Jul 2024" in text) or ("Current date: 2024-07-26" in text)


@pytest.mark.parametrize("family", ["idefics3", "llava_next"])
def test_a_template_that_cannot_ask_is_refused_in_one_line(family: str) -> None:
    with pytest.raises(UserError, match=r"its chat template cannot ask a question of plain text") as error:
        PromptFormat(PromptSettings("Say it."), MOODS, published(family), 4000)
    assert "\n" not in str(error.value)
