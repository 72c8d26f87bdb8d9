"""Heads: what is saved predicts the same when loaded, padding changes nothing, and what cannot work is said in one
line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.methods.head.model import Head, build_head, load_trained_head
from categorize.nn.parameters import parameter_counts
from categorize.nn.tokenizer import ensure_pad_token, tokenize
from tests.recipes import SeqclsRecipe
from tests.tiny_models import ARCHITECTURES, DECODERS

Tiny = Callable[..., Path]
LABELS = LabelSet("single_label", (Label("a"), Label("b"), Label("c")))
TEXTS = [
    "good movie 好看",
    "bad",
    "t e x t 真的 太 好 看 了 a b c d e f g h",
    "讨厌 这 个 视频",
    "[SEP] </s> <|im_end|> good",
]


def recipe(folder: Path, **sections: Any) -> SeqclsRecipe:
    model = {"name_or_path": str(folder), "max_length": 64, **sections.pop("model", {})}
    return SeqclsRecipe.model_validate(
        {"kind": "seqcls", "name": "x", "data": {"source": "x"}, "model": model, **sections}
    )


def shake(head: Head) -> None:
    """As training would: every trained weight moves."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in head.model.parameters():
            if parameter.requires_grad:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)


def logits(head: Head, side: str | None = "right") -> np.ndarray[Any, Any]:
    """[texts, labels]: in one padded batch, or one by one where `side` is None."""
    head.model.eval()
    tokens = tokenize(head.tokenizer, TEXTS, 64)
    rows = [tokens[i] for i in range(len(tokens))]
    width = max(map(len, rows))
    pad = head.model.config.pad_token_id
    results = []
    with torch.no_grad():
        if side is None:
            for row in rows:
                ids = torch.tensor(row[None].astype(np.int64))
                results.append(head.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits)
        else:
            ids, mask = torch.full((len(rows), width), pad), torch.zeros((len(rows), width), dtype=torch.int64)
            for i, row in enumerate(rows):
                at = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
                ids[i, at], mask[i, at] = torch.tensor(row.astype(np.int64)), 1
            results.append(head.model(input_ids=ids, attention_mask=mask).logits)
    return torch.cat(results).numpy()


