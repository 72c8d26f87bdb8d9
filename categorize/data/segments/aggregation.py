"""Predictions of segments become predictions of documents: averages, maxima, votes.

Arrays are [segments, labels] with `of_row` [segments], the document of each segment. A segment that is not valid, and
NaN (a label that was not scored), does not count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute

from categorize.data.rows import codes
from categorize.predictions import BoolArray, FloatArray, IntArray, Predictions


def aggregate_predictions(how: str, predictions: Predictions, rows: pa.Table, *, multi_label: bool) -> Predictions:
    """Undecided predictions of rows (segments) become those of documents, in order of first appearance.

    Generated texts are joined by newlines. A document is valid if any of its rows is. `decided` survives where every
    document is one row. `vote` needs decided labels (see `vote_predictions`); here it is the mean. Raises ValueError
    where predictions and rows are not of the same ids in the same order.
    """
    names, of_row = _documents_of(predictions, rows)
    if len(names) == len(of_row):
        return replace(predictions, ids=names)
    lengths = _lengths(rows)
    probabilities = score = None
    if predictions.probabilities is not None:
        known = np.where(predictions.is_valid[:, None], predictions.probabilities, np.nan)
        probabilities = aggregate_probabilities(how, known, of_row, len(names), lengths, multi_label=multi_label)
    if predictions.score is not None:
        known = np.where(predictions.is_valid, predictions.score, np.nan)
        score = aggregate_scores(how, known, of_row, len(names), lengths)
    auxiliary = None
    if predictions.auxiliary is not None:
        auxiliary = {
            name: aggregate_scores(how, np.where(predictions.is_valid, one, np.nan), of_row, len(names), lengths)
            for name, one in predictions.auxiliary.items()
        }
    documents = _of_documents(predictions, names, of_row, probabilities, score, None)
    return replace(documents, auxiliary=auxiliary)


def vote_predictions(
    how: str,
    predictions: Predictions,
    rows: pa.Table,
    labels: Sequence[str],
    *,
    multi_label: bool,
    thresholds: Sequence[float] = (),
) -> Predictions:
    """Decided predictions of rows (segments) become those of documents by majority, see `vote`.

    Probabilities are the mean over the rows. Generated answers have none and always vote: weighted by length with
    `how` length_weighted; with `max` one answer is enough for a label of a multi-label task. Raises ValueError where
    nothing was decided, or predictions and rows are not of the same ids.
    """
    if predictions.decided is None:
        raise ValueError("a vote needs decided predictions")
    names, of_row = _documents_of(predictions, rows)
    if len(names) == len(of_row):
        return replace(predictions, ids=names)
    decided = vote(
        predictions.decided,
        predictions.is_valid,
        of_row,
        len(names),
        labels,
        multi_label=multi_label,
        probabilities=predictions.probabilities,
        thresholds=thresholds,
        weights=np.maximum(_lengths(rows), 1.0) if how == "length_weighted" else None,
        any_counts=how == "max",
    )
    mean = None
    if predictions.probabilities is not None:
        mean = _mean(predictions.probabilities, predictions.is_valid, of_row, len(names))
    return _of_documents(predictions, names, of_row, mean, None, decided)


def _documents_of(predictions: Predictions, rows: pa.Table) -> tuple[list[str], IntArray]:
    if list(predictions.ids) != rows["id"].to_pylist():
        raise ValueError("predictions and rows differ in their ids or in their order")
    return codes(rows["document_id"].to_pylist())


def _lengths(rows: pa.Table) -> FloatArray:
    """Characters of each row's text."""
    return np.asarray(pa.compute.utf8_length(rows["text"]).to_numpy().astype(np.float64))


def _of_documents(
    predictions: Predictions,
    names: list[str],
    of_row: IntArray,
    probabilities: FloatArray | None,
    score: FloatArray | None,
    decided: list[list[str]] | None,
) -> Predictions:
    raw: list[str | None] | None = None
    if predictions.raw is not None:
        raw = [None] * len(names)
        for document, answer in zip(of_row.tolist(), predictions.raw, strict=True):
            if answer is not None:
                raw[document] = answer if (before := raw[document]) is None else f"{before}\n{answer}"
    valid = np.bincount(of_row, weights=predictions.is_valid, minlength=len(names)) > 0
    return Predictions(names, probabilities, score, decided, valid, raw, predictions.usage)


def aggregate_probabilities(
    how: str, values: FloatArray, of_row: IntArray, documents: int, lengths: FloatArray, *, multi_label: bool
) -> FloatArray:
    """Probabilities of documents [documents, labels]; NaN where no segment has one.

    By `max`, `confidence_weighted` or `length_weighted` (by the lengths of segments); anything else is the mean.
    """
    if how == "max":
        result = np.full((documents, values.shape[1]), np.nan)
        np.fmax.at(result, of_row, values)  # of a number and NaN, the number
        return result
    weights = lengths[:, None] if how == "length_weighted" else np.ones((1, 1))
    if how == "confidence_weighted":
        weights = confidence(values, multi_label=multi_label)
    return weighted_mean(values, weights, of_row, documents)


