"""The typed sections of a recipe: what a YAML file may say, with types, defaults and one line of help for every key.

Each section maps onto the class that it fills. Sections that fill a class of another library (`training`, `adapter`,
`quantization`) declare only our own keys here; that class's keys are allowed as extras and checked by the loader
against the generated table `upstream_fields.json`, so that upstream documentation applies and nothing heavy is
imported.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, create_model

from categorize.recipe.adapter_sections import AdapterSection, QuantizationSection, adapters
from categorize.recipe.data_sections import DataSection
from categorize.recipe.decision_sections import (
    CausalPredictionSection,
    DecisionSection,
    EvaluationSection,
    PredictionSection,
)
from categorize.recipe.feature_sections import FeatureSection, TfidfFeatures
from categorize.recipe.hub_sections import DatasetHubSection, HubSection
from categorize.recipe.label_sections import LabelsSection
from categorize.recipe.labeling_sections import LabelingSection
from categorize.recipe.search_sections import SearchSection
from categorize.recipe.section import (
    PositiveInt,
    Section,
    Seed,
    Variants,
)
from categorize.recipe.training_sections import SftTrainingSection, TrainingSection
from categorize.recipe.upstream import filled
from categorize.recipe.wording import quote
from categorize.recipe.written import Methods, working

LONGEST_NAME = 200  # bytes; file systems take 255, and the run's temporary folders have longer names


_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)
_OURS = (".incomplete", ".replaced")  # beside a run's folder while it is written


def _folder_name(name: str) -> str:
    """A name of one folder, on any system that a run may be copied to."""
    refused = next((character for character in name if character in '/\\<>:"|?*' or not character.isprintable()), None)
    if name.strip() != name or not name:
        fault = "is blank or has blanks at its ends"
    elif refused is not None:
        fault = f"has {refused!r} in it"
    elif name.startswith(".") or name.endswith("."):
        fault = "begins or ends with a point"
    elif name.endswith(_OURS):
        fault = "ends as the folders do that a run is written in"
    elif _RESERVED.fullmatch(name):
        fault = "is a device on Windows"
    elif len(name.encode()) > LONGEST_NAME:
        fault = f"is longer than {LONGEST_NAME} bytes"
    else:
        return name
    raise ValueError(f"{quote(name)} {fault}; write the name of one folder, and output_dir where it is to be elsewhere")


def _path(text: str) -> str:
    if not text.strip() or "\0" in text:
        raise ValueError(f"{quote(text)} cannot be a path")
    return text


# ---------------------------------------------------------------- prompt
class RetrievalSection(Section):
    """Worked examples that are like the row, one set for all rows of a cluster."""

    model_config = ConfigDict(defer_build=False)  # else the JSON Schema would depend on what was built first

    k: PositiveInt = Field(4, description="Examples in a prompt.")
    clusters: PositiveInt = Field(
        16,
        description="Groups of like rows; those of a group have the same examples, which are computed once for it.",
    )
    features: FeatureSection = Field(
        default_factory=lambda: TfidfFeatures(type="tfidf"), description="What similarity is measured on."
    )


class PromptSection(Section):
    """How rows and labels become a prompt for a decoder."""

    system: str | None = Field(None, description="Instruction before every row; {labels} lists the labels, one a line.")
    descriptions: bool | None = Field(
        None,
        description="The labels' descriptions where {labels} lists them: true: every label must have one; false: names "
        "alone; by default those that there are.",
    )
    template: str = Field(
        "{text}", description="The row's part of the prompt: {text} or columns of the data; {{ or }} for a brace."
    )
    completion: Literal["names", "codes", "yes_no"] = Field(
        "names",
        description="Answer with label names, with single-token codes, or with yes or no to a question about each "
        "label, behind the row that is read once; for multi-label, which then has probabilities.",
    )
    question: str = Field(
        "Does the label {label} fit? Answer yes or no.",
        description="With completion: yes_no, what is asked behind the row; {label} is a label with its description.",
    )
    shots: list[dict[str, str]] = Field(default_factory=list, description="Worked examples: {text: ..., label: ...}.")
    retrieval: RetrievalSection | None = Field(
        None,
        description="Worked examples chosen by similarity, instead of shots: from training rows, or from rows of a "
        "labelling job that have a label already.",
    )


# ---------------------------------------------------------------- recipes
KIND: Any = Field(description="Which script runs the recipe.")


class RecipeBase(Section):
    """What every recipe has."""

    name: Annotated[str, AfterValidator(_folder_name)] = Field(min_length=1, description="Name of the run.")
    output_dir: Annotated[str, AfterValidator(_path)] | None = Field(
        None, description="Where the run goes; outputs/<name> by default."
    )
    seed: Seed = Field(42, description="Seed of initialisation, batches and dropout.")
    data: DataSection
    labels: LabelsSection = Field(default_factory=lambda: LabelsSection())
    prediction: PredictionSection = Field(default_factory=lambda: PredictionSection())

    @property
    def output_path(self) -> str:
        """Folder of the run, relative to the working directory."""
        return self.output_dir or f"outputs/{self.name}"


class SeqclsRecipe(RecipeBase):
    """`run_seqcls.py`: a head or a linear model."""

    kind: Literal["seqcls"] = KIND
    model: Section
    prompt: PromptSection | None = Field(
        None, description="Renders the rows for a decoder; without it the text itself is read."
    )
    quantization: QuantizationSection | None = Field(None, description="Quantized base weights, by bitsandbytes.")
    adapter: AdapterSection | None = Field(None, description="Parameter-efficient training, by peft.")
    training: TrainingSection = Field(default_factory=lambda: TrainingSection())
    decision: DecisionSection = Field(default_factory=DecisionSection)
    seeds: Annotated[list[Seed], Field(min_length=2)] | None = Field(
        None, description="Train once with each of these seeds, instead of `seed`, and show the mean and the spread."
    )
    search: SearchSection | None = Field(None, description="Find some of the values above by trials, before the run.")
    hub: HubSection | None = Field(None, description="Push the finished run to the Hub.")


class SftRecipe(RecipeBase):
    """`run_sft.py`: a causal language model that is tuned to answer with labels."""

    kind: Literal["sft"] = KIND
    model: Section
    prompt: PromptSection = Field(default_factory=lambda: PromptSection())
    quantization: QuantizationSection | None = Field(
        None, description="Quantized base weights, by bitsandbytes (QLoRA)."
    )
    adapter: AdapterSection | None = Field(None, description="Parameter-efficient training, by peft.")
    training: SftTrainingSection = Field(default_factory=lambda: SftTrainingSection())
    prediction: CausalPredictionSection = Field(default_factory=lambda: CausalPredictionSection())
    decision: DecisionSection = Field(default_factory=lambda: DecisionSection())
    seeds: Annotated[list[Seed], Field(min_length=2)] | None = Field(
        None, description="Train once with each of these seeds, instead of `seed`, and show the mean and the spread."
    )
    search: SearchSection | None = Field(None, description="Find some of the values above by trials, before the run.")
    hub: HubSection | None = Field(None, description="Push the finished run to the Hub.")


class EvalRecipe(RecipeBase):
    """`run_eval.py`: compare runs on one split."""

    kind: Literal["eval"] = KIND
    prompt: PromptSection = Field(
        default_factory=lambda: PromptSection(), description="Prompt of causal base models; a run has its own."
    )
    prediction: CausalPredictionSection = Field(default_factory=lambda: CausalPredictionSection())
    evaluation: EvaluationSection


class LabelRecipe(RecipeBase):
    """`run_label.py`: a teacher labels rows, or a trained student does."""

    kind: Literal["label"]
    label_sets: dict[str, LabelsSection] | None = Field(
        None, description="Several label sets, asked for in one request, by name; instead of labels."
    )
    prompt: PromptSection = Field(default_factory=lambda: PromptSection())
    prediction: CausalPredictionSection = Field(default_factory=lambda: CausalPredictionSection())
    labeling: LabelingSection
    hub: DatasetHubSection | None = Field(None, description="Push the table of labels to the Hub, as a dataset.")


Recipe = SeqclsRecipe | SftRecipe | EvalRecipe | LabelRecipe
TrainedRecipe = SeqclsRecipe | SftRecipe

SCRIPT_OF_KIND: dict[str, str] = {
    "seqcls": "run_seqcls.py",
    "eval": "run_eval.py",
    "sft": "run_sft.py",
    "label": "run_label.py",
}
RECIPE_OF_KIND: dict[str, type[RecipeBase]] = {
    "seqcls": SeqclsRecipe,
    "sft": SftRecipe,
    "eval": EvalRecipe,
    "label": LabelRecipe,
}


# ---------------------------------------------------------------- what recipes are checked with
def recipe_classes(methods: Methods) -> dict[str, type[RecipeBase]]:
    """The class of each kind's recipes, with the `model` sections of the methods of that kind, and with the keys of
    other libraries' classes as fields."""
    return {
        kind: _completed(cls, tuple(one.section for one in working(methods) if one.kind == kind))
        for kind, cls in RECIPE_OF_KIND.items()
    }


