"""What the runs of a comparison cost: time and money of training, and of labelling the rows that have no label yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from categorize.reports.columns import UNDEFINED, count, duration, rate, size
from categorize.reports.comparison import EvaluatedRun
from categorize.text_tables import Cell, Table

HOUR = 3600.0


@dataclass(frozen=True)
class RunCosts:
    """What follows from a run's times; None where a time or a price is not known.

    Attributes:
        training_money: of its training.
        rest_seconds, rest_money: for the rows without a label, at the speed of the evaluation; of a labelling run the
            money is what its teacher took for a text, times the rows.
    """

    run: str
    training_money: float | None = None
    rest_seconds: float | None = None
    rest_money: float | None = None


@dataclass(frozen=True)
class Costs:
    """Costs of all runs.

    Attributes:
        rest: documents without a label, which a run could label; 0 where there are none.
        price_per_hour: of the machine, in `currency`; None where the recipe gives none.
    """

    runs: tuple[RunCosts, ...]
    rest: int = 0
    price_per_hour: float | None = None
    currency: str = "USD"


def costs_of(
    runs: Sequence[EvaluatedRun], rest: int, price_per_hour: float | None = None, currency: str = "USD"
) -> Costs:
    """The costs of evaluated runs.

    >>> run = EvaluatedRun("bert", "head", {}, documents_per_second=100.0, training_seconds=1800.0)
    >>> costs_of([run], rest=720_000, price_per_hour=3.0).runs
    (RunCosts(run='bert', training_money=1.5, rest_seconds=7200.0, rest_money=6.0),)
    """

    def money(seconds: float | None) -> float | None:
        return None if seconds is None or price_per_hour is None else seconds / HOUR * price_per_hour

    found = []
    for run in runs:
        seconds = rest / run.documents_per_second if rest and run.documents_per_second else None
        asked = None if run.money_per_document is None or not rest else run.money_per_document * rest
        rest_money = money(seconds) if asked is None else asked
        found.append(RunCosts(run.name, money(run.training_seconds), seconds, rest_money))
    return Costs(tuple(found), rest, price_per_hour, currency)


def cost_table(runs: Sequence[EvaluatedRun], costs: Costs) -> Table:
    """A line for each run that has something to tell: training, memory, parameters, speed, and what the rest takes.
    Columns that no run fills are left out."""
    rest, currency = f"{costs.rest:,} unlabelled", costs.currency
    columns = (
        "training", f"training, {currency}", "memory, training", "memory, predicting", "trained", "parameters",
        "documents/s", f"{rest}: time", f"{rest}: {currency}",
    )  # fmt: skip
    lines: list[list[Cell]] = []
    for run, of_run in zip(runs, costs.runs, strict=True):
        cells = [
            duration(run.training_seconds),
            money(of_run.training_money),
            size(run.training_memory),
            size(run.prediction_memory),
            count(run.parameters_trained),
            count(run.parameters_total),
            rate(run.documents_per_second),
            duration(of_run.rest_seconds),
            money(of_run.rest_money),
        ]
        if any(cell != UNDEFINED for cell in (cells[0], *cells[2:4], *cells[6:])):  # a baseline has none of these
            lines.append([run.name, *cells])
    kept = [at for at in range(1, len(columns) + 1) if any(line[at] != UNDEFINED for line in lines)]
    header = ["run", *(columns[at - 1] for at in kept)]
    return Table(header, [[line[0], *(line[at] for at in kept)] for line in lines], "l" + "r" * len(kept))


def money(amount: float | None) -> str:
    """An amount of money, to two places that count.

    >>> [money(one) for one in (None, 0.0, 0.00123, 1.5, 1234.5)]
    ['-', '0', '0.0012', '1.50', '1,234.50']
    """
    if amount is None:
        return UNDEFINED
    if not amount:
        return "0"
    return f"{amount:.2g}" if amount < 0.1 else f"{amount:,.2f}"
