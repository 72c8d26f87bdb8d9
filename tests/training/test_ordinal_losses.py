"""Losses of ordered labels against references, and what they are worth on labels that are ordered."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from categorize import load_predictor
from categorize.labels import Label, LabelSet
from categorize.methods.registry import METHODS
from categorize.metrics.scores import ordinal_scores
from categorize.nn.head_output import Output, head_output
from categorize.recipe.command import main
from categorize.recipe.loss_sections import loss_of
from categorize.train import train
from tests.session.collections import write_recipe

LOSSES = ("corn", "cumulative_link")


def output(name: str, labels: int = 5) -> Output:
    label_set = LabelSet("ordinal", tuple(Label(str(number)) for number in range(labels)))
    return head_output(label_set, objective=loss_of(name, "ordinal"))


def random(seed: int, rows: int, labels: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [rows, labels - 1] and ranks [rows]."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, labels - 1, generator=generator, dtype=torch.float64) * 3
    return logits, torch.randint(0, labels, (rows,), generator=generator)


def coral_pytorch_corn_loss(logits: torch.Tensor, y_train: torch.Tensor, num_classes: int) -> torch.Tensor:
    """The loss of Shi et al. as their package computes it: over all answers of a batch."""
    sets = [(y_train > i - 1, (y_train[y_train > i - 1] > i).double()) for i in range(num_classes - 1)]
    examples, losses = 0, torch.zeros((), dtype=torch.float64)
    for task, (mask, labels) in enumerate(sets):
        if len(labels) < 1:
            continue
        examples += len(labels)
        pred = logits[mask, task]
        losses += -(functional.logsigmoid(pred) * labels + (functional.logsigmoid(pred) - pred) * (1 - labels)).sum()
    return losses / examples


def test_corn_is_the_loss_of_its_authors_up_to_the_number_of_answers() -> None:
    logits, ranks = random(0, 40)
    targets = functional.one_hot(ranks, 5).double()
    answers = sum(min(rank + 1, 4) for rank in ranks.tolist())
    gradients = []
    for loss in (
        lambda x: output("corn").row_losses(x, targets).sum() / answers,
        lambda x: coral_pytorch_corn_loss(x, ranks, 5),
    ):
        leaf = logits.clone().requires_grad_()
        value = loss(leaf)
        value.backward()
        gradients.append((value.detach(), leaf.grad))
    torch.testing.assert_close(gradients[0], gradients[1])


def test_cumulative_link_is_the_proportional_odds_model_where_the_gaps_are_the_same_for_all_rows() -> None:
    """McCullagh 1980: P(y <= k) = logistic(cut_k - position)."""
    position, cuts = np.linspace(-3, 6, 12), np.array([0.0, 0.5, 2.5, 2.6])
    gaps = np.log(np.expm1(np.diff(cuts)))
    found = output("cumulative_link").read(np.column_stack([position, np.tile(gaps, (12, 1))]))["probabilities"]
    below = 1 / (1 + np.exp(position[:, None] - cuts))
    np.testing.assert_allclose(found, np.diff(np.hstack([np.zeros((12, 1)), below, np.ones((12, 1))])), atol=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("labels", [2, 3, 7])
def test_the_loss_is_the_negative_log_of_the_probability_that_is_predicted(name: str, labels: int) -> None:
    logits, ranks = random(1, 30, labels)
    head = output(name, labels)
    assert head.width == len(head.names) == labels - 1
    losses = head.row_losses(logits, functional.one_hot(ranks, labels).double())
    probabilities = head.read(logits.numpy())["probabilities"]
    np.testing.assert_allclose(losses.numpy(), -np.log(probabilities[np.arange(30), ranks.numpy()]), rtol=1e-9)
    targets = functional.one_hot(ranks, labels).double()
    assert torch.autograd.gradcheck(lambda x: head.row_losses(x, targets), (logits.requires_grad_(),))


@pytest.mark.parametrize("name", LOSSES)
@given(values=st.lists(st.floats(-300, 300), min_size=4, max_size=4))
def test_probabilities_are_a_distribution_and_cumulative_ones_fall(name: str, values: list[float]) -> None:
    found = output(name).read(np.array([values]))["probabilities"][0]
    assert (found >= 0).all()
    assert found.sum() == pytest.approx(1.0)
    loss = output(name).row_losses(torch.tensor([values] * 5), torch.eye(5))
    assert loss.isfinite().all()


def fitted(head: Output, features: torch.Tensor, targets: torch.Tensor) -> Callable[[torch.Tensor], np.ndarray]:
    """Probabilities of a linear head that was fitted to these rows."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(features.shape[1], head.width).double()
    optimizer = torch.optim.LBFGS(layer.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def step() -> torch.Tensor:
        optimizer.zero_grad()
        penalty = 0.01 * sum(parameter.square().sum() for parameter in layer.parameters())
        loss = head.row_losses(layer(features), targets).mean() + penalty
        loss.backward()
        return loss

    optimizer.step(step)
    return lambda rows: np.asarray(head.read(layer(rows).detach().numpy())["probabilities"])


@pytest.mark.parametrize("name", LOSSES)
def test_on_ordered_labels_it_is_nearer_to_the_gold_than_softmax(name: str) -> None:
    """A score that seven cut points make labels of, learned from 80 rows."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(4080, 10, generator=generator, dtype=torch.float64)
    score = features @ torch.linspace(1, 0.1, 10, dtype=torch.float64)
    score += 0.5 * torch.randn(4080, generator=generator, dtype=torch.float64)
    ranks = torch.bucketize(score, torch.linspace(-2.5, 2.5, 7, dtype=torch.float64))
    targets = functional.one_hot(ranks, 8).double()
    scores = {}
    for other in ("cross_entropy", name):
        predict = fitted(output(other, 8), features[:80], targets[:80])
        scores[other] = ordinal_scores(ranks[80:].numpy(), predict(features[80:]).argmax(1), 8)
    assert scores[name]["mae"] < 0.9 * scores["cross_entropy"]["mae"]
    kappas = [scores[other]["quadratic_weighted_kappa"] for other in (name, "cross_entropy")]
    assert kappas[0] > kappas[1] + 0.02


@pytest.mark.parametrize("name", LOSSES)
def test_a_run_predicts_probabilities_of_all_labels_and_is_reloaded_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Callable[..., Path], name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    stars = ["bad", "fair", "good"]
    lines = ["id,text,mood", *(f"{i},it is {stars[i % 3]} number {i},{stars[i % 3]}" for i in range(90))]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    recipe = write_recipe(
        tmp_path / "r.yaml",
        model={"name_or_path": str(tiny("bert")), "max_length": 16},
        labels={"task": "ordinal", "names": stars},
        training={"loss": name, "num_train_epochs": 1, "per_device_train_batch_size": 8, "use_cpu": True},
    )
    assert main("run_seqcls.py", "seqcls", train, METHODS, [str(recipe)]) == 0
    config = json.loads(Path("outputs/r/config.json").read_text())
    assert len(config["id2label"]) == 2
    one, again = (load_predictor("outputs/r").predict_texts(["it is good", "it is bad"]) for _ in range(2))
    assert one.probabilities is not None
    assert one.probabilities.shape == (2, 3)
    np.testing.assert_allclose(one.probabilities.sum(axis=1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(one.probabilities, again.probabilities)
    # Trained on: a run of the same outputs keeps its head, one of labels gets a new one.
    for loss, told in ((name, False), ("cross_entropy", True)):
        arguments = [str(recipe), f"training.loss={loss}", "model.name_or_path=outputs/r", "name=next", "--overwrite"]
        assert main("run_seqcls.py", "seqcls", train, METHODS, arguments) == 0
        manifest = json.loads(Path("outputs/next/run.json").read_text())
        assert ("head" in manifest["details"]) == told