def weighted_mean(values: FloatArray, weights: FloatArray, of_row: IntArray, documents: int) -> FloatArray:
    """Weighted mean of each document and label; the plain mean where all weights are 0. Weights are broadcast."""
    known = ~np.isnan(values)
    filled = np.where(known, values, 0.0)
    parts = (filled * weights, known * weights, filled, known.astype(np.float64))
    weighted, total, plain, counts = (sums(part, of_row, documents) for part in parts)
    mean = np.where(total > 0, weighted / np.where(total > 0, total, 1.0), plain / np.maximum(counts, 1.0))
    return np.where(counts > 0, mean, np.nan)


def _mean(probabilities: FloatArray, valid: BoolArray, of_row: IntArray, documents: int) -> FloatArray:
    return weighted_mean(np.where(valid[:, None], probabilities, np.nan), np.ones((1, 1)), of_row, documents)


def sums(values: FloatArray, of_row: IntArray, documents: int) -> FloatArray:
    """Sums over the segments of each document, [documents, labels] of [segments, labels]."""
    from scipy.sparse import csr_array

    rows = len(of_row)
    return np.asarray(csr_array((np.ones(rows), (of_row, np.arange(rows))), shape=(documents, rows)) @ values)


def confidence(values: FloatArray, *, multi_label: bool) -> FloatArray:
    """How sure each segment is, from 0 to 1.

    Single label, [segments, 1]: how far its highest probability is above that of a guess. Multi-label, [segments,
    labels]: how far each label's probability is from one half.
    """
    if multi_label:
        return np.nan_to_num(np.abs(2 * values - 1), nan=0.0)
    guess = 1.0 / max(values.shape[1], 2)
    top = np.nan_to_num(values, nan=0.0).max(axis=1, keepdims=True)
    return np.asarray(np.clip((top - guess) / (1 - guess), 0.0, 1.0))


def aggregate_scores(how: str, scores: FloatArray, of_row: IntArray, documents: int, lengths: FloatArray) -> FloatArray:
    """Scores of documents [documents]: `median`, `length_weighted`, else the mean; NaN where no segment has one."""
    if how == "median":
        from scipy.stats import binned_statistic

        known = ~np.isnan(scores)
        if not known.any():
            return np.full(documents, np.nan)
        bins = np.arange(documents + 1) - 0.5
        return np.asarray(binned_statistic(of_row[known], scores[known], "median", bins=bins).statistic)
    weights = lengths[:, None] if how == "length_weighted" else np.ones((1, 1))
    return weighted_mean(scores[:, None], weights, of_row, documents)[:, 0]


def vote(
    decided: Sequence[Sequence[str]],
    valid: BoolArray,
    of_row: IntArray,
    documents: int,
    labels: Sequence[str],
    *,
    multi_label: bool,
    probabilities: FloatArray | None = None,
    thresholds: Sequence[float] = (),
    weights: FloatArray | None = None,
    any_counts: bool = False,
) -> list[list[str]]:
    """Labels of each document by the majority of its valid segments.

    Single label: the label with most votes. A tie goes to the label with the higher mean probability over the segments,
    without probabilities to the one that an earlier segment named; never to class order.
    Multi-label: each label that more than half of the segments have; where it is exactly half, the label holds if its
    mean probability over the segments reaches its threshold (without probabilities it does not).

    Args:
        probabilities: of the segments, [segments, labels].
        thresholds: of each label; 0.5 where there are none.
        weights: of each segment's vote; 1 by default.
        any_counts: multi-label: one segment is enough.
    """
    index = {name: j for j, name in enumerate(labels)}
    weight = (np.ones(len(of_row)) if weights is None else weights)[:, None] * valid[:, None]
    chosen = np.zeros((len(of_row), len(labels)), dtype=bool)
    for row, names in enumerate(decided):
        chosen[row, [index[name] for name in names]] = valid[row]
    votes, voters = sums(chosen * weight, of_row, documents), sums(weight, of_row, documents)[:, 0]
    first = np.full((documents, len(labels)), len(of_row), dtype=np.int64)
    rows, columns = np.nonzero(chosen)
    np.minimum.at(first, (of_row[rows], columns), rows)
    mean = np.full(votes.shape, -1.0)
    if probabilities is not None:
        mean = np.nan_to_num(_mean(probabilities, valid, of_row, documents), nan=-1.0)
    if multi_label:
        bounds = np.array(thresholds) if len(thresholds) else np.full(len(labels), 0.5)
        half = voters[:, None] / 2
        tied = np.isclose(votes, half, rtol=1e-9) & (votes > 0)
        held = (votes > 0) if any_counts else ((votes > half) & ~tied) | (tied & (mean >= bounds))
        return [[labels[j] for j in np.flatnonzero(row).tolist()] for row in held]
    best = np.lexsort((first, -mean, -np.round(votes, 9)), axis=1)[:, 0]
    return [[labels[j]] if votes[document, j] > 0 else [] for document, j in enumerate(best.tolist())]
