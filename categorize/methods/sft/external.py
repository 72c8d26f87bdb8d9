"""A causal model that is not a run of this project: as it was published, or with an adapter trained elsewhere."""

from __future__ import annotations

from categorize.features.shots import ShotSets
from categorize.methods.sft.model import load_causal
from categorize.methods.sft.narrowing import asked
from categorize.nn.parameters import parameter_counts
from categorize.nn.precision import resolve_dtype
from categorize.prediction.external import External, ExternalModel
from categorize.prompts.messages import PromptSettings
from categorize.recipe.decision_sections import CausalPredictionSection
from categorize.recipe.sections import PromptSection

MAX_LENGTH = 2048


def external(given: ExternalModel) -> External:
    """Its predictor, asked by the evaluation's prompt. Raises UserError where no row can be an example of it."""
    written = given.prompt or PromptSection()
    shots = None if written.retrieval is None else ShotSets.choose(written, given.examples, given.label_set)
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
    settings = PromptSettings.from_section(written, given.label_set)
    section = given.section if isinstance(given.section, CausalPredictionSection) else None
    facts = {"method": "causal", "parameters": parameter_counts(causal.model)[1], "parameters_trained": 0}
    predictor = asked(causal, settings, causal.settings.max_length, given.label_set, section, shots)
    return External(predictor, [*notes, *([shots.line()] if shots is not None else [])], facts)
