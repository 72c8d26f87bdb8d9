"""Bottleneck adapters: the formula of their paper, at the places that it names, from weights that change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from categorize.errors import UserError
from categorize.loading import load_predictor
from categorize.methods.head.model import build_head
from categorize.nn.bottleneck import BottleneckLayer, places
from categorize.nn.parameters import parameter_counts
from categorize.recipe.adapter_sections import BottleneckSection
from tests.models.test_adapter_keys import built
from tests.models.test_adapters import THREE
from tests.models.test_head import TEXTS, logits, recipe, shake
from tests.tiny_models import ARCHITECTURES, build_wordpiece

Tiny = Callable[..., Path]
SIZE, WIDTH = 4, 32
SECTION = {"type": "bottleneck", "size": SIZE, "scaling": 0.5}


def adapted(model: nn.Module) -> dict[str, BottleneckLayer]:
    """By the names of their modules in the base."""
    found = {name: one for name, one in model.named_modules() if isinstance(one, BottleneckLayer)}
    return {name.removeprefix("base_model.model."): one for name, one in found.items()}


@pytest.mark.parametrize("placement", ["houlsby", "pfeiffer"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_adapter_changes_nothing_and_each_layer_has_its_places(
    tiny: Tiny, architecture: str, placement: str
) -> None:
    folder = tiny(architecture)
    torch.manual_seed(0)
    expected = logits(build_head(recipe(folder), THREE))
    torch.manual_seed(0)  # the same new head
    head = build_head(recipe(folder, adapter=SECTION | {"placement": placement}), THREE)
    np.testing.assert_allclose(logits(head), expected, atol=1e-6)
    # Two layers; the decoder of an encoder-decoder has two more, with a second attention.
    count = {"houlsby": 10, "pfeiffer": 4} if architecture in ("t5", "bart") else {"houlsby": 4, "pfeiffer": 2}
    assert len(adapted(head.model)) == count[placement]
    whole = sum(one.numel() for name, one in head.model.named_parameters() if "modules_to_save" in name)
    trained, _ = parameter_counts(head.model)
    assert trained == whole + count[placement] * (2 * WIDTH * SIZE + WIDTH + SIZE)


def bottleneck(layer: BottleneckLayer, hidden: torch.Tensor) -> torch.Tensor:
    """Adapter 1 of AdapterHub's `double_seq_bn`: down, nonlinearity, up, scaling, and the residual of the input."""
    weights = dict(layer.named_parameters())
    down = hidden @ weights["bottleneck_down.default.weight"].T + weights["bottleneck_down.default.bias"]
    gelu = down * 0.5 * (1 + torch.erf(down / 2**0.5))
    up = gelu @ weights["bottleneck_up.default.weight"].T + weights["bottleneck_up.default.bias"]
    return hidden + 0.5 * up


