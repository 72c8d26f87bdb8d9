"""A causal model that is not a run of this project: as it was published, or with an adapter trained elsewhere."""

from __future__ import annotations

from categorize.methods.sft.model import load_causal
from categorize.methods.sft.predictor import CausalPredictor
from categorize.nn.parameters import parameter_counts
from categorize.nn.precision import resolve_dtype
from categorize.prediction.external import External, ExternalModel
from categorize.prompts.tokens import PromptFormat
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
    asked = given.prompt or PromptSection()
    prompt = PromptFormat.from_section(asked, given.label_set, causal.tokenizer, causal.settings.max_length)
    section = given.section if isinstance(given.section, CausalPredictionSection) else None
    facts = {"method": "causal", "parameters": parameter_counts(causal.model)[1], "parameters_trained": 0}
    return External(CausalPredictor(causal, prompt, section), notes, facts)
