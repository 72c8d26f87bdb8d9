"""Predicts with a head: distinct texts once, sorted by length, in batches that a token budget bounds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from categorize.data.segments.tokens import TokenCounter
from categorize.engines.batching import distinct_inputs, input_key, model_inputs
from categorize.engines.encoder import TorchEncoder
from categorize.engines.engine import Engine
from categorize.engines.half_precision import PAYS, Agreement, bfloat16_gain
from categorize.engines.remembered import Remembered
from categorize.labels import LabelSet
from categorize.methods.head.model import OUTPUT_MODULES, Head
from categorize.methods.head.runtime import ENOUGH, GATED, GraphEncoder, check_engine, graph_engine
from categorize.nn.text_tokens import text_tokens
from categorize.nn.tokenizer import TokenizedTexts, tokenize
from categorize.predictions import BoolArray, FloatArray, Predictions, Usage
from categorize.processes import print0
from categorize.recipe.decision_sections import PredictionSection

COMPARED = 256  # texts that are computed in float32 and in bfloat16, before bfloat16 is trusted


class HeadPredictor:
    """A model with a classification or regression head.

    Args:
        head: model, tokenizer, settings, and the prompt that it reads rows in.
        label_set: labels in the order of the head's outputs.
        section: batch bounds and the type of the computation.
    """

    unit: Literal["row", "document"] = "row"

    def __init__(self, head: Head, label_set: LabelSet, section: PredictionSection | None = None) -> None:
        self.head = head
        self.label_set = label_set
        self.section = section or PredictionSection()
        check_engine(self.section.engine)
        self.tokens: TokenCounter = text_tokens(head.tokenizer, head.settings.max_length, head.prompt)
        self.output = head.output(label_set)
        # What is pooled over all tokens needs the hidden states of the instruction, too.
        prefix = head.prompt.prefix_ids if head.prompt is not None and head.settings.pooling == "default" else ()
        self.engine = TorchEncoder(
            head.model, self.output.width, self.section, head.settings.quantization is not None, prefix
        )
        self._agreement = Agreement()
        self._runtime: GraphEncoder | None = None
        self.remembered = Remembered()
        self._tokens, self._making = 0, 0.0  # of the last inputs; seconds in which their engine was made
        self._gain = 1.0
        self._begun = False
        self._compared = COMPARED
        self._trial = False  # whether another way of computing is still compared with float32 by torch

    @property
    def computed(self) -> dict[str, Any]:
        """The type that predictions are computed in, and how bfloat16 agreed with float32 where that was to be seen."""
        if self._runtime is not None:
            half = {"inference_precision": "bfloat16"} if self._runtime.dtype == "bfloat16" else {}
            return {"engine": self.section.engine, **half, "agreement": self._runtime.agreement.facts()}
        facts = {"agreement": self._agreement.facts()} if self._agreement.rows else {}
        return {"dtype": self.engine.computes_in, **facts}

    def remember(self) -> None:
        """See `Remembers`."""
        self.remembered.begin()

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal texts are computed once."""
        for batch in batches:
            start = time.perf_counter()
            prompt, self._tokens, self._making = self.head.prompt, 0, 0.0
            texts, inverse = distinct_inputs(model_inputs(batch, prompt), prompt)
            logits, cut = self.remembered.complete(texts, input_key(prompt), self._outputs)
            usage = Usage(
                rows=batch.num_rows,
                tokens=self._tokens,
                truncated_rows=int(cut[inverse].sum()),
                seconds=time.perf_counter() - start - self._making,
            )
            yield self.output.predictions(batch.column("id").to_pylist(), logits[inverse], usage)

    def _outputs(self, inputs: Sequence[Any]) -> tuple[FloatArray, BoolArray]:
        """Logits of inputs, float64 [inputs, width], and which of them were cut, bool [inputs]."""
        tokens = encode_texts(self.head, list(inputs))
        self._tokens = int(tokens.lengths.sum())
        if not self._begun and len(tokens):
            before = time.perf_counter()
            self._begin(tokens)
            self._making = time.perf_counter() - before
        if self._trial and len(tokens):
            self._compare(tokens)
        engine: Engine[TokenizedTexts] = self._runtime or self.engine
        return engine.outputs(tokens), tokens.cut

    # ------------------------------------------------------------ which way of computing
    def _begin(self, tokens: TokenizedTexts) -> None:
        """Make the engine that is asked for, or lay the weights out for this CPU in the type that is; once."""
        self._begun = True
        asked, packs = self.section.dtype, self.engine.packs
        if self.section.engine != "torch":
            # Other texts than those that are compared, where there are so many.
            sample = of_all_lengths(of_all_lengths(tokens, GATED, other=True), ENOUGH)
            self._runtime, self._compared = graph_engine(self.head, self.output.width, self.section, sample), GATED
            self._trial = self._runtime.agreement.rows < GATED
            if not self._trial:
                self._runtime.check()
        elif asked == "auto" and packs:
            self._gain = bfloat16_gain(self.head.model)
            self._trial = self._gain >= PAYS
        if packs:
            self.engine.pack("bfloat16" if asked == "bfloat16" else "float32", OUTPUT_MODULES)

    def _compare(self, tokens: TokenizedTexts) -> None:
        """Compute some texts, of all lengths, in float32 by torch and in the other way, and keep to that if it agrees:
        bfloat16 where no clear label changes, another engine as `GraphEncoder.admit` says."""
        before = self._agreement if self._runtime is None else self._runtime.agreement
        sample = of_all_lengths(tokens, self._compared - before.rows)
        exact = self._sampled(sample, "float32")
        if self._runtime is not None:
            self._runtime.admit(self._agreed(exact, self._predicted(self._runtime.outputs(sample))))
            self._trial = self._runtime.agreement.rows < self._compared
            if not before.rows:
                print0(f"computing by {self._runtime.told}: {self._runtime.agreement.told()} beside torch")
            return
        self._agreement = before + self._agreed(exact, self._sampled(sample, "bfloat16"))
        if self._agreement.beyond:
            self.engine.pack("float32", OUTPUT_MODULES)
            self.remembered.forget()
        self._trial = not self._agreement.beyond and self._agreement.rows < self._compared
        if self._agreement.beyond or not before.rows:
            told, dtype = self._agreement.told(), self.engine.computes_in
            instead = f"computing in {dtype}, not bfloat16" if self._agreement.beyond else "computing in bfloat16"
            print0(f"{instead}, {self._gain:.1f} times as fast here as float32: {told} (prediction.dtype)")

    def _sampled(self, sample: TokenizedTexts, dtype: Literal["float32", "bfloat16"]) -> Predictions:
        if self.engine.packs:
            self.engine.pack(dtype, OUTPUT_MODULES)
        return self._predicted(self.engine.outputs(sample))

    def _predicted(self, logits: FloatArray) -> Predictions:
        return self.output.predictions([""] * len(logits), logits)

    def _agreed(self, exact: Predictions, other: Predictions) -> Agreement:
        return Agreement.of(exact, other, self.label_set.is_multi_label, self.head.settings.target_std)


def of_all_lengths(tokens: TokenizedTexts, count: int, other: bool = False) -> TokenizedTexts:
    """At most so many of the texts, from the shortest to the longest; `other`: those between them."""
    if len(tokens) <= count:
        return tokens
    order = np.argsort(tokens.lengths, kind="stable")
    places = np.linspace(0, len(order) - 1, 2 * count).astype(int)[int(other) :: 2]
    return tokens.take(order[np.unique(places)])


def encode_texts(head: Head, inputs: list[Any]) -> TokenizedTexts:
    """Token ids of texts, or of prompts where the head reads one."""
    if (prompt := head.prompt) is None:
        return tokenize(head.tokenizer, inputs, head.settings.max_length)
    encoded = [prompt.encode(fields) for fields in inputs]
    return TokenizedTexts.from_lists([one.prompt_ids for one in encoded], [one.truncated for one in encoded])
