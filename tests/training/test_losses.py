"""Losses against the formulas of their papers, written out anew, and against torch's own; in value and gradient."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from categorize.labels import Label, LabelSet
from categorize.nn.head_output import head_output
from categorize.recipe.loss_sections import Asymmetric, Focal, Huber, LogitAdjustment, loss_of
from categorize.training.class_weights import logit_adjustment

Reference = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # losses of rows
NAMES = ("a", "b", "c", "d")


def label_set(task: Any) -> LabelSet:
    return LabelSet(task, tuple(Label(name) for name in (("score",) if task == "regression" else NAMES)))


def one_hot(seed: int, rows: int = 9) -> torch.Tensor:
    return functional.one_hot(torch.randint(0, 4, (rows,), generator=torch.Generator().manual_seed(seed)), 4).double()


def some_labels(seed: int, rows: int = 9) -> torch.Tensor:
    return (torch.rand(rows, 4, generator=torch.Generator().manual_seed(seed)) < 0.4).double()


def random_logits(seed: int, rows: int = 9, width: int = 4) -> torch.Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 3


def same_value_and_gradient(
    mine: Reference, reference: Reference, logits: torch.Tensor, targets: torch.Tensor, tolerance: float = 1e-9
) -> None:
    found = []
    for function in (mine, reference):
        leaf = logits.clone().requires_grad_()
        losses = function(leaf, targets)
        losses.sum().backward()
        found.append((losses.detach(), leaf.grad))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)


def finite_differences_agree(losses: Reference, logits: torch.Tensor, targets: torch.Tensor) -> None:
    assert torch.autograd.gradcheck(lambda x: losses(x, targets), (logits.clone().requires_grad_(),), eps=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_focal_loss_of_one_label_is_that_of_the_paper(gamma: float) -> None:
    """Lin et al. 2017, equation 4, on a softmax."""
    mine = head_output(label_set("single_label"), objective=Focal(type="focal", gamma=gamma)).row_losses

    def paper(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        p = (logits.softmax(-1) * targets).sum(-1)
        return -((1 - p) ** gamma) * p.log()

    same_value_and_gradient(mine, paper, random_logits(0), one_hot(1))
    finite_differences_agree(mine, random_logits(0), one_hot(1))


@pytest.mark.parametrize("weighted", [False, True])
def test_focal_loss_of_several_labels_is_that_of_torchvision(weighted: bool) -> None:
    """`torchvision.ops.sigmoid_focal_loss` with alpha 0.25; a weight of alpha / (1 - alpha) on positives is the same
    up to a factor."""
    weight = (0.25 / 0.75,) * 4 if weighted else None
    output = head_output(label_set("multi_label"), objective=Focal(type="focal", gamma=2.0), positive_weight=weight)

    def torchvision(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        p = inputs.sigmoid()
        entropy = functional.binary_cross_entropy_with_logits(inputs, targets, reduction="none")
        loss = entropy * (1 - (p * targets + (1 - p) * (1 - targets))) ** 2.0
        if weighted:
            loss = (0.25 * targets + 0.75 * (1 - targets)) * loss / 0.75
        return loss.mean(1)

    same_value_and_gradient(output.row_losses, torchvision, random_logits(2), some_labels(3), 1e-6)
    finite_differences_agree(output.row_losses, random_logits(2), some_labels(3))


@pytest.mark.parametrize(("negative", "margin"), [(4.0, 0.05), (4.0, 0.0), (0.0, 0.2), (0.5, 0.05)])
def test_asymmetric_loss_is_that_of_the_paper(negative: float, margin: float) -> None:
    """Ridnik et al. 2021, equations 4 and 5."""
    section = Asymmetric(type="asymmetric", gamma_positive=1.0, gamma_negative=negative, margin=margin)
    mine = head_output(label_set("multi_label"), objective=section).row_losses

    def paper(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        p = logits.sigmoid()
        shifted = torch.maximum(p - margin, torch.full_like(p, 1e-12 if negative else 0.0))
        positive = (1 - p) ** 1.0 * p.log()
        return -(targets * positive + (1 - targets) * shifted**negative * (1 - shifted).log()).mean(1)

    same_value_and_gradient(mine, paper, random_logits(4), some_labels(5))
    assert mine(torch.full((1, 4), -40.0), torch.zeros(1, 4)).item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("name", ["logit_adjustment", "balanced_softmax"])
def test_logit_adjustment_is_cross_entropy_of_logits_with_the_log_of_the_prior(name: str) -> None:
    """Menon et al. 2021, equation 10; Ren et al. 2020, equation 3: exponentials weighted by counts."""
    labels, rows = label_set("single_label"), one_hot(6, 50).numpy()
    loss = loss_of(name, "single_label")
    output = head_output(labels, objective=loss, adjustment=logit_adjustment(loss, labels, rows))
    counts = torch.from_numpy(rows.sum(0))

    def paper(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        if name == "balanced_softmax":
            weighed = counts * logits.exp()
            return -((weighed / weighed.sum(-1, keepdim=True)).log() * targets).sum(-1)
        return functional.cross_entropy(logits + (counts / counts.sum()).log(), targets.argmax(-1), reduction="none")

    same_value_and_gradient(output.row_losses, paper, random_logits(7), one_hot(8))
    finite_differences_agree(output.row_losses, random_logits(7), one_hot(8))


def test_logit_adjustment_of_several_labels_adds_the_log_odds() -> None:
    labels, rows = label_set("multi_label"), some_labels(9, 60).numpy()
    loss = LogitAdjustment(type="logit_adjustment", tau=0.5)
    output = head_output(labels, objective=loss, adjustment=logit_adjustment(loss, labels, rows))
    share = torch.from_numpy(rows.mean(0))

    def reference(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        shifted = logits + 0.5 * (share / (1 - share)).log()
        return functional.binary_cross_entropy_with_logits(shifted, targets, reduction="none").mean(1)

    same_value_and_gradient(output.row_losses, reference, random_logits(10), some_labels(11))


def test_a_label_without_rows_or_in_all_of_them_has_a_finite_adjustment_and_segments_count_as_documents() -> None:
    loss = loss_of("logit_adjustment", "multi_label")
    rows = np.array([[1.0, 0, 1, 0], [1, 0, 0, 0], [1, 0, 0, 1]])
    found = np.array(logit_adjustment(loss, label_set("multi_label"), rows))
    assert np.isfinite(found).all()
    assert found[0] > 0 > found[1]
    cut = np.repeat(rows, [1, 5, 2], axis=0)
    weights = np.repeat(1 / np.array([1, 5, 2]), [1, 5, 2])
    one = label_set("single_label")
    whole = logit_adjustment(loss, one, rows)
    np.testing.assert_allclose(logit_adjustment(loss, one, cut, weights)[2], whole[2])  # type: ignore[index]
    assert logit_adjustment(loss_of("focal", "single_label"), one, rows) is None


def test_predictions_are_those_of_the_logits_alone() -> None:
    logits = random_logits(12).numpy()
    plain = head_output(label_set("single_label")).read(logits)["probabilities"]
    adjusted = head_output(label_set("single_label"), adjustment=(1.0, 0.0, -1.0, 3.0)).read(logits)["probabilities"]
    np.testing.assert_array_equal(plain, adjusted)


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("mse", lambda x, y: functional.mse_loss(x[:, 0], y[:, 0], reduction="none")),
        ("mae", lambda x, y: functional.l1_loss(x[:, 0], y[:, 0], reduction="none")),
        ("huber", lambda x, y: torch.where((d := (x - y)[:, 0].abs()) < 0.7, d**2 / 2, 0.7 * (d - 0.35))),
    ],
)
def test_losses_of_scores_are_torchs(name: str, reference: Reference) -> None:
    section = Huber(type="huber", delta=0.7) if name == "huber" else loss_of(name, "regression")
    mine = head_output(label_set("regression"), objective=section).row_losses
    same_value_and_gradient(mine, reference, random_logits(13, width=1), random_logits(14, width=1))


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
@pytest.mark.parametrize("name", ["cross_entropy", "focal", "asymmetric", "logit_adjustment"])
def test_no_logit_makes_a_loss_or_a_gradient_that_is_not_finite(task: str, name: str) -> None:
    if (task, name) == ("single_label", "asymmetric"):
        return
    section = Focal(type="focal", gamma=0.5) if name == "focal" else loss_of(name, task)
    output = head_output(label_set(task), objective=section)
    logits = torch.tensor([[500.0, -500, 0, 80]] * 8, requires_grad=True)
    targets = one_hot(15, 8).float() if task == "single_label" else some_labels(15, 8).float()
    losses = output.row_losses(logits, targets)
    losses.sum().backward()
    assert losses.isfinite().all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
