"""What an evaluation says, as data: the comparison, what it costs, and what a closer look at the rows found.

`report.json` holds it; `report.html`, `report.md`, the pictures and the tables for spreadsheets are renderings of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from categorize.errors import UserError
from categorize.reports.comparison import Comparison
from categorize.reports.costs import Costs
from categorize.writing import json_text


@dataclass(frozen=True)
class Report:
    """One evaluation.

    Attributes:
        name: of the recipe.
        comparison: the runs and their measures.
        costs: what training and predicting take; None where a report was made of measures alone.
        analysis: what a closer look at the rows found, by subject; a renderer shows the subjects that it knows.
    """

    name: str
    comparison: Comparison
    costs: Costs | None = None
    analysis: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON: the comparison's keys, and beside them `name`, `costs` and `analysis`."""
        return {
            "name": self.name,
            **self.comparison.to_dict(),
            **({} if self.costs is None else {"costs": asdict(self.costs)}),
            **({"analysis": dict(self.analysis)} if self.analysis else {}),
        }

    def to_json(self) -> str:
        """The text of `report.json`.

        Raises:
            ValueError: a number is NaN, which JSON cannot say: an undefined measure is null, with its reason.
        """
        return json_text(self.to_dict())


@dataclass(frozen=True)
class _Beside:
    """What a `report.json` holds beside the comparison."""

    name: str = ""
    costs: Costs | None = None
    analysis: dict[str, Any] = field(default_factory=dict)


def load_report(path: str | Path) -> Report:
    """The report that a `report.json` holds, equal to the one that was written.

    Raises:
        UserError: the file cannot be read, or does not hold a report.
    """
    try:
        text = Path(path).read_bytes()
        beside = TypeAdapter(_Beside).validate_json(text)
        comparison = TypeAdapter(Comparison).validate_json(text)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); name a report.json of run_eval.py") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its content"
        raise UserError(f"{path}: not a report: {where}: {first['msg']}; write it again with run_eval.py") from error
    return Report(beside.name, comparison, beside.costs, beside.analysis)
