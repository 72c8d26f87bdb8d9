"""The typed section `data`: where rows come from, and how they are cleaned, cut, split and sampled."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from categorize.recipe.section import Fraction, NonNegativeInt, PositiveFloat, PositiveInt, Section
from categorize.recipe.wording import join

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
FillerLanguage = Literal["en", "zh"]
SplitName = Literal["train", "validation", "test", "unlabeled"]

SAMPLED_SPLITS: tuple[SplitName, ...] = ("train", "unlabeled")
DEFAULT_CLEANING: tuple[CleaningStep, ...] = ("nfkc", "control_characters", "whitespace")
GOLD_SOURCES = ("gold", "reviewed")
FILLER_LANGUAGES: tuple[FillerLanguage, ...] = ("en", "zh")
FORMAT_OF_SUFFIX = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".xlsx": "xlsx",
    ".xlsm": "xlsx",
    ".vtt": "transcript",
    ".srt": "transcript",
    ".ass": "transcript",
    ".ssa": "transcript",
    ".xlsb": "xlsx",
    ".xls": "xlsx",
    ".ods": "xlsx",
    ".dta": "dta",
    ".sav": "sav",
    ".zsav": "sav",
}
# One document a file, so that a folder or a pattern of files is a source.
DOCUMENT_FORMATS = ("transcript",)


Format = Literal[
    "csv",
    "tsv",
    "json",
    "jsonl",
    "parquet",
    "xlsx",
    "fasttext",
    "text",
    "dta",
    "sav",
    "transcript",
    "dataset",
    "hub",
    "danmu",
]


def format_of_name(path: str | Path, known: Mapping[str, str] = FORMAT_OF_SUFFIX) -> str | None:
    """The format that a file's name tells, gzipped or not; None where it tells none of those that are known."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes if suffix.lower() != ".gz"]
    return known.get(suffixes[-1]) if suffixes else None


def is_of_documents(source: str | Path, form: str | None) -> bool:
    """Whether each file of a source is a document, as its format or its name tells."""
    return (form or format_of_name(source)) in DOCUMENT_FORMATS


def _text_encoding(value: str) -> str:
    try:
        known = codecs.lookup(value)._is_text_encoding
    except LookupError:
        known = False
    if not known:
        raise ValueError(f"{value!r} is not an encoding of text; such as utf-8, gb18030, big5, shift_jis, utf-16")
    return value


Encoding = Annotated[str, AfterValidator(_text_encoding)]


class SourceFiles(Section):
    """Official split files, kept as published."""

    train: str = Field(description="File with the training rows.")
    validation: str | None = Field(
        None, description="File with the validation rows; without it a share of train is taken."
    )
    test: str | None = Field(None, description="File with the test rows; without it a share of train is taken.")
    unlabeled: str | None = Field(None, description="File with rows that have no label.")


class LabelColumns(Section):
    """A column for each label, as one-hot tables and tables of scores have them."""

    columns: Annotated[list[str], Field(min_length=1)] | None = Field(None, description="The columns, one a label.")
    all_but: list[str] | None = Field(None, description="Instead of columns: all columns but these are labels.")
    threshold: float | None = Field(
        None,
        description="Cells are scores, and from this one on a row has the label; by default they are 0 or 1.",
    )

    @model_validator(mode="after")
    def _one_way(self) -> LabelColumns:
        if (self.columns is None) == (self.all_but is None):
            raise ValueError("takes one of columns and all_but")
        return self


LABELS = "(labels)"  # the column that a table of a column for each label gets


