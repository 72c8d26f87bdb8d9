"""The typed sections of a recipe: what a YAML file may say, with types, defaults and one line of help for every key.

Each section maps onto the class that it fills. Sections that fill a class of another library (`training`, `adapter`,
`quantization`) declare only our own keys here; that class's keys are allowed as extras and checked by the loader
against the generated table `upstream_fields.json`, so that upstream documentation applies and nothing heavy is
imported.
"""

from __future__ import annotations

import codecs
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Task = Literal["single_label", "multi_label", "ordinal", "regression"]
CleaningStep = Literal[
    "nfkc",
    "control_characters",
    "whitespace",
    "html_entities",
    "repeated_punctuation",
    "laughter",
    "urls",
    "mentions",
    "timestamps",
    "annotation_tags",
    "fillers",
    "speakers",
]
DType = Literal["auto", "float32", "bfloat16", "float16"]
AdapterType = Literal["lora", "dora", "rslora", "ia3", "prefix", "prompt", "p_tuning"]

FillerLanguage = Literal["en", "zh"]

SplitName = Literal["train", "validation", "test", "unlabeled"]

SAMPLED_SPLITS: tuple[SplitName, ...] = ("train", "unlabeled")
DEFAULT_CLEANING: tuple[CleaningStep, ...] = ("nfkc", "control_characters", "whitespace")
FILLER_LANGUAGES: tuple[FillerLanguage, ...] = ("en", "zh")

Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
PositiveInt = Annotated[int, Field(gt=0)]
NonNegativeInt = Annotated[int, Field(ge=0)]
PositiveFloat = Annotated[float, Field(gt=0.0)]


def _rising(values: list[int]) -> list[int]:
    if values[0] > values[1]:
        raise ValueError(f"the shortest comes first: [{values[1]}, {values[0]}]")
    return values


def _text_encoding(value: str) -> str:
    try:
        known = codecs.lookup(value)._is_text_encoding
    except LookupError:
        known = False
    if not known:
        raise ValueError(f"{value!r} is no encoding of text; such as utf-8, gb18030, big5, shift_jis, utf-16")
    return value


Encoding = Annotated[str, AfterValidator(_text_encoding)]
NgramRange = Annotated[list[PositiveInt], Field(min_length=2, max_length=2), AfterValidator(_rising)]


class Section(BaseModel):
    """A strict mapping: unknown keys and wrong types are errors, nothing is coerced."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class UpstreamSection(BaseModel):
    """A strict mapping whose extra keys are those of another library's class, checked against the generated table."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)

    def upstream(self) -> dict[str, Any]:
        """The keys that go to the other library's class, as written in the recipe."""
        return dict(self.model_extra or {})


# ---------------------------------------------------------------- data
class SourceFiles(Section):
    """Official split files, kept as published."""

    train: str = Field(description="File with the training rows.")
    validation: str | None = Field(
        None, description="File with the validation rows; without it a share of train is taken."
    )
    test: str | None = Field(None, description="File with the test rows; without it a share of train is taken.")
    unlabeled: str | None = Field(None, description="File with rows that have no label.")


class Columns(Section):
    """Which columns of the source hold what."""

    text: str | list[str] = Field(
        "text", description="Text column, or several, joined by data.template or by newlines."
    )
    label: str | None = Field(
        "label", description="Column with the label, the labels or the score; null where there is none."
    )
    id: str | None = Field(None, description="Column with unique row ids; without it ids are made from file order.")
    document: str | None = Field(None, description="Column with the id of the document that a row is a part of.")
    group: str | None = Field(
        None, description="Column (speaker, video, meeting) whose rows never straddle two splits."
    )
    weight: str | None = Field(None, description="Column with the weight of a row in training; 1 where empty.")
    keep: list[str] = Field(default_factory=list, description="Metadata columns to carry into predictions.")


Word = Annotated[str, Field(min_length=1)]


class ReplaceOptions(Section):
    """Options of a cleaning step that takes something out."""

    replace: str = Field("", description='What is put in its place, such as "<url>"; nothing by default.')


class AnnotationTagOptions(ReplaceOptions):
    """Options of annotation_tags."""

    add: list[Word] = Field(
        default_factory=list, description="More words that are annotations when they stand in brackets."
    )


