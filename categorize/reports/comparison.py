"""The comparison of evaluated runs on one split, as data, which every renderer shows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from categorize.errors import UserError
from categorize.metrics.intervals import Difference
from categorize.metrics.progress import NO_RANK, flat, greater_is_better
from categorize.recipe.label_sections import Task
from categorize.reports.columns import VALID_ONLY, Measure, measures


@dataclass(frozen=True)
class EvaluatedRun:
    """One line of a comparison.

    Attributes:
        name: how the comparison names the run.
        method: what it is: head, tfidf, baseline, ...
        metrics: of `metrics.measures.measure`, with `intervals` of `metrics.intervals` where there are any.
        notes: what a reader must know, such as "randomly initialised head".
        documents_per_second: predicted; None where not measured.
        parameters_trained, parameters_total: of the model; None where it has none to count.
        training_rows: rows of its training split; None where it is not known.
        training_seconds: wall clock of the training.
        training_memory, prediction_memory: most bytes that were taken, on the GPU where there is one; None where not
            measured.
        money_per_document: what a labelling run's teacher took for a text, in the currency of its prices.
        predictions: file of the run's predictions, from the comparison's folder; None where there is none.
        is_ranked: False of a teacher on rows that nobody reviewed, whose figures are its agreement with the gold.
    """

    name: str
    method: str
    metrics: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    documents_per_second: float | None = None
    parameters_trained: int | None = None
    parameters_total: int | None = None
    training_rows: int | None = None
    training_seconds: float | None = None
    training_memory: int | None = None
    prediction_memory: int | None = None
    money_per_document: float | None = None
    predictions: str | None = None
    is_ranked: bool = True

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The measures by flat name; undefined ones are not there."""
        return {name: value for name, value in flat(self.metrics).items() if self.metrics.get(name, value) is not None}

    @property
    def intervals(self) -> Mapping[str, Sequence[float] | None]:
        """The 95% interval of each measure that has one; None where it is undefined in most resamples."""
        intervals: Mapping[str, Sequence[float] | None] = (self.metrics.get("intervals") or {}).get("measures", {})
        return intervals

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, the measures last."""
        plain = {**asdict(self), "notes": list(self.notes)}
        metrics, ranked = plain.pop("metrics"), plain.pop("is_ranked")
        return {**plain, **({} if ranked else {"is_ranked": False}), "metrics": metrics}


@dataclass(frozen=True)
class SeedGroup:
    """The runs of one recipe under several seeds.

    Attributes:
        name: what they are called together.
        runs: their names.
        mean, sd: of each measure of `progress.flat` that all of them have, over runs (n - 1).
        intervals: of the mean, 95%, over resamples of the rows.
    """

    name: str
    runs: tuple[str, ...]
    mean: Mapping[str, float]
    sd: Mapping[str, float]
    intervals: Mapping[str, Sequence[float] | None]

    @property
    def numbers(self) -> Mapping[str, float]:
        """What it is ranked by."""
        return self.mean


@dataclass(frozen=True)
class Comparison:
    """Runs side by side, measured on the same rows; build it with `compare`.

    Attributes:
        differences: of `metrics.intervals.paired_differences`, against one reference. The runs of several seeds are
            compared by their mean, under the name of their group.
        unit: what was measured, in the plural: documents, where any run read them in parts.
        fingerprint: of the split's rows and gold; None where it is not known.
        seeds: the recipes that have runs of several seeds.
        reviewed: the same runs on the rows that people reviewed, all of them ranked; None without a teacher among the
            runs, or such rows.
    """

    runs: tuple[EvaluatedRun, ...]
    split: str
    differences: tuple[Difference, ...] = ()
    unit: str = "rows"
    reviewed: Comparison | None = None
    fingerprint: str | None = None
    seeds: tuple[SeedGroup, ...] = ()

    @property
    def task(self) -> Task:
        """The task that all runs share."""
        task: Task = self.runs[0].metrics["task"]
        return task

    @property
    def measured(self) -> list[Measure]:
        """The measures that any run has, in the order of a report."""
        return [measure for measure in measures(self.task) if any(measure.name in run.numbers for run in self.runs)]

    @property
    def in_short(self) -> list[Measure]:
        """Those of the short table."""
        invalid = any(run.metrics["invalid"] for run in self.runs)
        return [measure for measure in self.measured if measure.terminal or (measure.of_valid and invalid)]

    @property
    def ranked(self) -> list[EvaluatedRun]:
        """The runs whose figures can be compared."""
        return [run for run in self.runs if run.is_ranked]

    @cached_property
    def best(self) -> dict[str, list[str]]:
        """Names of the runs with the best value of each measure; nothing where there is one run or all are equal,
        and for the calibration error and the measures of valid rows alone."""
        winners: dict[str, list[str]] = {}
        for measure in self.measured:
            # Those of valid rows are of other rows in every run.
            if measure.name in NO_RANK or measure.name.endswith(VALID_ONLY):
                continue
            values = {run.name: run.numbers[measure.name] for run in self.ranked if measure.name in run.numbers}
            if not values:
                continue
            top = max(values.values()) if greater_is_better(measure.name) else min(values.values())
            names = [name for name, value in values.items() if math.isclose(value, top, rel_tol=1e-9, abs_tol=1e-12)]
            if len(names) < len(self.ranked):
                winners[measure.name] = names
        return winners

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; with what is derived from it (`task`, `best`, `is_clear`), for other programs."""
        return {
            "split": self.split,
            "task": self.task,
            "unit": self.unit,
            **({} if self.fingerprint is None else {"fingerprint": self.fingerprint}),
            "runs": [run.to_dict() for run in self.runs],
            "best": self.best,
            "differences": [difference.to_dict() for difference in self.differences],
            **({"seeds": [asdict(group) for group in self.seeds]} if self.seeds else {}),
            **({} if self.reviewed is None else {"reviewed": self.reviewed.to_dict()}),
        }