class Columns(Section):
    """Which columns of the source hold what; a.b.0.c is a place inside a column a, in JSON and Parquet."""

    text: str | Annotated[list[str], Field(min_length=1)] = Field(
        "text", description="Text column, or several, joined by data.template or by newlines."
    )
    label: str | Annotated[list[str], Field(min_length=1)] | LabelColumns | None = Field(
        "label",
        description="Column with the label, the labels or the score; a list: a column of 0 or 1 for each label, or "
        "{all_but: [columns]}; null where there is none.",
    )
    id: str | None = Field(None, description="Column with unique row ids; without it ids are made from file order.")
    document: str | None = Field(None, description="Column with the id of the document that a row is a part of.")
    group: str | None = Field(
        None, description="Column (speaker, video, meeting) whose rows never straddle two splits."
    )
    weight: str | None = Field(None, description="Column with the weight of a row in training; 1 where empty.")
    raters: list[str] = Field(
        default_factory=list,
        description="Columns of several human raters, one each: an evaluation shows how much a model agrees with them "
        "beside how much they agree with each other.",
    )
    keep: list[str] = Field(default_factory=list, description="Metadata columns to carry into predictions.")

    @property
    def label_column(self) -> str | None:
        """The column with the labels, which is made where each label has a column of its own."""
        return self.label if self.label is None or isinstance(self.label, str) else LABELS

    @property
    def label_columns(self) -> LabelColumns | None:
        """The columns of the labels, where each has one of its own."""
        label = LabelColumns(columns=self.label) if isinstance(self.label, list) else self.label
        return label if isinstance(label, LabelColumns) else None


class Range(Section):
    """Numbers between two bounds, both included."""

    min: float | None = Field(None, description="Lowest number.")
    max: float | None = Field(None, description="Highest number.")


Value = str | int | float | bool | None


Word = Annotated[str, Field(min_length=1)]