class RepeatedPunctuationOptions(Section):
    """Options of repeated_punctuation."""

    keep: PositiveInt = Field(3, description="Repetitions that stay.")


class LaughterOptions(Section):
    """Options of laughter."""

    replace: str | None = Field(None, description="What stands for all laughter; by default each kind's short form.")


class FillerOptions(Section):
    """Options of fillers."""

    languages: list[FillerLanguage] = Field(
        default_factory=lambda: list(FILLER_LANGUAGES), description="Languages whose filler words are taken out."
    )
    add: list[Word] = Field(default_factory=list, description="More words to take out wherever they stand.")


class SpeakerOptions(Section):
    """Options of speakers."""

    style: Literal["prefix", "numbered", "drop", "field"] = Field(
        "prefix",
        description="prefix: Name: text; numbered: Speaker 1: text, by order of appearance; drop: no label; field: as "
        "prefix, and segments that are turns carry the name in the field speaker instead.",
    )
    names: list[Word] = Field(
        default_factory=list, description="The labels that there are; by default told from their form."
    )


class CleaningOptions(Section):
    """A cleaning step with options: one key, the step's name."""

    repeated_punctuation: RepeatedPunctuationOptions | None = None
    laughter: LaughterOptions | None = None
    urls: ReplaceOptions | None = None
    mentions: ReplaceOptions | None = None
    timestamps: ReplaceOptions | None = None
    annotation_tags: AnnotationTagOptions | None = None
    fillers: FillerOptions | None = None
    speakers: SpeakerOptions | None = None

    @model_validator(mode="after")
    def _one_step(self) -> CleaningOptions:
        named = sorted(self.model_fields_set)
        if len(named) != 1:
            raise ValueError(f"one step an item of the list, found {len(named)}: {', '.join(named) or 'none'}")
        if getattr(self, named[0]) is None:
            raise ValueError(f"{named[0]} has no options here; write - {named[0]}, or give it some")
        return self

    @property
    def step(self) -> str:
        """Name of the step."""
        return next(iter(self.model_fields_set))

    @property
    def options(self) -> Section:
        """Its options."""
        options: Section = getattr(self, self.step)
        return options

    def to_dict(self) -> dict[str, Any]:
        """As a recipe writes it, with every option."""
        return {self.step: self.options.model_dump()}


class Segments(Section):
    """How a document is cut into what the model reads, and how the predictions of its parts become one."""

    by: Literal[
        "document",
        "tokens",
        "turns",
        "question_answer",
        "minutes",
        "packed",
        "head",
        "tail",
        "head_tail",
        "random_sentences",
    ] = Field(
        "document",
        description="document: the whole text; tokens: windows; turns, question_answer, minutes: parts of a transcript;"
        " packed: turns up to max_tokens; head, tail, head_tail, random_sentences: one part, the rest is left out.",
    )
    max_tokens: PositiveInt | None = Field(
        None, description="Most tokens of a segment; longer parts are cut. By default what the model has room for."
    )
    stride: NonNegativeInt = Field(
        0, description="by: tokens: tokens that a segment shares with the one before it, as in tokenizers."
    )
    minutes: PositiveFloat | None = Field(None, description="by: minutes: length of a segment.")
    seed: NonNegativeInt = Field(42, description="by: random_sentences: with the document's id, what is drawn.")
    weighting: Literal["document", "segment"] = Field(
        "document",
        description="In training, document: its segments share its weight; segment: each has all of it, so that long "
        "documents count more.",
    )
    aggregation: Literal["mean", "max", "vote", "confidence_weighted", "length_weighted", "median"] = Field(
        "mean",
        description="How predictions of segments become the document's: mean or max of the probabilities, a majority "
        "vote of labels, a mean weighted by confidence or by length; for a score mean, median or length_weighted.",
    )