def test_a_layer_of_bert_computes_what_the_paper_says(tiny: Tiny) -> None:
    """Behind the projection of the attention and behind the feed-forward, each before residual and normalization."""
    head = build_head(recipe(tiny("bert"), adapter=SECTION), THREE)
    shake(head)
    head.model.eval()
    layers = adapted(head.model)
    block: Any = head.model.get_base_model().bert.encoder.layer[1]
    x = torch.randn(2, 7, WIDTH, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        attended = block.attention.self(x)[0]
        projected = block.attention.output.dense(attended)
        middle = block.attention.output.LayerNorm(
            bottleneck(layers["bert.encoder.layer.1.attention.output.dropout"], projected) + x
        )
        fed = block.output.dense(block.intermediate(middle))
        expected = block.output.LayerNorm(bottleneck(layers["bert.encoder.layer.1.output.dropout"], fed) + middle)
        found = block(x)
    found = found[0] if isinstance(found, tuple) else found
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_a_layer_of_llama_computes_the_same_on_what_joins_its_residual_stream(tiny: Tiny) -> None:
    head = build_head(recipe(tiny("llama"), adapter=SECTION), THREE)
    shake(head)
    head.model.eval()
    layers, base = adapted(head.model), head.model.get_base_model().model
    block: Any = base.layers[0]
    x = torch.randn(1, 5, WIDTH, generator=torch.Generator().manual_seed(0))
    rotary = base.rotary_emb(x, torch.arange(5)[None])
    attention, feed_forward = layers["model.layers.0.self_attn.o_proj"], layers["model.layers.0.mlp"]
    seen: list[torch.Tensor] = []
    attention.base_layer.register_forward_hook(lambda module, given, result: seen.append(result.detach().clone()))
    with torch.no_grad():
        found = block(x, position_embeddings=rotary)
        middle = x + bottleneck(attention, seen[0])
        plain: Any = feed_forward.base_layer
        expected = middle + bottleneck(feed_forward, plain(block.post_attention_layernorm(middle)))
    found = found[0] if isinstance(found, tuple) else found
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


OTHERS: dict[str, Any] = {
    "reduction": 2,
    "size": 3,
    "nonlinearity": "relu",
    "placement": "pfeiffer",
    "scaling": 0.5,
    "dropout": 0.5,
    "target_modules": ["v_proj"],
    "exclude_modules": ["layers.0.mlp"],
    "modules_to_save": ["norm"],
}


@pytest.mark.parametrize("key", BottleneckSection.taken)
def test_each_key_does_something(tiny: Tiny, key: str) -> None:
    def found(adapter: dict[str, Any]) -> tuple[Any, ...]:
        causal = built(tiny("qwen2", chat=True), {"type": "bottleneck", **adapter})
        causal.model.train()  # dropout
        trained = {name: one.shape for name, one in causal.model.named_parameters() if one.requires_grad}
        shake(causal)  # type: ignore[arg-type]
        torch.manual_seed(0)
        return trained, causal.model(input_ids=torch.tensor([[40, 41, 42]])).logits.tolist()

    assert found({}) != found({key: OTHERS[key]})


def test_an_adapter_of_a_run_is_read_without_the_run(tiny: Tiny, tmp_path: Path) -> None:
    folder = tiny("bert")
    head = build_head(recipe(folder, adapter=SECTION), THREE)
    shake(head)
    expected = logits(head)
    head.model.save_pretrained(tmp_path)
    head.tokenizer.save_pretrained(tmp_path)
    assert {file.suffix for file in tmp_path.glob("adapter_*")} == {".json", ".safetensors"}
    loaded = load_predictor(str(tmp_path), base=str(folder), label_set=THREE)
    found = loaded.predict_texts(TEXTS).probabilities
    assert found is not None
    np.testing.assert_allclose(found, torch.tensor(expected).softmax(-1), atol=1e-5)


def test_a_model_whose_layers_are_not_known_is_refused_in_one_line_unless_modules_are_named(tmp_path: Path) -> None:
    from transformers import AlbertConfig, AlbertModel, AutoTokenizer

    build_wordpiece(tmp_path)
    size = len(AutoTokenizer.from_pretrained(tmp_path))
    narrow = {"hidden_size": 16, "embedding_size": 8, "intermediate_size": 24, "num_hidden_layers": 1}
    AlbertModel(AlbertConfig(vocab_size=size, num_attention_heads=2, **narrow)).save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"^adapter.type: bottleneck does not fit AlbertFor.*name target_modules"
    ) as error:
        build_head(recipe(tmp_path, adapter=SECTION), THREE)
    assert "\n" not in str(error.value)
    named = SECTION | {"target_modules": ["ffn_output"]}
    assert len(adapted(build_head(recipe(tmp_path, adapter=named), THREE).model)) == 1


def test_a_model_that_is_known_in_part_has_no_places() -> None:
    layers = nn.ModuleList([nn.ModuleDict({"mlp": nn.Linear(2, 2)}) for _ in range(2)])
    with pytest.raises(ValueError, match="not known by name"):
        places(nn.ModuleDict({"layers": layers}), "pfeiffer")