@pytest.mark.parametrize("adapter", [None, {"type": "lora"}, {"type": "dora"}], ids=["full", "lora", "dora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_reloaded_head_predicts_the_same(
    tiny: Tiny, tmp_path: Path, architecture: str, adapter: dict[str, str] | None
) -> None:
    """Pooler, pre_classifier and other new modules included, which adapters lose elsewhere (peft#2171)."""
    head = build_head(recipe(tiny(architecture), adapter=adapter), LABELS)
    before_training = logits(head)
    shake(head)
    expected = logits(head)
    assert np.abs(expected - before_training).max() > 1e-3
    head.model.save_pretrained(tmp_path)
    head.tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(99)  # another random head would show
    reloaded = load_trained_head(str(tmp_path), LABELS, head.settings)
    np.testing.assert_array_equal(logits(reloaded), expected)


@pytest.mark.parametrize("architecture", ["bert", "deberta", "modernbert", "qwen2"])
def test_a_reloaded_linear_probe_predicts_the_same_and_leaves_the_base_alone(
    tiny: Tiny, tmp_path: Path, architecture: str
) -> None:
    head = build_head(recipe(tiny(architecture), model={"freeze": True}), LABELS)
    trained, total = parameter_counts(head.model)
    assert trained < total / 5
    names = [name for name, p in head.model.named_parameters() if p.requires_grad]
    assert all(name.startswith(tuple(head.settings.head_modules)) for name in names)
    shake(head)
    head.model.save_pretrained(tmp_path)
    head.tokenizer.save_pretrained(tmp_path)
    np.testing.assert_array_equal(logits(load_trained_head(str(tmp_path), LABELS, head.settings)), logits(head))


@pytest.mark.parametrize("kind", ["prompt", "p_tuning", "prefix"])
@pytest.mark.parametrize("architecture", DECODERS)
def test_a_learned_prompt_before_a_padded_text_reads_its_last_token(tiny: Tiny, architecture: str, kind: str) -> None:
    """transformers pools the last position, padding or not, where it is given embeddings."""
    head = build_head(recipe(tiny(architecture), adapter={"type": kind, "num_virtual_tokens": 3}), LABELS)
    shake(head)
    np.testing.assert_allclose(logits(head, "right"), logits(head, None), atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_does_not_change_a_prediction(tiny: Tiny, architecture: str) -> None:
    head = build_head(recipe(tiny(architecture)), LABELS)
    shake(head)
    alone = logits(head, None)
    np.testing.assert_allclose(logits(head, "right"), alone, atol=2e-5)
    if architecture in DECODERS:  # encoders with absolute positions are defined for right padding
        np.testing.assert_allclose(logits(head, "left"), alone, atol=2e-5)


@pytest.mark.parametrize("architecture", ["qwen2", "llama", "mistral", "gemma"])
def test_a_decoder_without_a_pad_token_gets_one_and_its_config_knows_it(tiny: Tiny, architecture: str) -> None:
    head = build_head(recipe(tiny(architecture, pad=False)), LABELS)
    assert head.tokenizer.pad_token_id is not None
    assert head.model.config.pad_token_id == head.tokenizer.pad_token_id
    np.testing.assert_allclose(logits(head, "right"), logits(head, None), atol=2e-5)


POOLED = [name for name in ARCHITECTURES if name not in ("t5", "bart")]


@pytest.mark.parametrize("adapter", [None, {"type": "lora"}], ids=["full", "lora"])
@pytest.mark.parametrize("architecture", POOLED)
def test_a_head_on_the_mean_is_reloaded_as_such_and_does_not_see_padding(
    tiny: Tiny, tmp_path: Path, architecture: str, adapter: dict[str, str] | None
) -> None:
    head = build_head(recipe(tiny(architecture), adapter=adapter, model={"pooling": "mean"}), LABELS)
    shake(head)
    expected = logits(head)
    assert np.abs(logits(head, None) - expected).max() < 1e-4
    head.model.save_pretrained(tmp_path)
    head.tokenizer.save_pretrained(tmp_path)
    again = load_trained_head(str(tmp_path), LABELS, head.settings)
    assert np.array_equal(logits(again), expected)


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "modernbert", "qwen2"])
def test_a_head_on_the_mean_reads_the_mean_of_the_last_hidden_states(tiny: Tiny, architecture: str) -> None:
    """The classifier alone, applied to the mean that was computed by hand from the base model without a head."""
    from transformers import AutoModel

    head = build_head(recipe(tiny(architecture), model={"pooling": "mean"}), LABELS)
    seen: list[torch.Tensor] = []
    output = head.model.classifier if hasattr(head.model, "classifier") else head.model.score
    first = {"distilbert": "pre_classifier", "modernbert": "head"}.get(architecture)
    reads = getattr(head.model, first) if first else output
    reads.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    head.model.eval()
    base = AutoModel.from_pretrained(tiny(architecture)).eval()
    ids = torch.tensor([tokenize(head.tokenizer, TEXTS[:1], 64)[0].astype(np.int64)])
    with torch.no_grad():
        head.model(input_ids=ids, attention_mask=torch.ones_like(ids))
        expected = base(input_ids=ids).last_hidden_state.mean(1)
    read = seen[0] if seen[0].dim() == 2 else seen[0][:, -1]
    assert torch.allclose(read, expected, atol=1e-5)


def test_mean_pooling_of_an_encoder_decoder_is_refused(tiny: Tiny) -> None:
    with pytest.raises(UserError, match=r"model.pooling: mean: bart is an encoder-decoder"):
        build_head(recipe(tiny("bart"), model={"pooling": "mean"}), LABELS)


def test_a_tokenizer_that_cannot_pad_is_refused_in_one_line() -> None:
    from tokenizers import Tokenizer, models
    from transformers import LlamaConfig, PreTrainedTokenizerFast

    bare = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE({"a": 0}, [])), name_or_path="bare")
    with pytest.raises(UserError, match="bare: the tokenizer has no pad, unknown or end token") as error:
        ensure_pad_token(bare, LlamaConfig())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["./no/such/folder", "no-such-owner/no-such-model", "bert-base-of-nowhere"])
def test_a_missing_model_is_named_in_one_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        build_head(recipe(Path("x"), model={"name_or_path": name}), LABELS)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_labels_stand_in_the_config_in_the_order_of_the_outputs(tiny: Tiny) -> None:
    head = build_head(recipe(tiny("bert")), LABELS)
    assert head.model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert head.model.config.label2id == {"a": 0, "b": 1, "c": 2}


def test_a_text_that_spells_special_tokens_is_read_as_plain_characters(tiny: Tiny) -> None:
    tokenizer = build_head(recipe(tiny("bert")), LABELS).tokenizer
    ids = tokenize(tokenizer, ["good [SEP] bad"], 64)[0].tolist()
    assert ids.count(tokenizer.sep_token_id) == 1
    assert ids[-1] == tokenizer.sep_token_id


def test_cut_texts_are_counted_and_a_text_that_just_fits_is_not(tiny: Tiny) -> None:
    tokenizer = build_head(recipe(tiny("bert")), LABELS).tokenizer
    tokens = tokenize(tokenizer, ["a b c d", "a b c d e", "a", ""], 6)
    assert tokens.truncated == 1
    assert tokens.lengths.tolist() == [6, 6, 3, 2]
