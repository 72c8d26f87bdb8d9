"""A causal model that is not a run of this project: as it was published, or with an adapter trained elsewhere."""

from __future__ import annotations

from categorize.methods.sft.model import load_causal
from categorize.methods.sft.narrowing import asked
from categorize.nn.parameters import parameter_counts
from categorize.nn.precision import resolve_dtype
from categorize.prediction.external import External, ExternalModel
from categorize.prompts.messages import PromptSettings
from categorize.recipe.sections import CausalPredictionSection, PromptSection

MAX_LENGTH = 2048


def external(given: ExternalModel) -> External:
    """Its predictor, asked by the evaluation's prompt."""
    causal = load_causal(
        given.source,
        dtype=resolve_dtype("auto", trained=False),
        max_length=MAX_LENGTH,
        trust_remote_code=given.trust_remote_code,
    )
    notes = ["base model as published, not tuned"]
    if given.adapter is not None:
        causal.model = given.with_adapter(causal.model)
        notes = [f"adapter on {given.source}"]
    written = given.prompt or PromptSection()
    settings = PromptSettings.from_section(written, given.label_set)
    section = given.section if isinstance(given.section, CausalPredictionSection) else None
    facts = {"method": "causal", "parameters": parameter_counts(causal.model)[1], "parameters_trained": 0}
    return External(asked(causal, settings, causal.settings.max_length, given.label_set, section), notes, facts)
