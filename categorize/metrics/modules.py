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
from categorize.recipe.sections import Task

CITATION = """@article{scikit-learn, title={Scikit-learn: Machine Learning in Python}, author={Pedregosa, F. and
others}, journal={Journal of Machine Learning Research}, volume={12}, pages={2825--2830}, year={2011}}"""


class _Module(evaluate.Metric):  # type: ignore[misc]
    """What the four modules share; each names its features and computes flat numbers."""

    features_of_pair: Any
    inputs: str

    def _info(self) -> evaluate.EvaluationModuleInfo:
        return evaluate.EvaluationModuleInfo(
            description=self.__doc__ or "",
            citation=CITATION,
            inputs_description=self.inputs,
            features=Features({"predictions": self.features_of_pair, "references": self.features_of_pair}),
        )


class SingleLabelReport(_Module):
    """Accuracy and macro, micro and weighted precision, recall and F1 of one label a row."""

    features_of_pair = Value("int64")
    inputs = "predictions, references: label positions, -1 for an invalid prediction; labels: size of the label set."

    def _compute(self, predictions: Any, references: Any, labels: int) -> dict[str, float]:
        return flat(scores.single_label_scores(_ints(references), _ints(predictions), labels))


class MultiLabelReport(_Module):
    """Subset accuracy, Hamming loss and macro, micro, weighted and samples precision, recall and F1 of label sets."""

    features_of_pair = Sequence(Value("int64"))
    inputs = "predictions, references: rows of 0 and 1, one a label; -1 in every place of an invalid prediction."

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return flat(scores.multi_label_scores(_ints(references), _ints(predictions)))


class OrdinalReport(_Module):
    """Mean absolute error on ranks and quadratic weighted kappa, with the measures of a single label."""

    features_of_pair = Value("int64")
    inputs = "predictions, references: ranks from 0, -1 for an invalid prediction; labels: number of ranks."

    def _compute(self, predictions: Any, references: Any, labels: int) -> dict[str, float]:
        gold, predicted = _ints(references), _ints(predictions)
        return flat(scores.single_label_scores(gold, predicted, labels)) | flat(
            scores.ordinal_scores(gold, predicted, labels)
        )


class RegressionReport(_Module):
    """MAE, RMSE, R2, Pearson's r and Spearman's rho of a score."""

    features_of_pair = Value("float64")
    inputs = "predictions, references: scores; NaN for an invalid prediction."

    def _compute(self, predictions: Any, references: Any) -> dict[str, float]:
        gold, predicted = np.asarray(references, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
        return flat(scores.regression_scores(gold, predicted))


MODULES: dict[Task, type[_Module]] = {
    "single_label": SingleLabelReport,
    "multi_label": MultiLabelReport,
    "ordinal": OrdinalReport,
    "regression": RegressionReport,
}


def load_metric(task: Task) -> _Module:
    """The module of a task, keeping its rows in memory rather than in a cache file.

    >>> metric = load_metric("single_label")
    >>> round(metric.compute(predictions=[0, 2, -1], references=[0, 1, 1], labels=3)["macro_f1"], 3)
    0.5
    """
    return MODULES[task](keep_in_memory=True)


def _ints(values: Any) -> Any:
    return np.asarray(values, dtype=np.int64)
