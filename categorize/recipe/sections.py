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
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import AfterValidator, ConfigDict, Field, create_model, model_validator

from categorize.recipe.adapter_sections import AdapterSection, QuantizationSection, adapters
from categorize.recipe.data_sections import DataSection
from categorize.recipe.feature_sections import FeatureSection, TfidfFeatures
from categorize.recipe.labeling_sections import LabelingSection
from categorize.recipe.loss_sections import BalanceChoice, LossChoice, WeightsChoice
from categorize.recipe.section import (
    DType,
    Inside,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Section,
    Seed,
    UpstreamSection,
    Variants,
)
from categorize.recipe.upstream import filled
from categorize.recipe.wording import quote
from categorize.recipe.written import Methods, working

Task = Literal["single_label", "multi_label", "ordinal", "regression"]
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


def _repository(text: str) -> str:
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", text):
        raise ValueError(f"{quote(text)} is not the name of a repository; write owner/name")
    return text


# ---------------------------------------------------------------- labels
class LabelDefinition(Section):
    """One label, or one group of labels when it has `labels` of its own."""

    name: str = Field(min_length=1, description="Name of the label, as it is predicted.")
    description: str = Field("", description="What the label means; read by teachers and shown in reports.")
    aliases: list[str] = Field(default_factory=list, description="Other spellings that count as this label.")
    labels: list[LabelDefinition | str] | None = Field(None, description="Labels of this group (two levels).")


class RulesSection(Section):
    """What may stand together in a row, and which groups are labels too."""

    brings_parent: bool | list[str] | None = Field(
        None,
        description="Groups whose labels bring the group as a label: [emotions, joy] for joy; in the others it is "
        "left out beside them. true: all groups.",
    )
    parent_alone: bool | list[str] | None = Field(
        None, description="Groups that are a label of their own where none of their labels fits. true: all groups."
    )
    stands_alone: list[str] = Field(
        default_factory=list, description="Labels beside which no other may stand, such as other."
    )

    def allowed(self, task: Task) -> bool:
        """Whether a label set of a task can have such rules: a single label has nothing beside it."""
        several = self.brings_parent is not None or bool(self.stands_alone)
        return task == "multi_label" or (task == "single_label" and not several)


class LabelsSection(Section):
    """The label set: what may be predicted and how the data spells it."""

    task: Task = Field(
        "single_label", description="single_label, multi_label, ordinal (names in rising order) or regression."
    )
    names: list[LabelDefinition | str] | None = Field(
        None,
        description="Labels in order, as names or definitions; without it, those that the training rows hold, sorted.",
    )
    codes: dict[str, str] = Field(
        default_factory=dict, description="What the data holds -> label name, such as 0: Positive."
    )
    missing: list[str] = Field(default_factory=lambda: ["", "-1"], description="Cell values that mean: not labelled.")
    unknown: Literal["error", "drop", "other"] = Field(
        "error", description="A label outside the set: stop; treat the row as unlabelled; or use the label `other`."
    )
    other: str = Field("other", description="The label that takes unknown ones under `unknown: other`.")
    rules: RulesSection | None = Field(None, description="What may stand together in a row.")
    held_out: list[str] = Field(
        default_factory=list,
        description="Labels that a training does not know: their rows leave train and validation, and stay in test; "
        "see evaluation.unseen_labels.",
    )
    minimum: float | None = Field(None, description="Lowest score of a regression; gold scores below it are refused.")
    maximum: float | None = Field(None, description="Highest score of a regression; gold scores above it are refused.")


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
        None, description="Worked examples chosen from the training rows by similarity, instead of shots."
    )


# ---------------------------------------------------------------- training
class EarlyStopping(Section):
    """Stop when the validation measure has not improved for a while."""

    patience: PositiveInt = Field(3, description="Evaluations without improvement before training stops.")
    threshold: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Smallest change that counts as improvement.")


class StepsSection(UpstreamSection):
    """What every trainer of ours adds to the upstream arguments."""

    recipe_key: ClassVar[str] = "training"

    balance: BalanceChoice | None = Field(
        None,
        description="Balance the labels of each training epoch: repeat rows up to the most frequent label, draw as "
        "many as the rarest has, draw rows with a chance that evens the labels out, or repeat rows of rare labels.",
    )
    length_grouping: bool = Field(True, description="Batches of rows of like length; less padding, same rows an epoch.")
    resume: Literal["auto", "never"] = Field("never", description="auto: continue an interrupted run without --resume.")
    keep_checkpoints: bool = Field(
        False, description="Keep the checkpoints in the finished run; each can be evaluated as the run at that step."
    )


