"""Fits features and a classical estimator; strengths and numbers of trees are chosen on validation."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from categorize.data.segments.tokens import PlainTokens
from categorize.data.splits import LoadedData
from categorize.features.build import build_featurizer, lines_of
from categorize.features.featurizer import Featurizer, Matrix
from categorize.labels import LabelSet
from categorize.methods.embedding.estimators import BoostedTrees, Estimator, LinearEstimator, xgboost
from categorize.methods.embedding.predictor import EmbeddingPredictor
from categorize.methods.embedding.section import EmbeddingModel
from categorize.predictions import FloatArray, IntArray
from categorize.processes import print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import RunWriter
from categorize.training.balance import balanced
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.inputs import Inputs, training_inputs
from categorize.training.linear import (
    FOLDS,
    LinearModel,
    fit_binary,
    fit_ridge,
    fit_sigmoids,
    fit_softmax,
    fold_of,
    known_rows,
    link_of,
    positive_sides,
)

STRENGTHS = {"logistic_regression": [3.0, 10.0, 30.0], "linear_svc": [0.3, 1.0, 3.0]}


@dataclass(frozen=True)
class Rows:
    """Features [rows, features], targets [rows, labels], weights [rows], and the fold of each row where there are any.
    `sides`: see `training.linear.fit_binary`."""

    matrix: Matrix
    targets: FloatArray
    weights: FloatArray
    folds: IntArray | None = None
    sides: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, chosen: Any) -> Rows:
        """These rows, by position or mask."""
        return Rows(self.matrix[chosen], self.targets[chosen], self.weights[chosen], sides=self.sides)


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Features of the training rows, and an estimator on them."""
    section = recipe.model
    assert isinstance(section, EmbeddingModel)
    start = time.perf_counter()
    featurizer = build_featurizer(section.features, recipe.prediction, options.trust_remote_code)  # type: ignore[arg-type]
    inputs = training_inputs(recipe, data, PlainTokens())
    inputs.announce()
    train, validation = featured(featurizer, inputs, data.label_set, recipe.seed)
    print0(f"  features: {train.matrix.shape[1]:,} ({featurizer.name})")
    estimator, details = fit_estimator(section, data.label_set, train, validation, recipe.seed)
    for name, value in details.items():
        print0(f"  {name}: {value}")
    # The vectors of the test rows are kept too, for the runs that share them.
    featurizer.transform(data.input_spec.expand(data.splits.test, PlainTokens()).column("text").to_pylist())
    for line in lines_of(featurizer):
        print0(f"  {line}")
    EmbeddingPredictor(data.label_set, featurizer, estimator).save(writer)
    count, rows = estimator.parameters, len(train)
    details = {"features": train.matrix.shape[1], "featurizer": featurizer.name, **details, **inputs.details()}
    return FitSummary(count, count, time.perf_counter() - start, rows, details=details, rows_an_epoch=rows)


def featured(featurizer: Featurizer, inputs: Inputs, label_set: LabelSet, seed: int) -> tuple[Rows, Rows]:
    """Training rows, as the balance draws them, and the labelled validation rows."""
    matrix = featurizer.fit(inputs.train.column("text").to_pylist())
    weights, folds = inputs.weights, fold_of(inputs.train.column("content_hash").to_pylist())
    sides = positive_sides(label_set, inputs.class_weights)
    train = Rows(matrix, inputs.targets, weights, folds, sides)
    if inputs.balance is not None:
        drawn, weights = balanced(inputs.balance, weights, seed)
        train = Rows(matrix[drawn], inputs.targets[drawn], weights, folds[drawn], sides)
    gold = label_set.encode_rows(inputs.validation)
    held_out = Rows(
        featurizer.transform(inputs.validation.column("text").to_pylist()) if len(gold) else matrix[:0],
        gold,
        inputs.validation.column("weight").to_numpy().astype("float64"),
    )
    return train, held_out.take(known_rows(gold))


