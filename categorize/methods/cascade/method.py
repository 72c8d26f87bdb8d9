"""The cascade method: finished runs of which each answers the rows that it is sure of, and the last one the rest."""

from __future__ import annotations

from categorize.methods.cascade.section import CascadeModel, check_cascade
from categorize.methods.made_of_runs import MethodOfRuns


class CascadeMethod(MethodOfRuns):
    """Runs of any method, the cheapest first."""

    name = "cascade"
    section = CascadeModel
    checks = (check_cascade,)
    files = ("cascade.json",)
