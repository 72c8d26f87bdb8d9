"""A head that begins as the output layer's rows of label tokens gives, untrained, what the causal model answers."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from categorize.engines.label_scoring import TorchLabelScorer
from categorize.engines.shared_prefix import SharedPrefix
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.methods.head.model import Head, build_head, load_trained_head
from categorize.methods.head.predictor import HeadPredictor, encode_texts
from categorize.methods.sft.model import load_causal
from categorize.recipe.adapter_sections import QuantizationSection
from tests.models.test_head import recipe, shake
from tests.recipes import load_recipe
from tests.session.collections import write_recipe
from tests.tiny_models import DECODERS, build_tiny, build_wordpiece

Tiny = Callable[..., Path]
LABELS = LabelSet("single_label", (Label("a", "the first"), Label("b"), Label("c")))
ROWS = [{"text": text} for text in ("good movie 好看", "bad", "t e x t 真的 太 好 看 了", "讨厌 这 个 视频")]


def built(folder: Path, label_set: LabelSet = LABELS, completion: str = "codes", **sections: Any) -> Head:
    model = {"head_init": "label_tokens", "max_length": 400, **sections.pop("model", {})}
    return build_head(recipe(folder, model=model, prompt={"completion": completion}, **sections), label_set)


def head_logits(head: Head, label_set: LabelSet = LABELS) -> np.ndarray[Any, Any]:
    """[rows, labels], by the engine of predicting."""
    predictor = HeadPredictor(head, label_set)
    return predictor.engine.outputs(encode_texts(head, ROWS))


def next_token_logits(folder: Path, head: Head, quantization: QuantizationSection | None = None) -> Any:
    """Of the causal model where each row's prompt ends, one row at a time, [rows, vocabulary]."""
    causal = load_causal(str(folder), dtype=torch.float32, quantization=quantization).model.eval()
    assert head.prompt is not None
    with torch.no_grad():
        last = [causal(input_ids=torch.tensor([head.prompt.encode(row).prompt_ids])).logits[0, -1] for row in ROWS]
    return torch.stack(last).float().numpy()


@pytest.mark.parametrize("adapter", [None, {"type": "lora"}], ids=["full", "lora"])
@pytest.mark.parametrize("chat", [True, False], ids=["chat", "plain"])
@pytest.mark.parametrize("architecture", DECODERS)
def test_an_untrained_head_gives_the_next_token_logits_of_its_labels(
    tiny: Tiny, architecture: str, chat: bool, adapter: dict[str, str] | None
) -> None:
    folder = tiny(architecture, chat=chat)
    head = built(folder, adapter=adapter)
    assert head.prompt is not None
    codes = [ids[:-1] for ids in head.prompt.completions.values()]
    assert {len(ids) for ids in codes} == {1}
    expected = next_token_logits(folder, head)[:, [ids[0] for ids in codes]]
    np.testing.assert_allclose(head_logits(head), expected, rtol=1e-4, atol=1e-5)


def test_it_begins_as_the_probabilities_that_scoring_gives(tiny: Tiny) -> None:
    from categorize.recipe.decision_sections import CausalPredictionSection

    folder = tiny("qwen2", chat=True)
    head = built(folder)
    assert head.prompt is not None
    causal = load_causal(str(folder), dtype=torch.float32)
    scorer = TorchLabelScorer(head.prompt, CausalPredictionSection(), SharedPrefix(causal.model, torch.device("cpu")))
    scored = softmax(scorer.outputs([head.prompt.encode(row) for row in ROWS]), axis=1)
    np.testing.assert_allclose(softmax(head_logits(head), axis=1), scored, rtol=1e-4)


def test_the_embedding_matrix_stands_in_where_it_is_the_output_layer(tmp_path: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    config = AutoConfig.from_pretrained(build_tiny(tmp_path / "untied", "qwen2"))
    config.tie_word_embeddings = True
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "tied")
    AutoTokenizer.from_pretrained(tmp_path / "untied").save_pretrained(tmp_path / "tied")
    head = built(tmp_path / "tied")
    assert head.prompt is not None
    codes = [ids[0] for ids in head.prompt.completions.values()]
    expected = next_token_logits(tmp_path / "tied", head)[:, codes]
    np.testing.assert_allclose(head_logits(head), expected, rtol=1e-4, atol=1e-5)


