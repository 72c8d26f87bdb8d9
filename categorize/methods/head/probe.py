"""A new head that begins as a linear probe: a linear model, fitted on what the untouched model makes of the training
rows.

Trained behind a random head, the first steps bend features that were good already; behind one that fits them there is
less to bend (Kumar et al. 2022, "Fine-Tuning can Distort Pretrained Features", LP-FT).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from categorize.engines.encoder import TorchEncoder
from categorize.errors import UserError
from categorize.features.featurizer import Matrix
from categorize.labels import LabelSet
from categorize.methods.head.model import OUTPUT_MODULES, Head
from categorize.nn.head_output import Output
from categorize.nn.tokenizer import TokenizedTexts
from categorize.predictions import FloatArray
from categorize.recipe.decision_sections import PredictionSection
from categorize.training.linear import NEVER, LinearModel, fit_binary, fit_ridge, fit_softmax

MOST_VALUES = 50_000_000  # rows times features: a probe hardly gains by more, and they would fill the memory
STRENGTH = 30.0  # C of the logistic regression, on features whose rows have a mean length of 1
RIDGE = 1.0


def begin_as_probe(
    head: Head, output: Output, texts: TokenizedTexts, targets: FloatArray, weights: FloatArray, seed: int
) -> str:
    """Fit the head's output layer on the features of the training rows, and say how. The rest of the model is as it
    was.

    Args:
        targets: [rows, labels] as `Output.scaled` gives them: 1 where a row has the label, or scores, NaN where
            unknown.
        weights: of the rows, [rows].

    Raises:
        UserError: the output layer is not linear.
    """
    import torch

    layer = output_layer(head.model)[2]
    most = MOST_VALUES // layer.in_features
    if len(texts) > most:
        rows = np.sort(np.random.default_rng(seed).choice(len(texts), most, replace=False))
        texts = TokenizedTexts.from_lists([texts[int(row)].tolist() for row in rows])
        targets, weights = targets[rows], weights[rows]
    features = head_features(head, texts).astype(np.float32)
    scale = float(np.linalg.norm(features, axis=1).mean()) or 1.0
    for places, wanted in output.blocks(targets):
        fitted = fit_probe(output.label_set, features / scale, wanted, weights, seed)
        known = fitted.intercepts != NEVER  # a label without a training row keeps its random beginning
        with torch.no_grad():
            layer.weight[places[known]] = torch.from_numpy(fitted.coefficients[known] / scale).to(layer.weight)
            if layer.bias is not None:
                layer.bias[places[known]] = torch.from_numpy(fitted.intercepts[known]).to(layer.bias)
    return f"the head begins as a linear probe, fitted on {len(texts):,} training rows"


def fit_probe(
    label_set: LabelSet, features: Matrix, targets: FloatArray, weights: FloatArray, seed: int
) -> LinearModel:
    """Logistic regression, one a label where a row may have several, or a ridge a score. Rows without an answer to the
    question, labels that are not there or an unknown score, do not count."""
    if label_set.is_regression:
        columns = []
        for target in targets.T:
            known, nothing = ~np.isnan(target), np.zeros(0)
            fit = fit_ridge([RIDGE], features[known], target[known], weights[known], None, nothing, nothing)
            columns.append(fit[0])
        stacked = (np.concatenate([getattr(one, name) for one in columns]) for name in ("coefficients", "intercepts"))
        return LinearModel(*stacked)
    if label_set.is_multi_label:
        sides = np.ones(targets.shape[1])
        return fit_binary("logistic_regression", STRENGTH, features, targets, weights, sides, seed)
    return fit_softmax(STRENGTH, features, targets, weights * targets.sum(axis=1))


def head_features(head: Head, texts: TokenizedTexts) -> FloatArray:
    """What the output layer reads of each text, [texts, features].

    Raises:
        UserError: the output layer is not linear.
    """
    import torch

    parent, name, layer = output_layer(head.model)
    training, placed = head.model.training, head.settings.quantization is not None
    setattr(parent, name, torch.nn.Identity())
    try:
        return TorchEncoder(head.model, layer.in_features, PredictionSection(), placed=placed).outputs(texts)
    finally:
        setattr(parent, name, layer)
        head.model.train(training)


def output_layer(model: Any) -> tuple[Any, str, Any]:
    """The linear layer that gives the logits, with the module that holds it and its name there; behind an adapter its
    copy that is trained."""
    import torch

    modules = dict(model.named_modules())
    found = [
        path
        for path, module in modules.items()
        if isinstance(module, torch.nn.Linear)
        and any(part in OUTPUT_MODULES for part in path.split("."))
        and module.weight.requires_grad
    ]
    if not found:
        raise UserError(f"model.head_init: probe: {model.config.model_type} has no linear output layer; remove the key")
    parent, _, name = found[-1].rpartition(".")
    return modules[parent], name, modules[found[-1]]
