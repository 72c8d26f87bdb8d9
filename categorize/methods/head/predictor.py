"""Predicts with a head: distinct texts once, sorted by length, in batches that a token budget bounds."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import pyarrow as pa

from categorize.data.segments.tokens import TokenCounter
from categorize.engines.batching import distinct_inputs, model_inputs
from categorize.engines.encoder import TorchEncoder
from categorize.engines.engine import Engine
from categorize.labels import LabelSet
from categorize.methods.head.model import Head
from categorize.nn.text_tokens import text_tokens
from categorize.nn.tokenizer import TokenizedTexts, tokenize
from categorize.predictions import Predictions, Usage
from categorize.recipe.decision_sections import PredictionSection


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
        self.tokens: TokenCounter = text_tokens(head.tokenizer, head.settings.max_length, head.prompt)
        self.output = head.output(label_set)
        # What is pooled over all tokens needs the hidden states of the instruction, too.
        prefix = head.prompt.prefix_ids if head.prompt is not None and head.settings.pooling == "default" else ()
        self.engine: Engine[TokenizedTexts] = TorchEncoder(
            head.model, self.output.width, self.section, head.settings.quantization is not None, prefix
        )

    def predict(self, batches: Iterable[pa.RecordBatch]) -> Iterator[Predictions]:
        """Predictions of each record batch; equal texts are computed once."""
        for batch in batches:
            start = time.perf_counter()
            texts, inverse = distinct_inputs(model_inputs(batch, self.head.prompt), self.head.prompt)
            tokens = encode_texts(self.head, texts)
            logits = self.engine.outputs(tokens)[inverse]
            usage = Usage(
                rows=batch.num_rows,
                tokens=int(tokens.lengths.sum()),
                truncated_rows=int(tokens.cut[inverse].sum()),
                seconds=time.perf_counter() - start,
            )
            yield self.output.predictions(batch.column("id").to_pylist(), logits, usage)


def encode_texts(head: Head, inputs: list[Any]) -> TokenizedTexts:
    """Token ids of texts, or of prompts where the head reads one."""
    if (prompt := head.prompt) is None:
        return tokenize(head.tokenizer, inputs, head.settings.max_length)
    encoded = [prompt.encode(fields) for fields in inputs]
    return TokenizedTexts.from_lists([one.prompt_ids for one in encoded], [one.truncated for one in encoded])
