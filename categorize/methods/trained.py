"""A finished run of any method as a predictor with its input preparation and its decision rule."""

from __future__ import annotations

from categorize.data.input_spec import InputSpec
from categorize.methods.registry import METHODS
from categorize.metrics.decision import DecisionRule
from categorize.prediction.predictor import TrainedPredictor
from categorize.prediction.scope import load_scope
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import DECISION_RULE, INPUT, Run


def trained_predictor(
    run: Run,
    section: PredictionSection | None = None,
    base: str | None = None,
    trust_remote_code: bool = False,
    name: str | None = None,
) -> TrainedPredictor:
    """The predictor of a finished run.

    Args:
        section: batch bounds, computation type, and how a causal model predicts.
        base: the base of an adapter, where it is not found under the name that it was trained on.
        name: what reports call it; by default its own.
    """
    manifest = run.manifest
    return TrainedPredictor(
        METHODS.of_run(run).predictor(run, section, base, trust_remote_code),
        InputSpec.load(run.path / INPUT),
        DecisionRule.load(run.path / DECISION_RULE),
        name or str(manifest.get("name", run.path.name)),
        list(manifest.get("notes", [])),
        manifest,
        dict(manifest.get("split_fingerprints", {})),
        load_scope(run, section, trust_remote_code),
    )
