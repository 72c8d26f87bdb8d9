"""What a closer look reads: the rows of a split with their gold, the training rows, and what each run said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa

from categorize.analysis.variants import Variant
from categorize.labels import LabelSet
from categorize.metrics.arrays import INVALID, Aligned, align
from categorize.metrics.progress import flat, headline
from categorize.predictions import BoolArray, FloatArray, IntArray, Predictions
from categorize.recipe.feature_sections import TfidfFeatures
from categorize.recipe.section import Section

ROWS_AT_ONCE = 2000
MOST_CELLS = 30_000_000  # rows times labels, 240 MB an array, up to which each cell is looked at


@dataclass(frozen=True)
class RunOutput:
    """What one run said of the split.

    Attributes:
        predictions: decided, one a document, probabilities in the order of the label set.
        metrics: of `metrics.measures.measure`, with intervals where there are some.
        run: folder or Hub id, as the recipe names it.
        changed: its predictions of the rows of each of the variants, by their names.
        unlabelled: its predictions of the rows without a label.
        is_ranked: False of a teacher, whose figures are its agreement with the gold.
    """

    name: str
    predictions: Predictions
    metrics: Mapping[str, Any] = field(default_factory=dict)
    run: str = ""
    changed: Mapping[str, Predictions] = field(default_factory=dict)
    unlabelled: Predictions | None = None
    is_ranked: bool = True


@dataclass(frozen=True)
class Inputs:
    """The evaluated rows, the training rows and the runs.

    Attributes:
        documents: the rows of the split, one a document, with `data.rows.schema`.
        gold: [documents, labels], of `LabelSet.encode`.
        train: the training rows, one a document.
        overlap: of each document, "exact" or "near" where its text stands in train.
        baseline: measures of predicting the most frequent label (the mean score).
        columns: raw columns whose values are looked at.
        features: what similarity is measured on.
        variants: documents with changed texts, which runs have predicted too.
        unlabelled: documents without a label, which runs have predicted too.
        resamples: of bootstrap intervals.
        search_train: whether label errors are looked for among the training rows too.
    """

    label_set: LabelSet
    split: str
    documents: pa.Table
    gold: FloatArray
    train: pa.Table
    runs: Sequence[RunOutput]
    overlap: Sequence[str | None] = ()
    baseline: Mapping[str, Any] | None = None
    columns: Sequence[str] = ()
    features: Section = field(default_factory=lambda: TfidfFeatures(type="tfidf", char_ngrams=None, word_ngrams=[1, 2]))
    seed: int = 42
    variants: Sequence[Variant] = ()
    unlabelled: pa.Table | None = None
    resamples: int = 1000
    search_train: bool = False

    @property
    def has_many_cells(self) -> bool:
        """Whether there are too many labels to look at each of each row."""
        return self.gold.size > MOST_CELLS

    @property
    def left_out(self) -> list[str]:
        """What is not looked at because there are too many labels, as a sentence; nothing of a regression."""
        if not self.has_many_cells or self.label_set.is_regression:
            return []
        rows, labels = self.gold.shape
        size = f"{rows:,} rows x {labels:,} labels are more than {MOST_CELLS:,} cells"
        return [f"likely label errors and counts were not looked at: {size}"]

    @property
    def unlabelled_rows(self) -> int:
        """How many documents without a label were predicted."""
        return 0 if self.unlabelled is None else self.unlabelled.num_rows

    @cached_property
    def known(self) -> IntArray:
        """Positions of the documents that have a gold: the rows of all that follows."""
        return np.flatnonzero(~np.isnan(self.gold).any(axis=1)).astype(np.int64)

    @cached_property
    def rows(self) -> pa.Table:
        """The documents that have a gold."""
        return self.documents.take(pa.array(self.known))

    @cached_property
    def texts(self) -> list[str]:
        """Their texts."""
        return [text or "" for text in self.rows["text"].to_pylist()]

    @cached_property
    def truth(self) -> FloatArray:
        """Their gold, [rows, labels]."""
        return self.gold[self.known]

    @cached_property
    def train_gold(self) -> FloatArray:
        """[training rows, labels]; rows of NaN are unknown."""
        return self.label_set.encode_rows(self.train)

    @cached_property
    def outcomes(self) -> list[Outcome]:
        """What each run said, as arrays over the rows."""
        return [Outcome.of(self.label_set, one, align(self.label_set, self.gold, one.predictions)) for one in self.runs]

    @property
    def ranked(self) -> list[RunOutput]:
        """The runs whose figures can be compared."""
        return [one for one in self.runs if one.is_ranked]

    @cached_property
    def best_position(self) -> int:
        """Which run is the best by the headline measure, the first among equals; of ranked ones where there are any."""
        name = headline(self.label_set)

        def value(position: int) -> tuple[bool, float]:
            run = self.runs[position]
            return run.is_ranked, flat(run.metrics).get(name, -np.inf)

        return max(range(len(self.runs)), key=value)

    @property
    def best(self) -> str:
        """Its name."""
        return self.runs[self.best_position].name

    @cached_property
    def wrong(self) -> BoolArray:
        """[rows, runs]; of a regression, the tenth of the rows with the largest errors."""
        return np.stack([one.wrong for one in self.outcomes], axis=1)

    @cached_property
    def blamed(self) -> IntArray:
        """[rows]; which run an error is looked at of: the best one where it is wrong, else the first that is."""
        order = [self.best_position, *(i for i in range(len(self.runs)) if i != self.best_position)]
        return np.asarray(np.array(order)[self.wrong[:, order].argmax(axis=1)], dtype=np.int64)


@dataclass(frozen=True)
class Outcome:
    """What one run said of the rows with gold.

    Attributes:
        said: positions of labels [rows] (-1: no valid answer), indicators [rows, labels] or scores [rows].
        loss: [rows]; 1 where the answer is not the gold, of a regression the absolute error (of an invalid answer that
            of the mean).
        wrong: [rows]; of a regression, the tenth of the rows with the largest errors.
        confidence: [rows], the probability of the predicted label. Where a row may have several labels, it is the
            lowest probability among the predicted ones, and 1 - the highest probability where none was predicted. NaN
            where there is no probability.
        severity: [rows], how sure the run was of its error: the probability of the wrong label; where a row may have
            several labels, the largest distance between a probability and the gold; for a regression, the absolute
            error.
    """

    name: str
    aligned: Aligned
    loss: FloatArray
    wrong: BoolArray
    confidence: FloatArray
    severity: FloatArray

    @classmethod
    def of(cls, label_set: LabelSet, run: RunOutput, aligned: Aligned) -> Outcome:
        """The arrays of one run."""
        gold, said, n = aligned.gold, aligned.predicted, len(aligned)
        if label_set.is_regression:
            loss = np.abs(np.where(aligned.valid, said, gold.mean() if n else 0.0) - gold)
            worst = np.quantile(loss, 0.9) if n else 0.0
            return cls(run.name, aligned, loss, (loss > worst) | ~aligned.valid, np.full(n, np.nan), loss)
        probabilities = aligned.probabilities
        if label_set.is_multi_label:
            wrong = (said != gold).any(axis=1)
            confidence, severity = np.full(n, np.nan), np.zeros(n)
            for start in range(0, n, ROWS_AT_ONCE):
                if probabilities is not None:
                    at = slice(start, start + ROWS_AT_ONCE)
                    confidence[at], severity[at] = _of_several(gold[at], said[at], np.nan_to_num(probabilities[at]))
            confidence[~aligned.valid] = np.nan
        else:
            wrong = said != gold
            confidence = np.full(n, np.nan)
            if probabilities is not None and n:
                confidence = np.nan_to_num(probabilities)[np.arange(n), np.maximum(said, 0)]
                confidence = np.where(aligned.valid, confidence, np.nan)
            severity = np.nan_to_num(confidence)
        return cls(run.name, aligned, wrong.astype(np.float64), wrong, confidence, np.where(wrong, severity, 0.0))

    @property
    def said(self) -> Any:
        """What was predicted."""
        return self.aligned.predicted

    @property
    def valid(self) -> BoolArray:
        """[rows]."""
        return self.aligned.valid

    def names(self, label_set: LabelSet) -> list[Any]:
        """What was predicted, as lists of label names; of a regression scores; None where not valid."""
        return named(label_set, self.said)


def _of_several(gold: Any, said: Any, probabilities: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Confidence and severity of rows with several labels each."""
    least = np.where(said == 1, probabilities, np.inf).min(axis=1)
    confidence = np.where(np.isfinite(least), least, 1 - probabilities.max(axis=1))
    return confidence, np.where(said != gold, np.abs(probabilities - gold), 0.0).max(axis=1)


def named(label_set: LabelSet, values: Any) -> list[Any]:
    """Turn positions or indicators into lists of label names; scores stay numbers. A row without an answer is None."""
    if label_set.is_regression:
        return [float(one) if np.isfinite(one) else None for one in values]
    names = label_set.names
    if label_set.is_multi_label:
        found: list[list[str] | None] = [None if invalid else [] for invalid in (values == INVALID).any(axis=1)]
        for i, j in zip(*np.nonzero(values == 1), strict=True):
            found[i].append(names[j])  # type: ignore[union-attr]
        return found
    return [None if j == INVALID else [names[j]] for j in values.tolist()]