class SplitSettings(Section):
    """Shares of the splits; see docs/data.md for the algorithm."""

    test: Fraction = Field(0.2, description="Share of the labelled rows held out for the test split.")
    validation: Fraction = Field(0.1, description="Share of the labelled rows held out for validation.")
    seed: NonNegativeInt = Field(
        42, description="Seed of the split alone, so that another training seed keeps the split."
    )
    file: str | None = Field(
        None, description="Where the assignment is stored; by default beside the outputs, by data."
    )
    by_time: str | None = Field(
        None,
        description="Column with a date or a number: train is the earliest, then validation, then test. "
        "By default rows are shared out by label.",
    )
    folds: Annotated[int, Field(ge=2)] | None = Field(
        None, description="Cross-validation: that many test splits, each unit in one of them; `test` is then not used."
    )
    fold: NonNegativeInt = Field(0, description="Which fold is the test split, from 0.")
    near_duplicates: Literal["warn", "group", "off"] = Field(
        "warn",
        description="Texts that are nearly the same: warn: count and flag those that stand in train too; group: never "
        "let them straddle two splits; off: do not look.",
    )


class Sample(Section):
    """A part of the rows, for a quick run or a dear model."""

    rows: PositiveInt = Field(description="Rows that stay in each of `splits`; a larger number keeps them.")
    stratified: bool = Field(True, description="Keep the shares of the labels.")
    seed: NonNegativeInt = Field(42, description="Seed of the sample alone.")
    splits: list[SplitName] = Field(
        default_factory=lambda: list(SAMPLED_SPLITS), min_length=1, description="Splits that are sampled."
    )


def _default_cleaning() -> list[CleaningStep | CleaningOptions]:
    return [*DEFAULT_CLEANING]


class Danmu(Section):
    """How raw danmu (collections, XML, tables of comments) become rows; with `format: danmu` alone."""

    joint: str | None = Field(
        None, description="What stands between two tuples of a danmu_list, brackets included; by default it is learned."
    )
    scripted: Literal["apart", "keep"] = Field(
        "apart", description="Positioned and scripted comments (modes 7 to 9): set apart and counted, or rows too."
    )
    utc_offset: Annotated[float, Field(ge=-12.0, le=14.0)] = Field(
        8.0, description="Hours that the zone of collect_YMDH is ahead of UTC."
    )
    labels: str | None = Field(
        None, description="Table (csv, xlsx, ...) with row_id and the labels of some comments; its columns are joined."
    )
    folder: str | None = Field(
        None, description="Folder of the Parquet files that are read; by default beside the outputs, by data."
    )


class DataSection(Section):
    """Where the rows come from and how they become text."""

    source: str | SourceFiles = Field(
        description="Path of a file, a saved dataset folder, a Hub dataset id, or files by split."
    )
    format: Literal["csv", "tsv", "json", "jsonl", "parquet", "xlsx", "dataset", "hub", "danmu"] | None = Field(
        None,
        description="Format of the source; by default told from the name. danmu: raw comments, a file, folder or "
        "pattern; see data.danmu.",
    )
    danmu: Danmu = Field(default_factory=lambda: Danmu())
    encoding: Encoding | None = Field(
        None, description="Encoding of csv, tsv, json and jsonl files, such as gb18030; UTF-8 by default."
    )
    sheet: str | int | None = Field(
        None, description="Sheet of a spreadsheet, by name or by number from 0; the first by default."
    )
    subset: str | None = Field(None, description="Configuration name of a Hub dataset.")
    revision: str | None = Field(None, description="Revision of a Hub dataset.")
    columns: Columns = Field(default_factory=Columns)
    template: str | None = Field(None, description='Joins several text columns: "{title}\\n{body}".')
    label_separator: str = Field(";", description="Separates several labels in one cell of a multi-label source.")
    cleaning: list[CleaningStep | CleaningOptions] = Field(
        default_factory=_default_cleaning,
        description="Cleaning steps, in this order, as names or as name: {options}; saved with the run.",
    )
    segments: Segments = Field(default_factory=Segments)
    splits: SplitSettings = Field(default_factory=SplitSettings)
    dedupe: Literal["none", "exact", "near"] = Field(
        "none",
        description="Leave out training rows whose text (exact: the same; near: nearly) and gold an earlier one has.",
    )
    sample: Sample | None = Field(None, description="Keep a part of the rows.")

    @model_validator(mode="after")
    def _columns_of_danmu(self) -> DataSection:
        """Raw danmu have these columns, whatever the files call them; labels come from a table of their own."""
        if self.format == "danmu":
            usual: dict[str, str | None] = {"id": "row_id", "group": "video_id"}
            if self.danmu.labels is None:
                usual["label"] = None
            left_out = {name: value for name, value in usual.items() if name not in self.columns.model_fields_set}
            self.__dict__["columns"] = self.columns.model_copy(update=left_out)  # the section is frozen
        return self


