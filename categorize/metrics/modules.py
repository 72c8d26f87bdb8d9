"""The measures as `evaluate.Metric` modules, for use with `evaluate.combine`, evaluators and other people's trainers.

Nothing is loaded from the Hub and nothing needs the network. The numbers are those of `measures.measure`: both call
`categorize.metrics.scores`. This module imports `evaluate` at its top, because a class needs its base; nothing imports
it at start.
"""

from __future__ import annotations

from typing import Any

import evaluate
import numpy as np
from datasets import Features, Sequence, Value

from categorize.metrics import scores
from categorize.metrics.progress import flat
from categorize.recipe.label_sections import Task

CITATION = """@article{scikit-learn, title={Scikit-learn: Machine Learning in Python}, author={Pedregosa, F. and
others}, journal={Journal of Machine Learning Research}, volume={12}, pages={2825--2830}, year={2011}}"""


_POSITIONS = "label positions, -1 for an invalid prediction; labels: size of the label set"
# What is measured, what predictions and references are, and how one row of them is stored.
_TASKS: dict[str, tuple[str, str, Any]] = {
    "single_label": (
        "Accuracy and macro, micro and weighted precision, recall and F1 of one label a row.",
        _POSITIONS,
        Value("int64"),
    ),
    "multi_label": (
        "Subset accuracy, Hamming loss and macro, micro, weighted and samples precision, recall and F1 of label sets.",
        "rows of 0 and 1, one a label; -1 in every place of an invalid prediction",
        Sequence(Value("int64")),
    ),
    "ordinal": (
        "Mean absolute error on ranks and quadratic weighted kappa, with the measures of a single label.",
        _POSITIONS,
        Value("int64"),
    ),
    "regression": (
        "MAE, RMSE, R2, Pearson's r and Spearman's rho of a score.",
        "scores; NaN for an invalid prediction",
        Value("float64"),
    ),
}


class Report(evaluate.Metric):  # type: ignore[misc]
    """The measures of the task that is its `config_name`, as flat numbers."""

    def _info(self) -> evaluate.EvaluationModuleInfo:
        description, pair, feature = _TASKS[self.config_name]
        return evaluate.EvaluationModuleInfo(
            description=description,
            citation=CITATION,
            inputs_description=f"predictions, references: {pair}.",
            features=Features({"predictions": feature, "references": feature}),
        )

    def _compute(self, predictions: Any, references: Any, labels: int | None = None) -> dict[str, float]:
        gold: Any
        predicted: Any
        of_labels = self.config_name != "regression"
        gold, predicted = (np.asarray(one, np.int64 if of_labels else np.float64) for one in (references, predictions))
        unknown = ~np.isfinite(gold) if gold.dtype.kind == "f" else gold < 0
        if unknown.any():
            row = int(np.argwhere(unknown)[0][0])
            raise ValueError(f"row {row}: the reference is {gold[row]}; leave out rows whose reference is unknown")
        if not of_labels:
            return flat(scores.regression_scores(gold, predicted))
        labels = labels or gold.shape[1]  # of label positions it must be given
        measured = flat(scores.classification_scores(gold, predicted, labels))
        return measured | (
            flat(scores.ordinal_scores(gold, predicted, labels)) if self.config_name == "ordinal" else {}
        )


def load_metric(task: Task) -> Report:
    """The module of a task, keeping its rows in memory rather than in a cache file.

    >>> metric = load_metric("single_label")
    >>> round(metric.compute(predictions=[0, 2, -1], references=[0, 1, 1], labels=3)["macro_f1"], 3)
    0.5
    """
    return Report(config_name=task, keep_in_memory=True)
