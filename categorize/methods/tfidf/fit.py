"""The TF-IDF method: a linear model on n-gram features, by scikit-learn."""

from __future__ import annotations

import time
from typing import Any

from categorize.data.segments.tokens import PlainTokens
from categorize.data.splits import LoadedData
from categorize.features.tfidf import TfidfFeaturizer, word_lines
from categorize.labels import LabelSet
from categorize.methods.tfidf.predictor import TfidfPredictor
from categorize.methods.tfidf.section import TfidfModel
from categorize.processes import print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import RunWriter
from categorize.training.balance import balanced
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.inputs import training_inputs
from categorize.training.linear import fit_binary, fit_ridge, positive_sides


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
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
        drawn, weights = balanced(inputs.balance, weights, recipe.seed)
        matrix, targets = matrix[drawn], targets[drawn]
    if data.label_set.is_regression:
        scores = data.label_set.encode_rows(inputs.validation)[:, 0]
        held_out = features.transform(inputs.validation.column("text").to_pylist())
        importance = inputs.validation.column("weight").to_numpy()
        model, details["alpha"] = fit_ridge(section.alpha, matrix, targets[:, 0], weights, held_out, scores, importance)
    else:
        name = details["estimator"] = estimator(section, data.label_set)
        strength = section.C if section.C is not None else (0.5 if name == "linear_svc" else 5.0)
        sides = positive_sides(data.label_set, inputs.class_weights)
        model = fit_binary(name, strength, matrix, targets, weights, sides, recipe.seed)
    TfidfPredictor(data.label_set, features, model).save(writer)
    count, rows = model.parameters, matrix.shape[0]
    return FitSummary(count, count, time.perf_counter() - start, rows, details=details, rows_an_epoch=rows)


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """How many features the training rows have."""
    section = recipe.model
    assert isinstance(section, TfidfModel)
    inputs = training_inputs(recipe, data, PlainTokens())
    texts = inputs.train.column("text").to_pylist()
    matrix = TfidfFeaturizer.build(section).fit(texts)
    features = f"features: {matrix.shape[1]:,} n-grams, {matrix.nnz / matrix.shape[0]:.0f} in a row"
    return [*inputs.lines(), *word_lines(section, texts), features]


def estimator(section: TfidfModel, label_set: LabelSet) -> str:
    """The linear model of a classification."""
    return section.estimator or ("logistic_regression" if label_set.is_multi_label else "linear_svc")