def compare(
    runs: Sequence[EvaluatedRun],
    *,
    split: str = "test",
    differences: Sequence[Difference] = (),
    unit: str = "rows",
    fingerprint: str | None = None,
    seeds: Sequence[SeedGroup] = (),
) -> Comparison:
    """The comparison of runs that were measured on the same rows; see `Comparison`.

    Raises:
        UserError: two runs have one name, or they differ in task, rows or labels.
        ValueError: no run is given, or the differences have several references.
    """
    if not runs:
        raise ValueError("a comparison needs at least one run")
    if len({difference.reference for difference in differences}) > 1:
        raise ValueError("the differences of a comparison have one reference")
    names = [run.name for run in runs]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"evaluation.runs: two runs are named {twice[0]!r}; give each a name of its own (name: ...)")
    first = runs[0]
    for run in runs[1:]:
        for what in ("task", "rows"):
            if run.metrics[what] != first.metrics[what]:
                raise UserError(
                    f"evaluation.runs: {run.name!r} was measured with {what} {run.metrics[what]}, {first.name!r} with "
                    f"{first.metrics[what]}; compare runs of one task on one split"
                )
        if differ := sorted({label for label, _ in _support(run) ^ _support(first)}):
            raise UserError(
                f"evaluation.runs: {run.name!r} and {first.name!r} differ in the labels {', '.join(differ[:5])} "
                f"({len(differ)} in all) or their rows; compare runs of one label set on one split"
            )
    return Comparison(tuple(runs), split, tuple(differences), unit, fingerprint=fingerprint, seeds=tuple(seeds))


def best_run(runs: Sequence[EvaluatedRun | SeedGroup], measure: str) -> str:
    """Name of the run with the best value of a measure, the first among equals; the first run where none has it."""
    sign = 1 if greater_is_better(measure) else -1
    return max(runs, key=lambda run: sign * run.numbers[measure] if measure in run.numbers else -math.inf).name


def _support(run: EvaluatedRun) -> set[tuple[str, int]]:
    return {(row["label"], row["support"]) for row in run.metrics.get("per_class", ())}
