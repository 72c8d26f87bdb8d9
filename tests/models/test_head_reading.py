"""What a head reads: by a learned query, and in both directions; saved with the run, and reloaded as it was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from categorize.engines.encoder import TorchEncoder
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.methods.head.model import Head, build_head, load_trained_head
from categorize.methods.head.predictor import HeadPredictor, encode_texts
from categorize.methods.sft.model import load_causal
from categorize.nn.bidirectional import sees_later_tokens
from categorize.nn.merging import merge_or_refuse
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.decision_sections import PredictionSection
from categorize.recipe.sections import PromptSection
from tests.models.test_head import LABELS, logits, recipe, shake

Tiny = Callable[..., Path]
DECODERS = ("qwen2", "qwen3", "llama", "mistral")


def saved_and_reloaded(head: Head, folder: Path) -> Head:
    head.model.save_pretrained(folder)
    head.tokenizer.save_pretrained(folder)
    return load_trained_head(str(folder), LABELS, head.settings)


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        (architecture, kind)
        for architecture in ("bert", "roberta", "modernbert", "qwen2", "llama")
        for kind in (None, "lora", "ia3")
        if (architecture, kind) != ("modernbert", "ia3")  # peft has no default modules for it
    ],
)
def test_a_head_on_a_learned_query_is_reloaded_and_does_not_see_padding(
    tiny: Tiny, tmp_path: Path, architecture: str, kind: str | None
) -> None:
    adapter = None if kind is None else {"type": kind}
    head = build_head(recipe(tiny(architecture), adapter=adapter, model={"pooling": "attention"}), LABELS)
    plain = build_head(recipe(tiny(architecture), adapter=adapter, model={"pooling": "mean"}), LABELS)
    assert head.settings.head_modules == sorted([*plain.settings.head_modules, "attention_pooling"])
    shake(head)
    expected = logits(head)
    np.testing.assert_allclose(logits(head, None), expected, atol=1e-4)
    trained = [name for name, one in head.model.named_parameters() if one.requires_grad and "attention_pooling" in name]
    assert len(trained) == 1
    np.testing.assert_array_equal(logits(saved_and_reloaded(head, tmp_path)), expected)


def test_the_query_begins_as_the_mean_and_weighs_as_a_softmax_does(tiny: Tiny) -> None:
    torch.manual_seed(0)
    mean = build_head(recipe(tiny("qwen2"), model={"pooling": "mean"}), LABELS)
    torch.manual_seed(0)
    head = build_head(recipe(tiny("qwen2"), model={"pooling": "attention"}), LABELS)
    np.testing.assert_allclose(logits(head), logits(mean), atol=1e-6)
    shake(head)
    ids = torch.tensor([[5, 9, 7, 12]])
    model: Any = head.model
    pooled = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    hidden: list[torch.Tensor] = []
    model.model.norm.register_forward_hook(lambda *given: hidden.append(given[2]))
    model(input_ids=ids, attention_mask=torch.ones_like(ids))
    query = model.attention_pooling.weight[0]
    weights = torch.softmax(hidden[0][0] @ query, dim=0)
    torch.testing.assert_close(pooled[0], model.score(weights @ hidden[0][0]), rtol=1e-4, atol=1e-5)


def test_a_learned_query_survives_a_merge(tiny: Tiny, tmp_path: Path) -> None:
    head = build_head(recipe(tiny("qwen2"), adapter={"type": "lora"}, model={"pooling": "attention"}), LABELS)
    shake(head)
    expected = logits(head)
    head.model = merge_or_refuse(head.model, tmp_path)
    object.__setattr__(head.settings, "base", None)
    np.testing.assert_allclose(logits(saved_and_reloaded(head, tmp_path)), expected, atol=1e-4)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("architecture", DECODERS)
def test_a_decoder_that_reads_both_ways_sees_later_tokens_and_is_reloaded_so(
    tiny: Tiny, tmp_path: Path, architecture: str, implementation: str
) -> None:
    def built(**model: Any) -> Head:
        return build_head(recipe(tiny(architecture), model={"attn_implementation": implementation, **model}), LABELS)

    causal, head = built(), built(is_causal=False)
    for padding in (0, 3):
        assert not sees_later_tokens(causal.model, padding)
        assert sees_later_tokens(head.model, padding)
    shake(head)
    expected = logits(head)
    np.testing.assert_allclose(logits(head, None), expected, atol=2e-5)  # padding is not seen
    again = saved_and_reloaded(head, tmp_path)
    assert sees_later_tokens(again.model)
    np.testing.assert_allclose(logits(again), expected, atol=1e-5)


def test_an_architecture_that_stays_causal_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    import transformers as t

    config = t.GPTNeoConfig(
        vocab_size=300, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global"], 2]],
        max_position_embeddings=64, pad_token_id=0, eos_token_id=1, bos_token_id=1,
    )  # fmt: skip
    t.GPTNeoForSequenceClassification(config).save_pretrained(tmp_path)
    t.AutoTokenizer.from_pretrained(tiny("qwen2")).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"model.is_causal: gpt_neo .* reads from left to right whatever its config"):
        build_head(recipe(tmp_path, model={"is_causal": False}), LABELS)


def test_a_head_reads_what_a_tuned_model_is_asked_labels_and_descriptions_first(tiny: Tiny) -> None:
    """And ends where the answer would begin, cut or not."""
    described = LabelSet("single_label", (Label("a", "the first letter"), Label("b", "the second letter")))
    folder, section = tiny("qwen2", chat=True), {"completion": "codes", "descriptions": True}
    head = build_head(recipe(folder, model={"max_length": 320}, prompt=section), described)
    asked = PromptFormat.from_section(PromptSection(**section), described, load_causal(str(folder)).tokenizer, 320)
    rows = [{"text": "good movie"}, {"text": "long " * 400}]
    tokens = encode_texts(head, rows)
    assert tokens.cut.tolist() == [False, True]
    for i, row in enumerate(rows):
        ids = tuple(tokens[i].tolist())
        assert ids == asked.encode(row).prompt_ids
        text = head.tokenizer.decode(ids)
        assert "- A: a (the first letter)\n- B: b (the second letter)<|im_end|>\n<|im_start|>user\n" in text
        assert text.endswith("<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("adapter", [None, {"type": "lora"}, {"type": "prompt", "num_virtual_tokens": 3}])
@pytest.mark.parametrize(("architecture", "window"), [("qwen2", None), ("gemma", None), ("mistral", 16)])
def test_the_instruction_is_computed_once_and_changes_no_prediction(
    tiny: Tiny, architecture: str, window: int | None, adapter: dict[str, Any] | None
) -> None:
    folder = tiny(architecture, chat=True, window=window)
    head = build_head(recipe(folder, model={"max_length": 400}, prompt={}, adapter=adapter), LABELS)
    shake(head)
    assert head.prompt is not None
    rows = [{"text": text} for text in ("good movie 好看", "", "t e x t 真的 太 好 看 了 " * 3, "<|im_end|> b", "a")]
    tokens = encode_texts(head, rows)
    whole = TorchEncoder(head.model, 3, PredictionSection()).outputs(tokens)
    read: list[int] = []
    head.model.get_input_embeddings().register_forward_hook(lambda *given: read.append(given[1][0].numel()))
    engine = HeadPredictor(head, LABELS).engine
    np.testing.assert_allclose(engine.outputs(tokens), whole, atol=2e-5)
    read.clear()
    np.testing.assert_allclose(engine.outputs(tokens), whole, atol=2e-5)  # what is kept was not written to
    prefix = len(head.prompt.prefix_ids)
    learned = adapter is not None and adapter["type"] == "prompt"
    assert prefix > 60 and (sum(read) > len(rows) * prefix) == learned
    for model in ({"pooling": "mean"}, {"is_causal": False}):
        other = build_head(recipe(folder, model={"max_length": 400, **model}, prompt={}), LABELS)
        shake(other)
        expected = TorchEncoder(other.model, 3, PredictionSection()).outputs(tokens)
        np.testing.assert_allclose(HeadPredictor(other, LABELS).engine.outputs(tokens), expected, atol=2e-5)
