"""What every predictor offers, and the frame in which a run's predictor reads documents and decides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from categorize.data.input_spec import InputSpec
from categorize.data.segments.tokens import TokenCounter
from categorize.engines.remembered import Remembers
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.metrics.decision import DecisionRule
from categorize.prediction.scope import ScopeScorer
from categorize.predictions import FloatArray, Predictions
from categorize.recipe.wording import counted

ROWS_A_BLOCK = 16384
CELLS_A_BLOCK = 2**24  # rows times labels: 134 MB an array, of which deciding holds a few
SHOWN = 12  # labels that an error names


class Predictor(Protocol):
    """Turns blocks of rows into blocks of predictions, in order, one a row, or one a document where that is its unit.

    Attributes:
        unit: `row`: any rows make a block. `document`: a block holds whole documents, whose rows follow each other.
        tokens: what the texts that it reads are counted by, to cut documents.
    """

    label_set: LabelSet
    unit: Literal["row", "document"]
    tokens: TokenCounter

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch of rows, as they become ready; of no rows where a batch has none."""
        ...


@runtime_checkable
class ScoresOtherLabels(Protocol):
    """A predictor whose model reads the labels, so that it can be asked about others than those of its training."""

    def for_labels(self, label_set: LabelSet) -> Predictor:
        """The same model, asked about these labels. Raises UserError where its prompt cannot hold them."""
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
        scope: of the documents, where rows are rejected by their texts.
    """

    predictions: Predictions
    segments: pa.Table
    input_spec: InputSpec
    scope: FloatArray | None = None

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
        return self._of_documents(label_set.is_multi_label), self.input_spec.documents(self.segments)

    def _of_documents(self, multi_label: bool) -> Predictions:
        found = self.input_spec.aggregate(self.predictions, self.segments, multi_label=multi_label)
        return found if self.scope is None else replace(found, scope=self.scope)

    def decide(self, rule: DecisionRule) -> Predictions:
        """Decided predictions of the documents, in order of first appearance."""
        several = rule.task == "multi_label"
        if not self.votes:
            return rule.apply(self._of_documents(several))
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
        fingerprints: of the splits of the run, by name; empty for a model that is not a run of this project.
        scope: says how much a text is like the training texts; None where no row is rejected by that.
    """

    unit: ClassVar[Literal["document"]] = "document"

    inner: Predictor
    input_spec: InputSpec
    decision_rule: DecisionRule
    name: str
    notes: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    fingerprints: dict[str, str] = field(default_factory=dict)
    scope: ScopeScorer | None = None

    @property
    def label_set(self) -> LabelSet:
        """Labels that may be predicted."""
        return self.inner.label_set

    @property
    def tokens(self) -> TokenCounter:
        """What segments are counted by."""
        return self.inner.tokens

    def for_labels(self, label_set: LabelSet, unseen_labels: bool = False) -> TrainedPredictor:
        """The same run for a label set: as it is where the labels are those of its training, in whatever order; else
        asked about these, decided by the default rule, with a note.

        Args:
            unseen_labels: where its labels are fixed by training and all of them in the set, leave it as it is, with a
                note that it never predicts the others.

        Raises:
            UserError: the labels are fixed by training, or the task is another one.
        """
        own = self.label_set
        if label_set.task != own.task:
            raise UserError(f"{self.name}: predicts {own.task}, the labels are for {label_set.task}")
        if set(label_set.names) == set(own.names):
            return self
        if not isinstance(self.inner, ScoresOtherLabels):
            beyond = len(set(label_set.names) - set(own.names))
            if unseen_labels and beyond + len(own) == len(label_set):
                note = f"never predicts {counted(beyond, 'label')} that it was not trained on"
                return replace(self, notes=[*self.notes, note])
            raise UserError(
                f"{self.name}: predicts the labels of its training alone ({', '.join(own.names[:SHOWN])}"
                f"{', ...' if len(own) > SHOWN else ''}); only a model that is asked by a prompt can score others"
            )
        notes = [*self.notes, f"scores labels that it was not trained on ({len(label_set)})"]
        return replace(
            self,
            inner=self.inner.for_labels(label_set),
            decision_rule=DecisionRule.default(label_set),
            notes=notes,
        )

    def predict(self, batches: Iterable[pa.RecordBatch], rows: int | None = None) -> Iterator[Predictions]:
        """Decided predictions, one a document, from batches of any size, in the memory of a block.

        Args:
            batches: the rows of a document follow each other, in one batch or in several.
            rows: of a block, at least, whose predictions come together; by default as many as the number of labels
                lets stand in memory. 1 gives those of each document as soon as the next one begins, and computes it
                alone.

        Raises:
            UserError: the rows of a document stand apart.
        """
        for block in whole_documents(batches, rows or rows_a_block(self.label_set)):
            yield self.predict_segments(block).decide(self.decision_rule)

    def predict_segments(self, rows: pa.Table) -> SegmentPredictions:
        """Undecided predictions of whole documents, cut into the segments that training would have cut; of documents
        where these are the predictor's unit."""
        segments = self.input_spec.expand(rows, self.inner.tokens)
        blocks = batches_of(segments, rows_a_block(self.label_set))
        if self.inner.unit == "document":
            blocks = [batch for table in whole_documents(blocks) for batch in batches_of(table, table.num_rows)]
            segments = self.input_spec.documents(segments)
        scope = None
        if self.scope is not None:
            documents = self.input_spec.documents(self.input_spec.with_texts(rows))
            scope = self.scope.scores(documents["text"].to_pylist())
        return SegmentPredictions(Predictions.concatenate(self.inner.predict(blocks)), segments, self.input_spec, scope)

    def remember(self) -> None:
        """Keep what texts come to, for those that come again in later blocks; nothing of before is kept."""
        if isinstance(self.inner, Remembers):
            self.inner.remember()

    def probabilities(self, rows: pa.Table) -> Predictions:
        """Undecided predictions of whole documents: those of their segments, aggregated."""
        found = self.predict_segments(rows)
        several = self.label_set.is_multi_label
        return self.input_spec.aggregate(found.predictions, found.segments, multi_label=several)

    def predict_rows(self, rows: pa.Table) -> Predictions:
        """Decided predictions of a table of rows, one a document in order of first appearance; its rows may stand
        anywhere in the table."""
        return Predictions.concatenate(self.predict(batches_of(together(rows))))

    def predict_texts(self, texts: Sequence[str]) -> Predictions:
        """Decided predictions of plain texts, prepared as training prepared its own."""
        return self.predict_rows(self.input_spec.rows_from_texts(list(texts)))


