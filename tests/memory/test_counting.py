"""What is counted of a step that is not taken is what a step takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, BertConfig, Qwen3Config

from categorize.memory.optimizers import state_bytes
from categorize.memory.simulation import Plan, simulate
from categorize.memory.table import extended
from categorize.recipe.adapter_sections import AdapterSection

LORA = AdapterSection(type="lora", r=8, target_modules="all-linear")
NARROW = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 500}


def bert(layers: int = 2, **options: float) -> BertConfig:
    return BertConfig(**NARROW, num_hidden_layers=layers, max_position_embeddings=64, **options)


def saved_bytes(config: BertConfig, rows: int, tokens: int) -> int:
    """Bytes that autograd really saves in a forward pass, each storage once, beside parameters."""
    model = AutoModelForSequenceClassification.from_config(config).train()
    kept = {one.untyped_storage().data_ptr() for one in model.parameters()}
    found: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in kept:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        ids = torch.zeros(rows, tokens, dtype=torch.long)
        loss = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum()
    assert loss.requires_grad
    return sum(found.values())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_activations_are_what_autograd_saves(attention: str) -> None:
    config = bert(3)
    config._attn_implementation = attention
    taken = saved_bytes(config, 8, 48)
    counted = simulate(Plan(config, accumulation=2), 8, 48)
    # The peak lies a little above: the first gradients come while everything saved is still there.
    assert taken < counted.activations - counted.gradients < 1.25 * taken


def test_weights_gradients_and_optimizer_are_those_of_the_model() -> None:
    step = simulate(Plan(bert()), 2, 16)
    model = AutoModelForSequenceClassification.from_config(bert())
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    state = [value for one in optimizer.state.values() for value in one.values() if value.ndim]
    assert step.parameters == step.trained == sum(one.numel() for one in model.parameters())
    assert step.gradients == 4 * step.trained
    assert step.optimizer == sum(one.numel() * one.element_size() for one in state)


def test_operations_are_six_a_weight_and_token() -> None:
    """Two forward and four backward (Kaplan et al. 2020, arXiv 2001.08361), and attention on top."""
    step = simulate(Plan(bert()), 4, 16)
    layers = 2 * (4 * 64 * 64 + 2 * 64 * 128)
    assert 1.0 < step.flops / (6 * layers * 4 * 16) < 1.1


def test_checkpointing_adapters_and_packed_weights_take_less() -> None:
    config = Qwen3Config(**NARROW, num_hidden_layers=6, num_key_value_heads=2, head_dim=16)
    whole = simulate(Plan(config, causal=True), 4, 64)
    again = simulate(Plan(config, causal=True, checkpointing=True), 4, 64)
    lora = simulate(Plan(config, causal=True, adapter=LORA), 4, 64)
    packed = simulate(Plan(config, causal=True, adapter=LORA, bits="4"), 4, 64)
    assert again.activations < 0.9 * whole.activations and again.flops > whole.flops
    assert lora.optimizer == 8 * lora.trained < whole.optimizer / 5
    # All linear layers but the head are packed: 4.127 bits of a weight in place of 32.
    linear = 6 * (64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 128)
    assert lora.weights - packed.weights == pytest.approx(linear * (4 - 4.127 / 8), rel=0.01)
    assert packed.parameters == lora.parameters


def test_a_deep_model_is_known_by_shallow_ones() -> None:
    plan = Plan(bert(12), accumulation=2, gpu=True, mixed="bfloat16")
    exact, by_two = simulate(plan, 4, 32), extended(plan, 4, 32)
    assert by_two.total == pytest.approx(exact.total, rel=0.01)
    assert (by_two.trained, by_two.flops) == (exact.trained, pytest.approx(exact.flops, rel=0.01))


def test_optimizers_keep_what_they_are_known_to_keep() -> None:
    weights = [torch.zeros(64, 128), torch.zeros(64)]
    n = sum(one.numel() for one in weights)
    assert state_bytes("adamw_torch_fused", weights) == 8 * n
    assert state_bytes("sgd", weights) == 0
    assert state_bytes("paged_adamw_8bit", weights) == 2 * 64 * 128 + 8 * 64
    assert state_bytes("adafactor", weights) == 4 * (64 + 128) + 4 * 64


def test_counting_leaves_the_real_model_as_it_was(tiny: Callable[..., Path]) -> None:
    """DeBERTa keeps relative positions between passes: none without storage may come back."""
    from transformers import AutoConfig

    folder = str(tiny("deberta"))
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids = torch.full((2, 9), 7)
    before = model(input_ids=ids).logits
    simulate(Plan(AutoConfig.from_pretrained(folder)), 2, 9)
    assert torch.equal(model(input_ids=ids).logits, before)
