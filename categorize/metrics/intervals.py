"""Bootstrap percentile intervals (Efron 1979) of measures, and of the difference of two runs on the same rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.arrays import align
from categorize.metrics.measures import measure
from categorize.metrics.probabilistic import AREAS
from categorize.metrics.ranked import is_linear
from categorize.metrics.raters import rater_statistic
from categorize.metrics.significance import MCNEMAR, PAIRED_BOOTSTRAP, bootstrap_p_value, holm, mcnemar
from categorize.metrics.weighted import CALIBRATION, CALIBRATION_NOISE, statistic
from categorize.predictions import BoolArray, FloatArray, IntArray, Predictions

LEVEL = 0.95
CELLS_AT_ONCE = 4_000_000  # rows x resamples whose weights are held in memory together: 32 MB


@dataclass(frozen=True)
class Difference:
    """How far `run` lies above `reference` in one measure, on the same rows.

    Attributes:
        low, high: bounds of the 95% interval, of a paired bootstrap.
        p_value: of a test that they do not differ.
        adjusted_p: the same, corrected by Holm's method for the runs that were compared in this measure.
        test: which one: "McNemar exact" of accuracy, unless rows are drawn in groups or one side is the mean of several
            runs; else "paired bootstrap".
    """

    run: str
    reference: str
    measure: str
    estimate: float
    low: float | None
    high: float | None
    p_value: float | None = None
    adjusted_p: float | None = None
    test: str | None = None

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def is_shown(self) -> bool:
        """Whether these rows show a difference: at the level of the intervals, corrected for how many were tested."""
        return self.is_clear if self.adjusted_p is None else self.adjusted_p < 1 - LEVEL

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON; the test where there was one."""
        plain = asdict(self)
        tested = {name: plain.pop(name) for name in ("p_value", "adjusted_p", "test")} | {"is_shown": self.is_shown}
        return {**plain, "is_clear": self.is_clear, **({} if self.p_value is None else tested)}


@dataclass(frozen=True)
class Resampled:
    """The measures of one run on a split, and in each resample of its rows.

    Attributes:
        ids: of the rows with gold.
        right: of a classification, which of them are right; None of a mean of runs.
        whole: the measures of all rows; NaN where undefined.
        drawn: of each resample [resamples]; empty without resamples, or with fewer than two units to draw.
        facts: `resamples, seed, unit, units` of `bootstrap_intervals`.
        linear: measures that are resampled by their linear part; see `ranked`.
    """

    ids: list[str]
    right: BoolArray | None
    whole: dict[str, float]
    drawn: dict[str, FloatArray]
    facts: dict[str, Any]
    linear: tuple[str, ...] = ()

    @property
    def intervals(self) -> dict[str, Any] | None:
        """As `bootstrap_intervals` gives them."""
        if not self.drawn:
            return None
        measures = {name: _percentiles(values) for name, values in self.drawn.items() if name != CALIBRATION_NOISE}
        if CALIBRATION in measures:
            noise, drawn = self.drawn[CALIBRATION_NOISE], self.drawn[CALIBRATION]
            measures[CALIBRATION] = _calibration_interval(self.whole[CALIBRATION], drawn, noise)
        linear = [name for name in self.linear if name in measures]
        return {"level": LEVEL, **self.facts, **({"linear": linear} if linear else {}), "measures": measures}


def resample(
    label_set: LabelSet,
    gold: FloatArray,
    predictions: Predictions,
    *,
    resamples: int = 1000,
    seed: int = 0,
    groups: Sequence[str | None] | None = None,
    ratings: FloatArray | None = None,
) -> Resampled:
    """The measures in resamples of the rows; equal arguments but for the predictions give the same resamples.

    Args: as for `bootstrap_intervals`, and
        ratings: of human raters, as for `raters.measure_raters`; those of rows without gold are left out.
    """
    aligned = align(label_set, gold, predictions)
    units = _units(len(aligned), groups, aligned.known)
    count = int(units.max(initial=-1)) + 1
    facts = {"resamples": resamples, "seed": seed, "unit": "row" if groups is None else "group", "units": count}
    ids = [predictions.ids[i] for i in np.flatnonzero(aligned.known).tolist()]
    if not ids:
        return Resampled([], None, {}, {}, facts)
    right = None
    if not label_set.is_regression:
        equal = aligned.gold == aligned.predicted
        right = np.asarray(equal.all(axis=1) if equal.ndim == 2 else equal) & aligned.valid
    of_answers = statistic(label_set, aligned)
    if ratings is None:
        evaluate = of_answers
    else:
        known = np.flatnonzero(aligned.known)
        of_raters = rater_statistic(label_set, ratings[known], predictions.take(known))

        def evaluate(weights: FloatArray) -> dict[str, FloatArray]:
            return of_answers(weights) | of_raters(weights)

    whole = {name: float(value[0]) for name, value in evaluate(np.ones((1, len(ids)))).items()}
    blocks = [evaluate(one) for one in _draw(units, resamples if count > 1 else 0, seed, len(label_set))]
    drawn = {name: np.concatenate([block[name] for block in blocks]) for name in whole} if blocks else {}
    linear = ("concordance", *AREAS) if is_linear(len(ids), 0 if label_set.is_regression else len(label_set)) else ()
    return Resampled(ids, right, whole, drawn, facts, linear)