class TrainingSection(StepsSection):
    """`transformers.TrainingArguments`, by its own keys, and these of our own."""

    upstream_class: ClassVar[str] = "TrainingArguments"

    early_stopping: EarlyStopping | None = Field(None, description="Early stopping on training.metric_for_best_model.")
    class_weights: WeightsChoice | None = Field(
        None,
        description="Weight of each label in the loss; balanced: n / (labels * count), or negatives / positives "
        "of each label for multi-label; effective_number: the same of counts that saturate.",
    )
    loss: LossChoice | None = Field(
        None,
        description="Loss of the head, by name or as a mapping with `type`; by default cross_entropy, mse for a "
        "regression.",
    )
    auxiliary: dict[str, PositiveFloat] | None = Field(
        None,
        description="Columns of further scores that a regression learns beside its own, each with its weight in the "
        "loss: {arousal: 0.5}.",
    )
    r_drop: PositiveFloat | None = Field(
        None,
        description="R-Drop: every batch is read twice, and the divergence of both readings, which dropout alone tells "
        "apart, joins the loss with this weight, such as 1; needs dropout, and twice the time.",
    )


class SftTrainingSection(StepsSection):
    """`trl.SFTConfig`, by its own keys, and these of our own."""

    upstream_class: ClassVar[str] = "SFTConfig"

    early_stopping: EarlyStopping | None = Field(
        None, description="Early stopping on training.metric_for_best_model, measured by scoring the labels."
    )
    class_weights: WeightsChoice | None = Field(
        None,
        description="Weight of each label's rows in the loss; balanced: n / (labels * count); effective_number: the "
        "same of counts that saturate. For multi-label with prompt.completion: yes_no, of a label's yes.",
    )
    loss: Literal["tokens", "label_set"] | None = Field(
        None,
        description="tokens: cross-entropy of the answer's tokens over the vocabulary; label_set: that of the label "
        "among the labels, as predicting by scoring reads it. By default tokens, and label_set with yes_no.",
    )


# ---------------------------------------------------------------- prediction, decision, evaluation
class PredictionSection(Section):
    """How predictions are computed; changes speed, not results."""

    batch_size: PositiveInt = Field(64, description="Most rows in a batch.")
    batch_tokens: PositiveInt = Field(8192, description="Most tokens in a batch, padding counted.")
    dtype: DType = Field(
        "auto", description="Type of the computation; auto: bfloat16 on a GPU that has it, else the weights' own."
    )


class CandidatesSection(Section):
    """Which labels a causal model is asked about, chosen for each row by something cheaper."""

    by: str = Field(
        "similarity",
        description="similarity of n-grams to the labels' own texts; lexical: names and aliases in the text; or the "
        "folder of a run that gives probabilities.",
    )
    top: Annotated[int, Field(ge=2)] = Field(20, description="Candidates of a row; the other labels are not scored.")


class CausalPredictionSection(PredictionSection):
    """How a causal model predicts."""

    mode: Literal["scoring", "generation"] | None = Field(
        None,
        description="scoring: probabilities of the labels, always valid, for single labels; generation: read what the "
        "model writes. By default scoring where it can.",
    )
    parsing: Literal["strict", "tolerant"] = Field(
        "tolerant", description="strict: the answer is a label to the letter; tolerant: it names one label somewhere."
    )
    candidates: CandidatesSection | None = Field(
        None, description="Narrow the labels to some candidates for each row; by default all are scored."
    )
    max_new_tokens: PositiveInt | None = Field(
        None, description="Longest generated answer; by default the longest label and 8 tokens more."
    )


class RejectSection(Section):
    """Rows that are too little like the training rows."""

    by: Literal["softmax", "similarity", "mahalanobis"] = Field(
        "softmax",
        description="Confidence of a row: its highest probability; or by embeddings of its text: cosine to the nearest "
        "label's mean, or minus the Mahalanobis distance to it.",
    )
    threshold: Literal["fitted"] | float = Field(
        "fitted",
        description="Confidence under which a row is rejected; fitted on validation: to the best F1 of rows of "
        "`label`, or by `keep` where there are none.",
    )
    keep: Inside = Field(0.95, description="Share of the validation rows that is kept, where none is out of scope.")
    label: str | None = Field(
        None, description="Label of rejected rows, one of labels.names; without it they count as not valid."
    )
    encoder: str | None = Field(
        None, description="Hub id or folder of the encoder whose mean-pooled vectors similarity and mahalanobis read."
    )


