"""A causal model that is asked about some candidates of each row: the labels that something cheaper puts first.

Thousands of labels neither fit into an instruction nor can all be scored for every row. Labels that are no candidates
have no probability (NaN); a decision is one of the candidates, so that no answer lies outside the label set.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import TokenCounter
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.engines.shared_prefix import SharedPrefix
from categorize.errors import UserError
from categorize.features.shots import RetrievedPrompt, ShotSets
from categorize.labels import LabelSet
from categorize.methods.sft.model import Causal
from categorize.methods.sft.predictor import CausalPredictor
from categorize.methods.trained import trained_predictor
from categorize.nn.text_tokens import PromptTokens
from categorize.prediction.predictor import Predictor, ScoresOtherLabels
from categorize.predictions import BoolArray, IntArray, Predictions, Usage
from categorize.prompts.messages import PromptSettings
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.decision_sections import CandidatesSection, CausalPredictionSection
from categorize.runs.folder import Run

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class NarrowedPredictor:
    """A causal model behind a cheaper predictor of the same labels.

    An instruction that lists the labels, and codes, are made for each set of candidates: rows that share a set share
    its prefix. Without a list all rows share one prefix, and of each row only its candidates are scored.

    Args:
        causal: model, tokenizer, settings.
        settings: of the prompt; codes that it names stay with their labels, else each set has its own.
        max_length: longest prompt and answer, in tokens.
        section: with `candidates`.
        narrower: gives probabilities of the label set.
    """

    unit: Literal["row", "document"] = "row"

    def __init__(
        self,
        causal: Causal,
        settings: PromptSettings,
        max_length: int,
        label_set: LabelSet,
        section: CausalPredictionSection,
        narrower: Predictor,
    ) -> None:
        assert section.candidates is not None
        self.causal, self.max_length, self.section = causal, max_length, section
        self.settings = settings
        self.label_set, self.narrower, self.top = label_set, narrower, section.candidates.top
        counts = causal.settings.label_counts
        self._frequency = np.array([counts.get(name, 0) for name in label_set.names])
        self._filled = 0  # rows of the last batch whose candidates were chosen among equals
        self._shared: SharedPrefix | None = None  # serves the prefixes of all sets of candidates
        self._whole: CausalPredictor | None = None
        self._first = self._asked(with_shots(range(self.top), settings, label_set))
        if self._first.mode == "scoring" and "{labels}" not in settings.system and settings.completion != "codes":
            self._whole = self._predictor(settings, label_set)
        self.tokens: TokenCounter = PromptTokens((self._whole or self._first).prompt)

    def for_labels(self, label_set: LabelSet) -> NarrowedPredictor:
        """The same model, asked about candidates of other labels. Raises UserError where those that choose them
        cannot."""
        assert self.section.candidates is not None
        narrower = build_narrower(self.section.candidates, label_set)
        settings = replace(self.settings, codes=None)
        return NarrowedPredictor(self.causal, settings, self.max_length, label_set, self.section, narrower)

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch, with probabilities of the candidates alone; generated answers name them."""
        for batch in batches:
            start = time.perf_counter()
            chosen = self.candidates(batch)
            found = self._scored(batch, chosen) if self._whole is not None else self._by_set(batch, chosen)
            usage = replace(found.usage, seconds=time.perf_counter() - start, filled_rows=self._filled)
            yield replace(found, usage=usage)

    @property
    def filling(self) -> str:
        """Which labels fill up the candidates of a text for which too few stand out, as a reader is told."""
        how = (
            "the most frequent labels in training"
            if self._frequency.any()
            else "the first labels of the list, as no training row tells how often each is"
        )
        return f"had fewer than {self.top} candidates that stand out; filled up by {how}"

    def candidates(self, batch: pa.RecordBatch) -> IntArray:
        """Positions of each row's candidates in label-set order [rows, top]. Of equally probable ones, as all are whose
        names do not stand in a text, those come first that are more frequent in training, then by the label set."""
        probabilities = Predictions.concatenate(self.narrower.predict([batch])).probabilities
        assert probabilities is not None
        frequent = np.argsort(-self._frequency, kind="stable")
        likely = np.nan_to_num(probabilities, nan=-np.inf)[:, frequent]
        order = np.argsort(-likely, axis=1, kind="stable")
        last = np.take_along_axis(likely, order[:, self.top - 1 : self.top + 1], axis=1)
        self._filled = int((last[:, 0] == last[:, -1]).sum()) if self.top < len(self.label_set) else 0
        return np.sort(frequent[order[:, : self.top]], axis=1)

    def _scored(self, batch: pa.RecordBatch, chosen: IntArray) -> Predictions:
        """Rows behind one prefix, each scored for its candidates."""
        from scipy.special import expit, softmax

        assert self._whole is not None
        prompt, engine = self._whole.prompt, self._whole.engine
        inputs, inverse = distinct_inputs(model_inputs(batch, prompt), prompt)
        rows = [prompt.encode(fields) for fields in inputs]
        wanted: BoolArray = np.zeros((len(rows), len(self.label_set)), dtype=bool)
        wanted[inverse[:, None], chosen] = True
        scores = engine.outputs(rows, wanted)
        if self.label_set.is_multi_label:
            likely = expit(scores)
        else:
            likely = softmax(np.where(wanted, scores, -np.inf), axis=1) if len(rows) else scores
        probabilities = np.where(wanted, likely, np.nan)[inverse]
        tokens, cut = sum(len(row.prompt_ids) for row in rows), sum(rows[i].truncated for i in inverse)
        return Predictions(batch.column("id").to_pylist(), probabilities, usage=Usage(batch.num_rows, tokens, 0, cut))

    def _by_set(self, batch: pa.RecordBatch, chosen: IntArray) -> Predictions:
        """Rows of one set of candidates together, behind the prefix of that set."""
        sets: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for row, labels in enumerate(chosen.tolist()):
            sets[with_shots(labels, self.settings, self.label_set)].append(row)
        parts, order = [], []
        for labels, rows in sets.items():
            part = Predictions.concatenate(self._asked(labels).predict([batch.take(pa.array(rows))]))
            if part.probabilities is not None:
                spread = np.full((len(rows), len(self.label_set)), np.nan)
                spread[:, labels] = part.probabilities
                part = replace(part, probabilities=spread)
            parts.append(part)
            order += rows
        if not parts:
            return Predictions([], np.zeros((0, len(self.label_set))))
        return Predictions.concatenate(parts).take(np.argsort(order))

    def _asked(self, labels: Sequence[int]) -> CausalPredictor:
        return self._predictor(*among(labels, self.settings, self.label_set))

    def _predictor(self, settings: PromptSettings, label_set: LabelSet) -> CausalPredictor:
        prompt = PromptFormat(settings, label_set, self.causal.tokenizer, self.max_length)
        predictor = CausalPredictor(self.causal, prompt, self.section, shared=self._shared)
        self._shared = predictor.shared
        return predictor


