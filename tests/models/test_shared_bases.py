"""Adapters on one base have its weights in memory once, and predict exactly what each does by itself."""

from __future__ import annotations

import gc
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from categorize.errors import UserError
from categorize.methods.head.model import build_head, load_trained_head
from categorize.methods.sft.model import Causal, build_causal, load_trained_causal
from categorize.nn.shared_bases import bases_loaded_once, let_unused_bases_go
from tests.models.test_adapters import THREE, label_probabilities
from tests.models.test_head import logits, recipe, shake
from tests.recipes import SftRecipe

Tiny = Callable[..., Path]
LORA = {"type": "lora"}
ATTENTION = {"type": "lora", "r": 3, "target_modules": ["q_proj", "v_proj"]}
SAVED = {"type": "lora", "r": 4, "target_modules": ["k_proj"], "modules_to_save": ["lm_head", "norm"]}
OTHERS = [
    {"type": "dora"}, {"type": "ia3"}, {"type": "prefix", "num_virtual_tokens": 5}, {"type": "bottleneck", "size": 4},
    {"type": "prompt", "num_virtual_tokens": 5}, {"type": "lora", "r": 4, "trainable_token_indices": [7, 8]},
    {"type": "lora", "init_lora_weights": "olora"},
]  # fmt: skip


def saved(place: Path, base: Path, adapter: dict[str, Any], **sections: Any) -> tuple[str, Any]:
    """An adapter that was moved as training would, in a folder, and the settings of its model."""
    keys = {
        "kind": "sft", "name": "x", "data": {"source": "x"}, "training": {"activation_checkpointing": False},
        "model": {"name_or_path": str(base), "max_length": 300}, "adapter": adapter, **sections,
    }  # fmt: skip
    causal = build_causal(SftRecipe.model_validate(keys))
    shake(causal)  # type: ignore[arg-type]
    causal.model.save_pretrained(place)
    causal.tokenizer.save_pretrained(place)
    return str(place), causal.settings


def base_weights(model: Any) -> set[int]:
    """Where the weights of a model's base lie."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    places = ((name, weight.data_ptr()) for name, weight in base.named_parameters())
    return {place for name, place in places if "mlp" in name and "lora" not in name and "down" not in name}


@pytest.mark.parametrize(
    ("architecture", "adapters", "sections"),
    [
        ("qwen2", [LORA, ATTENTION, SAVED, LORA], {}),
        pytest.param("llama", OTHERS, {}, marks=pytest.mark.slow),
        ("qwen2", [LORA, ATTENTION], {"quantization": {"load_in_4bit": True}}),
        pytest.param("qwen2", [LORA, ATTENTION], {"quantization": {"load_in_8bit": True}}, marks=pytest.mark.slow),
    ],
    ids=["lora", "other kinds", "4bit", "8bit"],
)
def test_adapters_on_one_base_predict_in_turns_what_each_does_by_itself(
    tiny: Tiny, tmp_path: Path, architecture: str, adapters: list[dict[str, Any]], sections: dict[str, Any]
) -> None:
    base = tiny(architecture, chat=True, width=64)
    runs = [saved(tmp_path / str(i), base, one, **sections) for i, one in enumerate(adapters)]
    expected = [label_probabilities(load_trained_causal(*run)) for run in runs]
    assert np.abs(expected[0] - expected[1]).max() > 1e-6
    with bases_loaded_once():
        loaded: list[Causal] = [load_trained_causal(*run) for run in runs]
    for _ in range(2):
        for one, wanted in zip(loaded, expected, strict=True):
            np.testing.assert_array_equal(label_probabilities(one), wanted)
    together = [one.model for one, adapter in zip(loaded, adapters, strict=True) if "init_lora_weights" not in adapter]
    if "load_in_8bit" not in sections.get("quantization", {}):
        assert base_weights(together[0])
        assert base_weights(together[0]) <= set.intersection(*map(base_weights, together[1:]))


@pytest.mark.parametrize("pooling", ["default", "attention"])
def test_heads_on_one_base_predict_what_each_does_by_itself(tiny: Tiny, tmp_path: Path, pooling: str) -> None:
    runs = []
    for rank in (2, 5):
        model = {"pooling": pooling}
        head = build_head(recipe(tiny("bert"), model=model, adapter={"type": "lora", "r": rank}), THREE)
        shake(head)
        head.model.save_pretrained(tmp_path / str(rank))
        head.tokenizer.save_pretrained(tmp_path / str(rank))
        runs.append((str(tmp_path / str(rank)), THREE, head.settings))
    expected = [logits(load_trained_head(*run)) for run in runs]
    with bases_loaded_once():
        loaded = [load_trained_head(*run) for run in runs]
    for one, wanted in zip(loaded, expected, strict=True):
        np.testing.assert_array_equal(logits(one), wanted)


def test_a_base_is_read_once_and_goes_with_its_last_model_where_another_comes(tiny: Tiny, tmp_path: Path) -> None:
    base = Path(shutil.copytree(tiny("qwen2", chat=True), tmp_path / "base"))
    run, other = saved(tmp_path / "a", base, LORA), saved(tmp_path / "b", base, ATTENTION)
    with bases_loaded_once():
        first = load_trained_causal(*run)
        shutil.rmtree(base)
        del first
        gc.collect()
        second = load_trained_causal(*other)
        let_unused_bases_go()
        load_trained_causal(*run)
        del second
        gc.collect()
        let_unused_bases_go()
        with pytest.raises(UserError, match="base"):
            load_trained_causal(*run)
