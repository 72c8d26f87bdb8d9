"""What every predictor offers, and the frame in which a run's predictor reads documents and decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from categorize.data.input_spec import InputSpec
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

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch of rows, as they become ready."""
        ...


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

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Decided predictions, one a document, for each record batch; a batch holds whole documents."""
        import pyarrow as pa

        for batch in batches:
            yield self.decision_rule.apply(self.probabilities(pa.Table.from_batches([batch])))

    def probabilities(self, rows: pa.Table) -> Predictions:
        """Undecided predictions of whole documents: expanded to segments, predicted, and aggregated."""
        segments = self.input_spec.expand(rows)
        blocks = self.inner.predict(segments.combine_chunks().to_batches(max_chunksize=ROWS_A_BLOCK))
        return self.input_spec.aggregate(Predictions.concatenate(blocks), segments)

    def predict_rows(self, rows: pa.Table) -> Predictions:
        """Decided predictions of a table of rows, one a document in order of first appearance."""
        return self.decision_rule.apply(self.probabilities(rows))

    def predict_texts(self, texts: Sequence[str]) -> Predictions:
        """Decided predictions of plain texts, prepared as training prepared its own."""
        if not texts:
            return Predictions(ids=[], decided=[])
        return self.predict_rows(self.input_spec.rows_from_texts(list(texts)))