def with_shots(labels: Iterable[int], settings: PromptSettings, label_set: LabelSet) -> tuple[int, ...]:
    """Candidates with the labels of the worked examples, which must be among those of their prompt."""
    examples = [shot.get("label", "") for shot in settings.shots]
    parts = [part.strip() for text in examples for part in (text.split(",") if label_set.is_multi_label else [text])]
    return tuple(sorted({*labels, *(label_set.index[part] for part in parts if part in label_set.index)}))


def among(labels: Sequence[int], settings: PromptSettings, label_set: LabelSet) -> tuple[PromptSettings, LabelSet]:
    """A prompt's settings for some labels alone, and these; codes that a tuned model learned stay with their labels."""
    codes = settings.codes and tuple(settings.codes[i] for i in labels)
    return replace(settings, codes=codes), label_set.subset(label_set.names[i] for i in labels)


def narrows(section: CausalPredictionSection | None, label_set: LabelSet) -> bool:
    """Whether each row is asked about some of the labels."""
    return section is not None and section.candidates is not None and section.candidates.top < len(label_set)


def check_fits(
    tokenizer: PreTrainedTokenizerBase,
    max_length: int,
    settings: PromptSettings,
    label_set: LabelSet,
    section: CausalPredictionSection | None = None,
    shots: ShotSets | None = None,
) -> None:
    """Raise UserError, before a model is loaded, where the labels do not fit into a prompt, there are more of them than
    codes, or they cannot be told from each other; of candidates, as many of the first labels."""
    if section is not None and section.candidates is not None and narrows(section, label_set):
        labels = with_shots(range(section.candidates.top), settings, label_set)
        settings, label_set = among(labels, settings, label_set)
    prompt = PromptFormat(settings, label_set, tokenizer, max_length)
    prompt.check_answers()
    if shots is not None:
        RetrievedPrompt(prompt, shots)


