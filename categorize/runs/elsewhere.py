"""How a run is used without this project: the code that stock libraries run, and what they do otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from categorize.runs.folder import DECISION_RULE, INPUT, Run

PLACE = "PLACE"  # in code and commands: where the run lies, a folder or an id of the Hub


@dataclass(frozen=True)
class Elsewhere:
    """What other tools make of a run.

    Attributes:
        code: Python with stock libraries alone; None where they cannot give what the run predicts.
        server: a command that serves the run, and one that asks it; None where there is none.
        limits: sentences: why there is no code, or what it leaves out.
        files: texts that the run holds for them, by name.
    """

    code: str | None = None
    server: str | None = None
    limits: tuple[str, ...] = ("Only this project reads it.",)
    files: Mapping[str, str] = field(default_factory=dict)


def limits_of_texts(run: Run) -> list[str]:
    """What has to be done to a text before another tool reads it, and with what comes back for a document."""
    from categorize.data.columns import text_columns
    from categorize.data.input_spec import InputSpec

    spec = InputSpec.load(run.path / INPUT)
    limits = []
    if len(columns := text_columns(spec.columns)) > 1 or spec.template is not None:
        limits.append(f"Columns are joined before the model reads them: {', '.join(columns)} (`input.json`).")
    if spec.cleaning:
        steps = ", ".join(
            step if isinstance(step, str) else next(iter(step.model_fields_set)) for step in spec.cleaning
        )
        limits.append(f"Texts are cleaned before the model reads them: {steps} (`input.json`).")
    if spec.segments.by != "document":
        limits.append("Documents are cut into segments, whose predictions are joined; other tools see one text.")
    return limits


def limits_of_rule(run: Run, calibrated: bool = False) -> list[str]:
    """What the decision rule does to probabilities that other tools do not.

    Args:
        calibrated: they divide by its temperature.
    """
    from categorize.metrics.decision import DecisionRule

    rule = DecisionRule.load(run.path / DECISION_RULE)
    limits = []
    if rule.curves is not None or (rule.temperature != 1 and not calibrated):
        limits.append("Probabilities are not calibrated; the calibration is in `decision_rule.json`.")
    if len(set(rule.thresholds) - {0.5}) or rule.fallback != "none" or rule.hierarchy != "none" or rule.rules:
        limits.append("The thresholds and rules of `decision_rule.json` decide which labels hold.")
    if rule.reject is not None:
        limits.append("No text is left out as out of scope.")
    if rule.ordinal == "median":
        limits.append("The level is the median of the probabilities, not the most probable one.")
    return limits
