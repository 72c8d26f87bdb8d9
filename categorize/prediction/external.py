"""Predictors of models that are no run of this project: tuned elsewhere, adapters on their base, untuned bases."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.nn.outputs import are_generic, config_names, listed
from categorize.nn.tokenizer import loading
from categorize.recipe.sections import CausalPredictionSection, PredictionSection, PromptSection, Task

if TYPE_CHECKING:
    from categorize.prediction.predictor import Predictor

HEAD_LENGTH = 512
CAUSAL_LENGTH = 2048


@dataclass(frozen=True)
class Foreign:
    """A predictor, what a reader must know of it, and facts for reports."""

    predictor: Predictor
    notes: list[str]
    facts: dict[str, Any]


def load_foreign(
    folder: Path,
    *,
    base: str | None,
    label_set: LabelSet | None,
    section: PredictionSection | None,
    prompt: PromptSection | None,
    trust_remote_code: bool,
) -> Foreign:
    """The predictor of a model folder. A causal language model is asked by `prompt`; anything else is read as a head.

    Raises:
        UserError: an adapter whose base is unknown, or no labels are known.
    """
    adapter = _adapter_config(folder)
    source = str(folder)
    if adapter is not None:
        source = base or adapter.get("base_model_name_or_path") or ""
        if not source:
            raise UserError(f"{folder / 'adapter_config.json'}: names no base model; name it in the recipe as `base`")
    config = _config(source, trust_remote_code)
    causal = (adapter or {}).get("task_type") == "CAUSAL_LM" or (
        adapter is None and any(name.endswith("ForCausalLM") for name in config.architectures or ())
    )
    if label_set is None:
        label_set = _labels_of_config(config, source)
    if label_set is None:
        raise UserError(f"{source}: no run, and its config names no labels; give labels in the evaluation recipe")
    if causal:
        return _causal(folder, source, adapter, label_set, section, prompt, trust_remote_code)
    if adapter is not None and (order := label_set.positions(config_names(config))) is not None:
        # The adapter's own head was most likely trained with the names of its base; the caller reorders.
        by_output = sorted(zip(order, label_set.labels, strict=True), key=lambda pair: pair[0])
        label_set = replace(label_set, labels=tuple(label for _, label in by_output))
    return _head(folder, source, adapter, label_set, section, trust_remote_code)


def _head(
    folder: Path,
    source: str,
    adapter: dict[str, Any] | None,
    label_set: LabelSet,
    section: PredictionSection | None,
    trust_remote_code: bool,
) -> Foreign:
    from categorize.methods.head.model import (
        Head,
        HeadSettings,
        clamp_length,
        load_sequence_classifier,
        parameter_counts,
        resolve_dtype,
    )
    from categorize.methods.head.predictor import HeadPredictor

    dtype = resolve_dtype("auto", trained=False)
    loaded = load_sequence_classifier(source, label_set, dtype=dtype, trust_remote_code=trust_remote_code)
    model, untrained, outputs = loaded.model, loaded.untrained, loaded.outputs
    notes: list[str] = []
    if adapter is None and outputs.held:
        if not outputs.fit:
            raise UserError(
                f"{source}: its head's outputs are {listed(outputs.names)}, the labels {listed(label_set.names)}: "
                f"these do not match; write its names as aliases in labels.names ({{name: ..., aliases: [...]}})"
            )
        notes += [outputs.note] if outputs.note else []
    if adapter is not None:
        from peft import PeftModel

        try:
            with loading(str(folder), "the adapter"):
                model = PeftModel.from_pretrained(model, str(folder))
        except RuntimeError as error:  # a head of another size
            if "size mismatch" not in str(error):
                raise
            raise UserError(
                f"{folder}: its head is for another number of labels than {len(label_set)}, or for another base than "
                f"{source}; the labels are {listed(label_set.names)}"
            ) from error
        kept = set(adapter.get("modules_to_save") or ()) | {"classifier", "score"}
        untrained = [module for module in untrained if module not in kept and module.rpartition(".")[2] not in kept]
        notes.append(f"adapter on {source}")
        # Its folder names no outputs.
        notes.append(f"the adapter's outputs have no names and are read in the order {listed(label_set.names)}")
    if untrained:
        notes.append(f"randomly initialised head ({', '.join(untrained)})")
    settings = HeadSettings(clamp_length(HEAD_LENGTH, model.config, loaded.tokenizer), loaded.head_modules)
    facts = {"method": "head", "parameters": parameter_counts(model)[1], "parameters_trained": 0}
    return Foreign(HeadPredictor(Head(model, loaded.tokenizer, settings), label_set, section), notes, facts)


def _causal(
    folder: Path,
    source: str,
    adapter: dict[str, Any] | None,
    label_set: LabelSet,
    section: PredictionSection | None,
    prompt: PromptSection | None,
    trust_remote_code: bool,
) -> Foreign:
    from categorize.methods.head.model import parameter_counts, resolve_dtype
    from categorize.methods.sft.model import load_causal
    from categorize.methods.sft.predictor import CausalPredictor
    from categorize.prompts.format import PromptFormat

    causal = load_causal(
        source,
        dtype=resolve_dtype("auto", trained=False),
        max_length=CAUSAL_LENGTH,
        trust_remote_code=trust_remote_code,
    )
    notes = ["base model as published, not tuned"]
    if adapter is not None:
        from peft import PeftModel

        with loading(str(folder), "the adapter"):
            causal.model = PeftModel.from_pretrained(causal.model, str(folder))
        notes = [f"adapter on {source}"]
    asked = PromptFormat.from_section(
        prompt or PromptSection(), label_set, causal.tokenizer, causal.settings.max_length
    )
    causal_section = section if isinstance(section, CausalPredictionSection) else None
    facts = {"method": "causal", "parameters": parameter_counts(causal.model)[1], "parameters_trained": 0}
    return Foreign(CausalPredictor(causal, asked, causal_section), notes, facts)


def _adapter_config(folder: Path) -> dict[str, Any] | None:
    file = folder / "adapter_config.json"
    return dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def _config(source: str, trust_remote_code: bool) -> Any:
    from transformers import AutoConfig

    with loading(source, "the model"):
        return AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)


def _labels_of_config(config: Any, source: str) -> LabelSet | None:
    """The labels that a fine-tuned model's config names; None where they are only LABEL_0, LABEL_1, ..."""
    names = config_names(config)
    if len(names) < 2 or are_generic(names):
        return None
    task: Task = "multi_label" if config.problem_type == "multi_label_classification" else "single_label"
    try:
        return LabelSet(task, tuple(Label(name) for name in names))
    except UserError as error:
        raise UserError(f"{source}: the labels of its config.json cannot be used: {error}") from None
