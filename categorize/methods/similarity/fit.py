"""Features of labels and texts, and the numbers between a cosine and log-odds: fitted on labelled rows, or set."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import expit, softmax

from categorize.data.segments.tokens import PlainTokens
from categorize.data.splits import LoadedData
from categorize.features.build import build_featurizer, lines_of
from categorize.labels import LabelSet
from categorize.methods.similarity.predictor import Scaling, SimilarityPredictor, cosines, unit
from categorize.methods.similarity.section import SimilarityModel, label_texts
from categorize.predictions import FloatArray
from categorize.processes import print0
from categorize.recipe.sections import SeqclsRecipe
from categorize.runs.folder import RunWriter
from categorize.training.fit_summary import FitOptions, FitSummary
from categorize.training.inputs import training_inputs

_CELLS = 4_000_000  # texts times labels that three numbers are fitted on
_FEWEST = 20  # labelled rows from which they are fitted
_HUBNESS = 0.5
_DEVIATIONS = 3.0  # above the mean, from which a label of several is more likely than not
_SLOPE = 2.0  # log-odds of a deviation


def fit(recipe: SeqclsRecipe, data: LoadedData, writer: RunWriter, options: FitOptions) -> FitSummary:
    """Make features of labels and training texts, fit the numbers where rows are labelled, and write the run."""
    section, label_set = recipe.model, data.label_set
    assert isinstance(section, SimilarityModel)
    start = time.perf_counter()
    written = label_texts(label_set, section.template)
    featurizer = build_featurizer(section.features, recipe.prediction, options.trust_remote_code)  # type: ignore[arg-type]
    inputs = training_inputs(recipe, data, PlainTokens())
    inputs.announce()
    texts, drawn = inputs.train.column("text").to_pylist(), np.arange(inputs.train.num_rows)
    if not texts:  # what is not labelled says as well how near labels are to any text
        texts = data.input_spec.expand(data.splits.unlabeled, PlainTokens()).column("text").to_pylist()
    vectors = unit(featurizer.fit([*written, *texts]))[len(written) :]
    center = np.asarray(vectors.mean(axis=0), np.float64).reshape(-1) if texts else np.zeros(vectors.shape[1])
    predictor = SimilarityPredictor(label_set, featurizer, section.template, Scaling(1.0, 0.0, 0.0), center)
    most = max(_CELLS // len(label_set), 1)
    if len(texts) > most:
        drawn = np.sort(np.random.default_rng(recipe.seed).choice(len(texts), most, replace=False))
        vectors = vectors[drawn]
    found = cosines(vectors, predictor.labels)
    learns = section.learn and inputs.train.num_rows >= _FEWEST
    if learns:
        scaling = fitted(label_set, found, predictor.hubs, inputs.targets[drawn], inputs.weights[drawn])
    else:
        scaling = set_by_spread(found - _HUBNESS * predictor.hubs, label_set)
        reason = "model.learn is false" if not section.learn else f"fewer than {_FEWEST} labelled training rows"
        print0(f"  {reason}: scale and bias are set by the spread of similarities")
    predictor.scaling = scaling
    print0(f"  features: {featurizer.name}; scale {scaling.scale:.3g}, hubness {scaling.hubness:.3g}")
    for line in lines_of(featurizer):
        print0(f"  {line}")
    predictor.save(writer)
    details: dict[str, Any] = {"featurizer": featurizer.name, "learned": learns, **vars(scaling), **inputs.details()}
    rows = inputs.train.num_rows
    return FitSummary(3 * learns, 3 * learns, time.perf_counter() - start, rows, details=details, rows_an_epoch=rows)


def set_by_spread(found: FloatArray, label_set: LabelSet) -> Scaling:
    """Scale and bias that need no label: of several labels, one three deviations above the mean similarity holds."""
    spread, mean = (float(found.std()), float(found.mean())) if found.size else (0.1, 0.1)
    scale = _SLOPE / max(spread, 1e-6)
    return Scaling(scale, _HUBNESS, -scale * mean - _SLOPE * _DEVIATIONS)


def fitted(
    label_set: LabelSet, found: FloatArray, hubs: FloatArray, targets: FloatArray, weights: FloatArray
) -> Scaling:
    """The numbers with the least weighted loss: cross-entropy of one label, of several a binary one a cell.

    Args:
        found: cosines [rows, labels].
        hubs: [labels].
        targets: [rows, labels].
        weights: [rows].
    """
    from scipy.optimize import minimize

    weights = weights if weights.any() else np.ones_like(weights)
    spread = max(float(found.std()), 1e-6)
    parts = (found / spread, np.broadcast_to(hubs / spread, found.shape))
    total, several = weights.sum(), label_set.is_multi_label

    def loss(numbers: FloatArray) -> tuple[float, FloatArray]:
        logits = numbers[0] * parts[0] + numbers[1] * parts[1] + numbers[2]
        if several:
            losses = (np.logaddexp(0.0, logits) - targets * logits).sum(axis=1)
            slopes = expit(logits) - targets
        else:
            likely = softmax(logits, axis=1)
            losses = -np.log(np.maximum((likely * targets).sum(axis=1), 1e-300))
            slopes = likely - targets
        slopes *= weights[:, None] / total
        slope = np.array([(slopes * parts[0]).sum(), (slopes * parts[1]).sum(), slopes.sum() if several else 0.0])
        return float(losses @ weights / total), slope

    start = np.array([_SLOPE, -_SLOPE * _HUBNESS, -_SLOPE * _DEVIATIONS if several else 0.0])
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[(1e-3, None), (None, None), (None, None)]).x
    return Scaling(float(best[0] / spread), float(-best[1] / best[0]), float(best[2]))


def preview(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """Labels as texts; nothing is embedded."""
    section = recipe.model
    assert isinstance(section, SimilarityModel)
    written = label_texts(data.label_set, section.template)
    featurizer = build_featurizer(section.features, recipe.prediction, options.trust_remote_code)  # type: ignore[arg-type]
    inputs = training_inputs(recipe, data, PlainTokens())
    texts: pa.ChunkedArray = inputs.train.column("text")
    return [
        *inputs.lines(),
        f"features: {featurizer.name}, of {len(written):,} labels and {len(texts.unique()):,} distinct training texts",
        "labels as they are compared:",
        *(f"  | {text}" for text in written[:5]),
    ]
