"""Bootstrap percentile intervals (Efron 1979) of measures, and of the difference of two runs on the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.arrays import align
from categorize.metrics.measures import measure
from categorize.metrics.weighted import statistic
from categorize.predictions import FloatArray, IntArray, Predictions

LEVEL = 0.95
CELLS_AT_ONCE = 4_000_000  # rows x resamples whose weights are held in memory together: 32 MB


@dataclass(frozen=True)
class Difference:
    """How far `run` lies above `reference` in one measure, on the same rows; low and high bound the 95% interval."""

    run: str
    reference: str
    measure: str
    estimate: float
    low: float | None
    high: float | None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {**asdict(self), "is_clear": self.is_clear}


def measure_with_intervals(
    label_set: LabelSet,
    gold: FloatArray,
    predictions: Predictions,
    *,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[str | None] | None = None,
) -> dict[str, Any]:
    """`measures.measure`, with `intervals` as `bootstrap_intervals` gives them.

    >>> from categorize.labels import Label
    >>> labels = LabelSet("single_label", (Label("yes"), Label("no")))
    >>> gold = labels.encode([["yes"], ["no"]] * 30)
    >>> predictions = Predictions([str(i) for i in range(60)], decided=[["yes"]] * 30 + [["no"]] * 30)
    >>> measured = measure_with_intervals(labels, gold, predictions, resamples=200)
    >>> low, high = measured["intervals"]["measures"]["accuracy"]
    >>> low < measured["accuracy"] < high
    True
    """
    result = measure(label_set, gold, predictions)
    intervals = bootstrap_intervals(label_set, gold, predictions, resamples=resamples, seed=seed, groups=groups)
    return {**result, "intervals": intervals}


def bootstrap_intervals(
    label_set: LabelSet,
    gold: FloatArray,
    predictions: Predictions,
    *,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[str | None] | None = None,
) -> dict[str, Any] | None:
    """95% intervals of the measures of `progress.flat` that are averages over labels or rows.

    Args:
        gold, predictions: as for `measure`; rows without gold are left out.
        resamples: how many; 0 for none.
        seed: of the drawing; equal arguments give equal intervals.
        groups: group of each row [n] (speaker, video); the rows of a group are drawn together, since they are not
            independent. A row whose group is None or empty stands alone.

    Returns:
        `level, resamples, seed, unit ("row" or "group"), units, measures: {name: [low, high]}`; None where `resamples`
        is 0 or there are fewer than two units to draw. A measure that is undefined in more than half of the resamples
        has None; in fewer, those resamples are left out of its percentiles.
    """
    aligned = align(label_set, gold, predictions)
    units = _units(len(aligned), groups, aligned.known)
    count = int(units.max(initial=-1)) + 1
    if not resamples or count < 2:
        return None
    evaluate = statistic(label_set, aligned)
    blocks = [evaluate(weights) for weights in _draw(units, resamples, seed, len(label_set))]
    return {
        "level": LEVEL,
        "resamples": resamples,
        "seed": seed,
        "unit": "row" if groups is None else "group",
        "units": count,
        "measures": {name: _percentiles(np.concatenate([block[name] for block in blocks])) for name in blocks[0]},
    }


def paired_differences(
    label_set: LabelSet,
    gold: FloatArray,
    runs: Mapping[str, Predictions],
    *,
    reference: str,
    measures: Sequence[str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[str | None] | None = None,
) -> list[Difference]:
    """Each run minus the reference, with the interval of a paired bootstrap: a resample holds the same rows of both.

    Args:
        runs: predictions of the same rows in the same order, by the runs' names.
        reference: name of the run that the others are compared with.
        measures: names of `progress.flat`; by default accuracy and macro-F1, or Pearson's r and MAE. A measure that is
            undefined for either run gives no difference.

    Raises:
        ValueError: the runs' row ids differ.
        KeyError: no run is named `reference`, or a measure does not exist for the task.

    >>> from categorize.labels import Label
    >>> labels = LabelSet("single_label", (Label("yes"), Label("no")))
    >>> gold = labels.encode([["yes"], ["no"]] * 30)
    >>> ids = [str(i) for i in range(60)]
    >>> runs = {"old": Predictions(ids, decided=[["yes"]] * 60), "new": Predictions(ids, decided=labels.decode(gold))}
    >>> (one,) = paired_differences(labels, gold, runs, reference="old", measures=["accuracy"], resamples=200)
    >>> one.run, one.estimate, one.is_clear
    ('new', 0.5, True)
    """
    names = list(measures or (("pearson", "mae") if label_set.is_regression else ("macro_f1", "accuracy")))
    ids = list(runs[reference].ids)
    for name, predictions in runs.items():
        if list(predictions.ids) != ids:
            raise ValueError(f"{name} and {reference} predicted different rows, or in another order")
    aligned = {name: align(label_set, gold, predictions) for name, predictions in runs.items()}
    rows = len(aligned[reference])
    if not rows:
        return []
    evaluate = {name: statistic(label_set, part) for name, part in aligned.items()}
    units = _units(rows, groups, aligned[reference].known)
    drawn: dict[str, list[dict[str, FloatArray]]] = {name: [] for name in runs}
    for weights in _draw(units, resamples if int(units.max()) > 0 else 0, seed, len(label_set)):
        for name in runs:
            drawn[name].append(evaluate[name](weights))
    whole = {name: evaluate[name](np.ones((1, rows))) for name in runs}
    differences = []
    for name in runs:
        shared = [one for one in names if one in whole[name] and one in whole[reference]]  # some need probabilities
        for measured in shared if name != reference else ():
            estimate = float(whole[name][measured][0] - whole[reference][measured][0])
            if np.isnan(estimate):
                continue
            pairs = zip(drawn[name], drawn[reference], strict=True)
            values = [mine[measured] - theirs[measured] for mine, theirs in pairs]
            low, high = (_percentiles(np.concatenate(values)) if values else None) or (None, None)
            differences.append(Difference(name, reference, measured, estimate, low, high))
    return differences


def _units(rows: int, groups: Sequence[str | None] | None, known: Any) -> IntArray:
    """What is drawn, as a number for each of the rows with gold: the row itself, or its group."""
    if groups is None:
        return np.arange(rows)
    if len(groups) != len(known):
        raise ValueError(f"groups has {len(groups)} rows, predictions have {len(known)}")
    code: dict[Any, int] = {}
    # A tuple cannot equal a group's name, so that rows without a group are units of their own.
    keys = [groups[i] or (i,) for i in np.flatnonzero(known).tolist()]
    return np.array([code.setdefault(key, len(code)) for key in keys], dtype=np.int64)


def _draw(units: IntArray, resamples: int, seed: int, labels: int) -> Iterator[FloatArray]:
    """Blocks of weights [some resamples, rows]: how often each row was drawn, units drawn with replacement."""
    generator = np.random.default_rng(seed)
    count = int(units.max(initial=-1)) + 1
    block = max(1, CELLS_AT_ONCE // max(1, len(units), 3 * labels))  # a resample has three counts of each label
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        weights = np.empty((size, len(units)))
        for row in weights:
            row[:] = np.bincount(generator.integers(0, count, size=count), minlength=count)[units]
        yield weights


def _percentiles(values: FloatArray) -> list[float] | None:
    defined = values[~np.isnan(values)]
    if 2 * len(defined) < len(values) or not len(defined):
        return None
    low, high = np.percentile(defined, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    return [float(low), float(high)]
