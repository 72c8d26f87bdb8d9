"""A head that begins as a linear probe gives, untrained, what scikit-learn's model of the same features gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression, Ridge

from categorize.errors import UserError
from categorize.labels import Group, Label, LabelSet
from categorize.methods.head.model import Head, build_head
from categorize.methods.head.probe import RIDGE, STRENGTH, begin_as_probe, head_features, output_layer
from categorize.methods.two_level.method import TwoLevelMethod
from categorize.methods.two_level.section import TwoLevelModel
from categorize.nn.tokenizer import tokenize
from categorize.recipe.label_sections import Task
from tests.models.test_head import LABELS, TEXTS, Tiny, logits, recipe
from tests.recipes import load_recipe
from tests.session.collections import write_recipe
from tests.tiny_models import ARCHITECTURES

CLASSES = np.array([0, 1, 2, 1, 0])
WEIGHTS = np.array([1.0, 1.0, 2.0, 1.0, 0.5])


def built(folder: Path, label_set: LabelSet = LABELS, **sections: Any) -> Head:
    return build_head(recipe(folder, model={"head_init": "probe", **sections.pop("model", {})}, **sections), label_set)


def begin(head: Head, targets: Any, label_set: LabelSet = LABELS) -> None:
    begin_as_probe(head, head.output(label_set), tokenize(head.tokenizer, TEXTS, 64), targets, WEIGHTS, seed=1)


def read_by_layer(head: Head) -> np.ndarray[Any, Any]:
    """What the output layer is given, text by text and without padding, [texts, features]."""
    seen: list[torch.Tensor] = []
    hook = output_layer(head.model)[2].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    tokens = tokenize(head.tokenizer, TEXTS, 64)
    head.model.eval()
    with torch.no_grad():
        for i in range(len(tokens)):
            ids = torch.tensor(tokens[i][None].astype(np.int64))
            head.model(input_ids=ids, attention_mask=torch.ones_like(ids))
    hook.remove()
    return torch.stack([one[0] if one.ndim == 2 else one[0, -1] for one in seen]).double().numpy()


@pytest.mark.parametrize("adapter", [None, {"type": "lora"}], ids=["full", "lora"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_untrained_head_is_the_logistic_regression_of_its_features(
    tiny: Tiny, architecture: str, adapter: dict[str, str] | None
) -> None:
    head = built(tiny(architecture), adapter=adapter)
    features = read_by_layer(head)
    begin(head, np.eye(3)[CLASSES])
    np.testing.assert_allclose(read_by_layer(head), features, rtol=1e-5, atol=1e-6)  # all else is as it was
    scaled = features / np.linalg.norm(features, axis=1).mean()
    model = LogisticRegression(C=STRENGTH, max_iter=1000).fit(scaled, CLASSES, sample_weight=WEIGHTS)
    expected = model.predict_log_proba(scaled)
    found = torch.from_numpy(logits(head)).log_softmax(-1).numpy()
    no_bias = output_layer(head.model)[2].bias is None
    if no_bias:
        expected = torch.from_numpy(scaled @ model.coef_.T).log_softmax(-1).numpy()
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_several_labels_a_row_are_one_model_each_and_a_label_without_rows_stays_random(tiny: Tiny) -> None:
    label_set = LabelSet("multi_label", tuple(Label(name) for name in "abcd"))
    head = built(tiny("bert"), label_set)
    before = output_layer(head.model)[2].weight[3].clone()
    targets = np.array([[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0]], dtype=float)
    begin(head, targets, label_set)
    features = read_by_layer(head)
    scaled = features / np.linalg.norm(features, axis=1).mean()
    for column in range(3):
        model = LogisticRegression(C=STRENGTH)
        model.fit(scaled, targets[:, column], sample_weight=WEIGHTS)
        np.testing.assert_allclose(logits(head)[:, column], model.decision_function(scaled), atol=2e-3)
    assert torch.equal(output_layer(head.model)[2].weight[3], before)


def test_scores_are_those_of_a_ridge_and_unknown_ones_are_left_out(tiny: Tiny) -> None:
    label_set = LabelSet("regression", (Label("score"),))
    section = {"training": {"auxiliary": {"more": 0.5}}}
    head = built(tiny("bert"), label_set, **section)
    features = head_features(head, tokenize(head.tokenizer, TEXTS, 64))
    targets = np.array([[1.0, 0.5], [-1.0, np.nan], [0.3, -2.0], [-0.2, 1.0], [0.0, np.nan]])
    begin(head, targets, label_set)
    scaled = features / np.linalg.norm(features, axis=1).mean()
    for column in (0, 1):
        known = ~np.isnan(targets[:, column])
        model = Ridge(RIDGE).fit(scaled[known], targets[known, column], sample_weight=WEIGHTS[known])
        np.testing.assert_allclose(logits(head)[:, column], model.predict(scaled), atol=1e-4)


@pytest.mark.parametrize("task", ["single_label", "multi_label"])
def test_two_levels_begin_as_two_probes(tiny: Tiny, task: Task) -> None:
    names = ("xa", "xb", "ya", "yb")
    label_set = LabelSet(task, tuple(Label(name, parent=name[0]) for name in names), (Group("x"), Group("y")))
    model = {"method": "two_level", "head_init": "probe", "name_or_path": str(tiny("bert")), "max_length": 64}
    section = TwoLevelModel.model_validate(model)
    head = build_head(recipe(tiny("bert"), model=model), label_set, kind=TwoLevelMethod().kind_of_head(section))
    classes = np.array([0, 1, 2, 3, 0])
    begin(head, np.eye(4)[classes], label_set)
    features = read_by_layer(head)
    scaled = features / np.linalg.norm(features, axis=1).mean()
    found = logits(head)
    if task == "multi_label":
        one = LogisticRegression(C=STRENGTH, max_iter=1000).fit(scaled, classes >= 2, sample_weight=WEIGHTS)
        np.testing.assert_allclose(found[:, 1], one.decision_function(scaled), atol=2e-3)
    else:
        inside = classes < 2  # of the first main category
        one = LogisticRegression(C=STRENGTH, max_iter=1000)
        one.fit(scaled[inside], classes[inside], sample_weight=WEIGHTS[inside])
        np.testing.assert_allclose(found[:, 3] - found[:, 2], one.decision_function(scaled), atol=2e-3)


def test_a_loss_without_an_output_for_each_label_is_refused(tmp_path: Path) -> None:
    sections = {"model": {"name_or_path": "some/encoder", "head_init": "probe"}, "labels": {"task": "ordinal"}}
    path = write_recipe(tmp_path / "r.yaml", **sections, training={"loss": "corn"})
    with pytest.raises(UserError, match=r"r.yaml:\d+: model.head_init: probe needs an output for each label"):
        load_recipe(path)