class Silver(Section):
    """Which rows have a label by a machine: they train, and are never held out."""

    column: str = Field(
        "source", description="Column that says whose label it is; a labelling run's table has this one."
    )
    gold: Annotated[list[Word], Field(min_length=1)] = Field(
        default_factory=lambda: list(GOLD_SOURCES),
        description="What stands there for labels by people; an empty cell does, too. All else is silver.",
    )


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
        named = [name for name, options in self if options is not None]
        if len(named) != 1:
            raise ValueError(f"one step with its options an item, found {join(named, 'and') or 'none'}")
        return self

    @property
    def step(self) -> str:
        """Name of the step."""
        return next(name for name, options in self if options is not None)

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
        "textrank",
    ] = Field(
        "document",
        description="document: the whole text; tokens: windows; turns, question_answer, minutes: parts of a transcript;"
        " packed: turns up to max_tokens; head, tail, head_tail, random_sentences, textrank (the sentences that share"
        " most words with others): one part, the rest is left out.",
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
    """A part of the rows, for a quick run or a costly model."""

    rows: PositiveInt | None = Field(
        None, description="Rows that stay in each of `splits`; a larger number keeps them."
    )
    per_label: PositiveInt | None = Field(
        None,
        description="Instead of rows: documents of each label that stay, of several labels counted for the rarest.",
    )
    stratified: bool = Field(True, description="Keep the shares of the labels.")
    seed: NonNegativeInt = Field(42, description="Seed of the sample alone.")
    splits: list[SplitName] = Field(
        default_factory=lambda: list(SAMPLED_SPLITS), min_length=1, description="Splits that are sampled."
    )

    @model_validator(mode="after")
    def _one_size(self) -> Sample:
        if (self.rows is None) == (self.per_label is None):
            raise ValueError("takes one of rows and per_label")
        if self.per_label is not None and not self.stratified:
            raise ValueError("per_label is stratified by itself; leave stratified out")
        return self


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
        description="Path of a file, a folder of Parquet parts or a saved dataset, a Hub dataset id, or files by split."
    )
    format: Format | None = Field(
        None,
        description="Format of the source; by default told from the name. xlsx: any spreadsheet. A file, folder or "
        "pattern is text: plain text, a document a file; transcript: speech in any of its forms, a document a file; "
        "danmu: raw comments, see data.danmu.",
    )
    danmu: Danmu = Field(default_factory=lambda: Danmu())
    encoding: Encoding | None = Field(
        None, description="Encoding of csv, tsv, json and jsonl files, such as gb18030; UTF-8 by default."
    )
    encoding_errors: Literal["error", "replace"] = Field(
        "error",
        description="Bytes that are not of the encoding: stop; or read them as U+FFFD, counted with their lines.",
    )
    header: bool | Annotated[list[str], Field(min_length=1)] | None = Field(
        None,
        description="First row of csv, tsv and spreadsheets. false: a row, the columns are called 0, 1, ...; a list: "
        "the names of the columns; true: the header, whatever it looks like. By default it must look like one.",
    )
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = Field(
        None, description='Separates the cells of csv and tsv files: ";", "|" or any one character.'
    )
    quoting: bool | None = Field(
        None,
        description="Whether quotation marks around cells of csv and tsv files quote, or are characters of the text; "
        "by default they quote in csv, and elsewhere where the rows tell so.",
    )
    records: str | None = Field(
        None, description="Key of a JSON object under which the list of rows stands, such as data or result.items."
    )
    label_prefix: Annotated[str, Field(min_length=1)] = Field(
        "__label__", description="format: fasttext: what each label begins with."
    )
    sheet: str | int | None = Field(
        None, description="Sheet of a spreadsheet, by name or by number from 0; the first by default."
    )
    subset: str | None = Field(None, description="Configuration name of a Hub dataset.")
    revision: str | None = Field(None, description="Revision of a Hub dataset.")
    columns: Columns = Field(default_factory=Columns)
    where: dict[str, Value | list[Value] | Range] = Field(
        default_factory=dict,
        description="Rows that are read: {column: value}, {column: [values]} or {column: {min: 1, max: 5}}; of several "
        "columns all must hold. The others are counted and left out.",
    )
    template: str | None = Field(
        None, description='Joins several text columns: "{title}\\n{body}"; {{ or }} for a brace.'
    )
    label_separator: str = Field(
        ";", min_length=1, description="Separates several labels in one cell of a multi-label source."
    )
    cleaning: list[CleaningStep | CleaningOptions] = Field(
        default_factory=_default_cleaning,
        description="Cleaning steps, in this order, as names or as name: {options}; saved with the run.",
    )
    segments: Segments = Field(default_factory=Segments)
    splits: SplitSettings = Field(default_factory=SplitSettings)
    silver: Silver | None = Field(
        None,
        description="Rows labelled by a teacher only train, and are left out where a held-out text is nearly theirs. "
        "{}: told by the column source.",
    )
    dedupe: Literal["none", "exact", "near"] = Field(
        "none",
        description="Leave out training rows whose text (exact: the same; near: nearly) and gold an earlier one has.",
    )
    sample: Sample | None = Field(None, description="Keep a part of the rows.")

    @model_validator(mode="after")
    def _columns_of_format(self) -> DataSection:
        """Raw danmu and transcripts have these columns, whatever the files call them; labels come from elsewhere."""
        sources = (
            [self.source] if isinstance(self.source, str) else [*self.source.model_dump(exclude_none=True).values()]
        )
        usual: dict[str, str | None] = {}
        if self.format == "danmu":
            usual = {"id": "row_id", "group": "video_id"}
            if self.danmu.labels is None:
                usual["label"] = None
        elif all(is_of_documents(source, self.format) for source in sources):
            usual = {"id": "id", "label": None}
            if "cleaning" not in self.model_fields_set:  # the stamps are for cutting, which comes before
                self.__dict__["cleaning"] = [*DEFAULT_CLEANING[:-1], "timestamps", DEFAULT_CLEANING[-1]]
        left_out = {name: value for name, value in usual.items() if name not in self.columns.model_fields_set}
        self.__dict__["columns"] = self.columns.model_copy(update=left_out)  # the section is frozen
        return self
