"""Training rows whose label is in doubt: confident learning as for the evaluated rows (`label_errors`).

The probabilities are those of linear models, each of which learned from four fifths of the training rows and is asked
about the last fifth.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.analysis.inputs import MOST_CELLS, Inputs
from categorize.analysis.label_errors import in_doubt
from categorize.analysis.neighbours import TRAINING_ROWS
from categorize.features.build import build_featurizer
from categorize.predictions import FloatArray
from categorize.training.linear import fit_binary, fold_of

FOLDS = 5
STRENGTH = 10.0  # C: at 1 a linear model on n-grams is too unsure of rare labels


def training_label_errors(inputs: Inputs) -> tuple[list[dict[str, Any]], int] | None:
    """Training rows in doubt, as `label_errors` has those of the split, and how many rows were looked at: at most
    100,000, drawn by the seed.

    Rows of one group, and rows of equal content, share a fold, so that no model knows what it is asked about.

    None unless `inputs.search_train` asks for it, for a regression, with fewer labelled rows than folds, and where
    there are too many labels to look at each of each row.

    Raises:
        UserError: the model of `evaluation.features` is missing.
    """
    known = np.flatnonzero(~np.isnan(inputs.train_gold).any(axis=1))
    if not inputs.search_train or inputs.label_set.is_regression or len(known) < FOLDS:
        return None
    if len(known) > TRAINING_ROWS:
        known = np.sort(np.random.default_rng(inputs.seed).choice(known, TRAINING_ROWS, replace=False))
    truth = inputs.train_gold[known]
    if truth.size > MOST_CELLS:
        return None
    rows = inputs.train.take(pa.array(known))
    texts = [text or "" for text in rows["text"].to_pylist()]
    if not any(map(str.strip, texts)):
        return None
    probabilities = _out_of_fold(inputs, rows, texts, truth)
    if not inputs.label_set.is_multi_label:
        probabilities /= np.maximum(probabilities.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return in_doubt(inputs.label_set, rows["id"].to_pylist(), texts, truth, probabilities), len(known)


def _out_of_fold(inputs: Inputs, rows: pa.Table, texts: list[str], truth: FloatArray) -> FloatArray:
    """Probabilities [rows, labels] by models that did not learn from the row, or from one of its group."""
    from scipy.special import expit

    matrix = build_featurizer(inputs.features).fit(texts)
    keys = zip(rows["group"].to_pylist(), rows["content_hash"].to_pylist(), strict=True)
    folds = fold_of([sha256(str(group or content).encode()).hexdigest() for group, content in keys], FOLDS)
    weights, sides = np.ones(len(texts)), np.ones(truth.shape[1])
    found = np.zeros(truth.shape)
    for fold in np.unique(folds).tolist():
        asked = folds == fold
        learned = np.flatnonzero(~asked)
        if not len(learned):
            continue
        told = (matrix[learned], truth[learned], weights[learned])
        model = fit_binary("logistic_regression", STRENGTH, *told, sides, inputs.seed)
        found[asked] = expit(model.margins(matrix[np.flatnonzero(asked)]))
    return found
