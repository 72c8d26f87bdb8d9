"""What every predictor offers, and the frame in which a run's predictor reads documents and decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from categorize.data.input_spec import InputSpec
from categorize.data.segments.tokens import TokenCounter
from categorize.labels import LabelSet
from categorize.metrics.decision import DecisionRule
from categorize.predictions import Predictions

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_A_BLOCK = 16384


@dataclass(frozen=True)
class Capabilities:
    """What a predictor can give: probabilities of the labels, a score, generated text."""

    probabilities: bool = True
    score: bool = False
    raw: bool = False


class Predictor(Protocol):
    """Turns blocks of rows into blocks of predictions, in order, one row each."""

    label_set: LabelSet
    capabilities: Capabilities
    tokens: TokenCounter  # what the texts that it reads are counted by, to cut documents

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch of rows, as they become ready."""
        ...


@dataclass(frozen=True)
class SegmentPredictions:
    """Undecided predictions of segments, and the way to the documents' decided ones.

    With `aggregation: vote`, and where a model generates its answers, the rule decides each segment and the segments
    vote. Otherwise probabilities (or scores) are aggregated and the rule decides the document: it is fitted on what it
    will be applied to.

    Attributes:
        predictions: of the segments, as the model gives them.
        segments: their rows, in the same order.
    """

    predictions: Predictions
    segments: pa.Table
    input_spec: InputSpec

    @property
    def votes(self) -> bool:
        """Whether segments are decided one by one."""
        given = self.predictions
        generated = given.probabilities is None and given.score is None
        return generated or (self.input_spec.segments.aggregation == "vote" and given.score is None)

    def for_rule(self, label_set: LabelSet) -> tuple[Predictions, pa.Table]:
        """What a decision rule is fitted on, with the rows that hold its gold: segments that vote, else documents."""
        if self.votes:
            return self.predictions, self.segments
        rows = self.input_spec.documents(self.segments)
        return self.input_spec.aggregate(self.predictions, self.segments, multi_label=label_set.is_multi_label), rows

    def decide(self, rule: DecisionRule) -> Predictions:
        """Decided predictions of the documents, in order of first appearance."""
        several = rule.task == "multi_label"
        if not self.votes:
            return rule.apply(self.input_spec.aggregate(self.predictions, self.segments, multi_label=several))
        decided = rule.apply(self.predictions)
        voted = self.input_spec.vote(
            decided, self.segments, rule.labels, multi_label=several, thresholds=rule.thresholds
        )
        return rule.complete(voted)


@dataclass
class TrainedPredictor:
    """A run's predictor with its input preparation and its decision rule; itself a `Predictor` of documents.

    Attributes:
        inner: predicts segments.
        input_spec: prepares text as training did.
        decision_rule: turns probabilities into labels as validation fitted it.
        name: what a comparison calls it.
        notes: what a reader must know, such as a head that was never trained.
        facts: parameters, method and the like, for reports.
        fingerprints: of the splits of the run, by name; empty for a model that is no run of this project.
    """

    inner: Predictor
    input_spec: InputSpec
    decision_rule: DecisionRule
    name: str
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)

    @property
    def label_set(self) -> LabelSet:
        """Labels that may be predicted."""
        return self.inner.label_set

    @property
    def capabilities(self) -> Capabilities:
        """What the inner predictor gives."""
        return self.inner.capabilities

    @property
    def tokens(self) -> TokenCounter:
        """What segments are counted by."""
        return self.inner.tokens

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Decided predictions, one a document, for each record batch; a batch holds whole documents."""
        import pyarrow as pa

        for batch in batches:
            yield self.predict_rows(pa.Table.from_batches([batch]))

    def predict_segments(self, rows: pa.Table) -> SegmentPredictions:
        """Undecided predictions of whole documents, cut into the segments that training would have cut."""
        segments = self.input_spec.expand(rows, self.inner.tokens)
        blocks = self.inner.predict(segments.combine_chunks().to_batches(max_chunksize=ROWS_A_BLOCK))
        found = Predictions.concatenate(blocks) if segments.num_rows else self._nothing()
        return SegmentPredictions(found, segments, self.input_spec)

    def _nothing(self) -> Predictions:
        """Undecided predictions of no rows."""
        import numpy as np

        can = self.inner.capabilities
        probabilities = np.zeros((0, len(self.label_set))) if can.probabilities else None
        score = np.zeros(0) if can.score else None
        decided: list[list[str]] | None = None if can.probabilities or can.score else []
        return Predictions([], probabilities, score, decided, raw=[] if can.raw else None)

    def probabilities(self, rows: pa.Table) -> Predictions:
        """Undecided predictions of whole documents: those of their segments, aggregated."""
        found = self.predict_segments(rows)
        several = self.label_set.is_multi_label
        return self.input_spec.aggregate(found.predictions, found.segments, multi_label=several)

    def predict_rows(self, rows: pa.Table) -> Predictions:
        """Decided predictions of a table of rows, one a document in order of first appearance."""
        return self.predict_segments(rows).decide(self.decision_rule)

    def predict_texts(self, texts: Sequence[str]) -> Predictions:
        """Decided predictions of plain texts, prepared as training prepared its own."""
        return self.predict_rows(self.input_spec.rows_from_texts(list(texts)))
