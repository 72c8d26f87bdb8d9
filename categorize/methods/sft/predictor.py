"""Predicts with a causal model: by scoring the label set, or by generating an answer and reading it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import TokenCounter
from categorize.engines.batching import distinct_inputs, input_key, model_inputs
from categorize.engines.generation import generate_answers
from categorize.engines.half_precision import PAYS, Agreement, bfloat16_gain
from categorize.engines.label_scoring import TorchLabelScorer
from categorize.engines.remembered import Remembered
from categorize.engines.shared_prefix import SharedPrefix
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.sft.model import Causal
from categorize.nn.head_output import head_output
from categorize.nn.text_tokens import PromptTokens
from categorize.predictions import BoolArray, FloatArray, Predictions, Usage
from categorize.processes import print0
from categorize.prompts.tokens import EncodedPrompt, PromptFormat
from categorize.recipe.decision_sections import CausalPredictionSection
from categorize.recipe.section import DType

if TYPE_CHECKING:
    import torch

COMPARED = 64  # rows that are scored in float32 and in bfloat16 before bfloat16 is trusted


def prediction_mode(section: CausalPredictionSection, label_set: LabelSet, completion: str = "names") -> str:
    """`scoring` or `generation`.

    Raises:
        UserError: scoring was asked for several labels in an answer or a number; generation of a yes or no a label, or
            with what is for scores.
    """
    yes_no = completion == "yes_no"
    scorable = yes_no or label_set.task in ("single_label", "ordinal")
    if section.mode == "scoring" and not scorable:
        others = " or prompt.completion: yes_no" if label_set.is_multi_label else ""
        raise UserError(
            f"prediction.mode: scoring chooses one label, the task is {label_set.task}; use generation{others}"
        )
    if section.mode == "generation" and yes_no:
        raise UserError("prediction.mode: with prompt.completion: yes_no labels are scored; use scoring")
    mode = section.mode or ("scoring" if scorable else "generation")
    for key in ("length_normalization", "prior"):
        if mode == "generation" and getattr(section, key) not in (None, False, "none"):
            raise UserError(
                f"prediction.{key}: is for labels that are scored, this run generates answers; leave it out"
            )
    return mode


class CausalPredictor:
    """A causal model that answers with labels.

    Args:
        causal: model, tokenizer, settings.
        prompt: renders rows and names the labels' tokens; its label set is the predictor's.
        section: mode, batch bounds, computation type.
        device: where the model is, or goes; a GPU where there is one by default.
        shared: what another predictor of the same model keeps of prefixes.
    """

    unit: Literal["row", "document"] = "row"

    def __init__(
        self,
        causal: Causal,
        prompt: PromptFormat,
        section: CausalPredictionSection | None = None,
        device: torch.device | None = None,
        shared: SharedPrefix | None = None,
    ) -> None:
        import torch

        prompt.check_answers()
        self.causal, self.prompt = causal, prompt
        self.label_set = prompt.label_set
        self.tokens: TokenCounter = PromptTokens(prompt)
        self.section = section or CausalPredictionSection()
        self.mode = prediction_mode(self.section, self.label_set, prompt.settings.completion)
        if self.mode == "generation" and causal.settings.loss == "label_set":
            raise UserError(
                "prediction.mode: generation: the run learned labels among each other (training.loss: label_set), not "
                "to write an answer and end it; use scoring"
            )
        self.output = head_output(self.label_set)
        self.device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if causal.settings.quantization is None:
            causal.model.to(self.device)
        causal.model.eval()
        self.shared = shared or SharedPrefix(causal.model, self.device)
        self.remembered = Remembered()
        self._tokens = 0  # of the last inputs
        self.computed: dict[str, Any] = {}
        if self.mode == "scoring":
            normalized = self.section.length_normalization is True
            self.computed = {"prior": self.section.prior or "none", "length_normalization": normalized}

    def remember(self) -> None:
        """See `Remembers`."""
        self.remembered.begin()

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal rows are computed once."""
        for batch in batches:
            start = time.perf_counter()
            inputs, inverse = distinct_inputs(model_inputs(batch, self.prompt), self.prompt)
            ids = batch.column("id").to_pylist()
            if self.mode == "scoring":
                self._tokens = 0
                scores, cut = self.remembered.complete(inputs, input_key(self.prompt), self._scores)
                usage = Usage(len(ids), self._tokens, 0, int(cut[inverse].sum()), time.perf_counter() - start)
                yield self.output.predictions(ids, scores[inverse], usage)
                continue
            rows = self.prompt.encode_all(inputs)
            truncated = sum(rows[i].truncated for i in inverse)
            tokens = sum(len(row.prompt_ids) for row in rows)
            answers, generated = self.generate(rows)
            usage = Usage(len(ids), tokens, generated, truncated, time.perf_counter() - start)
            yield self.prompt.predictions(ids, [answers[i] for i in inverse], self.section.parsing, usage)

    def _scores(self, inputs: Sequence[Any]) -> tuple[FloatArray, BoolArray]:
        """Scores of inputs, float64 [inputs, labels], and which of them were cut, bool [inputs]."""
        rows = self.prompt.encode_all(list(inputs))
        self._tokens = sum(len(row.prompt_ids) for row in rows)
        self._settle_dtype(rows)
        return self.engine.outputs(rows), np.array([row.truncated for row in rows], dtype=bool)

    def _settle_dtype(self, rows: Sequence[EncodedPrompt]) -> None:
        """Where many rows are scored on a CPU, choose bfloat16 once if it is faster and no clear label of some rows
        changes."""
        shared = self.shared
        asked = self.section.dtype == "auto" and self.device.type == "cpu" and len(rows) >= 4 * COMPARED
        if not asked or shared.dtype is not None:
            return
        shared.dtype = "auto"
        if (gain := bfloat16_gain(self.causal.model)) < PAYS:
            return
        order = np.argsort([len(row) for row in rows])[np.linspace(0, len(rows) - 1, COMPARED).astype(int)]
        sample = [rows[i] for i in order]

        def computed(dtype: DType) -> Predictions:
            shared.dtype = dtype
            shared.forget()
            return self.output.predictions([""] * len(sample), self.engine.outputs(sample))

        agreement = Agreement.of(computed("float32"), computed("bfloat16"), self.label_set.is_multi_label)
        if agreement.beyond:
            shared.dtype = "float32"
            shared.forget()
        told = "computing in float32, not bfloat16" if agreement.beyond else "computing in bfloat16"
        print0(f"{told}, {gain:.1f} times as fast here as float32: {agreement.told()} (prediction.dtype)")

    def for_labels(self, label_set: LabelSet) -> CausalPredictor:
        """The same model, asked about other labels of the same task."""
        return CausalPredictor(self.causal, self.prompt.for_labels(label_set), self.section, self.device, self.shared)

    @cached_property
    def engine(self) -> TorchLabelScorer:
        """What scores labels."""
        return self.scorer(self.section)

    def scorer(self, section: CausalPredictionSection) -> TorchLabelScorer:
        """The same model's, with another section. A prior `batch` was measured for the labels of training alone."""
        known, leaning = self.causal.settings.leaning, None
        if section.prior == "batch" and (lacking := [name for name in self.label_set.names if name not in known]):
            print0(f"prediction.prior: batch was not measured for {lacking[0]!r}: nothing is taken away from scores")
        elif section.prior == "batch":
            leaning = np.array([known[name] for name in self.label_set.names])
        return TorchLabelScorer(self.prompt, section, self.shared, leaning)

    def generate(self, rows: Sequence[EncodedPrompt], in_step: bool = False) -> tuple[list[str], int]:
        """Greedy answers, and how many tokens were generated; see `generate_answers`."""
        return generate_answers(self.causal.model, self.prompt, rows, self.section, self.device, in_step=in_step)
