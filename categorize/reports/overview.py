"""What a comparison shows, for every renderer: its heading, its tables but those by label, its notes."""

from __future__ import annotations

from collections import Counter

from categorize.metrics.progress import greater_is_better, headline_of
from categorize.metrics.significance import MCNEMAR
from categorize.recipe.wording import counted
from categorize.reports import columns
from categorize.reports.comparison import Comparison, EvaluatedRun
from categorize.text_tables import Cell, Table, Value

LABELS_NAMED = 10  # in one note
_EXPLAINED = ("macro", "pearson", "r2", "quadratic_weighted_kappa")  # measures whose being undefined is told


def heading(comparison: Comparison, mark: str) -> str:
    """Split, rows, resamples and labels of the macro averages, and how the best value is marked."""
    metrics = comparison.runs[0].metrics
    pieces = [f"{comparison.split} split: {metrics['rows']:,} {comparison.unit}"]
    if metrics["rows_without_gold"]:
        pieces.append(f"{metrics['rows_without_gold']:,} more without gold left out")
    if intervals := next((run.metrics["intervals"] for run in comparison.runs if run.metrics.get("intervals")), None):
        unit = f"{intervals['units']:,} {intervals['unit']}s" if intervals["unit"] == "group" else "rows"
        pieces.append(f"[95% interval] of {intervals['resamples']:,} resamples of {unit}")
    if macro := metrics.get("labels_in_macro"):
        pieces.append(f"macro over {counted(macro, 'label')}")
    if comparison.best:
        pieces.append(f"best: {mark}")
    return "; ".join(pieces)


def short_table(comparison: Comparison) -> Table:
    """A line for each run: the measures of the terminal, the first with its interval; valid rate, speed, parameters."""
    shown = comparison.in_short
    titles = ["of valid" if measure.of_valid else measure.title for measure in shown]
    header = ["run", "method", *titles, "valid", "documents/s", "trained"]
    rows: list[list[Cell]] = []
    for run in comparison.runs:
        trained, valid = columns.count(run.parameters_trained), columns.percent(run.metrics["valid_rate"])
        if run.parameters_total is not None and run.parameters_trained is not None:
            trained += f" of {columns.count(run.parameters_total)}"
        if run.metrics["invalid"]:
            valid = f"{run.metrics['valid']:,} ({run.metrics['valid_rate']:.2%})"
        values = [_value(comparison, run, measure.name, with_interval=i == 0) for i, measure in enumerate(shown)]
        method = run.method if run.is_ranked else f"{run.method}: agreement"
        rows.append([run.name, method, *values, valid, columns.rate(run.documents_per_second), trained])
    return Table(header, rows, "ll" + "r" * (len(header) - 2))


def seeds_table(comparison: Comparison) -> Table:
    """A line for each recipe with several seeds: mean and deviation of the measures of the terminal, the first with the
    interval of the mean."""
    shown = [one for one in comparison.in_short if any(one.name in group.mean for group in comparison.seeds)]
    rows: list[list[Cell]] = []
    for group in comparison.seeds:
        cells = []
        for i, measure in enumerate(shown):
            mean, sd = group.mean.get(measure.name), group.sd.get(measure.name)
            bounds = columns.interval(group.intervals.get(measure.name)) if i == 0 else ""
            cells.append(columns.number(mean) + (f" ± {sd:.3f}" if sd is not None else "") + bounds)
        rows.append([group.name, str(len(group.runs)), *cells])
    return Table(["recipe", "seeds", *(one.title for one in shown)], rows, "l" + "r" * (len(shown) + 1))


SEEDS_TITLE = "Mean ± standard deviation over seeds [95% interval of the mean, over rows]:"


def difference_title(comparison: Comparison, shown: list[columns.Measure]) -> str:
    """What stands above `difference_table`: the reference, and the tests of the measures that are `shown`."""
    names = {measure.name for measure in shown}
    told = [one for one in comparison.differences if one.measure in names]
    first = comparison.differences[0]
    tests = list(dict.fromkeys(one.test for one in told if one.test is not None))
    parts = ["paired bootstrap"]
    if tests:
        accuracy = next((one.title for one in shown if one.name == "accuracy"), "accuracy")
        exact = f"McNemar's exact test ({accuracy})"
        named = " and ".join(exact if one == MCNEMAR else one for one in sorted(tests, key=lambda one: one != MCNEMAR))
        times = max(Counter(one.measure for one in told).values())
        corrected = f", corrected for {times} comparisons (Holm)" if times > 1 else ""
        parts = ["intervals: paired bootstrap", f"p: {named}{corrected}"]
    return f"Difference from {first.reference} on the same rows ({'; '.join(parts)}):"


def difference_table(comparison: Comparison, shown: list[columns.Measure]) -> Table:
    """A line for each difference in one of the measures `shown`."""
    titles = {
        measure.name: measure.title + ("" if greater_is_better(measure.name) else " (lower is better)")
        for measure in shown
    }
    rows = [
        [
            one.run,
            titles[one.measure],
            f"{one.estimate:+.3f}",
            columns.UNDEFINED if one.low is None or one.high is None else f"[{one.low:+.3f}, {one.high:+.3f}]",
            columns.p_value(one.adjusted_p),
            "yes" if one.is_shown else "no",
        ]
        for one in comparison.differences
        if one.measure in titles
    ]
    return Table(["run", "measure", "difference", "95% interval", "p", "shown"], rows, "llrrrl")