# ---------------------------------------------------------------- labels
class LabelDefinition(Section):
    """One label, or one group of labels when it has `labels` of its own."""

    name: str = Field(min_length=1, description="Name of the label, as it is predicted.")
    description: str = Field("", description="What the label means; read by teachers and shown in reports.")
    aliases: list[str] = Field(default_factory=list, description="Other spellings that count as this label.")
    labels: list[LabelDefinition | str] | None = Field(None, description="Labels of this group (two levels).")


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
    minimum: float | None = Field(None, description="Lowest score of a regression; gold scores below it are refused.")
    maximum: float | None = Field(None, description="Highest score of a regression; gold scores above it are refused.")


# ---------------------------------------------------------------- prompt
class PromptSection(Section):
    """How rows and labels become a prompt for a decoder."""

    system: str | None = Field(None, description="Instruction before every row; {labels} lists the labels, one a line.")
    template: str = Field("{text}", description="The row's part of the prompt: {text} or columns of the data.")
    completion: Literal["names", "codes"] = Field(
        "names", description="Answer with label names or with single-token codes."
    )
    shots: list[dict[str, str]] = Field(default_factory=list, description="Worked examples: {text: ..., label: ...}.")


# ---------------------------------------------------------------- model
class HeadModel(Section):
    """A classification or regression head on an encoder or a decoder."""

    method: Literal["head"] = "head"
    name_or_path: str = Field(description="Hub id or folder of the model.")
    revision: str | None = Field(None, description="Revision of a Hub model.")
    dtype: DType = Field("auto", description="Weights' type; auto: float32 where they are trained, else the saved one.")
    attn_implementation: str | None = Field(
        None, description="eager, sdpa, flash_attention_2, ...; the model's own by default."
    )
    max_length: PositiveInt = Field(
        128, description="Longest input in tokens, special tokens included; longer ones are cut and counted."
    )
    freeze: bool = Field(False, description="Train the head alone: a linear probe.")
    pooling: Literal["default", "mean"] = Field(
        "default",
        description="What the head reads. default: the token that the architecture reads; mean: the mean over all "
        "tokens, better for models trained as sentence encoders.",
    )


class TfidfModel(Section):
    """TF-IDF features and a linear model."""

    method: Literal["tfidf"]
    char_ngrams: NgramRange | None = Field(
        default_factory=lambda: [1, 3], description="Lengths of character n-grams; null for none."
    )
    word_ngrams: NgramRange | None = Field(None, description="Lengths of word n-grams; null for none.")
    min_df: PositiveInt = Field(1, description="Leave out n-grams that fewer rows hold.")
    max_features: PositiveInt | None = Field(None, description="Keep the most frequent n-grams only.")
    estimator: Literal["linear_svc", "logistic_regression"] | None = Field(
        None, description="By default linear_svc, logistic_regression for multi-label; a regression uses ridge."
    )
    C: PositiveFloat | None = Field(
        None, description="Inverse strength of regularisation; by default 0.5 for linear_svc, 5 else."
    )
    alpha: list[PositiveFloat] = Field(
        default_factory=lambda: [0.1, 0.3, 1.0, 3.0, 10.0],
        min_length=1,
        description="Strengths of ridge tried on validation.",
    )


def _default_method(value: Any) -> Any:
    """A model section without `method` is a head."""
    return {"method": "head", **value} if isinstance(value, dict) and "method" not in value else value


