"""A causal model that is not a run of this project: as it was published, or with an adapter trained elsewhere."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from categorize.features.shots import ShotSets
from categorize.labels import LabelSet
from categorize.methods.sft.model import label_counts, load_causal
from categorize.methods.sft.narrowing import asked, check_fits
from categorize.nn.parameters import parameter_counts
from categorize.nn.precision import resolve_dtype
from categorize.nn.tokenizer import clamp_length, load_tokenizer
from categorize.prediction.external import External, ExternalModel
from categorize.prompts.messages import PromptSettings
from categorize.recipe.decision_sections import CausalPredictionSection
from categorize.recipe.sections import PromptSection

MAX_LENGTH = 2048


def check_external(given: ExternalModel) -> None:
    """Raise UserError, before the model is loaded, where it cannot be asked about so many labels."""
    tokenizer = load_tokenizer(given.source, trust_remote_code=given.trust_remote_code)
    check_fits(tokenizer, clamp_length(MAX_LENGTH, given.config, tokenizer), *_asking(given))


def _asking(given: ExternalModel) -> tuple[PromptSettings, LabelSet, CausalPredictionSection | None]:
    section = given.section if isinstance(given.section, CausalPredictionSection) else None
    settings = PromptSettings.from_section(given.prompt or PromptSection(), given.label_set)
    return settings, given.label_set, section


def external(given: ExternalModel) -> External:
    """Its predictor, asked by the evaluation's prompt. Raises UserError where no row can be an example of it."""
    written = given.prompt or PromptSection()
    shots = None if written.retrieval is None else ShotSets.choose(written, given.examples, given.label_set)
    settings, label_set, section = _asking(given)
    causal = load_causal(
        given.source,
        dtype=resolve_dtype("auto", trained=False),
        max_length=MAX_LENGTH,
        fits=partial(check_fits, settings=settings, label_set=label_set, section=section, shots=shots),
        trust_remote_code=given.trust_remote_code,
    )
    causal.settings = replace(causal.settings, label_counts=label_counts(given.examples))
    notes = ["base model as published, not tuned"]
    if given.adapter is not None:
        causal.model = given.with_adapter(causal.model)
        notes = [f"adapter on {given.source}"]
    facts = {"method": "causal", "parameters": parameter_counts(causal.model)[1], "parameters_trained": 0}
    predictor = asked(causal, settings, causal.settings.max_length, label_set, section, shots)
    return External(predictor, [*notes, *([shots.line()] if shots is not None else [])], facts)
