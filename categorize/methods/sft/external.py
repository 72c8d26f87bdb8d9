"""A causal model that is not a run of this project: as it was published, or with an adapter trained elsewhere."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from categorize.errors import UserError
from categorize.features.shots import ShotSets
from categorize.labels import LabelSet
from categorize.methods.sft.model import label_counts, load_causal
from categorize.methods.sft.narrowing import asked, check_fits
from categorize.methods.sft.predictor import CausalPredictor
from categorize.methods.sft.scoring import first_by_hash, leaning
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
    _check_scoring(given)
    tokenizer = load_tokenizer(given.source, trust_remote_code=given.trust_remote_code)
    check_fits(tokenizer, clamp_length(MAX_LENGTH, given.config, tokenizer), *_asking(given))


def _asking(given: ExternalModel) -> tuple[PromptSettings, LabelSet, CausalPredictionSection | None]:
    section = given.section if isinstance(given.section, CausalPredictionSection) else None
    settings = PromptSettings.from_section(given.prompt or PromptSection(), given.label_set)
    return settings, given.label_set, section


def _check_scoring(given: ExternalModel) -> None:
    """Raises UserError where nothing is there that the way to scores could be measured or chosen on."""
    for key, others in (("prior", "contextual or batch"), ("length_normalization", "true or false")):
        if getattr(given.section, key, None) == "auto":
            raise UserError(
                f"prediction.{key}: auto: is chosen in training, and {given.source} is not a run; write {others}"
            )
    prior = getattr(given.section, "prior", None)
    where = f"prediction.prior: {prior}"
    if prior != "batch":
        return
    if given.examples is None or not given.examples.num_rows:
        raise UserError(f"{where}: is the mean of training rows, and there are none here; write contextual")
    if getattr(given.section, "candidates", None) is not None or (given.prompt and given.prompt.retrieval is not None):
        raise UserError(
            f"{where}: is measured of one prompt, but with prediction.candidates and prompt.retrieval rows have "
            "several; write contextual"
        )


def external(given: ExternalModel) -> External:
    """Its predictor, asked by the evaluation's prompt. Raises UserError where no row can be an example of it."""
    _check_scoring(given)
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
    if isinstance(predictor, CausalPredictor) and predictor.section.prior == "batch":
        assert given.examples is not None
        causal.settings = replace(causal.settings, leaning=leaning(predictor, first_by_hash(given.examples)))
    return External(predictor, [*notes, *([shots.line()] if shots is not None else [])], facts)