class DecisionSection(Section):
    """How probabilities become labels; fitted on validation, saved with the run."""

    calibration: Literal["none", "temperature", "isotonic", "platt"] | None = Field(
        None,
        description="Fitted on validation. temperature: scale logits; isotonic, platt: a curve for each label; by "
        "default temperature for TF-IDF's margins, else none.",
    )
    thresholds: Literal["global", "per_label"] | Inside = Field(
        0.5,
        description="Multi-label: between 0 and 1, or tuned on validation for best F1, one for all or one a label.",
    )
    fallback: Literal["none", "top"] = Field(
        "none", description="Multi-label with nothing over its threshold: none, or the top label."
    )
    hierarchy: Literal["parents", "capped", "exact"] | None = Field(
        None,
        description="Multi-label with groups that are labels too. parents: a label brings its group; capped: it holds "
        "only beside its group, and is at most as probable; exact: the most probable labels that keep to groups and "
        "rules. By default parents where the validation rows have them.",
    )
    reject: RejectSection | None = Field(None, description="Single label: reject rows that are out of scope.")


class RunReference(Section):
    """One line of a comparison."""

    run: str = Field(description="Run folder, Hub id, or base model.")
    name: str | None = Field(None, description="How the comparison names it.")
    base: str | None = Field(None, description="Base model of an adapter trained elsewhere.")
    mode: Literal["scoring", "generation"] | None = Field(
        None, description="How a causal model predicts; prediction.mode by default."
    )


class EvaluationSection(Section):
    """What to compare, and on which split."""

    runs: list[RunReference | str] = Field(min_length=1, description="Runs to compare, in the order of the table.")
    split: Literal["test", "validation", "train"] = Field("test", description="Split that every run predicts.")
    bootstrap: NonNegativeInt = Field(1000, description="Resamples for 95% intervals; 0 for none.")
    unseen_labels: Literal["refuse", "measure"] = Field(
        "refuse",
        description="Runs that were not trained on all of the labels: refuse; or measure: those that read labels score "
        "them, others never predict them, and seen and unseen labels are measured apart.",
    )
    majority: bool = Field(True, description="Show the majority baseline (the mean, for regression).")


class Range(Section):
    """Numbers between two ends, both of which may be tried."""

    low: int | float = Field(description="Lowest value; whole numbers are tried where both ends are whole.")
    high: int | float = Field(description="Highest value.")
    log: bool = Field(False, description="Even steps of the logarithm, as for learning rates.")

    @model_validator(mode="after")
    def _rising(self) -> Range:
        if self.low >= self.high or (self.log and self.low <= 0):
            above = " above 0" if self.log else ""
            raise ValueError(f"low {self.low:g} and high {self.high:g} are not two rising numbers{above}")
        return self


class SearchSection(Section):
    """A search for hyperparameters by Optuna: trials see training and validation rows alone."""

    space: dict[str, Range | Annotated[list[Any], Field(min_length=1)]] = Field(
        min_length=1,
        description="Keys of this recipe, dotted, with the values that may be tried: a list, or {low: ..., high: ...}.",
    )
    trials: PositiveInt = Field(20, description="Trials in all, those of earlier starts counted.")
    minutes: PositiveFloat | None = Field(None, description="Begin no further trial after this time.")
    measure: str | None = Field(
        None, description="What is to be best on validation; macro_f1 by default, pearson for a regression."
    )
    sampler: Literal["tpe", "random"] = Field("tpe", description="tpe learns from earlier trials.")
    launcher: str = Field("", description="What starts a trial, such as python -m categorize.launch --num_processes 2.")


class HubSection(Section):
    """What is pushed to the Hugging Face Hub when training is done."""

    repo_id: Annotated[str, AfterValidator(_repository)] = Field(description="Where to push: owner/name.")
    private: bool = Field(True, description="Make a new repository private; an existing public one is refused.")
    predictions: bool = Field(False, description="Push the predictions too; they hold the texts of the held-out rows.")


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
