"""The loss and its gradient do not depend on how a batch is cut into micro-batches and processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.training.tiny_training import ROWS, build_trainer, record
from tests.training.two_processes import check_same_training, recorded_by_two

Tiny = Callable[..., Path]


LOSSES = [
    *[("single_label", name) for name in (None, "focal", "logit_adjustment", "balanced_softmax")],
    *[("ordinal", name) for name in ("corn", "cumulative_link")],
    *[("multi_label", name) for name in (None, "focal", "asymmetric", "logit_adjustment")],
    *[("regression", name) for name in (None, "mae", "huber")],
]


@pytest.mark.parametrize(("task", "loss"), LOSSES)
def test_accumulation_does_not_change_the_gradient_or_the_logged_loss(
    tiny: Tiny, tmp_path: Path, task: str, loss: str | None
) -> None:
    reference = record(build_trainer(str(tiny("bert")), str(tmp_path / "8x1"), 8, 1, task=task, loss=loss))
    assert len(reference["gradients"]) == 6  # two epochs of two whole steps and a short one
    for batch, accumulation in ((4, 2), (2, 4), (3, 3)) if loss is None else ((2, 4),):
        folder = str(tmp_path / f"{batch}x{accumulation}")
        other = record(build_trainer(str(tiny("bert")), folder, batch, accumulation, task=task, loss=loss))
        if batch * accumulation != 8:
            assert len(other["gradients"]) == 6
            continue
        torch.testing.assert_close(other["losses"], reference["losses"], rtol=1e-5, atol=1e-6)
        for mine, theirs in zip(other["gradients"], reference["gradients"], strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_the_gradient_is_that_of_the_weighted_mean_over_the_step(tiny: Tiny, tmp_path: Path) -> None:
    """Against plain autograd, without any trainer: one step over all rows."""
    trainer = build_trainer(str(tiny("bert")), str(tmp_path / "a"), ROWS, 1, num_train_epochs=1)
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(ROWS)])
    logits = trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    log_probabilities = torch.log_softmax(logits, dim=-1)
    per_row = -(0.9 * (log_probabilities * batch["labels"]).sum(-1) + 0.1 * log_probabilities.mean(-1))
    loss = (per_row * batch["loss_weights"]).sum() / batch["loss_weights"].sum()
    loss.backward()
    expected = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
    recorded = record(build_trainer(str(tiny("bert")), str(tmp_path / "b"), ROWS, 1, num_train_epochs=1))
    torch.testing.assert_close(recorded["gradients"][0], expected, rtol=1e-4, atol=1e-6)
    assert recorded["losses"][0] == pytest.approx(loss.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("balance", "task", "loss"),
    [
        (None, "single_label", None),
        pytest.param("upsample", "single_label", None, marks=pytest.mark.slow),
        *[pytest.param(None, task, loss, marks=pytest.mark.slow) for task, loss in LOSSES if loss],
    ],
)
def test_two_processes_train_as_one(
    tiny: Tiny, tmp_path: Path, balance: str | None, task: str, loss: str | None
) -> None:
    """8 rows a step as one process of 8, and as two processes of 2 with accumulation 2: same losses, gradients,
    weights, evaluation; of balanced rows, and with every loss, too."""
    one = build_trainer(str(tiny("bert")), str(tmp_path / "one"), 8, 1, balance=balance, task=task, loss=loss)
    reference = record(one)
    arguments = (str(tiny("bert")), str(tmp_path), "2", "2", balance or "none", task, loss or "none")
    ranks = recorded_by_two("tests/training/tiny_training.py", *arguments, folder=tmp_path)
    check_same_training(ranks, reference, 1e-4)
    if balance is None:
        assert sorted(reference["seen"]) == sorted(list(range(ROWS)) * 2), "every row once in each of two epochs"
    metrics = one.evaluate()
    assert ranks[0]["metrics"]["eval_sum"] == pytest.approx(metrics["eval_sum"], rel=1e-5)
    assert ranks[0]["metrics"]["eval_loss"] == pytest.approx(metrics["eval_loss"], rel=1e-5)