def fit_estimator(
    section: EmbeddingModel, label_set: LabelSet, train: Rows, validation: Rows, seed: int
) -> tuple[Estimator, dict[str, Any]]:
    """The fitted estimator, and what was chosen."""
    name = section.estimator or ("ridge" if label_set.is_regression else "logistic_regression")
    link = link_of(label_set)
    if name == "xgboost":
        trees, rounds = fit_trees(section, link, len(label_set), train, validation, seed)
        return trees, {"estimator": name, "rounds": rounds}
    if name == "ridge":
        scores = validation.targets[:, 0]
        model, alpha = fit_ridge(
            section.alpha,
            train.matrix,
            train.targets[:, 0],
            train.weights,
            validation.matrix,
            scores,
            validation.weights,
        )
        return LinearEstimator(model, link), {"estimator": name, "alpha": alpha}
    tried = section.C or STRENGTHS[name]
    if not len(validation):
        tried = [sorted(tried)[len(tried) // 2]]

    def fitted(strength: float, rows: Rows) -> LinearModel:
        if name == "logistic_regression" and link == "softmax":
            return fit_softmax(strength, rows.matrix, rows.targets, rows.weights)
        assert rows.sides is not None
        return fit_binary(name, strength, rows.matrix, rows.targets, rows.weights, rows.sides, seed)

    models = {strength: fitted(strength, train) for strength in tried}
    best = (
        max(models, key=lambda strength: quality(models[strength], validation, link)) if len(models) > 1 else tried[0]
    )
    sigmoids = None
    if name == "linear_svc":
        assert train.folds is not None
        margins = np.zeros((len(train), len(label_set)))
        for fold in range(FOLDS):
            out = train.folds == fold
            if out.any() and not out.all():
                margins[out] = fitted(best, train.take(~out)).margins(train.matrix[out])
        sigmoids = fit_sigmoids(margins, train.targets, train.weights)
    return LinearEstimator(models[best], link, sigmoids), {"estimator": name, "C": best}


def quality(model: LinearModel, validation: Rows, link: str) -> float:
    """What a strength is chosen by: accuracy where a row has one label; else the negative log loss, for thresholds are
    chosen later."""
    margins, weights = model.margins(validation.matrix), validation.weights
    weights = weights if weights.any() else np.ones_like(weights)
    if link == "softmax":
        right = margins.argmax(axis=1) == validation.targets.argmax(axis=1)
        return float(np.average(right, weights=weights))
    losses = np.logaddexp(0.0, margins) - validation.targets * margins
    return -float(np.average(losses.mean(axis=1), weights=weights))


def fit_trees(
    section: EmbeddingModel, link: str, labels: int, train: Rows, validation: Rows, seed: int
) -> tuple[BoostedTrees, int]:
    """Boosted trees, and how many rounds they took: up to the one with the least loss on validation."""
    library, keys = xgboost(), section.boosting
    objective = {"softmax": "multi:softprob", "sigmoid": "binary:logistic", "none": "reg:squarederror"}[link]
    settings: dict[str, Any] = {
        "objective": objective,
        "eta": keys.learning_rate,
        "max_depth": keys.max_depth,
        "subsample": keys.subsample,
        "colsample_bytree": keys.colsample,
        "gamma": keys.min_split_loss,
        "seed": seed,
        "tree_method": "hist",
    }
    if link == "softmax":
        settings["num_class"] = labels

    def data(rows: Rows) -> Any:
        targets = {"softmax": rows.targets.argmax(axis=1), "none": rows.targets[:, 0]}.get(link, rows.targets)
        return library.DMatrix(rows.matrix, targets, weight=rows.weights)

    watched = [(data(validation), "validation")] if len(validation) else []
    booster = library.train(
        settings,
        data(train),
        keys.rounds,
        evals=watched,
        early_stopping_rounds=keys.patience if watched else None,
        verbose_eval=False,
    )
    rounds = booster.best_iteration + 1 if watched else keys.rounds
    return BoostedTrees(booster[:rounds], link), rounds


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """What training would read; nothing is embedded."""
    section = recipe.model
    assert isinstance(section, EmbeddingModel)
    featurizer = build_featurizer(section.features, recipe.prediction, options.trust_remote_code)  # type: ignore[arg-type]
    inputs = training_inputs(recipe, data, PlainTokens())
    texts = inputs.train.column("text").to_pylist()
    return [*inputs.lines(), f"features: {featurizer.name}, of {len(set(texts)):,} distinct training texts"]
