"""Linear models on features, by scikit-learn: one binary model a label (LinearSVC, logistic regression), or ridge;
their strength chosen on validation, and sigmoids that make probabilities of the margins of an SVM (Platt, 1999)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from categorize.features.featurizer import Matrix
from categorize.labels import LabelSet
from categorize.predictions import BoolArray, FloatArray, IntArray

NEVER = -30.0  # margin of a label without a training row: below all others
FOLDS = 3


@dataclass(frozen=True)
class LinearModel:
    """Coefficients float64 [outputs, features] and intercepts [outputs]."""

    coefficients: FloatArray
    intercepts: FloatArray

    def margins(self, matrix: Matrix) -> FloatArray:
        """Margins (or scores of a regression) [rows, outputs]."""
        return np.asarray(matrix @ self.coefficients.T + self.intercepts)

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return int(self.coefficients.size + self.intercepts.size)


def fit_binary(
    name: str,
    strength: float,
    matrix: Matrix,
    targets: FloatArray,
    weights: FloatArray,
    sides: FloatArray,
    seed: int,
) -> LinearModel:
    """One binary model a label; labels without a training row, or with rows of weight 0 alone, get a margin below all
    others.

    Args:
        name: linear_svc or logistic_regression.
        strength: C, the inverse strength of regularisation.
        targets: [rows, labels], 1 where a row has the label.
        weights: of the rows.
        sides: what a row that has the label weighs more than one that has not, [labels].
    """
    from scipy.sparse import issparse
    from sklearn.linear_model import LogisticRegression
    from sklearn.svm import LinearSVC

    weighed = weights > 0  # a binary model needs both sides
    matrix, targets, weights = matrix[weighed], targets[weighed], weights[weighed]
    labels = targets.shape[1]
    solver = "liblinear" if issparse(matrix) else "lbfgs"  # each many times faster than the other on such features
    coefficients, intercepts = np.zeros((labels, matrix.shape[1])), np.full(labels, NEVER)
    # One binary model a label: LinearSVC does so by itself, and every label keeps its own row of coefficients.
    for label in range(labels):
        positive = targets[:, label] > 0
        if positive.all():
            intercepts[label] = -NEVER
        if not positive.any() or positive.all():
            continue
        if name == "linear_svc":
            model: Any = LinearSVC(C=strength, random_state=seed)
        else:
            model = LogisticRegression(C=strength, solver=solver, max_iter=1000, random_state=seed)
        model.fit(matrix, positive, sample_weight=np.where(positive, sides[label] * weights, weights))
        coefficients[label], intercepts[label] = model.coef_[0], model.intercept_[0]
    return LinearModel(coefficients, intercepts)


def fit_softmax(strength: float, matrix: Matrix, targets: FloatArray, weights: FloatArray) -> LinearModel:
    """Logistic regression of all labels at once, for rows with one label each; labels without a training row as in
    `fit_binary`."""
    from sklearn.linear_model import LogisticRegression

    weighed = weights > 0
    matrix, targets, weights = matrix[weighed], targets[weighed], weights[weighed]
    classes = targets.argmax(axis=1)
    present = np.unique(classes)
    coefficients, intercepts = np.zeros((targets.shape[1], matrix.shape[1])), np.full(targets.shape[1], NEVER)
    if len(present) == 1:
        intercepts[present] = -NEVER
        return LinearModel(coefficients, intercepts)
    model = LogisticRegression(C=strength, max_iter=1000).fit(matrix, classes, sample_weight=weights)
    if len(present) == 2:  # scikit-learn keeps one row, for the second
        coefficients[present], intercepts[present] = np.array([[-0.5], [0.5]]) * model.coef_, 0.0
        intercepts[present] += np.array([-0.5, 0.5]) * model.intercept_
    else:
        coefficients[present], intercepts[present] = model.coef_, model.intercept_
    return LinearModel(coefficients, intercepts)


def fit_ridge(
    alphas: Sequence[float],
    matrix: Matrix,
    targets: FloatArray,
    weights: FloatArray,
    held_out: Matrix | None,
    gold: FloatArray,
    importance: FloatArray,
) -> tuple[LinearModel, float]:
    """Ridge with the strength that has the least squared error on validation rows; the middle one without them.

    Args:
        targets: [rows].
        held_out, gold, importance: features, scores and weights of the validation rows.
    """
    from sklearn.linear_model import Ridge

    def error(model: Any) -> float:
        squared = (model.predict(held_out) - gold) ** 2
        return float(np.average(squared, weights=importance if importance.any() else None))

    tried = alphas if len(gold) else [sorted(alphas)[len(alphas) // 2]]
    models = [Ridge(alpha=alpha).fit(matrix, targets, sample_weight=weights) for alpha in tried]
    best = min(models, key=error) if len(gold) else models[0]
    return LinearModel(best.coef_.reshape(1, -1), np.array([best.intercept_]).reshape(1)), float(best.alpha)


# ---------------------------------------------------------------- probabilities of margins
def fold_of(content_hashes: Sequence[str], folds: int = FOLDS) -> IntArray:
    """The fold of each row, by its content: duplicates share one, so that no fold knows the rows that it is asked
    about."""
    return np.array([int(value[:8], 16) % folds for value in content_hashes], dtype=np.int64)


def fit_sigmoids(margins: FloatArray, targets: FloatArray, weights: FloatArray) -> FloatArray:
    """Slope and offset of each label's sigmoid, [labels, 2]: P = 1 / (1 + exp(slope * margin + offset)).

    Fitted as Platt (1999) does, with targets a little inside 0 and 1, on margins of rows that the model did not learn
    from; what `CalibratedClassifierCV(method="sigmoid")` does. A label that all rows have, or none, keeps its margins.

    Args:
        margins, targets: [rows, labels].
    """
    from scipy.optimize import minimize

    found = np.tile([-1.0, 0.0], (margins.shape[1], 1))
    for label in range(margins.shape[1]):
        scale = max(float(np.abs(margins[:, label]).max(initial=0.0)), 1.0)
        z, positive = margins[:, label] / scale, targets[:, label] > 0
        more, less = float(weights[positive].sum()), float(weights[~positive].sum())
        if not (more and less):
            continue
        target = np.where(positive, (more + 1) / (more + 2), 1 / (less + 2))

        def loss(at: FloatArray, z: FloatArray = z, target: FloatArray = target) -> tuple[float, FloatArray]:
            from scipy.special import expit

            raw = -(at[0] * z + at[1])
            losses = np.logaddexp(0.0, raw) - target * raw
            slope = (target - expit(raw)) * weights
            return float((losses * weights).sum()), np.array([(slope * z).sum(), slope.sum()])

        start = np.array([0.0, np.log((less + 1) / (more + 1))])
        slope, offset = minimize(loss, start, jac=True, method="L-BFGS-B", options={"gtol": 1e-6, "ftol": 1e-14}).x
        found[label] = slope / scale, offset
    return found


def probabilities_of(margins: FloatArray, sigmoids: FloatArray, multi_label: bool) -> FloatArray:
    """Probabilities [rows, labels] of margins; those of a row sum to 1 where it has one label."""
    from scipy.special import expit

    each = expit(-(margins * sigmoids[:, 0] + sigmoids[:, 1]))
    return np.asarray(each if multi_label else each / each.sum(axis=1, keepdims=True))


def positive_sides(label_set: LabelSet, class_weights: dict[str, float]) -> FloatArray:
    """The class weights of a multi-label task, [labels], which weigh the rows that have the label; where a row has one
    label they are in its weight already."""
    weighed = label_set.is_multi_label
    return np.array([class_weights.get(name, 1.0) if weighed else 1.0 for name in label_set.names])


def link_of(label_set: LabelSet) -> str:
    """How margins become what is predicted: softmax (one label a row), sigmoid (several), none (a regression)."""
    return "none" if label_set.is_regression else "sigmoid" if label_set.is_multi_label else "softmax"


def linked(margins: FloatArray, link: str) -> FloatArray:
    """Probabilities of margins [rows, labels]; scores as they are."""
    from scipy.special import expit, softmax

    if link == "none" or not len(margins):
        return margins
    return np.asarray(expit(margins) if link == "sigmoid" else softmax(margins, axis=1))


def known_rows(targets: FloatArray) -> BoolArray:
    """Rows whose labels are known, [rows]."""
    return np.asarray(~np.isnan(targets).any(axis=1))
