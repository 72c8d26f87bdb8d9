"""The comparison of evaluated runs on one split: a table for the terminal, Markdown with everything, and JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from categorize.errors import UserError
from categorize.metrics.intervals import Difference
from categorize.metrics.progress import NO_RANK, flat, greater_is_better
from categorize.recipe.sections import Task
from categorize.recipe.wording import counted
from categorize.reports import columns
from categorize.reports.per_class import confusions_markdown, per_class_markdown
from categorize.reports.tables import markdown_table, text_table, wrap

WIDTH = 120
LABELS_NAMED = 10  # in one note

Table = tuple[list[str], list[list[str]], str]  # header, rows, alignment


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
        predictions: file of the run's predictions, from the comparison's folder; None where there is none.
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
    predictions: str | None = None

    @cached_property
    def numbers(self) -> dict[str, float]:
        """The measures by flat name; undefined ones are not there."""
        undefined = [name for name, value in self.metrics.items() if value is None]
        return {name: value for name, value in flat(self.metrics).items() if name not in undefined}

    def interval(self, measure: str) -> Sequence[float] | None:
        """The 95% interval of a measure, where there is one."""
        bounds: Sequence[float] | None = ((self.metrics.get("intervals") or {}).get("measures") or {}).get(measure)
        return bounds

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "name": self.name,
            "method": self.method,
            "notes": list(self.notes),
            "documents_per_second": self.documents_per_second,
            "parameters_trained": self.parameters_trained,
            "parameters_total": self.parameters_total,
            "training_rows": self.training_rows,
            "training_seconds": self.training_seconds,
            "predictions": self.predictions,
            "metrics": dict(self.metrics),
        }


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; build it with `compare`."""

    runs: tuple[EvaluatedRun, ...]
    split: str
    differences: tuple[Difference, ...] = ()
    unit: str = "rows"

    @property
    def task(self) -> Task:
        """The task that all runs share."""
        task: Task = self.runs[0].metrics["task"]
        return task

    @property
    def _shown(self) -> list[columns.Measure]:
        return [m for m in columns.measures(self.task) if any(m.name in run.numbers for run in self.runs)]

    @property
    def _in_short_table(self) -> list[columns.Measure]:
        invalid = any(run.metrics["invalid"] for run in self.runs)
        return [m for m in self._shown if m.terminal or (m.of_valid and invalid)]

    @cached_property
    def best(self) -> dict[str, list[str]]:
        """Names of the runs with the best value of each measure; nothing where there is one run or all are equal,
        and for the calibration error and the measures of valid rows alone."""
        winners: dict[str, list[str]] = {}
        for measure in columns.measures(self.task):
            values = {run.name: run.numbers[measure.name] for run in self.runs if measure.name in run.numbers}
            # Those of valid rows are of other rows in every run.
            if not values or measure.name in NO_RANK or measure.name.endswith("_valid_only"):
                continue
            top = max(values.values()) if greater_is_better(measure.name) else min(values.values())
            names = [name for name, value in values.items() if math.isclose(value, top, rel_tol=1e-9, abs_tol=1e-12)]
            if len(names) < len(self.runs):
                winners[measure.name] = names
        return winners

    def text(self, width: int = WIDTH) -> str:
        """The short table, with notes and differences below, for a terminal of `width` columns. `*` marks the best."""
        shown = self._in_short_table
        header, rows, align = self._short_table(shown, "*")
        parts = [wrap(self._heading("*"), width), "", text_table(header, rows, align, width=width, shrink=(0, 1))]
        parts += [wrap(note, width) for note in self._notes]
        if self.differences:
            header, cells, align = self._difference_table({measure.name for measure in shown})
            parts += ["", wrap(self._difference_title, width), text_table(header, cells, align, width=width)]
        return "\n".join(parts)

    def markdown(self) -> str:
        """Everything: the short table, all measures with intervals, differences, F1 by label, frequent confusions."""
        shown = self._shown
        header, rows, align = self._short_table(self._in_short_table, "**")
        parts = ["# Comparison", self._heading("in bold"), markdown_table(header, rows, align)]
        if self._notes:
            parts.append("\n".join(f"- {note}" for note in self._notes))
        parts += ["## All measures", self._all_measures(shown)]
        if self.differences:
            header, cells, align = self._difference_table({measure.name for measure in shown})
            parts += ["## Differences", self._difference_title, markdown_table(header, cells, align)]
        if self.task != "regression":
            parts += ["## F1 by label", per_class_markdown(self.runs)]
            if confusions := confusions_markdown(self.runs):
                parts += ["## Most frequent confusions", confusions]
        return "\n\n".join(parts) + "\n"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "split": self.split,
            "task": self.task,
            "runs": [run.to_dict() for run in self.runs],
            "best": self.best,
            "differences": [difference.to_dict() for difference in self.differences],
        }

    # ------------------------------------------------------------ pieces
    def _heading(self, mark: str) -> str:
        metrics = self.runs[0].metrics
        pieces = [f"{self.split} split: {metrics['rows']:,} {self.unit}"]
        if metrics["rows_without_gold"]:
            pieces.append(f"{metrics['rows_without_gold']:,} more without gold left out")
        if intervals := next((run.metrics["intervals"] for run in self.runs if run.metrics.get("intervals")), None):
            unit = f"{intervals['units']:,} {intervals['unit']}s" if intervals["unit"] == "group" else "rows"
            pieces.append(f"[95% interval] of {intervals['resamples']:,} resamples of {unit}")
        if macro := metrics.get("labels_in_macro"):
            pieces.append(f"macro over {counted(macro, 'label')}")
        if self.best:
            pieces.append(f"best: {mark}")
        return "; ".join(pieces)

    def _unseen_note(self) -> list[str]:
        """The scores without the rows that training has seen, of all runs in one line, where there are such rows."""
        measured = {run.name: run for run in self.runs if run.metrics.get("unseen")}
        if not measured:
            return []
        unseen = next(iter(measured.values())).metrics["unseen"]
        seen = f"the text of {unseen['exact']:,} rows stands in train, nearly that of {unseen['near']:,}"
        name = "pearson" if self.task == "regression" else "macro_f1"
        scores = [
            f"{run} {one.metrics['unseen'][name]:.4f} (of all: {one.numbers[name]:.4f})"
            for run, one in measured.items()
            if name in one.metrics["unseen"] and name in one.numbers
        ]
        return [f"{seen}; {name} of the other {unseen['rows']:,} rows: {', '.join(scores)}" if scores else seen]

    @property
    def _notes(self) -> list[str]:
        notes = [f"{run.name}: {note}" for run in self.runs for note in run.notes]
        notes += [
            f"{run.name}: {why}, so that {name} is undefined"
            for run in self.runs
            for name, why in (run.metrics.get("undefined") or {}).items()
            if name in ("macro", "pearson", "r2", "quadratic_weighted_kappa")
        ]
        notes += self._unseen_note()
        trained = {run.name: run.training_rows for run in self.runs if run.training_rows is not None}
        most = max(trained, key=lambda name: trained[name] or 0, default="")
        notes += [
            f"{name}: trained on {rows:,} rows, {most} on {trained[most]:,}"
            for name, rows in trained.items()
            if rows != trained[most]
        ]
        if not self.runs[0].metrics["rows"]:
            notes.append("no row of this split has a gold label: nothing was measured")
        if missing := self.runs[0].metrics.get("labels_without_support"):
            more = f" and {len(missing) - LABELS_NAMED} more" if len(missing) > LABELS_NAMED else ""
            named = f"labels without a row in this split: {', '.join(missing[:LABELS_NAMED])}{more}"
            given = {
                run.name: sum(row["predicted"] for row in run.metrics["per_class"] if not row["support"])
                for run in self.runs
            }
            wrong = [f"{run} {counted(times, 'time')}" for run, times in given.items() if times]
            notes.append(named + ("; predicted, which no macro average counts: " + ", ".join(wrong) if wrong else ""))
        return notes

    def _short_table(self, shown: Sequence[columns.Measure], mark: str) -> Table:
        titles = ["of valid" if measure.of_valid else measure.title for measure in shown]
        header = ["run", "method", *titles, "valid", "documents/s", "trained"]
        align = "ll" + "r" * (len(header) - 2)
        return header, [self._short_row(run, shown, mark) for run in self.runs], align

    def _short_row(self, run: EvaluatedRun, shown: Sequence[columns.Measure], mark: str) -> list[str]:
        trained = columns.count(run.parameters_trained)
        if run.parameters_total is not None and run.parameters_trained is not None:
            trained += f" of {columns.count(run.parameters_total)}"
        cells = [self._cell(run, measure.name, mark, with_interval=i == 0) for i, measure in enumerate(shown)]
        valid, speed = columns.percent(run.metrics["valid_rate"]), columns.rate(run.documents_per_second)
        if run.metrics["invalid"]:
            valid = f"{run.metrics['valid']:,} ({valid})"
        return [run.name, run.method, *cells, valid, speed, trained]

    def _cell(self, run: EvaluatedRun, measure: str, mark: str, *, with_interval: bool) -> str:
        value = columns.number(run.numbers.get(measure))
        if run.name in (best := self.best.get(measure, [])):
            value = f"**{value}**" if mark == "**" else value + mark
        elif best and mark == "*":
            value += " "  # so that the digits of a column stand under each other
        return value + (columns.interval(run.interval(measure)) if with_interval else "")

    def _all_measures(self, shown: Sequence[columns.Measure]) -> str:
        rows = [[m.title, *(self._cell(run, m.name, "**", with_interval=True) for run in self.runs)] for m in shown]
        rows += [
            ["valid rate", *(columns.percent(run.metrics["valid_rate"]) for run in self.runs)],
            ["documents/s", *(columns.rate(run.documents_per_second) for run in self.runs)],
            ["parameters trained", *(columns.count(run.parameters_trained) for run in self.runs)],
            ["parameters", *(columns.count(run.parameters_total) for run in self.runs)],
            ["training time", *(columns.duration(run.training_seconds) for run in self.runs)],
        ]
        align = "l" + "r" * len(self.runs)
        return markdown_table(["measure", *(run.name for run in self.runs)], rows, align)

    @property
    def _difference_title(self) -> str:
        return f"Difference from {self.differences[0].reference} on the same rows (paired bootstrap):"

    def _difference_table(self, shown: set[str]) -> Table:
        titles = {
            measure.name: measure.title + ("" if greater_is_better(measure.name) else " (lower is better)")
            for measure in columns.measures(self.task)
        }
        rows = [
            [
                difference.run,
                titles.get(difference.measure, difference.measure),
                f"{difference.estimate:+.3f}",
                f"[{difference.low:+.3f}, {difference.high:+.3f}]"
                if difference.low is not None and difference.high is not None
                else columns.UNDEFINED,
                "yes" if difference.is_clear else "no",
            ]
            for difference in self.differences
            if difference.measure in shown
        ]
        return (
            ["run", "measure", "difference", "95% interval", "clear"],
            rows,
            "llrrl",
        )


