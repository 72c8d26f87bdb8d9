"""What a run says of padding and FLOP/s is what its forward passes read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from categorize.training.throughput import Throughput, line, operations_a_token
from tests.training.tiny_training import build_trainer

Tiny = Callable[..., Path]


@pytest.mark.parametrize(("batch", "accumulation"), [(4, 1), (2, 2)])
def test_padding_is_counted_over_the_training_and_not_over_its_evaluations(
    tiny: Tiny, tmp_path: Path, batch: int, accumulation: int
) -> None:
    trainer = build_trainer(str(tiny("bert")), str(tmp_path), batch, accumulation, rows=11, num_train_epochs=1)
    throughput = Throughput()
    batches = list(trainer.get_train_dataloader())
    with throughput.watching(trainer):
        trainer.train()
    trainer.evaluate()
    assert throughput.tokens == sum(one["input_ids"].numel() for one in batches)
    assert throughput.tokens - throughput.padding == trainer.rows.lengths.sum() > 0
    facts = throughput.facts(trainer)
    assert facts["padding_share"] == round(throughput.padding / throughput.tokens, 4)
    work = facts["flops_per_second"] * throughput.seconds
    assert work == pytest.approx(operations_a_token(trainer.model) * trainer.rows.lengths.sum(), rel=1e-3)
    assert f"{facts['padding_share']:.1%} of the tokens were padding" in line(facts)


def test_a_weight_takes_two_operations_a_token_forward_and_two_for_each_gradient(tiny: Tiny) -> None:
    import transformers
    from peft import LoraConfig, get_peft_model

    model = transformers.AutoModelForSequenceClassification.from_pretrained(tiny("bert"))
    layers = sum(weight.numel() for name, weight in model.named_parameters() if "word_embeddings" not in name)
    assert operations_a_token(model) == 6 * layers
    model.base_model.requires_grad_(False)
    assert operations_a_token(model) == 2 * layers
    adapted = get_peft_model(model, LoraConfig(task_type="SEQ_CLS", r=1, target_modules=["query"]))
    added = sum(weight.numel() for name, weight in adapted.named_parameters() if "lora" in name or "modules" in name)
    assert operations_a_token(adapted) == pytest.approx(4 * (layers + added), rel=0.02)
