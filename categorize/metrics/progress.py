"""What training logs and watches: the measures as flat numbers, the headline measure and its direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from categorize.labels import LabelSet
from categorize.recipe.label_sections import Task

LOWER_IS_BETTER = frozenset(
    {"mae", "rmse", "log_loss", "brier", "expected_calibration_error", "aurc", "hamming_loss", "loss"}
)
# Says nothing of how good an answer is: a baseline that gives every row the labels' shares has next to none of it.
NO_RANK = frozenset({"expected_calibration_error"})
AVERAGES = ("macro", "micro", "weighted", "samples")


def headline(label_set: LabelSet) -> str:
    """Name, in `flat`, of the measure that early stopping watches and comparisons rank by."""
    return headline_of(label_set.task)


def headline_of(task: Task) -> str:
    """The same by the task alone."""
    return "pearson" if task == "regression" else "macro_f1"


def greater_is_better(name: str) -> bool:
    """Whether a higher value of this measure of `flat` is the better one; a prefix such as `eval_` does not matter."""
    return not any(name.removesuffix("_valid_only").endswith(measure) for measure in LOWER_IS_BETTER)


def spoken(name: str, task: Task) -> str:
    """A measure of `flat` as people must read it: the accuracy of several labels a row is that of whole label sets."""
    return name.replace("accuracy", "subset_accuracy") if task == "multi_label" else name


def flat(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Measures of `measures.measure` as `name: number`: `accuracy`, `macro_f1`, `group_accuracy`, `pearson`, ...

    Counts and undefined measures are left out, except the correlations: a constant prediction, usual in the first steps
    of training, shows no correlation, so that they count as 0 and a trainer that watches them goes on.
    """
    numbers: dict[str, float] = {}
    for name, value in metrics.items():
        if name in AVERAGES and isinstance(value, Mapping):
            numbers |= {f"{name}_{measure}": float(number) for measure, number in value.items()}
        elif name == "groups":
            numbers |= {f"group_{key}": number for key, number in flat(value).items()}
        elif name == "raters":
            numbers |= {key: value[key] for key in ("model_rater", "rater_rater") if value[key] is not None}
        elif name == "scope":
            numbers["scope_auroc"] = value["auroc"]
        elif name == "unseen_labels":
            for part in ("seen", "unseen", "harmonic_mean"):
                numbers |= {f"{part}_labels_{key}": number for key, number in flat(value[part]).items()}
        elif isinstance(value, float):  # counts are int, and not measures
            numbers[name] = value
        elif value is None and name in ("pearson", "spearman"):
            numbers[name] = 0.0
    return numbers


def spread(runs: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """`mean` and `sd` (over runs, n - 1) of each measure that all runs have.

    >>> spread([{"accuracy": 0.5, "mae": 1.0}, {"accuracy": 0.75}])
    {'mean': {'accuracy': 0.625}, 'sd': {'accuracy': 0.1767766952966369}}
    """
    shared = [name for name in runs[0] if all(name in one for one in runs)]
    values = {name: [one[name] for one in runs] for name in shared}
    return {
        "mean": {name: fmean(numbers) for name, numbers in values.items()},
        "sd": {name: stdev(numbers) if len(numbers) > 1 else 0.0 for name, numbers in values.items()},
    }
