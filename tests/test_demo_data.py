"""The demo's sample and the builder of its models: what the README of demo/ promises."""

from __future__ import annotations

import ast
import random
import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demo import build_models, generate, grammar, noise

DEMO = Path(generate.__file__).parent


@pytest.fixture(scope="module")
def comments() -> list[generate.Comment]:
    return generate.generate()


def test_the_same_seed_gives_the_same_rows_and_another_seed_others(comments):
    assert generate.generate(generate.DEFAULT_SEED) == comments
    assert generate.generate(generate.DEFAULT_SEED + 1) != comments


def test_the_committed_sheet_holds_the_rows_of_the_default_seed(comments):
    from python_calamine import CalamineWorkbook

    header, *rows = CalamineWorkbook.from_path(generate.DEFAULT_OUTPUT).get_sheet_by_index(0).to_python()
    assert tuple(header) == generate.COLUMNS
    expected = [[c.custom_id, c.video_id, c.message, "" if c.class_code is None else c.class_code] for c in comments]
    assert rows == expected
    assert generate.DEFAULT_OUTPUT.stat().st_size < 500_000


def test_a_written_sheet_reads_back_unchanged(tmp_path):
    from python_calamine import CalamineWorkbook

    messages = [" 前面有空格", "233", "1e5", "前排  ", "-1", "nan", "❤️ＹＹＤＳ"]
    sheet = tmp_path / "new" / "sheet.xlsx"
    generate.write_xlsx([generate.Comment(f"c{i}", "v001", m, 0, 0) for i, m in enumerate(messages)], sheet)
    rows = CalamineWorkbook.from_path(sheet).get_sheet_by_index(0).to_python()[1:]
    assert [row[2] for row in rows] == messages


def test_rows_are_counted_named_and_unbalanced_as_declared(comments):
    labelled = [c for c in comments if c.is_labelled]
    assert len(labelled) == generate.LABELLED_ROWS
    assert len({c.custom_id for c in comments}) == len(comments)
    unlabelled = Counter(c.class_code for c in comments if not c.is_labelled)
    assert set(unlabelled) == {None, -1}
    assert min(unlabelled.values()) > 100
    shares = Counter(c.class_code for c in labelled)
    assert set(shares) == {0, 1, 2, 3}
    assert shares[0] > shares[2] > shares[1] > shares[3] > 0.12 * len(labelled)


def test_the_sample_is_neither_trivial_nor_hopeless(comments):
    figures = generate.measure(comments)
    assert 0.75 < figures.tfidf_accuracy < 0.92
    assert figures.majority_accuracy < 0.45
    assert 0.04 <= figures.label_noise <= 0.06


def test_comments_have_the_surface_of_danmu(comments):
    texts = [c.message for c in comments]
    repeats = len(texts) - len({generate.normalized(text) for text in texts})
    assert 0.10 < repeats / len(texts) < 0.30
    kinds = {
        "full-width": sum(any("\uff10" <= char <= "\uff5a" for char in text) for text in texts),
        "latin": sum(any(char.isascii() and char.isalpha() for char in text) for text in texts),
        "emoji": sum(any(unicodedata.category(char) == "So" for char in text) for text in texts),
        "traditional": sum(any(char in "這說覺導員戰術講體現實場邊" for char in text) for text in texts),
        "laughter": sum(any(laugh in text for laugh in ("哈哈", "233", "www")) for text in texts),
    }
    assert {kind: count for kind, count in kinds.items() if count < 50} == {}


def test_every_polar_word_occurs_in_positive_negative_and_mild_comments(comments):
    seen = {
        code: "\n".join(c.message for c in comments if c.true_code == code)
        for code in (grammar.POSITIVE, grammar.MILD, grammar.NEGATIVE)
    }
    missing = [(w, code) for w in grammar.PRAISE + grammar.CRITICISM for code, text in seen.items() if w not in text]
    assert missing == []


@settings(deadline=None)
@given(st.integers(min_value=0), st.sampled_from(grammar.TOPICS), st.integers(min_value=0, max_value=3))
def test_no_message_is_empty_or_a_formula(seed, topic, code):
    rng = random.Random(seed)
    message = noise.roughen(rng, grammar.compose(rng, topic, code))
    assert message.strip()
    assert not message.strip().startswith("=")
    assert "{" not in message  # a frame that was not filled


def test_the_demo_stands_without_the_library():
    for source in DEMO.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0] == "categorize"], source


def test_the_builder_reads_every_distinct_message_and_no_class(comments):
    assert build_models.read_messages(generate.DEFAULT_OUTPUT) == list(
        dict.fromkeys(c.message.strip() for c in comments)
    )


def test_the_encoders_vocabulary_is_the_same_each_time(comments):
    messages = list(dict.fromkeys(c.message.strip() for c in comments))
    first, second = (build_models._encoder_tokenizer(messages) for _ in range(2))
    assert first.get_vocab() == second.get_vocab()
    assert all(first.unk_token_id not in ids for ids in first(messages)["input_ids"])


