"""R-Drop: two readings of a batch, and their divergence in the loss."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence

from categorize.errors import UserError
from categorize.nn.r_drop import divergence
from tests.training.tiny_training import build_trainer

Tiny = Callable[..., Path]


def test_the_divergence_is_that_of_the_distributions() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(5, 3), torch.randn(5, 3)
    one, other = Categorical(logits=a), Categorical(logits=b)
    expected = (kl_divergence(one, other) + kl_divergence(other, one)) / 2
    torch.testing.assert_close(divergence("single_label_classification", a, b), expected)
    yes, no = Bernoulli(logits=a), Bernoulli(logits=b)
    expected = ((kl_divergence(yes, no) + kl_divergence(no, yes)) / 2).mean(1)
    torch.testing.assert_close(divergence("multi_label_classification", a, b), expected)
    torch.testing.assert_close(divergence("regression", a[:, :1], b[:, :1]), (a - b)[:, 0].square())


@pytest.mark.parametrize("task", ["single_label", "multi_label", "regression"])
def test_the_loss_is_the_mean_of_two_readings_and_their_weighted_divergence(
    tiny: Tiny, tmp_path: Path, task: str
) -> None:
    trainer = build_trainer(str(tiny("bert")), str(tmp_path), 8, 1, task=task)
    trainer.r_drop = 0.7
    trainer.model.config.problem_type = {
        "single_label": "single_label_classification", "multi_label": "multi_label_classification",
    }.get(task, task)  # fmt: skip
    for module in trainer.model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.3
    trainer.model.train()
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(6)])
    weights, _ = batch.pop("loss_weights"), batch.pop("rows")
    targets = batch["labels"]
    torch.manual_seed(1)
    loss, outputs = trainer.summed_loss(trainer.model, dict(batch), weights)
    first, second = outputs.logits[:6], outputs.logits[6:]
    assert not torch.equal(first, second)
    apart = (divergence(trainer.model.config.problem_type, first, second) * weights).sum()
    mean = (trainer.objective(first, targets, weights) + trainer.objective(second, targets, weights)) / 2
    torch.testing.assert_close(loss, mean + 0.7 * apart)
    trainer.model.eval()
    assert len(trainer.summed_loss(trainer.model, dict(batch), weights)[1].logits) == 6, "evaluation reads once"


def test_a_model_without_dropout_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    from categorize.training.trainer import HeadTrainer

    trainer = build_trainer(str(tiny("bert")), str(tmp_path), 8, 1)
    with pytest.raises(UserError, match=r"training.r_drop: two passes are the same, for the model has no dropout"):
        HeadTrainer(
            model=trainer.model, args=trainer.args, train_dataset=trainer.train_dataset, objective=trainer.objective,
            measures=trainer.measures, r_drop=1.0,
        )  # fmt: skip