def difference_notes(comparison: Comparison) -> list[str]:
    """Which runs this split cannot tell from the best one, by the measure that runs are ranked by."""
    name = headline_of(comparison.task)
    title = next((one.title for one in comparison.measured if one.name == name), name)
    alike = [one for one in comparison.differences if one.measure == name and not one.is_shown and one.low is not None]
    if not alike:
        return []
    named = ", ".join(f"{one.run} ({one.estimate:+.3f})" for one in alike)
    rows = comparison.runs[0].metrics["rows"]
    return [f"no difference shown: {rows:,} {comparison.unit} do not tell {alike[0].reference} from {named} in {title}"]


def _value(comparison: Comparison, run: EvaluatedRun, measure: str, *, with_interval: bool) -> Value:
    return Value(
        columns.number(run.numbers.get(measure)),
        run.name in comparison.best.get(measure, ()),
        columns.interval(run.intervals.get(measure)) if with_interval else "",
    )


def notes(comparison: Comparison) -> list[str]:
    """One line each: what must be known of the rows and labels, then of each run."""
    said = [f"{name}: {note}" for name, lines in notes_by_run(comparison) if name for note in lines]
    return [*said, *(note for name, lines in notes_by_run(comparison) if not name for note in lines)]


def notes_by_run(comparison: Comparison) -> list[tuple[str, list[str]]]:
    """What must be known of each run (its own notes, undefined measures, fewer training rows), and under the empty name
    of all: rows whose text stands in train, rows without gold, labels without a row."""
    runs = comparison.runs
    fewer = _fewer_training_rows(comparison)
    by_run = [
        (
            run.name,
            [
                *run.notes,
                *(
                    f"{name} answers {stage['coverage']:.1%} of the rows, accuracy {stage['accuracy']:.3f} "
                    f"({stage['accuracy_low']:.3f} to {stage['accuracy_high']:.3f})"
                    for name, stage in (run.metrics.get("stages") or {}).items()
                ),
                *(
                    f"{why}, so that {name} is undefined"
                    for name, why in (run.metrics.get("undefined") or {}).items()
                    if name in _EXPLAINED
                ),
                *fewer.get(run.name, ()),
            ],
        )
        for run in runs
    ]
    of_all = [
        *([] if (seen := seen_in_train_title(comparison)) == "" else [seen]),
        *([] if runs[0].metrics["rows"] else ["no row of this split has a gold label: nothing was measured"]),
        *_without_support(comparison),
        *_linear(comparison),
    ]
    return [(name, lines) for name, lines in [("", of_all), *by_run] if lines]


def seen_in_train_title(comparison: Comparison) -> str:
    """How many rows training has seen; nothing where it has seen none."""
    unseen = next((run.metrics["unseen"] for run in comparison.runs if run.metrics.get("unseen")), None)
    if unseen is None:
        return ""
    if not unseen["exact"]:
        return f"nearly the text of {counted(unseen['near'], 'row')} stands in train"
    return f"the text of {counted(unseen['exact'], 'row')} stands in train, nearly that of {unseen['near']:,}"


def seen_in_train_table(comparison: Comparison) -> Table:
    """The headline measure of each run on all rows, and on those that training has not seen."""
    name = headline_of(comparison.task)
    title = next(one.title for one in columns.measures(comparison.task) if one.name == name)
    measured = [run for run in comparison.runs if name in (run.metrics.get("unseen") or {}) and name in run.numbers]
    rest = f" of the other {counted(measured[0].metrics['unseen']['rows'], 'row')}" if measured else ""
    rows: list[list[Cell]] = [
        [
            run.name,
            columns.number(run.numbers[name]),
            columns.number(run.metrics["unseen"][name]),
            f"{run.metrics['unseen'][name] - run.numbers[name]:+.3f}",
        ]
        for run in measured
    ]
    return Table(["run", f"{title} of all rows", f"{title}{rest}", "difference"], rows, "lrrr")


def _fewer_training_rows(comparison: Comparison) -> dict[str, list[str]]:
    trained = {run.name: run.training_rows for run in comparison.runs if run.training_rows is not None}
    most = max(trained, key=trained.__getitem__, default="")
    return {
        name: [f"trained on {rows:,} rows, {most} on {trained[most]:,}"]
        for name, rows in trained.items()
        if rows != trained[most]
    }


def _linear(comparison: Comparison) -> list[str]:
    """Which intervals are not those of the measure itself in each resample."""
    linear = {name for run in comparison.runs for name in (run.metrics.get("intervals") or {}).get("linear", ())}
    titles = [one.title for one in columns.measures(comparison.task) if one.name in linear]
    if not titles:
        return []
    return [f"intervals of {', '.join(titles)}: of their linear part (infinitesimal jackknife), for so many rows"]


def _without_support(comparison: Comparison) -> list[str]:
    missing = comparison.runs[0].metrics.get("labels_without_support")
    if not missing:
        return []
    more = f" and {len(missing) - LABELS_NAMED} more" if len(missing) > LABELS_NAMED else ""
    named = f"labels without a row in this split: {', '.join(missing[:LABELS_NAMED])}{more}"
    given = {
        run.name: sum(row["predicted"] for row in run.metrics["per_class"] if not row["support"])
        for run in comparison.runs
    }
    wrong = [f"{run} {counted(times, 'time')}" for run, times in given.items() if times]
    return [named + ("; predicted, which no macro average counts: " + ", ".join(wrong) if wrong else "")]
