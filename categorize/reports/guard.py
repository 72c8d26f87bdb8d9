"""A guard for models that are trained again and again: no run may be worse than an earlier report has it."""

from __future__ import annotations

from dataclasses import dataclass

from categorize.errors import GuardFailed, UserError
from categorize.metrics.progress import headline_of
from categorize.recipe.label_sections import Task
from categorize.reports import columns
from categorize.reports.comparison import Comparison
from categorize.reports.report import load_report
from categorize.text_tables import text_table

ALLOWED = 0.01  # that the headline measure may fall, where the command does not say


@dataclass(frozen=True)
class Guard:
    """An earlier comparison, and how far below it a run may be."""

    path: str
    earlier: Comparison
    allowed: float

    @classmethod
    def load(cls, path: str, allowed: float | None) -> Guard:
        """The guard that a `report.json` is. Raises UserError as `load_report`."""
        return cls(path, load_report(path).comparison, ALLOWED if allowed is None else allowed)

    def check_comparable(self, task: Task, split: str, fingerprint: str) -> None:
        """Refuse another split or other rows, before anything is predicted.

        Raises:
            UserError: see there.
        """
        before = self.earlier
        if (before.task, before.split) != (task, split):
            raise UserError(
                f"{self.path}: measured {before.task} on the {before.split} split, this recipe {task} on {split}; "
                "name the report of an evaluation of the same rows"
            )
        if before.fingerprint is not None and before.fingerprint != fingerprint:
            raise UserError(
                f"{self.path}: its {split} split ({before.fingerprint[:12]}) is not this recipe's "
                f"({fingerprint[:12]}); scores would not be comparable: evaluate the earlier runs on these rows, and "
                "name that report"
            )

    def judge(self, now: Comparison) -> str:
        """A table of what became of every run.

        Raises:
            GuardFailed: a run fell by more than is allowed in the measure that runs are ranked by, or is not there.
        """
        measure = headline_of(now.task)
        title = next(one.title for one in columns.measures(now.task) if one.name == measure)
        before, after = (
            {run.name: run.numbers.get(measure) for run in one.ranked if run.method != "baseline"}
            for one in (self.earlier, now)
        )
        lines, failed = [], []
        for name in dict.fromkeys([*before, *after]):
            old, new = before.get(name), after.get(name)
            change = None if old is None or new is None else new - old
            verdict = "new" if name not in before else "missing" if new is None else "ok"
            if change is not None and change < -self.allowed:
                verdict = "worse"
            if verdict in ("missing", "worse"):
                failed.append(f"{name} is {verdict}")
            moved = columns.UNDEFINED if change is None else f"{change:+.4f}"
            lines.append([name, columns.number(old), columns.number(new), moved, verdict])
        header = ["run", f"{title} before", "now", "change", "verdict"]
        table = f"Against {self.path}, at most {self.allowed:g} less:\n" + text_table(header, lines, "lrrrl", width=120)
        if failed:
            raise GuardFailed(f"{table}\nguard: {'; '.join(failed)}")
        return table