class CausalModel(Section):
    """A causal language model that answers with a label."""

    name_or_path: str = Field(description="Hub id or folder of the model.")
    revision: str | None = Field(None, description="Revision of a Hub model.")
    dtype: DType = Field(
        "auto",
        description="Weights' type; auto: float32 where they are trained, else the saved one (float32 on a CPU).",
    )
    attn_implementation: str | None = Field(
        None, description="eager, sdpa, flash_attention_2, ...; the model's own by default."
    )
    max_length: PositiveInt = Field(
        1024,
        description="Longest prompt and answer in tokens; a row's text is shortened and counted, never its answer.",
    )


Model = Annotated[Annotated[HeadModel | TfidfModel, Field(discriminator="method")], BeforeValidator(_default_method)]


class QuantizationSection(UpstreamSection):
    """`transformers.BitsAndBytesConfig`, by its own keys."""

    upstream_class: ClassVar[str] = "BitsAndBytesConfig"


class AdapterSection(UpstreamSection):
    """A `peft` config, by that class's own keys."""

    type: AdapterType = Field(description="Kind of adapter; the other keys are those of its peft class.")

    @property
    def upstream_class(self) -> str:
        """Name of the peft class that this section fills."""
        return ADAPTER_CLASSES[self.type]


ADAPTER_CLASSES: dict[str, str] = {
    "lora": "LoraConfig",
    "dora": "LoraConfig",
    "rslora": "LoraConfig",
    "ia3": "IA3Config",
    "prefix": "PrefixTuningConfig",
    "prompt": "PromptTuningConfig",
    "p_tuning": "PromptEncoderConfig",
}


# ---------------------------------------------------------------- training
class EarlyStopping(Section):
    """Stop when the validation measure has not improved for a while."""

    patience: PositiveInt = Field(3, description="Evaluations without improvement before training stops.")
    threshold: Annotated[float, Field(ge=0.0)] = Field(0.0, description="Smallest change that counts as improvement.")


class TrainingSection(UpstreamSection):
    """`transformers.TrainingArguments`, by its own keys, and these of our own."""

    upstream_class: ClassVar[str] = "TrainingArguments"

    early_stopping: EarlyStopping | None = Field(None, description="Early stopping on training.metric_for_best_model.")
    class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None = Field(
        None,
        description="Weight of each label in the loss; balanced: n / (labels * count), or negatives / positives "
        "of each label for multi-label.",
    )
    balance: Literal["upsample", "downsample", "weighted"] | None = Field(
        None,
        description="Balance the labels of each training epoch: repeat rows up to the most frequent label, draw as "
        "many as the rarest has, or draw rows with a chance that evens the labels out.",
    )
    length_grouping: bool = Field(True, description="Batches of rows of like length; less padding, same rows an epoch.")
    resume: Literal["auto", "never"] = Field("never", description="auto: continue an interrupted run without --resume.")


class SftTrainingSection(UpstreamSection):
    """`trl.SFTConfig`, by its own keys, and these of our own."""

    upstream_class: ClassVar[str] = "SFTConfig"

    early_stopping: EarlyStopping | None = Field(
        None, description="Early stopping on training.metric_for_best_model, measured by scoring the labels."
    )
    class_weights: Literal["balanced"] | dict[str, PositiveFloat] | None = Field(
        None, description="Weight of each label's rows in the loss; balanced: n / (labels * count). Single labels only."
    )
    balance: Literal["upsample", "downsample", "weighted"] | None = Field(
        None,
        description="Balance the labels of each training epoch: repeat rows up to the most frequent label, draw as "
        "many as the rarest has, or draw rows with a chance that evens the labels out.",
    )
    length_grouping: bool = Field(True, description="Batches of rows of like length; less padding, same rows an epoch.")
    resume: Literal["auto", "never"] = Field("never", description="auto: continue an interrupted run without --resume.")


# ---------------------------------------------------------------- prediction, decision, evaluation
class PredictionSection(Section):
    """How predictions are computed; changes speed, not results."""

    batch_size: PositiveInt = Field(64, description="Most rows in a batch.")
    batch_tokens: PositiveInt = Field(8192, description="Most tokens in a batch, padding counted.")
    dtype: DType = Field(
        "auto", description="Type of the computation; auto: bfloat16 on a GPU that has it, else the weights' own."
    )


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
    max_new_tokens: PositiveInt | None = Field(
        None, description="Longest generated answer; by default the longest label and 8 tokens more."
    )


