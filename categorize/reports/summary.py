"""A report in plain words: which run is best, how sure that is, where it fails and what it costs."""

from __future__ import annotations

from collections.abc import Callable

from categorize.metrics.progress import headline_of
from categorize.recipe.wording import counted
from categorize.reports import columns
from categorize.reports.comparison import Comparison, EvaluatedRun, best_run
from categorize.reports.costs import Costs
from categorize.reports.per_class import confusions
from categorize.reports.report import Report

Naming = Callable[[str], str]
RUNS_NAMED = 5  # in one sentence


def summary(report: Report, naming: Naming = str) -> list[str]:
    """Sentences, the most important one first.

    Args:
        naming: how the name of a run or a label is written.

    >>> from categorize.reports.comparison import compare
    >>> metrics = {"task": "single_label", "rows": 900, "macro": {"f1": 0.8}, "invalid": 0}
    >>> metrics["intervals"] = {"measures": {"macro_f1": [0.78, 0.82]}}
    >>> summary(Report("mine", compare([EvaluatedRun("bert", "head", metrics)])))
    ['bert reaches macro-F1 0.800 [0.780, 0.820] on 900 rows of the test split.']
    """
    comparison = report.comparison
    if not comparison.runs[0].metrics["rows"]:
        return [f"No row of the {comparison.split} split has a gold label: nothing was measured."]
    measure = headline_of(comparison.task)
    ranked = [run for run in comparison.ranked if measure in run.numbers]
    if not ranked:
        return [f"No run of this comparison can be ranked on the {comparison.split} split."]
    best = next(run for run in ranked if run.name == best_run(ranked, measure))
    return [
        _best(comparison, best, ranked, measure, naming),
        *_seeds(comparison, measure, naming),
        *_others(comparison, _compared_with(comparison, best), measure, naming),
        *_baseline(ranked, measure, naming),
        *_invalid(comparison, naming),
        *([] if report.analysis.get("findings") else _weakest_label(best, naming)),
        *([] if report.costs is None else _costs(comparison, best, report.costs, measure, naming)),
    ]


def title_of(comparison: Comparison, measure: str) -> str:
    """A measure as tables call it."""
    return next(one.title for one in columns.measures(comparison.task) if one.name == measure)


def not_told_apart(comparison: Comparison, best: str, measure: str) -> list[str]:
    """Runs whose difference from the best one these rows do not show, in a measure."""
    return [
        one.run
        for one in comparison.differences
        if one.measure == measure and one.reference == best and not one.is_shown
    ]


def _best(comparison: Comparison, best: EvaluatedRun, ranked: list[EvaluatedRun], measure: str, naming: Naming) -> str:
    says = "is best with" if len(ranked) > 1 else "reaches"
    value = columns.number(best.numbers[measure]) + columns.interval(best.intervals.get(measure))
    where = f"{best.metrics['rows']:,} {comparison.unit} of the {comparison.split} split"
    return f"{naming(best.name)} {says} {title_of(comparison, measure)} {value} on {where}."


def _seeds(comparison: Comparison, measure: str, naming: Naming) -> list[str]:
    """Mean and spread of what was trained with several seeds."""
    said = []
    for group in comparison.seeds:
        if measure in group.mean:
            value = f"{columns.number(group.mean[measure])} ± {group.sd[measure]:.3f}"
            title = title_of(comparison, measure)
            over = f"over {len(group.runs)} seeds, and is compared by its mean"
            said.append(f"{naming(group.name)} has {title} {value} {over}.")
    return said


def _compared_with(comparison: Comparison, best: EvaluatedRun) -> str:
    """The run, or the seeds of a recipe, that differences are taken from."""
    return next((one.reference for one in comparison.differences), best.name)


