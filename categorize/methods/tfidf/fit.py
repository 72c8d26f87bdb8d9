"""The TF-IDF method: a linear model on n-gram features, by scikit-learn."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import PlainTokens
from categorize.data.splits import LoadedData
from categorize.features.tfidf import TfidfFeaturizer, word_lines
from categorize.labels import LabelSet
from categorize.methods.tfidf.predictor import TfidfPredictor
from categorize.methods.tfidf.section import TfidfModel
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import RunWriter
from categorize.training.balance import Balance
from categorize.training.fit_summary import FitSummary
from categorize.training.inputs import training_inputs


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter) -> FitSummary:
    """Fit the vocabulary and the linear model on the training rows; ridge's strength is chosen on validation."""
    section = recipe.model
    assert isinstance(section, TfidfModel)
    start = time.perf_counter()
    inputs = training_inputs(recipe, data, PlainTokens())
    inputs.announce()
    texts = inputs.train.column("text").to_pylist()
    for line in word_lines(section, texts):
        print0(f"  {line}")
    features = TfidfFeaturizer.build(section)
    matrix, targets, weights = features.fit(texts), inputs.targets, inputs.weights
    details: dict[str, Any] = {"features": matrix.shape[1], **inputs.details()}
    if inputs.balance is not None:  # the vocabulary is that of all rows; the linear model alone reads the balanced ones
        matrix, targets, weights = balanced(inputs.balance, matrix, targets, weights, recipe.seed)
    if data.label_set.is_regression:
        coefficients, intercepts, details["alpha"] = _fit_ridge(
            section, inputs.validation, features, matrix, targets[:, 0], weights
        )
    else:
        coefficients, intercepts, details["estimator"] = _fit_linear(
            section, data.label_set, matrix, targets, weights, inputs.class_weights, recipe.seed
        )
    predictor = TfidfPredictor(data.label_set, features, coefficients, intercepts)
    predictor.save(writer)
    count = int(coefficients.size + intercepts.size)
    rows = matrix.shape[0]
    return FitSummary(count, count, time.perf_counter() - start, rows, details=details, rows_an_epoch=rows)


def preview(recipe: SeqclsRecipe, data: LoadedData) -> list[str]:
    """How many features the training rows have."""
    section = recipe.model
    assert isinstance(section, TfidfModel)
    inputs = training_inputs(recipe, data, PlainTokens())
    texts = inputs.train.column("text").to_pylist()
    matrix = TfidfFeaturizer.build(section).fit(texts)
    features = f"features: {matrix.shape[1]:,} n-grams, {matrix.nnz / matrix.shape[0]:.0f} in a row"
    return [*inputs.lines(), *word_lines(section, texts), features]


def balanced(
    balance: Balance, matrix: Any, targets: FloatArray, weights: FloatArray, seed: int
) -> tuple[Any, FloatArray, FloatArray]:
    """Features, targets and weights of the rows that the balance draws. `weighted` draws none here: it weighs every
    row, which is what its draws come to on average."""
    if balance.mode == "weighted":
        counts = np.bincount(balance.classes)
        return matrix, targets, weights * balance.rows / (len(balance.counts) * counts[balance.classes])
    drawn = balance.draw(np.random.default_rng((seed, 0)))
    return matrix[drawn], targets[drawn], weights[drawn]


def estimator(section: TfidfModel, label_set: LabelSet) -> str:
    """The linear model of a classification."""
    return section.estimator or ("logistic_regression" if label_set.is_multi_label else "linear_svc")


def _fit_linear(
    section: TfidfModel,
    label_set: LabelSet,
    matrix: Any,
    targets: FloatArray,
    weights: FloatArray,
    class_weights: dict[str, float],
    seed: int,
) -> tuple[FloatArray, FloatArray, str]:
    """Coefficients [labels, n-grams] and intercepts [labels]; labels without a training row, or with rows of weight 0
    alone, get a margin below all others. Class weights of a multi-label task weigh the rows that have the label;
    others are in `weights`."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    name = estimator(section, label_set)
    strength = section.C if section.C is not None else (0.5 if name == "linear_svc" else 5.0)
    weighed = weights > 0  # a binary model needs both sides
    matrix, targets, weights = matrix[weighed], targets[weighed], weights[weighed]
    coefficients = np.zeros((len(label_set), matrix.shape[1]))
    intercepts = np.full(len(label_set), -30.0)
    # One binary model a label: LinearSVC does so by itself, and every label keeps its own row of coefficients.
    for label in range(len(label_set)):
        positive = targets[:, label] > 0
        if positive.all():
            intercepts[label] = 30.0
        if not positive.any() or positive.all():
            continue
        if name == "linear_svc":
            model: Any = LinearSVC(C=strength, random_state=seed)
        else:
            model = LogisticRegression(C=strength, solver="liblinear", random_state=seed)
        side = class_weights.get(label_set.names[label], 1.0) if label_set.is_multi_label else 1.0
        model.fit(matrix, positive, sample_weight=np.where(positive, side * weights, weights))
        coefficients[label], intercepts[label] = model.coef_[0], model.intercept_[0]
    return coefficients, intercepts, name


def _fit_ridge(
    section: TfidfModel,
    validation: pa.Table,
    features: TfidfFeaturizer,
    matrix: Any,
    targets: FloatArray,
    weights: FloatArray,
) -> tuple[FloatArray, FloatArray, float]:
    """Coefficients [1, n-grams], intercept [1] and the strength with the least squared error on validation segments,
    each with its weight."""
    from sklearn.linear_model import Ridge

    gold = np.array(validation.column("gold_score").to_pylist(), dtype=np.float64)
    held_out = features.transform(validation.column("text").to_pylist()) if len(gold) else None
    importance = validation.column("weight").to_numpy() if validation.column("weight").to_numpy().any() else None
    alphas = section.alpha if len(gold) else [sorted(section.alpha)[len(section.alpha) // 2]]
    models = [Ridge(alpha=alpha).fit(matrix, targets, sample_weight=weights) for alpha in alphas]

    def error(model: Any) -> float:
        return float(np.average((model.predict(held_out) - gold) ** 2, weights=importance))

    best = min(models, key=error) if len(gold) else models[0]
    return best.coef_.reshape(1, -1), np.array([best.intercept_]).reshape(1), best.alpha