class DecisionSection(Section):
    """How probabilities become labels; fitted on validation, saved with the run."""

    calibration: Literal["none", "temperature"] = Field(
        "none", description="temperature: scale logits, fitted on validation."
    )
    thresholds: Literal["global", "per_label"] | PositiveFloat = Field(
        0.5, description="Multi-label: a number, or tuned on validation for best F1, one for all or one a label."
    )
    fallback: Literal["none", "top"] = Field(
        "none", description="Multi-label with nothing over its threshold: none, or the top label."
    )


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
    majority: bool = Field(True, description="Show the majority baseline (the mean, for regression).")


class HubSection(Section):
    """What is pushed to the Hugging Face Hub when training is done."""

    repo_id: str = Field(pattern=r"^[\w.-]+/[\w.-]+$", description="Where to push: owner/name.")
    private: bool = Field(True, description="Make a new repository private; an existing public one is refused.")
    predictions: bool = Field(False, description="Push the predictions too; they hold the texts of the held-out rows.")


# ---------------------------------------------------------------- recipes
class RecipeBase(Section):
    """What every recipe has."""

    name: str = Field(min_length=1, description="Name of the run.")
    output_dir: str | None = Field(None, description="Where the run goes; outputs/<name> by default.")
    seed: NonNegativeInt = Field(42, description="Seed of initialisation, batches and dropout.")
    data: DataSection
    labels: LabelsSection = Field(default_factory=lambda: LabelsSection())
    prediction: PredictionSection = Field(default_factory=lambda: PredictionSection())

    @property
    def output_path(self) -> str:
        """Folder of the run, relative to the working directory."""
        return self.output_dir or f"outputs/{self.name}"


class SeqclsRecipe(RecipeBase):
    """`run_seqcls.py`: a head or a linear model."""

    kind: Literal["seqcls"]
    model: Model
    prompt: PromptSection | None = Field(
        None, description="Renders the rows for a decoder; without it the text itself is read."
    )
    quantization: QuantizationSection | None = Field(None, description="Quantized base weights, by bitsandbytes.")
    adapter: AdapterSection | None = Field(None, description="Parameter-efficient training, by peft.")
    training: TrainingSection = Field(default_factory=lambda: TrainingSection())
    decision: DecisionSection = Field(default_factory=DecisionSection)

    hub: HubSection | None = Field(None, description="Push the finished run to the Hub.")


class SftRecipe(RecipeBase):
    """`run_sft.py`: a causal language model that is tuned to answer with labels."""

    kind: Literal["sft"]
    model: CausalModel
    prompt: PromptSection = Field(default_factory=lambda: PromptSection())
    quantization: QuantizationSection | None = Field(
        None, description="Quantized base weights, by bitsandbytes (QLoRA)."
    )
    adapter: AdapterSection | None = Field(None, description="Parameter-efficient training, by peft.")
    training: SftTrainingSection = Field(default_factory=lambda: SftTrainingSection())
    prediction: CausalPredictionSection = Field(default_factory=lambda: CausalPredictionSection())
    decision: DecisionSection = Field(default_factory=lambda: DecisionSection())
    hub: HubSection | None = Field(None, description="Push the finished run to the Hub.")


class EvalRecipe(RecipeBase):
    """`run_eval.py`: compare runs on one split."""

    kind: Literal["eval"]
    prompt: PromptSection = Field(
        default_factory=lambda: PromptSection(), description="Prompt of causal base models; a run has its own."
    )
    prediction: CausalPredictionSection = Field(default_factory=lambda: CausalPredictionSection())
    evaluation: EvaluationSection


Recipe = SeqclsRecipe | SftRecipe | EvalRecipe
TrainedRecipe = SeqclsRecipe | SftRecipe

SCRIPT_OF_KIND: dict[str, str] = {
    "seqcls": "run_seqcls.py",
    "eval": "run_eval.py",
    "sft": "run_sft.py",
    "label": "run_label.py",
}
RECIPE_OF_KIND: dict[str, type[RecipeBase]] = {"seqcls": SeqclsRecipe, "sft": SftRecipe, "eval": EvalRecipe}
