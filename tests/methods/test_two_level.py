"""Two heads on one model: the losses of two separate heads, probabilities that never contradict each other, and runs
that are reloaded, merged and continued as those of any head."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from categorize import load_predictor
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.registry import METHODS
from categorize.methods.two_level.levels import Levels
from categorize.methods.two_level.output import TwoLevelOutput
from categorize.nn.dropout import set_head_dropout
from categorize.recipe.command import main
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.loss_sections import LogitAdjustment
from categorize.train import train
from tests.recipes import load_recipe
from tests.session.collections import write_recipe
from tests.tiny_models import ARCHITECTURES

Tiny = Callable[..., Path]
NAMES: list[Any] = [
    {"name": "mood", "labels": ["good", "bad"]},
    {"name": "thing", "labels": ["movie", "text", "label"]},
    {"name": "other", "labels": ["other"]},
]
RULES = {"brings_parent": ["mood"], "parent_alone": ["thing"], "stands_alone": ["other"]}


def label_set(task: str = "multi_label", rules: dict[str, Any] | None = None) -> LabelSet:
    return LabelSet.from_section(LabelsSection.model_validate({"task": task, "names": NAMES, "rules": rules}))


def run(*argv: str) -> int:
    return main("run_seqcls.py", "seqcls", train, METHODS, list(argv))


def write_rows(path: Path, rows: int = 150) -> None:
    """Texts whose words are their labels; with several labels a row in `kinds`."""
    subs = ["good", "bad", "movie", "text", "label"]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text", "kind", "kinds"])
        for i in range(rows):
            names = ["other"] if i % 6 == 5 else [subs[i % 6]] if i % 4 else sorted({subs[i % 6], subs[(i // 6) % 5]})
            words = ["x"] if names == ["other"] else names
            text = " ".join([*words * (2 // len(words)), str(i % 10), chr(97 + i // 10)])
            writer.writerow([f"r{i}", text, names[0], ";".join(names)])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.csv")
    return tmp_path


def recipe(folder: Path, model: Path, task: str = "multi_label", dropout: float = 0.3, **sections: Any) -> str:
    several = task == "multi_label"
    return str(
        write_recipe(
            folder / "two.yaml",
            model={"method": "two_level", "name_or_path": str(model), "dropout": dropout},
            data={"columns": {"id": "id", "text": "text", "label": "kinds" if several else "kind"}},
            labels={"task": task, "names": NAMES, **({"rules": RULES} if several else {})},
            training={
                "num_train_epochs": 8,
                "learning_rate": 1e-2,
                "use_cpu": True,
                "per_device_train_batch_size": 8,
                "eval_strategy": "no",
            },
            **sections,
        )
    )


# ---------------------------------------------------------------- outputs
def test_a_group_is_an_output_whether_it_is_a_label_or_not() -> None:
    levels = Levels(label_set(rules=RULES))
    assert levels.label_set.names == ["mood", "good", "bad", "thing", "movie", "text", "label", "other"]
    assert levels.outputs == ["mood", "thing", "other", "good", "bad", "thing/thing", "movie", "text", "label"]
    assert levels.sub.tolist() == [-1, 3, 4, 5, 6, 7, 8, -1]
    assert levels.main.tolist() == [0, 0, 0, 1, 1, 1, 1, 2]


def test_the_loss_is_that_of_two_heads_on_the_same_features() -> None:
    """Written with two linear layers and torch's own loss, as in the papers' code."""
    labels = label_set(rules=RULES)
    output = TwoLevelOutput(labels, main_weight=0.5, sub_weight=2.0)
    torch.manual_seed(0)
    features = torch.randn(4, 16)
    main_head, sub_head = torch.nn.Linear(16, 3), torch.nn.Linear(16, 6)
    one_layer = torch.nn.Linear(16, 9)
    with torch.no_grad():
        one_layer.weight.copy_(torch.cat([main_head.weight, sub_head.weight]))
        one_layer.bias.copy_(torch.cat([main_head.bias, sub_head.bias]))
    gold = [["mood", "good", "movie"], ["other"], [], ["thing"]]
    bce = torch.nn.BCEWithLogitsLoss()
    mains = torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 0, 0], [0, 1, 0]])
    subs = torch.tensor([[1.0, 0, 0, 1, 0, 0], [0.0] * 6, [0.0] * 6, [0, 0, 1.0, 0, 0, 0]])
    expected = 4 * (0.5 * bce(main_head(features), mains) + 2.0 * bce(sub_head(features), subs))
    targets = torch.tensor(labels.encode(gold), dtype=torch.float32)
    loss = output.loss(one_layer(features), targets, torch.ones(4))
    loss.backward()
    expected.backward()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(one_layer.weight.grad[:3], main_head.weight.grad)
    torch.testing.assert_close(one_layer.weight.grad[3:], sub_head.weight.grad)


def test_weights_of_labels_weigh_the_outputs_that_they_are() -> None:
    labels = label_set(rules=RULES)
    weights = tuple(float(i + 2) for i in range(8))
    logits, targets = torch.randn(1, 9), torch.ones(1, 8)
    loss = TwoLevelOutput(labels, positive_weight=weights).row_losses(logits, targets)
    cost = torch.nn.functional.softplus(-logits[0])
    main = cost[:3] * torch.tensor([2.0, 1.0, 9.0])  # mood is a label, thing is only a group, other is a label
    sub = cost[3:] * torch.tensor([3.0, 4, 5, 6, 7, 8])
    torch.testing.assert_close(loss[0], main.mean() + sub.mean())


def test_a_single_label_is_as_probable_as_its_main_category_and_its_place_in_it() -> None:
    labels = label_set("single_label")
    output = TwoLevelOutput(labels)
    logits = np.random.default_rng(0).normal(size=(5, output.width))
    p = output.read(logits)["probabilities"]
    np.testing.assert_allclose(p.sum(axis=1), 1)
    main = np.exp(logits[:, :3]) / np.exp(logits[:, :3]).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(p[:, :2].sum(axis=1), main[:, 0])
    np.testing.assert_allclose(p[:, 5], main[:, 2])  # the only label of its group
    targets = torch.eye(6)[:5]
    losses = output.row_losses(torch.tensor(logits, dtype=torch.float32), targets)
    np.testing.assert_allclose(losses, -np.log(p[np.arange(5), np.arange(5)]), rtol=1e-5)


@pytest.mark.parametrize("tau", [1.0, 0.7])
def test_logit_adjustment_adds_the_log_shares_of_main_categories_too(tau: float) -> None:
    labels = label_set("single_label")
    share = np.array([0.1, 0.2, 0.05, 0.25, 0.1, 0.3])
    loss = LogitAdjustment(type="logit_adjustment", tau=tau)
    output = TwoLevelOutput(labels, objective=loss, adjustment=tuple(tau * np.log(share)))
    logits = torch.randn(6, output.width)
    shifted = logits.clone()
    shifted[:, :3] += torch.tensor(tau * np.log([0.3, 0.4, 0.3]), dtype=torch.float32)
    shifted[:, 3:] += torch.tensor(tau * np.log(share[:5]), dtype=torch.float32)
    expected = TwoLevelOutput(labels).row_losses(shifted, torch.eye(6))
    torch.testing.assert_close(output.row_losses(logits, torch.eye(6)), expected)


def test_no_label_is_more_probable_than_its_main_category() -> None:
    output = TwoLevelOutput(label_set())
    logits = np.random.default_rng(1).normal(size=(50, output.width))
    p, main = output.read(logits)["probabilities"], 1 / (1 + np.exp(-logits[:, :3]))
    assert (p <= main[:, output.levels.main] + 1e-12).all() and (p[:, 0] < main[:, 0]).any()


# ---------------------------------------------------------------- dropout
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_head_drops_what_it_reads_in_training_alone(tiny: Tiny, architecture: str) -> None:
    from transformers import AutoModelForSequenceClassification

    from categorize.methods.head.model import OUTPUT_MODULES

    model = AutoModelForSequenceClassification.from_pretrained(tiny(architecture), num_labels=3)
    model.config.pad_token_id = 0
    set_head_dropout(model, 0.9, OUTPUT_MODULES)
    ids = torch.tensor([[2, 5, 6, 7, 8, 9, 10, 1 if architecture in ("t5", "bart") else 3]])
    if architecture in ("t5", "bart"):
        ids[0, -1] = model.config.eos_token_id
    with torch.no_grad():
        model.eval()
        same = [model(input_ids=ids).logits for _ in range(2)]
        model.train()
        dropped = [model(input_ids=ids).logits for _ in range(4)]
    assert torch.equal(*same)
    assert any(not torch.equal(dropped[0], other) for other in dropped[1:])


# ---------------------------------------------------------------- runs
@pytest.mark.parametrize(
    ("architecture", "task", "adapter"),
    [("bert", "multi_label", None), ("bert", "single_label", None), ("qwen2", "multi_label", {"type": "lora"})],
)
def test_a_run_learns_both_levels_and_is_reloaded_as_it_was(
    folder: Path, tiny: Tiny, architecture: str, task: str, adapter: dict[str, Any] | None
) -> None:
    sections: dict[str, Any] = {"decision": {"hierarchy": "exact", "thresholds": 0.3}} if task == "multi_label" else {}
    assert run(recipe(folder, tiny(architecture), task, adapter=adapter, dropout=0.05, **sections)) == 0
    path = folder / "outputs/two"
    manifest, metrics = (json.loads((path / name).read_text()) for name in ("run.json", "metrics.json"))
    assert manifest["method"] == "two_level"
    assert metrics["test"]["groups"]["micro"]["f1"] > 0.6
    if task == "multi_label":
        assert metrics["test"]["consistency"] == 1.0
    written = pq.read_table(path / "predictions/test.parquet")
    again = load_predictor(str(path)).predict_texts(written["text"].to_pylist())
    np.testing.assert_allclose(again.probabilities, np.array(written["probabilities"].to_pylist()), atol=1e-6)
    assert [list(names) for names in again.decided or []] == written["predicted"].to_pylist()
    if adapter is None:
        config = json.loads((path / "config.json").read_text())
        assert list(config["id2label"].values())[:3] == ["mood", "thing", "other"]
        assert config["classifier_dropout"] == 0.05


def test_an_adapter_is_merged_into_a_model_that_predicts_the_same(folder: Path, tiny: Tiny) -> None:
    assert run(recipe(folder, tiny("bert"), adapter={"type": "lora"}), "--merge") == 0
    texts = ["good movie 1", "x y z 2"]
    before, after = (load_predictor(f"outputs/{name}").predict_texts(texts) for name in ("two", "two_merged"))
    np.testing.assert_allclose(before.probabilities, after.probabilities, atol=1e-5)


def test_a_checkpoint_of_an_unfinished_run_is_read_as_two_heads(folder: Path, tiny: Tiny) -> None:
    assert run(recipe(folder, tiny("bert")), "training.keep_checkpoints=true", "training.num_train_epochs=1") == 0
    (checkpoint,) = (folder / "outputs/two/checkpoints").glob("checkpoint-*")
    (folder / "outputs/two/run.json").unlink()
    predictor = load_predictor(str(checkpoint))
    assert type(predictor.inner.output) is TwoLevelOutput  # type: ignore[attr-defined]


def test_a_dry_run_builds_both_heads(folder: Path, tiny: Tiny, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(recipe(folder, tiny("bert")), "--dry-run") == 0
    assert "its labels: " in capsys.readouterr().out and not (folder / "outputs").exists()


# ---------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ({"names": ["a", "b"]}, "model.method: two_level needs labels in groups, but labels.names has no group"),
        ({"names": None}, "model.method: two_level needs labels in groups"),
        ({"task": "regression", "names": None}, "model.method: two_level is for labels in groups, but labels.task is"),
        ({"task": "ordinal", "names": NAMES}, "model.method: two_level is for labels in groups, but labels.task is"),
    ],
)
def test_one_level_is_refused_in_one_line_before_a_model_is_looked_for(
    folder: Path, labels: dict[str, Any], said: str
) -> None:
    path = write_recipe(
        folder / "two.yaml", model={"method": "two_level", "name_or_path": "nowhere/at-all"}, labels=labels
    )
    with pytest.raises(UserError) as caught:
        load_recipe(path, [], "seqcls")
    (line,) = str(caught.value).splitlines()
    assert said in line and "two.yaml:" in line
