"""Models that are not runs of this project: tuned elsewhere, adapters on their base, untuned bases.

What can be told without a method stands here; the method that reads the model makes the predictor.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from categorize.errors import UserError
from categorize.labels import Label, LabelSet
from categorize.nn.adapters import load_adapter
from categorize.nn.outputs import are_generic, config_names
from categorize.nn.tokenizer import loading
from categorize.prediction.predictor import Predictor
from categorize.recipe.decision_sections import PredictionSection
from categorize.recipe.label_sections import Task
from categorize.recipe.sections import PromptSection


@dataclass(frozen=True)
class ExternalModel:
    """A model folder that was looked at, and how its predictor is wanted.

    Attributes:
        folder: as it was named; of an adapter, that of the adapter.
        source: folder or Hub id of the whole model; of an adapter, its base.
        adapter: the adapter's `adapter_config.json`; None where the model is whole.
        config: the model's, a `PretrainedConfig`.
        label_set: what is to be predicted.
        section, prompt: of the evaluation recipe, where there are any.
        examples: labelled rows, from which `prompt.retrieval` chooses, and which tell how often labels are.
    """

    folder: Path
    source: str
    adapter: dict[str, Any] | None
    config: Any
    label_set: LabelSet
    section: PredictionSection | None
    prompt: PromptSection | None
    trust_remote_code: bool
    examples: pa.Table | None = None

    @property
    def is_causal(self) -> bool:
        """Whether it is a causal language model, which can be asked."""
        if self.adapter is not None:
            return bool(self.adapter.get("task_type") == "CAUSAL_LM")
        return any(name.endswith("ForCausalLM") for name in self.config.architectures or ())

    def with_adapter(self, base: Any) -> Any:
        """The base with the adapter's weights on it."""
        with loading(str(self.folder), "the adapter"):
            return load_adapter(base, str(self.folder))


@dataclass(frozen=True)
class External:
    """A predictor, what a reader must know of it, and facts for reports."""

    predictor: Predictor
    notes: list[str]
    facts: dict[str, Any]


def look_at(
    folder: Path,
    *,
    base: str | None,
    label_set: LabelSet | None,
    section: PredictionSection | None,
    prompt: PromptSection | None,
    trust_remote_code: bool,
    examples: pa.Table | None = None,
) -> ExternalModel:
    """What a model folder holds.

    Raises:
        UserError: an adapter whose base is unknown, or no labels are known.
    """
    from transformers import AutoConfig

    file = folder / "adapter_config.json"
    adapter = dict(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None
    source = str(folder)
    if adapter is not None:
        source = base or adapter.get("base_model_name_or_path") or ""
        if not source:
            raise UserError(f"{file}: names no base model; name it in the recipe as `base`")
    with loading(source, "the model"):
        config = AutoConfig.from_pretrained(source, trust_remote_code=trust_remote_code)
    labels = label_set or _labels_of_config(config, source)
    if labels is None:
        raise UserError(f"{source}: not a run, and its config names no labels; give labels in the evaluation recipe")
    return ExternalModel(folder, source, adapter, config, labels, section, prompt, trust_remote_code, examples)


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
