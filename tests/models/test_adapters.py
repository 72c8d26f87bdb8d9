"""Adapters and quantized weights: what is saved predicts the same when loaded; what cannot work is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.special import softmax

from categorize.engines.label_scoring import LabelScorer
from categorize.engines.shared_prefix import SharedPrefix
from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.methods.head.model import build_head, load_sequence_classifier, load_trained_head
from categorize.methods.sft.model import Causal, build_causal, load_causal, load_trained_causal
from categorize.methods.sft.predictor import CausalPredictor
from categorize.nn.precision import cpu_computes_bfloat16
from categorize.nn.quantization import quantized_within
from categorize.prompts.messages import PromptSettings
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.adapter_sections import QuantizationSection
from tests.models.test_head import logits, recipe, shake
from tests.recipes import SftRecipe
from tests.tiny_models import ARCHITECTURES, DECODERS, ENCODERS

Tiny = Callable[..., Path]
LABELS = LabelSet("single_label", (Label("good"), Label("poor"), Label("late")))  # as many tokens each
THREE = LabelSet("single_label", (Label("a"), Label("b"), Label("c")))
ADAPTERS: dict[str, dict[str, Any] | None] = {
    "full": None,
    "lora": {"type": "lora"},
    "dora": {"type": "dora"},
    "rslora": {"type": "rslora"},
    "ia3": {"type": "ia3"},
    "prefix": {"type": "prefix", "num_virtual_tokens": 5},
    "prompt": {"type": "prompt", "num_virtual_tokens": 5},
    "p_tuning": {"type": "p_tuning", "num_virtual_tokens": 5, "encoder_hidden_size": 16},
    "bottleneck": {"type": "bottleneck", "size": 4},
    "pfeiffer": {"type": "bottleneck", "size": 4, "placement": "pfeiffer"},
}
BITS = {"4bit": {"load_in_4bit": True}, "8bit": {"load_in_8bit": True}}
slow = pytest.mark.slow


def sections(adapter: str, bits: str | None) -> dict[str, Any]:
    return {
        **({"adapter": ADAPTERS[adapter]} if ADAPTERS[adapter] else {}),
        **({"quantization": BITS[bits]} if bits else {}),
    }


def causal_recipe(folder: Path, adapter: str, bits: str | None) -> SftRecipe:
    return SftRecipe.model_validate(
        {
            "kind": "sft", "name": "x", "data": {"source": "x"}, "training": {"activation_checkpointing": False},
            "model": {"name_or_path": str(folder), "max_length": 300}, **sections(adapter, bits),
        }
    )  # fmt: skip


def label_probabilities(causal: Causal) -> npt.NDArray[np.float64]:
    """[texts, labels], as prediction computes them."""
    prompt = PromptFormat(PromptSettings("Say how it was.\n{labels}"), LABELS, causal.tokenizer, 300)
    rows = [prompt.encode({"text": text}) for text in ("good movie", "讨厌 这个 视频", "", "word " * 20)]
    return softmax(CausalPredictor(causal, prompt).engine.outputs(rows), axis=1)


# ---------------------------------------------------------------- causal models
SFT = [
    *((one, adapter, None) for one in DECODERS for adapter in ("full", "lora", "dora", "ia3", "prefix", "bottleneck")),
    *((one, "lora", "4bit") for one in DECODERS),
    *(("qwen2", adapter, None) for adapter in ("rslora", "prompt", "p_tuning", "pfeiffer")),
    ("qwen2", "lora", "8bit"),
    ("qwen2", "bottleneck", "4bit"),
    *(
        pytest.param("qwen2", adapter, bits, marks=slow)
        for bits in BITS
        for adapter in ("dora", "rslora", "ia3", "prefix", "prompt", "p_tuning", "pfeiffer")
        if (adapter, bits) != ("dora", "8bit")
    ),
    *(pytest.param(one, "dora", "4bit", marks=slow) for one in DECODERS if one != "qwen2"),
    *(pytest.param(one, "lora", "8bit", marks=slow) for one in DECODERS if one != "qwen2"),
    *(
        pytest.param(one, adapter, None, marks=slow)
        for one in DECODERS[1:]
        for adapter in ("rslora", "prompt", "p_tuning", "pfeiffer")
    ),
    *(pytest.param(one, "bottleneck", "4bit", marks=slow) for one in DECODERS if one != "qwen2"),
]


@pytest.mark.parametrize(("architecture", "adapter", "bits"), SFT)
def test_a_reloaded_causal_model_gives_the_same_label_probabilities(
    tiny: Tiny, tmp_path: Path, architecture: str, adapter: str, bits: str | None
) -> None:
    folder = tiny(architecture, chat=True, width=64) if bits else tiny(architecture, chat=True)
    causal = build_causal(causal_recipe(folder, adapter, bits))
    before = label_probabilities(causal)
    shake(causal)  # type: ignore[arg-type]
    expected = label_probabilities(causal)
    assert np.abs(expected - before).max() > 1e-6, "the adapter does something"
    causal.model.save_pretrained(tmp_path)
    causal.tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(99)
    reloaded = load_trained_causal(str(tmp_path), causal.settings)
    np.testing.assert_array_equal(label_probabilities(reloaded), expected)


# ---------------------------------------------------------------- heads
OTHER_ENCODERS = ("roberta", "distilbert", "deberta", "modernbert", "t5", "bart")
HEADS = [
    # Their poolers and new dense layers are not in the checkpoint and must come back as they were trained.
    *(("bert", adapter, None) for adapter in ("ia3", "prompt", "p_tuning")),
    *(("deberta", adapter, None) for adapter in ("ia3", "prompt")),
    *(("qwen2", adapter, None) for adapter in ("rslora", "ia3", "prefix", "prompt", "p_tuning")),
    *((one, "lora", bits) for one in ("bert", "qwen2") for bits in BITS),
    *((one, "bottleneck", None) for one in ARCHITECTURES),
    *((one, "pfeiffer", None) for one in ("bert", "qwen2")),
    ("bert", "rslora", None),
    ("bert", "bottleneck", "4bit"),
]
RARER_HEADS = [
    *((one, "lora", bits) for one in OTHER_ENCODERS for bits in BITS),
    *((one, "lora", "4bit") for one in DECODERS if one != "qwen2"),
    *((one, "ia3", None) for one in ("roberta", "t5", "bart")),
    *((one, "prompt", None) for one in ("roberta", "modernbert")),
    *((one, adapter, "4bit") for one in ("bert", "qwen2") for adapter in ("dora", "ia3", "prompt", "p_tuning")),
    *(("qwen2", adapter, "8bit") for adapter in ("ia3", "prefix", "prompt", "bottleneck")),
    *((one, "rslora", None) for one in ARCHITECTURES if one not in ("bert", "qwen2")),
    *((one, "p_tuning", None) for one in ("roberta", "deberta", "modernbert", *DECODERS) if one != "qwen2"),
    *((one, adapter, None) for one in DECODERS if one != "qwen2" for adapter in ("prefix", "prompt", "ia3")),
    *((one, "pfeiffer", None) for one in ARCHITECTURES if one not in ("bert", "qwen2")),
]
HEADS += [pytest.param(*one, marks=slow) for one in RARER_HEADS]


@pytest.mark.parametrize(("architecture", "adapter", "bits"), HEADS)
def test_a_reloaded_head_on_an_adapter_predicts_the_same(
    tiny: Tiny, tmp_path: Path, architecture: str, adapter: str, bits: str | None
) -> None:
    folder = tiny(architecture, width=64) if bits else tiny(architecture)
    head = build_head(recipe(folder, **sections(adapter, bits)), THREE)
    before = logits(head)
    shake(head)
    expected = logits(head)
    assert np.abs(expected - before).max() > 1e-3
    head.model.save_pretrained(tmp_path)
    head.tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(99)  # another random pooler would show
    np.testing.assert_array_equal(logits(load_trained_head(str(tmp_path), THREE, head.settings)), expected)


@pytest.mark.parametrize("start", ["pissa", "pissa_niter_4", "olora", "orthogonal", "mica"])
def test_an_adapter_that_was_taken_out_of_the_base_is_taken_out_alike_when_it_is_loaded(
    tiny: Tiny, tmp_path: Path, start: str
) -> None:
    """`pissa_niter` takes it out by random numbers: others left another base behind."""
    head = build_head(recipe(tiny("bert"), adapter={"type": "lora", "r": 4, "init_lora_weights": start}), THREE)
    shake(head)
    expected = logits(head)
    head.model.save_pretrained(tmp_path)
    head.tokenizer.save_pretrained(tmp_path)
    torch.manual_seed(99)
    np.testing.assert_array_equal(logits(load_trained_head(str(tmp_path), THREE, head.settings)), expected)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("architecture", [*ENCODERS, "qwen2"])
def test_new_modules_are_not_quantized(tiny: Tiny, architecture: str, bits: str) -> None:
    section = QuantizationSection(**BITS[bits])
    loaded = load_sequence_classifier(str(tiny(architecture, width=64)), THREE, quantization=section)
    assert loaded.head_modules
    assert quantized_within(loaded.model, loaded.head_modules) == []
    assert quantized_within(loaded.model, [name for name, _ in loaded.model.named_children()])


def test_an_output_layer_of_a_causal_model_is_not_quantized(tiny: Tiny) -> None:
    causal = load_causal(str(tiny("qwen2", width=64)), quantization=QuantizationSection(load_in_4bit=True))
    assert quantized_within(causal.model, ["lm_head"]) == []
    config = causal.model.config.quantization_config
    assert config.bnb_4bit_quant_type == "nf4"
    assert config.bnb_4bit_use_double_quant
    assert config.bnb_4bit_compute_dtype == (torch.bfloat16 if cpu_computes_bfloat16() else torch.float32)


# ---------------------------------------------------------------- training on quantized weights
@pytest.mark.parametrize("architecture", ["qwen2", "llama"])
@pytest.mark.parametrize("adapter", ["lora", "dora", "prefix", "bottleneck"])
def test_a_validation_does_not_change_the_gradients_behind_it(tiny: Tiny, architecture: str, adapter: str) -> None:
    """On a CPU bitsandbytes repacks 4-bit weights in evaluation mode, and gradients end there."""
    causal = build_causal(causal_recipe(tiny(architecture, width=64), adapter, "4bit"))
    shake(causal)  # type: ignore[arg-type]
    ids = torch.tensor([[40, 41, 42, 43, 44, 45]])

    def gradients() -> torch.Tensor:
        causal.model.train()
        torch.manual_seed(0)
        causal.model.zero_grad()
        causal.model(input_ids=ids, labels=ids).loss.backward()
        trained = [p for p in causal.model.parameters() if p.requires_grad]
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trained)
        return torch.cat([p.grad.flatten() for p in trained if p.grad is not None])

    before = gradients()
    label_probabilities(causal)
    assert torch.equal(gradients(), before)


def test_adapters_on_quantized_weights_are_trained_in_float32_and_reload_exactly(tiny: Tiny, tmp_path: Path) -> None:
    """TRL casts them to bfloat16."""
    from trl import SFTConfig

    from categorize.training.sft_trainer import LabelSFTTrainer

    causal = build_causal(causal_recipe(tiny("qwen2", width=64, chat=True), "lora", "4bit"))
    prompt = PromptFormat(PromptSettings("x"), LABELS, causal.tokenizer, 300)
    rows = [prompt.encode({"text": f"row {i}"}, [LABELS.names[i % 3]]) for i in range(8)]
    trainer = LabelSFTTrainer(
        model=causal.model,
        args=SFTConfig(
            output_dir=str(tmp_path / "x"), use_cpu=True, bf16=False, max_length=None, report_to="none", max_steps=3,
            dataset_kwargs={"skip_prepare_dataset": True}, learning_rate=1e-2, save_strategy="no", disable_tqdm=True,
            remove_unused_columns=False, activation_checkpointing=False,
        ),
        train_rows=rows, eval_rows=[], weights=np.ones(8), predict=lambda model, rows: [], measures=lambda rows: {},
        processing_class=causal.tokenizer,
    )  # fmt: skip
    assert {p.dtype for p in trainer.model.parameters() if p.requires_grad} == {torch.float32}
    before = label_probabilities(causal)
    trainer.train()
    expected = label_probabilities(causal)
    assert np.abs(expected - before).max() > 1e-3
    trainer.save_model(str(tmp_path / "run"))
    causal.tokenizer.save_pretrained(tmp_path / "run")
    reloaded = load_trained_causal(str(tmp_path / "run"), causal.settings)
    np.testing.assert_array_equal(label_probabilities(reloaded), expected)


def test_scores_of_quantized_weights_are_the_same_with_and_without_the_shared_prefix(tiny: Tiny) -> None:
    causal = build_causal(causal_recipe(tiny("llama", width=64, chat=True), "lora", "4bit"))
    shake(causal)  # type: ignore[arg-type]
    causal.model.eval()
    prompt = PromptFormat(PromptSettings("Say how it was.\n{labels}"), LABELS, causal.tokenizer, 300)
    rows = [prompt.encode({"text": text}) for text in ("good movie", "b")]
    with torch.inference_mode():
        shared, whole = (
            LabelScorer(prompt, SharedPrefix(causal.model, torch.device("cpu"), one)).in_batches(rows, 64, 8192)
            for one in (True, False)
        )
    np.testing.assert_allclose(shared, whole, atol=0.05)  # bfloat16 inside


# ---------------------------------------------------------------- refused by name
@pytest.mark.parametrize(
    ("architecture", "adapter", "bits", "said"),
    [
        ("bert", "prefix", None, "prefix needs cached keys and values, BertForSequenceClassification has none"),
        ("deberta", "prefix", None, "prefix needs cached keys and values"),
        ("t5", "prefix", None, "prefix does not work with T5ForSequenceClassification, an encoder-decoder"),
        ("t5", "prompt", None, "prompt does not work with T5ForSequenceClassification, an encoder-decoder"),
        ("bart", "p_tuning", None, "p_tuning does not work with BartForSequenceClassification, an encoder-decoder"),
        ("distilbert", "prompt", None, "prompt does not fit DistilBertForSequenceClassification"),
        ("distilbert", "ia3", None, r"ia3 does not fit .* \(name target_modules, or use another type\)"),
        ("modernbert", "ia3", None, "ia3 does not fit ModernBertForSequenceClassification"),
        ("qwen2", "dora", "8bit", "dora does not work on 8-bit weights on a CPU; use load_in_4bit, or lora"),
    ],
)
def test_what_does_not_work_is_refused_in_one_line(
    tiny: Tiny, architecture: str, adapter: str, bits: str | None, said: str
) -> None:
    folder = tiny(architecture, width=64) if bits else tiny(architecture)
    with pytest.raises(UserError, match=said) as error:
        build_head(recipe(folder, **sections(adapter, bits)), THREE)
    assert str(error.value).startswith("adapter.type: ")
    assert "\n" not in str(error.value)


def test_target_modules_make_ia3_fit(tiny: Tiny, tmp_path: Path) -> None:
    adapter = {"type": "ia3", "target_modules": ["Wqkv", "Wo"], "feedforward_modules": []}
    head = build_head(recipe(tiny("modernbert"), adapter=adapter), THREE)
    shake(head)
    expected = logits(head)
    head.model.save_pretrained(tmp_path)
    head.tokenizer.save_pretrained(tmp_path)
    np.testing.assert_array_equal(logits(load_trained_head(str(tmp_path), THREE, head.settings)), expected)


def test_an_adapter_that_is_named_as_a_model_is_refused_by_name(tiny: Tiny, tmp_path: Path) -> None:
    causal = build_causal(causal_recipe(tiny("qwen2", chat=True), "lora", None))
    causal.model.save_pretrained(tmp_path)
    causal.tokenizer.save_pretrained(tmp_path)
    for load in (load_causal, lambda folder: load_sequence_classifier(folder, THREE)):
        with pytest.raises(UserError, match=r"holds an adapter, which is not a model by itself; .* --merge") as error:
            load(str(tmp_path))
        assert "\n" not in str(error.value)
