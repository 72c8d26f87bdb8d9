"""The loss on the label set: minus the log-probability that predicting gives the label, whatever the batches."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from categorize.engines.label_scoring import LabelScorer
from categorize.engines.shared_prefix import SharedPrefix
from tests.training.tiny_sft import LABELS, ROWS, build_sft_trainer
from tests.training.tiny_training import record
from tests.training.two_processes import check_same_training, recorded_by_two

Tiny = Callable[..., Path]
KINDS = ["codes", "names", "yes_no"]


def step_batch(trainer: Any, rows: list[int]) -> dict[str, Any]:
    return dict(trainer.data_collator([trainer.rows[i] for i in rows]))


def loss_of(trainer: Any, rows: list[int]) -> torch.Tensor:
    """The mean loss of these rows, with its gradients in the model's parameters."""
    trainer.model.zero_grad()
    batch = step_batch(trainer, rows)
    loss, _ = trainer.summed_loss(trainer.model, batch, torch.ones(len(rows)))
    loss.backward()
    return loss.detach()


def gradients(trainer: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


@pytest.mark.parametrize("completion", KINDS)
def test_the_loss_is_minus_the_log_probability_that_predicting_gives(
    tiny: Tiny, tmp_path: Path, completion: str
) -> None:
    trainer = build_sft_trainer(str(tiny("qwen2", chat=True)), str(tmp_path), 8, 1, among_labels=completion)
    trainer.model.eval()
    loss, scores = trainer.summed_loss(trainer.model, step_batch(trainer, list(range(8))), torch.ones(8))
    loss_object = trainer.label_set_loss
    rows = trainer.train_rows[:8]
    with torch.inference_mode():
        expected = LabelScorer(trainer.prompt, SharedPrefix(trainer.model, torch.device("cpu"), False)).in_batches(
            rows, 3, 500
        )
    np.testing.assert_allclose(scores.detach().numpy(), expected, rtol=1e-4, atol=1e-4)
    probabilities = loss_object.read([str(i) for i in range(8)], list(expected)).probabilities
    gold = trainer.rows.targets[:8]
    right = np.where(gold == 1, probabilities, 1 - probabilities)
    expected_loss = -(np.log(right).mean(1) if completion == "yes_no" else np.log(probabilities)[gold == 1]).sum()
    assert loss.item() == pytest.approx(expected_loss, rel=1e-4)
    assert len(loss_object.plan.contexts) == {"codes": 1, "names": 3, "yes_no": 6}[completion]


def test_with_codes_it_is_cross_entropy_over_the_codes_where_the_answer_begins(tiny: Tiny, tmp_path: Path) -> None:
    """Against plain PyTorch, row by row, without padding and without the plan."""
    trainer = build_sft_trainer(str(tiny("qwen2")), str(tmp_path), 8, 1, among_labels="codes")
    codes = [ids[0] for ids in trainer.prompt.completions.values()]
    total = torch.zeros(())
    for i in range(8):
        logits = trainer.model(input_ids=torch.tensor([trainer.train_rows[i].prompt_ids])).logits[0, -1, codes]
        total = total + torch.nn.functional.cross_entropy(logits[None], torch.tensor([i % len(LABELS)]))
    total.backward()
    expected = gradients(trainer)
    loss = loss_of(trainer, list(range(8)))
    assert loss.item() == pytest.approx(total.item(), rel=1e-5)
    torch.testing.assert_close(gradients(trainer), expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("completion", ["codes", "yes_no"])
def test_accumulation_does_not_change_the_gradient_or_the_logged_loss(
    tiny: Tiny, tmp_path: Path, completion: str
) -> None:
    def trained(batch: int, accumulation: int) -> dict[str, Any]:
        output = str(tmp_path / f"{batch}x{accumulation}")
        return record(build_sft_trainer(str(tiny("qwen2")), output, batch, accumulation, among_labels=completion))

    reference, other = trained(8, 1), trained(2, 4)
    assert len(reference["gradients"]) == 6
    torch.testing.assert_close(other["losses"], reference["losses"], rtol=1e-5, atol=1e-6)
    for mine, theirs in zip(other["gradients"], reference["gradients"], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-6)
    assert sorted(other["seen"]) == sorted(list(range(ROWS)) * 2)


@pytest.mark.slow
@pytest.mark.parametrize("completion", [*KINDS, None])
def test_two_processes_train_as_one(tiny: Tiny, tmp_path: Path, completion: str | None) -> None:
    """8 rows a step as one process of 8, and as two of 2 with accumulation 2; None: the loss on the answers' tokens."""
    model = str(tiny("qwen2"))
    one = build_sft_trainer(model, str(tmp_path / "one"), 8, 1, among_labels=completion)
    reference = record(one)
    arguments = (model, str(tmp_path), "2", "2", completion or "none")
    ranks = recorded_by_two("tests/training/tiny_sft.py", *arguments, folder=tmp_path)
    check_same_training(ranks, reference, 1e-3)
    assert sorted(reference["seen"]) == sorted(list(range(ROWS)) * 2), "every row once in each of two epochs"
    metrics = one.evaluate()
    for name in ("eval_loss", "eval_sum"):
        assert ranks[0]["metrics"][name] == pytest.approx(metrics[name], rel=1e-4)


@pytest.mark.parametrize("bits", [None, "load_in_4bit"])
def test_an_adapter_learns_by_it_on_whole_and_on_quantized_weights(
    tiny: Tiny, tmp_path: Path, bits: str | None
) -> None:
    trainer = build_sft_trainer(
        str(tiny("qwen2", width=64)), str(tmp_path), 8, 1, among_labels="codes", bits=bits,
        adapter={"type": "lora", "lora_dropout": 0.0, "target_modules": "all-linear"}, learning_rate=0.5,
        num_train_epochs=4,
    )  # fmt: skip
    losses = torch.tensor(record(trainer)["losses"])
    assert torch.isfinite(losses).all()
    assert losses[-3:].mean() < losses[:3].mean()