def implied_method(methods: Methods) -> str | None:
    """The method of a `model` section without `method`: the one whose section has a default there."""
    return _implied(one.section for one in working(methods))


def _implied(sections: Iterable[type[Section]]) -> str | None:
    keys = [one.model_fields["method"] for one in sections if "method" in one.model_fields]
    return next((key.default for key in keys if not key.is_required()), None)


@cache
def _completed(cls: type[RecipeBase], sections: tuple[type[Section], ...]) -> type[RecipeBase]:
    whole: dict[str, Any] = {}
    if len(sections) > 1:
        named = {name: one for one in sections for name in get_args(one.model_fields["method"].annotation)}
        whole["model"] = Annotated[Section, Variants("method", named, _implied(sections))]
    elif sections:
        whole["model"] = sections[0]
    if "adapter" in cls.model_fields:
        whole["quantization"] = filled(QuantizationSection, QuantizationSection.upstream_class) | None
        whole["adapter"] = adapters() | None
        training: Any = cls.model_fields["training"].annotation
        whole["training"] = filled(training, training.upstream_class)
    fields: dict[str, Any] = {name: (annotation, cls.model_fields[name]) for name, annotation in whole.items()}
    return create_model(cls.__name__, __base__=cls, __doc__=cls.__doc__, **fields)