def mean_of(runs: Sequence[Resampled]) -> Resampled:
    """The mean of runs of the same rows that were resampled alike, such as those of several seeds."""
    first = runs[0]
    shared = [name for name in first.whole if all(name in one.whole for one in runs)]
    whole = {name: float(np.mean([one.whole[name] for one in runs])) for name in shared}
    drawn = {name: np.mean([one.drawn[name] for one in runs], axis=0) for name in shared} if first.drawn else {}
    return Resampled(first.ids, None, whole, drawn, first.facts, first.linear)


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
    """95% intervals of the measures of `progress.flat`.

    Args:
        gold, predictions: as for `measure`; rows without gold are left out.
        resamples: how many; 0 for none.
        seed: of the drawing; equal arguments give equal intervals.
        groups: group of each row [n] (speaker, video); the rows of a group are drawn together, since they are not
            independent. A row whose group is None or empty stands alone.

    Returns:
        `level, resamples, seed, unit ("row" or "group"), units, measures: {name: [low, high]}`, and `linear`, those
        resampled by their linear part, where there are some (see `ranked`); None where `resamples` is 0 or there are
        fewer than two units to draw. A measure that is undefined in more than half of the resamples
        has None; in fewer, those resamples are left out of its percentiles.
    """
    return resample(label_set, gold, predictions, resamples=resamples, seed=seed, groups=groups).intervals


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
    >>> one.run, one.estimate, one.is_shown, one.test
    ('new', 0.5, True, 'McNemar exact')
    """
    names = list(measures or (("pearson", "mae") if label_set.is_regression else ("macro_f1", "accuracy")))
    drawn = {
        name: resample(label_set, gold, one, resamples=resamples, seed=seed, groups=groups)
        for name, one in runs.items()
    }
    return differences_of(drawn, reference, names)


def differences_of(runs: Mapping[str, Resampled], reference: str, measures: Sequence[str]) -> list[Difference]:
    """`paired_differences` of runs that were resampled alike.

    Raises: as `paired_differences`.
    """
    theirs, differences = runs[reference], []
    for run, mine in runs.items():
        if mine.ids != theirs.ids or mine.facts != theirs.facts:
            raise ValueError(f"{run} and {reference} predicted different rows, or in another order")
        shared = [one for one in measures if one in mine.whole and one in theirs.whole]  # some need probabilities
        for measured in shared if run != reference else ():
            estimate = mine.whole[measured] - theirs.whole[measured]
            if np.isnan(estimate):
                continue
            one = Difference(run, reference, measured, estimate, None, None)
            if theirs.drawn:
                values = mine.drawn[measured] - theirs.drawn[measured]
                low, high = _percentiles(values) or (None, None)
                one = replace(one, low=low, high=high, p_value=bootstrap_p_value(values), test=PAIRED_BOOTSTRAP)
            by_row = theirs.facts["unit"] == "row"  # rows of a group are not independent
            if measured == "accuracy" and by_row and mine.right is not None and theirs.right is not None:
                one = replace(one, p_value=mcnemar(mine.right, theirs.right), test=MCNEMAR)
            differences.append(one if one.p_value is not None else replace(one, test=None))
    return _corrected(differences)


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    """With p-values that are corrected for the runs compared in each measure."""
    found = list(differences)
    for measured in dict.fromkeys(one.measure for one in found):
        at = [i for i, one in enumerate(found) if one.measure == measured and one.p_value is not None]
        p_values = np.array([found[i].p_value for i in at], dtype=np.float64)
        for i, adjusted in zip(at, holm(p_values).tolist(), strict=True):
            found[i] = replace(found[i], adjusted_p=adjusted)
    return found


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


def _calibration_interval(estimate: float, drawn: FloatArray, noise: FloatArray) -> list[float] | None:
    """The interval of a calibration error, which chance makes larger, in the resamples once more than in the rows.

    The mean excess of the resamples over the estimate is taken off the bounds, below once more for that of the estimate
    itself, and the lower one is 0 where a calibrated model would show as much: where the estimate is within 95% of the
    resamples about the gaps that were found (Hall & Wilson 1991, "Two Guidelines for Bootstrap Hypothesis Testing").
    """
    bounds, within = _percentiles(drawn), _percentiles(noise)
    if bounds is None or within is None:
        return None
    excess = max(float(np.nanmean(drawn)) - estimate, 0.0)
    low = 0.0 if estimate <= np.nanpercentile(noise, 100 * LEVEL) else max(bounds[0] - 2 * excess, 0.0)
    return [min(low, estimate), max(bounds[1] - excess, estimate)]