def compare(
    runs: Sequence[EvaluatedRun],
    *,
    split: str = "test",
    differences: Sequence[Difference] = (),
    unit: str = "rows",
) -> Comparison:
    """The comparison of runs that were measured on the same rows.

    Args:
        unit: what was measured, in the plural: documents, where any run read them in parts.
        differences: of `metrics.intervals.paired_differences`, against one reference.

    Raises:
        UserError: two runs have one name, or they differ in task, rows or labels.
        ValueError: there is no run, or the differences have several references.
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
        if _support(run) != _support(first):
            differ = sorted({label for label, _ in _support(run) ^ _support(first)})
            raise UserError(
                f"evaluation.runs: {run.name!r} and {first.name!r} differ in the labels {', '.join(differ[:5])} "
                f"({len(differ)} in all) or their rows; compare runs of one label set on one split"
            )
    return Comparison(tuple(runs), split, tuple(differences), unit)


def best_run(runs: Sequence[EvaluatedRun], measure: str) -> str:
    """Name of the run with the best value of a measure, the first among equals; the first run where none has it."""
    sign = 1 if greater_is_better(measure) else -1
    return max(runs, key=lambda run: sign * run.numbers[measure] if measure in run.numbers else -math.inf).name


def _support(run: EvaluatedRun) -> set[tuple[str, int]]:
    return {(row["label"], row["support"]) for row in run.metrics.get("per_class", ())}