def asked(
    causal: Causal,
    settings: PromptSettings,
    max_length: int,
    label_set: LabelSet,
    section: CausalPredictionSection | None = None,
    shots: ShotSets | None = None,
) -> CausalPredictor | NarrowedPredictor:
    """The predictor of a causal model: of all labels, or of candidates where `section` says so and there are more
    labels than these.

    Args:
        shots: examples that were chosen by similarity.

    Raises:
        UserError: as `PromptFormat` and `build_narrower`; candidates of a model that was asked with such examples.
    """
    if shots is not None:
        if section is not None and section.candidates is not None:
            raise UserError("prediction.candidates: cannot go with prompt.retrieval, whose examples have all labels")
        prompt = PromptFormat(settings, label_set, causal.tokenizer, max_length)
        return CausalPredictor(causal, RetrievedPrompt(prompt, shots), section)
    if section is not None and section.candidates is not None and narrows(section, label_set):
        narrower = build_narrower(section.candidates, label_set)
        return NarrowedPredictor(causal, settings, max_length, label_set, section, narrower)
    return CausalPredictor(causal, PromptFormat(settings, label_set, causal.tokenizer, max_length), section)


def build_narrower(section: CandidatesSection, label_set: LabelSet) -> Predictor:
    """What chooses the candidates.

    Raises:
        UserError: the run is not there, or predicts other labels and cannot be asked about these.
    """
    if section.by == "lexical":
        from categorize.methods.lexical.predictor import Finding, LexicalPredictor

        return LexicalPredictor(label_set, Finding())
    if section.by == "similarity":
        from categorize.features.build import build_featurizer
        from categorize.methods.similarity.predictor import Scaling, SimilarityPredictor
        from categorize.methods.similarity.section import label_texts
        from categorize.recipe.feature_sections import TfidfFeatures

        described = all(label.description for label in label_set.labels)
        template = "{name} {aliases} {description}" if described else "{name} {aliases}"
        featurizer = build_featurizer(TfidfFeatures(type="tfidf", char_ngrams=[2, 4]))
        width = featurizer.fit(label_texts(label_set, template)).shape[1]
        return SimilarityPredictor(label_set, featurizer, template, Scaling(1.0, 0.0, 0.0), np.zeros(width))
    where = f"prediction.candidates.by: {section.by}"
    if not Path(section.by).exists():
        raise UserError(f"{where}: no such run folder; write similarity or lexical, or name where it is")
    chooser = trained_predictor(Run.open(section.by), None).inner
    if chooser.label_set.names == label_set.names:
        return chooser
    if isinstance(chooser, ScoresOtherLabels) and chooser.label_set.task == label_set.task:
        return chooser.for_labels(label_set)
    raise UserError(f"{where}: predicts other labels than those asked for; train it on these, or write similarity")