def test_no_prompt_of_the_pretraining_text_answers_the_task():
    messages = ["前排", "她好帅"]
    conversations = build_models.instruction_texts(messages, random.Random(0))
    answered = [c for c in conversations if c[-1]["role"] == "assistant"]
    assert 0 < len(answered) < len(conversations)
    assert not [c for c in answered if any(m in turn["content"] for turn in c for m in messages)]
    assert {c[-1]["content"] for c in answered} == set(build_models.LABEL_NAMES) == set(grammar.CLASS_NAMES)


@settings(deadline=None)  # the first example imports torch
@given(
    st.lists(st.integers(min_value=1, max_value=40), min_size=1, max_size=60),
    st.integers(min_value=40, max_value=200),
    st.integers(min_value=0, max_value=5),
)
def test_an_epoch_batches_every_text_once_within_the_budget(lengths, budget, seed):
    import torch

    from demo.pretraining import batches

    sequences = [[row + 1] * length for row, length in enumerate(lengths)]
    seen: list[list[int]] = []
    for ids, mask in batches(sequences, budget, 0, torch.Generator().manual_seed(seed)):
        assert ids.numel() <= budget
        assert torch.equal(mask == 0, ids == 0)
        seen += [line[keep == 1].tolist() for line, keep in zip(ids, mask, strict=True)]
    assert sorted(seen) == sorted(sequences)


def test_masking_hides_the_tokens_it_asks_for_and_leaves_special_ones():
    import torch

    from demo.pretraining import IGNORED, masked_objective

    ids = torch.randint(5, 50, (64, 30), generator=torch.Generator().manual_seed(1))
    ids[:, 0], ids[:, 20:] = 2, 0
    attention_mask = torch.ones_like(ids)
    attention_mask[:, 20:] = 0
    inputs, labels = masked_objective(4, [0, 2, 4], 50)(ids, attention_mask, torch.Generator().manual_seed(0))
    assert (labels[:, :1] == ids[:, 1:20]).any(dim=1).all()  # [CLS] is asked for a token of its own text
    labels[:, 0] = IGNORED
    chosen = labels != IGNORED
    assert torch.equal(labels[chosen], ids[chosen])
    assert torch.equal(inputs[~chosen], ids[~chosen])
    assert not chosen[:, 20:].any()
    assert 0.15 < chosen[:, 1:20].float().mean() < 0.25
    assert 0.7 < (inputs[chosen] == 4).float().mean() < 0.9


def test_both_models_load_through_the_auto_classes_and_tokenize_as_they_were_trained(tmp_path, comments):
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, AutoTokenizer

    from demo.pretraining import PretrainingSettings

    messages = [c.message for c in comments[:300]]
    brief = PretrainingSettings(epochs=2, learning_rate=3e-3, batch_tokens=1024)
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    encoder = build_models.build_encoder(messages, tmp_path / "encoder", small, brief)
    decoder = build_models.build_decoder(messages, tmp_path / "decoder", {**small, "num_key_value_heads": 1}, brief)
    for name, result, auto in (
        ("encoder", encoder, AutoModelForMaskedLM),
        ("decoder", decoder, AutoModelForCausalLM),
    ):
        assert result.loss_after < result.loss_before
        assert (tmp_path / name / "model.safetensors").is_file()
        tokenizer = AutoTokenizer.from_pretrained(tmp_path / name)
        assert tokenizer.is_fast
        encoded = tokenizer("她一点也不业余", return_tensors="pt")
        pieces = tokenizer.convert_ids_to_tokens(tokenizer("她一点也不业余", add_special_tokens=False)["input_ids"])
        assert len(pieces) == 7  # one token a character, across word boundaries
        model = auto.from_pretrained(tmp_path / name)
        assert model.config.pad_token_id == tokenizer.pad_token_id
        assert torch.isfinite(model(**encoded).logits).all()
        assert sum(p.numel() for p in model.parameters()) == result.parameters
    assert tokenizer.pad_token != tokenizer.eos_token
    assert tokenizer.decode(tokenizer("姐姐yyds 👍")["input_ids"]) == "姐姐yyds 👍"
    turns = [{"role": "system", "content": "Classify."}, {"role": "user", "content": "前排"}]
    prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert (
        prompt == "<|im_start|>system\nClassify.<|im_end|>\n<|im_start|>user\n前排<|im_end|>\n<|im_start|>assistant\n"
    )
    assert tokenizer(prompt)["input_ids"].count(tokenizer.eos_token_id) == 2


def test_a_current_build_is_kept_and_a_foreign_folder_refused(tmp_path, capsys):
    expected = build_models.fingerprint(build_models.read_messages(build_models.SAMPLE))
    ours = tmp_path / "models"
    ours.mkdir()
    (ours / build_models.MARK).write_text(f'{{"fingerprint": "{expected}"}}', encoding="utf-8")
    build_models.build(ours)
    assert "up to date" in capsys.readouterr().out
    (ours / build_models.MARK).write_text('{"fingerprint": "of another text"}', encoding="utf-8")
    assert not build_models.is_current(ours, expected)

    theirs = tmp_path / "thesis"
    theirs.mkdir()
    (theirs / "chapter1.txt").write_text("precious", encoding="utf-8")
    with pytest.raises(SystemExit, match="thesis: holds something else"):
        build_models.build(theirs, force=True)
    assert (theirs / "chapter1.txt").read_text(encoding="utf-8") == "precious"