def test_the_output_layer_is_found_in_one_of_several_files(tiny: Tiny, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    source = tiny("llama")
    shutil.copytree(source, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.safetensors"))
    AutoModelForCausalLM.from_pretrained(source).save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    np.testing.assert_array_equal(head_logits(built(tmp_path)), head_logits(built(source)))


def test_a_label_of_several_tokens_begins_as_their_mean(tiny: Tiny) -> None:
    folder = tiny("qwen2", chat=True)
    named = LabelSet("single_label", (Label("good"), Label("bad one")))
    head = built(folder, named, "names")
    assert head.prompt is not None
    logits = next_token_logits(folder, head)
    expected = np.stack([logits[:, list(ids[:-1])].mean(1) for ids in head.prompt.completions.values()], axis=1)
    assert min(map(len, head.prompt.completions.values())) > 3  # the end token among them
    np.testing.assert_allclose(head_logits(head, named), expected, rtol=1e-4, atol=1e-5)
    assert head.note is not None and "good from 'g' 'o' 'o' 'd', bad one from" in head.note


def test_of_several_labels_a_row_the_sigmoids_begin_around_one_half(tiny: Tiny) -> None:
    folder, several = tiny("qwen2", chat=True), LabelSet("multi_label", LABELS.labels)
    head = built(folder, several)
    assert head.prompt is not None
    logits = next_token_logits(folder, head)[:, [ids[0] for ids in head.prompt.completions.values()]]
    expected = logits - logits.mean(1, keepdims=True)
    np.testing.assert_allclose(head_logits(head, several), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bits", [None, "load_in_4bit"])
def test_it_is_trained_saved_and_reloaded_like_any_head(tiny: Tiny, tmp_path: Path, bits: str | None) -> None:
    folder = tiny("qwen2", chat=True, width=64)
    quantization = {bits: True} if bits else None
    head = built(folder, adapter={"type": "lora"}, quantization=quantization)
    assert head.prompt is not None
    section = QuantizationSection(**quantization) if quantization else None
    codes = [ids[0] for ids in head.prompt.completions.values()]
    expected = next_token_logits(folder, head, section)[:, codes]
    np.testing.assert_allclose(head_logits(head), expected, rtol=2e-2 if bits else 1e-4, atol=2e-2 if bits else 1e-5)
    assert any(p.requires_grad for name, p in head.model.named_parameters() if "score" in name)
    shake(head)
    trained = head_logits(head)
    head.model.save_pretrained(tmp_path)
    head.tokenizer.save_pretrained(tmp_path)
    again = load_trained_head(str(tmp_path), LABELS, head.settings)
    again.prompt = head.prompt
    np.testing.assert_allclose(head_logits(again), trained, atol=1e-6)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "bart"])
def test_a_model_without_the_output_layer_of_a_decoder_is_refused(tiny: Tiny, architecture: str) -> None:
    with pytest.raises(
        UserError, match=rf"{architecture}\) is not a decoder with the output layer of a language model"
    ):
        built(tiny(architecture), model={"max_length": 120})


def test_a_label_that_the_tokenizer_does_not_know_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    shutil.copytree(tiny("llama"), tmp_path, dirs_exist_ok=True)
    build_wordpiece(tmp_path)
    with pytest.raises(UserError, match="label '@' has no token of its own in this tokenizer; rename it"):
        built(tmp_path, LabelSet("single_label", (Label("good"), Label("@"))), "names")
    with pytest.raises(UserError, match="'good @' and 'good #' are the same tokens to this tokenizer"):
        built(tmp_path, LabelSet("single_label", (Label("good @"), Label("good #"))), "names")


@pytest.mark.parametrize(
    ("sections", "said"),
    [
        ({"prompt": None}, "label_tokens begins as what the model would answer to a prompt; add the section prompt"),
        ({"model": {"pooling": "mean"}}, "reads the prompt's last token, but model.pooling is mean; keep one"),
        ({"model": {"is_causal": False}}, "needs a decoder that reads from left to right"),
        ({"labels": {"task": "regression", "names": None}}, "is for labels, but labels.task is regression"),
        (
            {"labels": {"task": "ordinal"}, "training": {"loss": "corn"}},
            "needs an output for each label, which loss corn does not have",
        ),
    ],
)
def test_what_cannot_begin_as_answers_is_refused_at_its_key(
    tmp_path: Path, sections: dict[str, Any], said: str
) -> None:
    model = {"name_or_path": "some/decoder", "head_init": "label_tokens", **sections.pop("model", {})}
    path = write_recipe(tmp_path / "r.yaml", **{"model": model, "prompt": {"completion": "codes"}, **sections})
    with pytest.raises(UserError, match=r"r.yaml:\d+: model.head_init: label_tokens ") as error:
        load_recipe(path)
    assert said in str(error.value)
