"""How runs predict and decide, and what an evaluation compares."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field

from categorize.recipe.feature_sections import FeatureSection, TfidfFeatures
from categorize.recipe.section import (
    DType,
    Inside,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Section,
)

EngineName = Literal["torch", "onnx", "onnx_int8", "openvino", "openvino_int8"]
ENGINES: tuple[EngineName, ...] = get_args(EngineName)


class PredictionSection(Section):
    """How predictions are computed; changes speed, not results."""

    batch_size: PositiveInt | None = Field(
        None, description="Most rows in a batch; by default 64, of a head on a CPU 256."
    )
    batch_tokens: PositiveInt | None = Field(
        None, description="Most tokens in a batch, padding counted; by default 8192, of a head on a CPU 2048."
    )
    dtype: DType = Field(
        "auto",
        description="Type of the computation. auto: bfloat16 on a GPU that has it; for heads and for labels that are "
        "scored, on a CPU where a short trial shows that it is faster and no label with a margin above 0.05 changes; "
        "else the weights' own.",
    )

    engine: EngineName = Field(
        "torch",
        description="What computes a head; other methods take torch alone. onnx, onnx_int8: ONNX Runtime on a CPU "
        "(extra onnx), with float32 or int8 weights; openvino, openvino_int8: OpenVINO on a CPU (extra openvino), in "
        "float32 or bfloat16 as `dtype` says, or with int8 weights and activations whose scales come from the first "
        "texts; each refused where more than 0.5% of 1,024 texts are decided otherwise than by torch.",
    )

    @property
    def most_rows(self) -> int:
        """`batch_size` where what computes has no default of its own."""
        return self.batch_size or 64

    @property
    def most_tokens(self) -> int:
        """`batch_tokens` where what computes has no default of its own."""
        return self.batch_tokens or 8192

    def settled(self, dtype: DType) -> Self:
        """The section with this type in place of `auto`."""
        return self.model_copy(update={"dtype": dtype}) if self.dtype == "auto" else self


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
    length_normalization: bool | Literal["auto"] | None = Field(
        None,
        description="scoring: divide a label's log-probability by its tokens; for names of unlike lengths. auto: in "
        "training, where that is better on validation by more than chance. By default as the run was trained with; "
        "else false.",
    )
    prior: Literal["none", "contextual", "batch", "auto"] | None = Field(
        None,
        description="scoring: what is taken away of each label's score. contextual: what the prompt says of it before "
        "texts without content (Zhao et al. 2021); batch: its mean over validation rows (Zhou et al. 2023); auto: in "
        "training, what is better than none on validation by more than chance, together with length_normalization "
        "where both are auto. By default as the run was trained with; else none.",
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
    accuracy: Inside | None = Field(
        None, description="Instead: keep as many rows as it takes for this share of them to be right on validation."
    )
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
    precision: Inside | None = Field(
        None,
        description="Multi-label with tuned thresholds: instead of the best F1, the lowest thresholds at which this "
        "share of what is given is right on validation, of each label or of all together.",
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
    ordinal: Literal["mode", "median"] = Field(
        "mode",
        description="Ordered labels: the most probable one; or the median of the distribution, for a smaller mean "
        "absolute error at the cost of rare labels at the ends.",
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
    engine: EngineName | None = Field(None, description="What computes it; prediction.engine by default.")

    def asked_by(self, section: CausalPredictionSection) -> CausalPredictionSection:
        """How it predicts, where it says otherwise than the evaluation."""
        own: dict[str, Any] = {key: getattr(self, key) for key in ("mode", "engine")}
        return section.model_copy(update={key: value for key, value in own.items() if value is not None})


class CostsSection(Section):
    """What time costs, and how many rows are to be labelled."""

    price_per_hour: NonNegativeFloat | None = Field(
        None, description="Price of an hour of the machine, training or predicting; without it no money is shown."
    )
    currency: str = Field("USD", description="How amounts are shown.")
    rows: NonNegativeInt | None = Field(
        None,
        description="Documents to label, for the time and money that they take; by default those of the data that have "
        "no label.",
    )


Baseline = Literal["majority", "tfidf"]
BASELINES: tuple[Baseline, ...] = ("majority", "tfidf")


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
    baselines: list[Baseline] = Field(
        default_factory=lambda: [*BASELINES],
        description="Show what little effort gives. majority: the most frequent label, or the mean score; tfidf: a "
        "linear model on n-grams of the training rows, trained once and kept, unless a run of the list is one.",
    )
    closer: bool = Field(
        True,
        description="Look closer: confusions, errors with their nearest training rows, likely label errors, weak "
        "segments, train against test, advice.",
    )
    train_label_errors: bool = Field(
        False,
        description="Look for likely label errors among the training rows too (100,000 at most), by five linear models "
        "that each learn from four fifths of them: about the time of five TF-IDF baselines.",
    )
    columns: list[str] | None = Field(
        None,
        description="Raw columns by whose values errors are looked at, such as speaker or month; by default "
        "data.columns.keep and group, else all that have 2 to 40 values.",
    )
    features: FeatureSection = Field(
        default_factory=lambda: TfidfFeatures(type="tfidf", char_ngrams=None, word_ngrams=[1, 2]),
        description="What similarity to training rows is measured on.",
    )
    invariance: list[Literal["punctuation", "typos", "full_width", "script"]] = Field(
        default_factory=list,
        description="Changes that should not matter: every run predicts changed texts too. script: traditional and "
        "simplified Chinese (extra chinese).",
    )
    invariance_rows: PositiveInt = Field(1000, description="Documents that are changed, drawn at random.")
    ablations: list[Literal["no_opening", "no_questions", "shuffled_turns"]] = Field(
        default_factory=list,
        description="Transcripts that every run predicts too without a part: their first turns; what is asked and "
        "answered; the order of their turns.",
    )
    opening_turns: PositiveInt = Field(5, description="ablations: no_opening: how many turns the opening has.")
    counts: PositiveInt | None = Field(
        None,
        description="Documents without a label that every run predicts too, drawn at random where there are more: "
        "the shares of the labels in them, corrected by the labelled rows.",
    )
    ignore: list[str] = Field(
        default_factory=list, description="Codes of checks that give no advice, such as C03; see docs/evaluation.md."
    )
    costs: CostsSection = Field(default_factory=lambda: CostsSection(), description="What the costs are reckoned with.")
