"""Indexes the labelled rows; how many vote, and how, is chosen on validation."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from categorize.data.segments.tokens import PlainTokens
from categorize.data.splits import LoadedData
from categorize.errors import UserError
from categorize.features.build import build_featurizer, lines_of
from categorize.features.search import Found, build_index, search_others
from categorize.labels import LabelSet
from categorize.methods.neighbours.predictor import NeighboursPredictor, votes
from categorize.methods.neighbours.section import NeighboursModel
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import RunWriter
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.inputs import training_inputs
from categorize.training.linear import known_rows

CHOSEN_ON = 5000  # training rows, where there is no validation


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Embed and index the training rows; choose k and temperature."""
    from scipy.sparse import csr_matrix

    section, start = recipe.model, time.perf_counter()
    assert isinstance(section, NeighboursModel)
    featurizer = build_featurizer(section.features, recipe.prediction, options.trust_remote_code)  # type: ignore[arg-type]
    inputs = training_inputs(recipe, data, PlainTokens())
    inputs.announce()
    matrix = featurizer.fit(inputs.train.column("text").to_pylist())
    index, targets = build_index(matrix, section.search), csr_matrix(inputs.targets)
    weights = inputs.weights
    gold = data.label_set.encode_rows(inputs.validation)
    known, widest = known_rows(gold), max(section.k)
    if known.any():
        place, held_out = "validation", inputs.validation.filter(known)
        gold = gold[known]
        found = index.search(featurizer.transform(held_out.column("text").to_pylist()), widest)
        importance = held_out.column("weight").to_numpy()
    else:  # each training row by the others, but for its duplicates
        place, contents = "training rows, each by the others", inputs.train.column("content_hash").to_pylist()
        at = np.random.default_rng(recipe.seed).permutation(len(contents))[:CHOSEN_ON]
        gold, importance = inputs.targets[at], weights[at]
        found = search_others(index, matrix[at], widest, [contents[i] for i in at], contents)
    k, temperature = choose(section, data.label_set, found, targets, weights, gold, importance)
    print0(f"  {len(index):,} rows to look among; k {k}, temperature {temperature:g}, chosen on {place}")
    featurizer.transform(data.input_spec.expand(data.splits.test, PlainTokens()).column("text").to_pylist())
    for line in lines_of(featurizer):
        print0(f"  {line}")
    ids = inputs.train.column("id").to_pylist()
    NeighboursPredictor(data.label_set, featurizer, index, ids, targets, weights, k, temperature).save(writer)
    details = {"features": matrix.shape[1], "featurizer": featurizer.name, "k": k, "temperature": temperature}
    rows = len(index)
    seconds = time.perf_counter() - start
    return FitSummary(0, 0, seconds, rows, details={**details, **inputs.details()}, rows_an_epoch=rows)


def choose(
    section: NeighboursModel,
    label_set: LabelSet,
    found: Found,
    targets: Any,
    weights: FloatArray,
    gold: FloatArray,
    importance: FloatArray,
) -> tuple[int, float]:
    """k and temperature with the most right labels where a row has one, else with the least squared error of the shares
    (Brier, 1950) or of the score.

    Raises:
        UserError: no row of the index can vote.
    """
    one = not (label_set.is_regression or label_set.is_multi_label)
    importance = importance if importance.any() else np.ones(len(gold))

    def quality(k: int, temperature: float) -> tuple[float, float]:
        shares = votes((found[0][:, :k], found[1][:, :k]), targets, weights, temperature)
        voted = ~np.isnan(shares).any(axis=1)
        if not (importance * voted).any():
            raise UserError("model: no labelled row can vote; give training rows of different texts, and of a weight")
        errors = ((shares - gold) ** 2).mean(axis=1)
        brier = -float(np.average(errors[voted], weights=importance[voted]))
        right = shares[voted].argmax(axis=1) == gold[voted].argmax(axis=1)
        return (float(np.average(right, weights=importance[voted])) if one else brier), brier

    tried = [(k, temperature) for k in sorted(set(section.k)) for temperature in section.temperature]
    return max(tried, key=lambda pair: quality(*pair))


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """What would be indexed; nothing is embedded."""
    section = recipe.model
    assert isinstance(section, NeighboursModel)
    featurizer = build_featurizer(section.features, recipe.prediction, options.trust_remote_code)  # type: ignore[arg-type]
    inputs = training_inputs(recipe, data, PlainTokens())
    return [*inputs.lines(), f"would index {inputs.train.num_rows:,} labelled rows by {featurizer.name}"]
