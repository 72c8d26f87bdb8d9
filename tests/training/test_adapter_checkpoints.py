"""Checkpoints of adapters: the best one, the one that a killed run goes on from, and the saved run are what was
trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainerCallback

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.methods.head.model import load_sequence_classifier
from categorize.methods.sft.model import load_causal
from categorize.nn.adapters import PROMPT_ENCODER
from categorize.recipe.adapter_sections import QuantizationSection
from categorize.training.checkpoints import last_complete
from tests.training.test_resume import Stop, weights
from tests.training.tiny_sft import build_sft_trainer
from tests.training.tiny_training import build_trainer

Tiny = Callable[..., Path]
LABELS = LabelSet("single_label", (Label("a"), Label("b"), Label("c")))
BEST, LAST = 6, 12
IDS = torch.tensor([[40, 41, 42, 43, 44, 45]])
P_TUNING = {"type": "p_tuning", "num_virtual_tokens": 5, "encoder_hidden_size": 16}
ADAPTERS: dict[str, dict[str, Any]] = {
    "p_tuning": P_TUNING,
    "lstm": P_TUNING | {"encoder_reparameterization_type": "LSTM", "encoder_dropout": 0.3},
    "projected_prefix": {"type": "prefix", "num_virtual_tokens": 5, "prefix_projection": True},
    "prefix": {"type": "prefix", "num_virtual_tokens": 5},
    "prompt": {"type": "prompt", "num_virtual_tokens": 5},
    "lora": {"type": "lora"},
    "dora": {"type": "dora"},
    "ia3": {"type": "ia3"},
    "bottleneck": {"type": "bottleneck", "size": 4, "dropout": 0.2},
}
slow = pytest.mark.slow


class Remember(TrainerCallback):
    """The weights right behind some steps."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.at = trainer, dict[int, dict[str, torch.Tensor]]()

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step in (BEST, LAST):
            self.at[state.global_step] = weights(self.trainer)


def build(kind: str, folder: Path, output: Path, adapter: dict[str, Any], bits: str | None) -> tuple[Any, Remember]:
    """A trainer of 12 steps whose best checkpoint is that of step 6."""
    make = build_trainer if kind == "head" else build_sft_trainer
    trainer = make(
        str(folder), str(output), 2, 2, adapter=adapter, bits=bits, optim="adamw_torch", learning_rate=1e-2,
        eval_strategy="steps", eval_steps=2, save_strategy="steps", save_steps=2, load_best_model_at_end=True,
        metric_for_best_model="near", greater_is_better=True,
    )  # fmt: skip
    trainer.measures = lambda _: {"near": -abs(trainer.state.global_step - BEST)}
    remember = Remember(trainer)
    trainer.add_callback(remember)
    return trainer, remember


def base(kind: str, folder: Path, bits: str | None) -> Any:
    quantization = QuantizationSection(**{bits: True}) if bits else None
    if kind == "sft":
        return load_causal(str(folder), dtype=torch.float32, quantization=quantization).model
    return load_sequence_classifier(str(folder), LABELS, dtype=torch.float32, quantization=quantization).model


def assert_same(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert torch.equal(value, expected[name]), name


def logits(model: Any) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        result: torch.Tensor = model(input_ids=IDS, attention_mask=torch.ones_like(IDS)).logits
    return result


@pytest.mark.parametrize(
    ("kind", "name", "bits"),
    [
        *(("head", name, None) for name in ("p_tuning", "projected_prefix")),
        *((kind, "bottleneck", None) for kind in ("head", "sft")),
        ("sft", "p_tuning", None),
        *(pytest.param("head", name, None, marks=slow) for name in ("lstm", "prefix", "prompt", "lora", "dora", "ia3")),
        *(pytest.param("sft", name, None, marks=slow) for name in ADAPTERS if name not in ("p_tuning", "bottleneck")),
        *(
            pytest.param(kind, name, bits, marks=slow)
            for kind in ("head", "sft")
            for name in ("p_tuning", "lstm", "projected_prefix", "lora", "bottleneck")
            for bits in ("load_in_4bit", "load_in_8bit")
        ),
    ],
)
def test_the_best_a_resumed_and_a_saved_adapter_are_what_was_trained(
    tiny: Tiny, tmp_path: Path, kind: str, name: str, bits: str | None
) -> None:
    from peft import PeftModel

    folder = tiny("qwen2", chat=True, width=64) if bits else tiny("qwen2", chat=True)
    whole, seen = build(kind, folder, tmp_path / "whole", ADAPTERS[name], bits)
    whole.train()
    assert whole.state.best_global_step == BEST
    assert any(not torch.equal(value, seen.at[LAST][key]) for key, value in seen.at[BEST].items())
    assert_same(weights(whole), seen.at[BEST])

    killed, _ = build(kind, folder, tmp_path / "killed", ADAPTERS[name], bits)
    killed.add_callback(Stop(9))
    with pytest.raises(KeyboardInterrupt):
        killed.train()
    resumed, again = build(kind, folder, tmp_path / "killed", ADAPTERS[name], bits)
    resumed.train(resume_from_checkpoint=str(last_complete(tmp_path / "killed")))
    assert_same(again.at[LAST], seen.at[LAST])
    assert_same(weights(resumed), seen.at[BEST])

    whole.model.train()  # as training leaves it: dropout must not reach what is saved
    whole.save_model(str(tmp_path / "run"))
    reloaded = PeftModel.from_pretrained(base(kind, folder, bits), str(tmp_path / "run"))
    # An LSTM is computed by another kernel where no gradients are wanted.
    tolerance = 0.0 if name != "lstm" else 0.02 if bits else 1e-6
    torch.testing.assert_close(logits(reloaded), logits(whole.model), rtol=0, atol=tolerance)


def test_a_checkpoint_without_its_prompt_encoder_is_not_resumed_from(tiny: Tiny, tmp_path: Path) -> None:
    """As versions before left them: going on would train another prompt."""
    trainer, _ = build("head", tiny("qwen2", chat=True), tmp_path, P_TUNING, None)
    trainer.add_callback(Stop(3))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    checkpoint = tmp_path / "checkpoint-2"
    (checkpoint / PROMPT_ENCODER).unlink()
    with pytest.raises(UserError, match=r"checkpoint-2: lacks prompt_encoder.safetensors.*--overwrite alone"):
        trainer.train(resume_from_checkpoint=str(checkpoint))
