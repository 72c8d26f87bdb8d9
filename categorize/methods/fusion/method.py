"""The fusion method: finished runs whose calibrated probabilities are joined with weights that validation chose."""

from __future__ import annotations

from categorize.methods.fusion.section import FusionModel, check_fusion
from categorize.methods.made_of_runs import MethodOfRuns


class FusionMethod(MethodOfRuns):
    """Runs of any method as one."""

    name = "fusion"
    section = FusionModel
    checks = (check_fusion,)
    files = ("fusion.json",)