def rows_a_block(label_set: LabelSet) -> int:
    """How many rows are predicted at once."""
    return max(min(ROWS_A_BLOCK, CELLS_A_BLOCK // max(len(label_set), 1)), 64)


def batches_of(rows: pa.Table, most: int = ROWS_A_BLOCK) -> list[pa.RecordBatch]:
    """The rows in batches of at most so many; one without rows where there are none."""
    whole = rows.combine_chunks().to_batches(max_chunksize=max(most, 1))
    return whole or [pa.RecordBatch.from_pylist([], rows.schema)]


def together(rows: pa.Table) -> pa.Table:
    """The rows with those of a document behind each other, documents in order of first appearance."""
    codes = rows["document_id"].combine_chunks().dictionary_encode()  # numbered as they appear
    codes = codes.combine_chunks() if isinstance(codes, pa.ChunkedArray) else codes
    order = np.asarray(codes.indices)
    if (np.diff(order) >= 0).all():
        return rows
    return rows.take(pa.array(np.argsort(order, kind="stable")))


def whole_documents(batches: Iterable[pa.RecordBatch], rows: int = ROWS_A_BLOCK) -> Iterator[pa.Table]:
    """Tables of at least so many rows, but for the last, whose documents are whole: a document whose rows go on in the
    next batch waits for them. A stream of batches without rows gives one empty table.

    Besides the rows of a table it holds a number for each document that was given, but for those that are one row
    and named as it is.

    Raises:
        UserError: a document comes back after others.
    """
    waiting: list[pa.RecordBatch] = []
    held, last, given = 0, None, False
    done: set[int] = set()
    for batch in batches:
        if not batch.num_rows:
            waiting = waiting or [batch]
            continue
        names, ids = (batch.column(name).to_numpy(zero_copy_only=False) for name in ("document_id", "id"))
        begins = np.flatnonzero(np.append(names[0] != last, names[1:] != names[:-1]))
        for name in names[begins[names[begins] != ids[begins]]]:
            if hash(name) in done:
                raise UserError(
                    f"document {name!r}: its rows stand apart in the stream; sort the rows by document, or predict "
                    "them as one table (predict_rows)"
                )
            done.add(hash(name))
        start, last = 0, names[-1]
        while (i := int(np.searchsorted(begins, start + max(rows - held, 0)))) < len(begins):
            at = int(begins[i])
            yield pa.Table.from_batches([*waiting, batch.slice(start, at - start)])
            waiting, held, start, given = [], 0, at, True
        waiting.append(batch.slice(start))
        held += batch.num_rows - start
    if waiting and (held or not given):
        yield pa.Table.from_batches(waiting)


def columns_of(wanted: LabelSet, cells: FloatArray, found: LabelSet) -> FloatArray:
    """Cells [n, labels] of the label set `found` in the order of `wanted`; NaN for labels that it has not."""
    place = {name: j for j, name in enumerate(found.names)}
    padded = np.hstack([np.asarray(cells, dtype=np.float64), np.full((len(cells), 1), np.nan)])
    return padded[:, [place.get(name, -1) for name in wanted.names]]
