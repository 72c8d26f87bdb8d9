"""Merged adapters: the weights predict what base and adapter did, and what cannot be merged is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from categorize.errors import UserError
from categorize.methods.head.model import build_head, load_sequence_classifier
from categorize.methods.registry import METHODS
from categorize.methods.sft.model import build_causal, load_causal
from categorize.nn.merging import merge_adapter
from tests.models.test_adapters import THREE, causal_recipe, label_probabilities
from tests.models.test_head import logits, recipe, shake

Tiny = Callable[..., Path]
slow = pytest.mark.slow
HEADS: list[tuple[str, dict[str, Any]]] = [
    *((one, {"type": "ia3"}) for one in ("bert", "roberta", "deberta", "t5", "bart", "qwen2")),
    ("bart", {"type": "lora", "target_modules": ["embed_tokens", "q_proj"]}),  # one matrix in encoder and decoder
    ("t5", {"type": "dora", "target_modules": ["embed_tokens", "q"]}),
    ("bert", {"type": "lora", "lora_bias": True, "bias": "all"}),
    ("bert", {"type": "lora", "init_lora_weights": "pissa_niter_4"}),
    ("bart", {"type": "lora", "trainable_token_indices": [5, 6]}),
]


@pytest.mark.parametrize(("architecture", "adapter"), HEADS)
def test_a_merged_head_predicts_as_base_and_adapter_did(
    tiny: Tiny, tmp_path: Path, architecture: str, adapter: dict[str, Any]
) -> None:
    wanted = recipe(tiny(architecture), adapter=adapter)
    METHODS.of(wanted).check_merge(wanted)
    head = build_head(wanted, THREE)
    before = logits(head)
    shake(head)
    expected = logits(head)
    assert np.abs(expected - before).max() > 1e-3
    merge_adapter(head.model).save_pretrained(tmp_path)  # type: ignore[arg-type]
    head.tokenizer.save_pretrained(tmp_path)
    head.model = load_sequence_classifier(str(tmp_path), THREE).model
    np.testing.assert_allclose(logits(head), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("target", [["embed_tokens"], ["embed_tokens", "q_proj"], ["v_proj"]])
@pytest.mark.parametrize("kind", ["lora", pytest.param("dora", marks=slow)])
def test_an_adapter_on_tied_embeddings_is_merged_into_them_alone(
    tiny: Tiny, tmp_path: Path, kind: str, target: list[str]
) -> None:
    """Gemma's output layer is its embedding matrix: what is added to the one must not change the other."""
    wanted = causal_recipe(tiny("gemma", chat=True, scale=3), "lora", None)
    adapter = wanted.adapter.model_copy(update={"type": kind, "target_modules": target})  # type: ignore[union-attr]
    causal = build_causal(wanted.model_copy(update={"adapter": adapter}))
    shake(causal)  # type: ignore[arg-type]
    expected = label_probabilities(causal)
    merged: Any = merge_adapter(causal.model)  # type: ignore[arg-type]
    assert merged.config.tie_word_embeddings == ("embed_tokens" not in target)
    merged.save_pretrained(tmp_path)
    causal.tokenizer.save_pretrained(tmp_path)
    again = load_causal(str(tmp_path), max_length=300)
    np.testing.assert_allclose(label_probabilities(again), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["head", "causal"])
def test_a_bias_that_the_base_has_no_place_for_is_refused_before_weights_are_loaded(tiny: Tiny, kind: str) -> None:
    folder = tiny("llama", chat=True)
    wanted: Any = recipe(folder) if kind == "head" else causal_recipe(folder, "lora", None)
    adapter = causal_recipe(folder, "lora", None).adapter.model_copy(update={"lora_bias": True})  # type: ignore[union-attr]
    wanted = wanted.model_copy(update={"adapter": adapter})
    with pytest.raises(UserError, match=r"^--merge: adapter.type lora .* Llama.*the base layer has no bias") as error:
        METHODS.of(wanted).check_merge(wanted)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("kind", "architecture"), [("head", "bert"), ("causal", "qwen2")])
def test_a_bottleneck_is_not_linear_and_refused_before_weights_are_loaded(
    tiny: Tiny, kind: str, architecture: str
) -> None:
    folder = tiny(architecture, chat=True) if kind == "causal" else tiny(architecture)
    adapter = {"type": "bottleneck"}
    wanted: Any = recipe(folder, adapter=adapter) if kind == "head" else causal_recipe(folder, "bottleneck", None)
    with pytest.raises(UserError, match=r"^--merge: adapter.type bottleneck .* is not linear") as error:
        METHODS.of(wanted).check_merge(wanted)
    assert "\n" not in str(error.value)
