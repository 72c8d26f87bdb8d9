"""What was learned of candidates: a logistic regression on their features, and how often labels hold with and without
being found."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.special import logit

from categorize.labels import LabelSet
from categorize.methods.lexical.candidates import Candidates
from categorize.predictions import BoolArray, FloatArray, IntArray

FOLDS = 5
MOST_CANDIDATES = 300_000  # that the classifier reads; a coefficient needs no more
_STRENGTH = 10.0  # candidates that a label's own precision weighs as much as the mean of all labels
_LEAST_SCALE = 0.1  # of a feature: all are logarithms, shares and small counts, and what hardly varies says nothing
_UNFOUND = -5.0  # log-odds of a label that was not found, below those of one of all labels, where nothing was learned


@dataclass(frozen=True)
class LabelCounts:
    """Of each label in the training rows: candidates, right ones, and rows that have it without its being found.

    Attributes:
        rows: training rows.
        candidates, right, missed: int [labels].
        precision, missing: over all labels of the training: share of candidates that are right, and of rows without a
            find of a label that have it.
    """

    rows: int
    candidates: IntArray
    right: IntArray
    missed: IntArray
    precision: float
    missing: float

    @classmethod
    def of(cls, candidates: Candidates, targets: FloatArray) -> LabelCounts:
        """Counted over rows with targets [rows, labels]."""
        rows, labels = targets.shape
        right = targets[candidates.rows, candidates.labels] > 0
        found = np.bincount(candidates.labels, minlength=labels)
        hits = np.bincount(candidates.labels[right], minlength=labels)
        missed = (targets > 0).sum(axis=0) - hits
        seen = hits + missed > 0
        precision = (hits[seen].sum() + 1) / (found[seen].sum() + 2)
        missing = (missed[seen].sum() + 0.5) / ((rows - found[seen]).sum() + 1)
        return cls(rows, found, hits, missed, float(precision), float(missing))

    @property
    def seen(self) -> BoolArray:
        """Which labels any training row has, bool [labels]."""
        return np.asarray(self.right + self.missed > 0)

    def aligned(self, own: list[str], asked: LabelSet) -> LabelCounts:
        """The same for other labels: those of the same name keep their counts, others have none."""
        position = {name: i for i, name in enumerate(own)}
        at = np.array([position.get(name, -1) for name in asked.names], dtype=np.int64)
        candidates, right, missed = (
            np.where(at >= 0, counts[at], 0) for counts in (self.candidates, self.right, self.missed)
        )
        return replace(self, candidates=candidates, right=right, missed=missed)

    def lift(self, labels: IntArray) -> tuple[FloatArray, FloatArray]:
        """Log-odds, against all labels, that a candidate of each label is right, with whether any row has the label;
        0 for labels without rows."""
        seen = self.seen
        smoothed = (self.right + _STRENGTH * self.precision) / (self.candidates + _STRENGTH)
        lift = np.where(seen, logit(smoothed) - logit(self.precision), 0.0)
        return lift[labels], seen[labels].astype(np.float64)

    def unfound(self) -> FloatArray:
        """Log-odds of each label where it is not found [labels]; labels without rows get the mean of the others."""
        rate = (self.missed + self.missing) / (self.rows - self.candidates + 1)
        return np.asarray(logit(np.where(self.seen, rate, self.missing)), dtype=np.float64)


@dataclass(frozen=True)
class Judge:
    """Log-odds of candidates, by logistic regression on standardised features and their products.

    Attributes:
        lowest, highest: of the features in training, float [features]; others are taken for the nearest: the terms of
            another label set may be rarer than any that was learned from.
        mean, scale: of the features, float [features].
        coefficients: float [features and products].
        intercept: float [1].
    """

    lowest: FloatArray
    highest: FloatArray
    mean: FloatArray
    scale: FloatArray
    coefficients: FloatArray
    intercept: FloatArray

    @classmethod
    def fit(
        cls, candidates: Candidates, targets: FloatArray, weights: FloatArray, seed: int
    ) -> tuple[Judge, LabelCounts]:
        """Learn from the candidates of rows with targets [rows, labels] and weights [rows].

        A label's own precision is a feature, as of the other folds' rows, and unknown in half of the rows: the
        classifier must also judge labels without training rows, which it does not see here.
        """
        from sklearn.linear_model import LogisticRegression

        counts = LabelCounts.of(candidates, targets)
        generator = np.random.default_rng(seed)
        fold = generator.integers(FOLDS, size=len(targets))[candidates.rows]
        lift, known = np.zeros(len(candidates)), np.zeros(len(candidates))
        for one in range(FOLDS):
            here, there = fold == one, fold != one
            other = Candidates(candidates.rows[there], candidates.labels[there], candidates.features, candidates.scores)
            lift[here], known[here] = LabelCounts.of(other, targets).lift(candidates.labels[here])
        hidden = (generator.random(len(targets)) < 0.5)[candidates.rows]
        lift[hidden] = known[hidden] = 0.0
        features = np.column_stack([candidates.features, lift, known])
        right = (targets[candidates.rows, candidates.labels] > 0).astype(np.int64)
        chosen = np.flatnonzero(weights[candidates.rows] > 0)
        if len(chosen) > MOST_CANDIDATES:
            chosen = np.sort(generator.choice(chosen, MOST_CANDIDATES, replace=False))
        features, right, weights = features[chosen], right[chosen], weights[candidates.rows[chosen]]
        scale = np.maximum(features.std(axis=0), _LEAST_SCALE)
        bounds = features.min(axis=0), features.max(axis=0), features.mean(axis=0), scale
        unfitted = cls(*bounds, np.zeros(0), np.zeros(0))
        model = LogisticRegression(C=0.1, max_iter=2000).fit(unfitted.read(features), right, sample_weight=weights)
        return replace(unfitted, coefficients=model.coef_[0], intercept=model.intercept_), counts

    def log_odds(self, candidates: Candidates, counts: LabelCounts) -> FloatArray:
        """Of each candidate, float [n]."""
        read = self.read(np.column_stack([candidates.features, *counts.lift(candidates.labels)]))
        return np.asarray(read @ self.coefficients + self.intercept[0], dtype=np.float64)

    def read(self, features: FloatArray) -> FloatArray:
        """Standardised features [n, features] with the product of every two of them, and squares."""
        standard = (np.clip(features, self.lowest, self.highest) - self.mean) / self.scale
        left, right = np.triu_indices(features.shape[1])
        return np.hstack([standard, standard[:, left] * standard[:, right]])


def unlearned_rest(label_set: LabelSet) -> FloatArray:
    """Log-odds of labels that were not found, where nothing was learned [labels]."""
    return np.full(len(label_set), _UNFOUND - np.log(len(label_set)))
