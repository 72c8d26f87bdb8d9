"""Predicts by the label names that stand in a text; saved as JSON and safetensors, and asked about any labels."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import PlainTokens, TokenCounter
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.labels import LabelSet
from categorize.methods.lexical.candidates import CandidateFinder, Candidates, Frequencies
from categorize.methods.lexical.judge import Judge, LabelCounts, unlearned_rest
from categorize.methods.lexical.terms import Segmenter, Terms
from categorize.nn.head_output import head_output
from categorize.predictions import FloatArray, Predictions, Usage
from categorize.recipe.decision_sections import PredictionSection
from categorize.runs.folder import LABEL_SET, Run, RunWriter
from categorize.writing import disk_errors

SETTINGS = "lexical.json"
FREQUENCIES = "token_frequencies.json"
WEIGHTS = "model.safetensors"
NO_FREQUENCIES = Frequencies()


@dataclass(frozen=True)
class Finding:
    """How terms are cut and found.

    Attributes:
        segmentation, stemming: as `Segmenter` has them.
        coverage: as `Terms` has it.
    """

    segmentation: str | None = None
    stemming: bool = True
    coverage: float = 0.5


@dataclass(frozen=True)
class Learned:
    """What training rows taught: which finds are right, and how often each label is.

    Attributes:
        names: of the labels that were counted.
    """

    judge: Judge
    counts: LabelCounts
    names: list[str]


class LexicalPredictor:
    """Labels whose names or aliases stand in a text.

    Args:
        label_set: what may be predicted; not only labels of the training.
        settings: how terms are cut and found.
        learned: None: candidates are scored by rarity and length.

    >>> from categorize.labels import Label
    >>> labels = LabelSet("single_label", (Label("credit card"), Label("cash", aliases=("coins",))))
    >>> predictor = LexicalPredictor(labels, Finding())
    >>> predictor.logits(["My credit cards", "a coin"]).argmax(axis=1).tolist()
    [0, 1]
    """

    unit: Literal["row", "document"] = "row"

    def __init__(
        self,
        label_set: LabelSet,
        settings: Finding,
        frequencies: Frequencies = NO_FREQUENCIES,
        learned: Learned | None = None,
    ) -> None:
        self.label_set = label_set
        words = [word for label in label_set.labels for word in (label.name, *label.aliases)]
        self.segmenter = Segmenter(settings.segmentation, settings.stemming, words)
        self.settings = replace(settings, segmentation=self.segmenter.segmentation)
        self.terms = Terms(label_set, self.segmenter, settings.coverage)
        self.frequencies, self.learned = frequencies, learned
        self.finder = CandidateFinder(label_set, self.terms, frequencies)
        self.counts = learned.counts.aligned(learned.names, label_set) if learned is not None else None
        self._rest = unlearned_rest(label_set) if self.counts is None else self.counts.unfound()
        self.tokens: TokenCounter = PlainTokens()
        self.output = head_output(label_set)

    def for_labels(self, label_set: LabelSet) -> LexicalPredictor:
        """The same judgement of finds, for other labels."""
        return LexicalPredictor(label_set, self.settings, self.frequencies, self.learned)

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal texts are computed once."""
        for batch in batches:
            start = time.perf_counter()
            texts, inverse = distinct_inputs(model_inputs(batch, None), None)
            logits = self.logits(texts)[inverse]
            usage = Usage(rows=batch.num_rows, seconds=time.perf_counter() - start)
            yield self.output.predictions(batch.column("id").to_pylist(), logits, usage)

    def logits(self, texts: list[str]) -> FloatArray:
        """Log-odds of each label, float64 [texts, labels]."""
        candidates = self.finder.find([self.segmenter.sentences(text) for text in texts])
        logits = np.tile(self._rest, (len(texts), 1))
        logits[candidates.rows, candidates.labels] = self.log_odds(candidates)
        return logits

    def log_odds(self, candidates: Candidates) -> FloatArray:
        """Of each candidate, float64 [n]."""
        if self.learned is None or self.counts is None or not len(candidates):
            return candidates.scores
        return self.learned.judge.log_odds(candidates, self.counts)

    def save(self, writer: RunWriter) -> None:
        """Write settings, token frequencies and what was learned into the run."""
        from safetensors.numpy import save_file

        names = self.learned.names if self.learned is not None else None
        writer.write_json(SETTINGS, {**asdict(self.settings), "counted": names})
        writer.write_json(FREQUENCIES, asdict(self.frequencies))
        if self.learned is not None:
            parts = {**vars(self.learned.judge), **vars(self.learned.counts)}
            with disk_errors(writer.path):
                save_file({name: np.ascontiguousarray(part) for name, part in parts.items()}, writer.stage(WEIGHTS))


def load(run: Run, section: PredictionSection | None, base: str | None, trust_remote_code: bool) -> LexicalPredictor:
    """The predictor of a finished run. Raises UserError where it was cut by jieba and jieba is missing."""
    from safetensors.numpy import load_file

    settings, learned = run.read_json(SETTINGS), None
    if (names := settings.pop("counted")) is not None:
        parts = load_file(run.path / WEIGHTS)
        judge = Judge(*(parts[name] for name in Judge.__dataclass_fields__))
        whole = {name: parts[name] for name in LabelCounts.__dataclass_fields__}
        numbers = {name: whole[name].item() for name in ("rows", "precision", "missing")}
        counts = LabelCounts(**{**whole, **numbers})
        learned = Learned(judge, counts, names)
    frequencies = Frequencies(**run.read_json(FREQUENCIES))
    label_set = LabelSet.load(run.path / LABEL_SET)
    return LexicalPredictor(label_set, Finding(**settings), frequencies, learned)