def _others(comparison: Comparison, best: str, measure: str, naming: Naming) -> list[str]:
    """Who cannot be told from the best run, and who is worse."""
    found = {one.run: one for one in comparison.differences if one.measure == measure and one.reference == best}
    alike = [found[name] for name in not_told_apart(comparison, best, measure)]
    it = naming(best) if comparison.seeds else "it"
    said = []
    if alike:
        named = [f"{naming(one.run)} ({one.estimate:+.3f}{_signed(one.low, one.high)})" for one in alike]
        said.append(f"No difference is shown between {it} and {_listed(named)}: these rows cannot tell them apart.")
    worse = [one for one in found.values() if one.is_shown]
    if worse:
        nearest = min(abs(one.estimate) for one in worse)
        by = f"by {nearest:.3f}" + (" or more" if len(worse) > 1 else "")
        said.append(f"{_listed([naming(one.run) for one in worse])} {'are' if len(worse) > 1 else 'is'} worse {by}.")
    return said


def _baseline(ranked: list[EvaluatedRun], measure: str, naming: Naming) -> list[str]:
    """Runs that are not shown to beat the best baseline."""
    baselines = [run for run in ranked if run.method == "baseline"]
    if not baselines:
        return []
    base = next(run for run in baselines if run.name == best_run(baselines, measure))
    floor = base.numbers[measure]
    weak = [
        naming(run.name)
        for run in ranked
        if run.method != "baseline" and (run.intervals.get(measure) or [run.numbers[measure]])[0] <= floor
    ]
    reached = f"the baseline {naming(base.name)} ({columns.number(floor)})"
    if not weak:
        return [f"Every run is above {reached}."]
    return [f"{_listed(weak)} {'is' if len(weak) == 1 else 'are'} not shown to be better than {reached}."]


def _invalid(comparison: Comparison, naming: Naming) -> list[str]:
    return [
        f"{naming(run.name)}: {run.metrics['invalid']:,} of {counted(run.metrics['rows'], 'answer')} are not valid; "
        "they count as wrong."
        for run in comparison.runs
        if run.metrics["invalid"]
    ]


def _weakest_label(best: EvaluatedRun, naming: Naming) -> list[str]:
    """The label with the lowest F1 among those with enough rows to say so, and what it is taken for."""
    labels = [row for row in best.metrics.get("per_class", ()) if row["support"]]
    if len(labels) < 2:
        return []
    worst = min(labels, key=lambda row: row["f1"])
    rows = counted(worst["support"], "row")
    said = f"The weakest label of {naming(best.name)} is {naming(worst['label'])}: F1 {worst['f1']:.3f}, {rows}"
    taken = [one for one in confusions(best.metrics, top=len(labels) ** 2) if one.gold == worst["label"]]
    if taken:
        said += f"; {taken[0].share:.0%} of them are taken for {naming(taken[0].predicted)}"
    return [said + "."]


def _costs(comparison: Comparison, best: EvaluatedRun, costs: Costs, measure: str, naming: Naming) -> list[str]:
    """The fastest of those that are not told apart, and what the rows without a label take."""
    said = []
    alike = {best.name, *not_told_apart(comparison, best.name, measure)}
    timed = [run for run in comparison.runs if run.name in alike and run.documents_per_second]
    fastest = max(timed, key=lambda run: run.documents_per_second or 0.0, default=None)
    if fastest is not None and fastest is not best and best.documents_per_second and fastest.documents_per_second:
        times = fastest.documents_per_second / best.documents_per_second
        said.append(
            f"Of these, {naming(fastest.name)} is the fastest: {columns.rate(fastest.documents_per_second)} "
            f"documents/s, {times:,.1f} times the speed of {naming(best.name)}."
        )
    of_run = {one.run: one for one in costs.runs}
    seconds = of_run[best.name].rest_seconds
    if costs.rest and seconds is not None and seconds >= 1:
        time = columns.duration(seconds)
        said.append(f"The {costs.rest:,} {comparison.unit} without a label would take {naming(best.name)} {time}.")
    return said


def _signed(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"


def _listed(names: list[str]) -> str:
    """Names as a sentence has them.

    >>> _listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(names) > RUNS_NAMED + 1:
        names = [*names[:RUNS_NAMED], f"{len(names) - RUNS_NAMED} more"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def quoted_where_needed(name: str) -> str:
    """A name as plain text has it: in quotes where it has a comma, so that a list of names can be read."""
    return f"'{name}'" if "," in name else name
