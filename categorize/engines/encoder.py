"""The engine of encoders, and of decoders with a head: logits of tokenized texts, by padded forward passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

import numpy as np

from categorize.engines.at_once import changes_by_batch, for_each
from categorize.engines.batching import ON_CPU, ROWS_ON_CPU, autocast, compute_dtype, length_sorted_batches
from categorize.engines.first_token import narrow_last_layer
from categorize.engines.packed import pack
from categorize.engines.shared_prefix import SharedPrefix, begins_with, head_shares_prefix
from categorize.nn.device import keep_heap
from categorize.nn.tokenizer import TokenizedTexts, pad
from categorize.predictions import BoolArray, FloatArray, IntArray
from categorize.recipe.decision_sections import PredictionSection


class TorchEncoder:
    """A torch model that gives one row of logits a text.

    Args:
        model: takes `input_ids` and `attention_mask`; its config names the pad token.
        width: outputs of a text.
        section: batch bounds and the type of the computation.
        placed: the weights are where they belong (quantized ones); else they go to a GPU where there is one.
        prefix: token ids that texts may begin with, of a prompt; a decoder whose head reads the last token computes
            them once.
    """

    def __init__(
        self, model: Any, width: int, section: PredictionSection, placed: bool = False, prefix: Sequence[int] = ()
    ) -> None:
        import torch

        self.model, self.width, self.section = model, width, section
        self.prefix = tuple(prefix) if prefix and head_shares_prefix(model) else ()
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not placed:
            model.to(self.device)
        model.eval()
        self.shared = SharedPrefix(model, self.device, pad_token_id=model.config.pad_token_id or 0)
        self.packed: str | None = None
        self.at_once = not changes_by_batch(model)
        self.packs = not placed and self.device.type == "cpu" and section.dtype != "float16"
        self.packs = self.packs and compute_dtype("auto", model, self.device) is None
        if self.device.type == "cpu":
            keep_heap()

    @property
    def computes_in(self) -> str:
        """The type that matrices are multiplied in."""
        dtype = compute_dtype(self.section.dtype, self.model, self.device)
        return self.packed or str(dtype or next(self.model.parameters()).dtype).removeprefix("torch.")

    def pack(self, dtype: Literal["float32", "bfloat16"], whole: Sequence[str] = ()) -> None:
        """Compute in a type from now on, by weights that are laid out for it, see `packed.pack`; for models with
        float32 weights on a CPU (`packs`), which belong to the engine alone."""
        import torch

        if self.packed is None and not head_shares_prefix(self.model):
            narrow_last_layer(self.model)
        pack(self.model, getattr(torch, dtype), whole)
        self.packed = dtype
        self.shared.forget()

    def outputs(self, texts: TokenizedTexts) -> FloatArray:
        """The model's logits, float64 [texts, width]."""
        import torch

        result = np.zeros((len(texts), self.width), dtype=np.float64)
        multiple = 8 if self.device.type == "cuda" else 1
        pad_token_id, section = self.model.config.pad_token_id, self.section
        on_cpu = self.device.type == "cpu"
        most_rows = section.batch_size or (ROWS_ON_CPU if on_cpu else section.most_rows)
        budget = section.batch_tokens or (ON_CPU if on_cpu else section.most_tokens)

        @contextmanager
        def computing() -> Iterator[None]:
            with torch.inference_mode(), autocast(self.packed or section.dtype, self.model, self.device):
                yield

        def compute(at: IntArray, prefix: tuple[int, ...]) -> None:
            padded = pad([texts[i][len(prefix) :] for i in at], pad_token_id, multiple)
            result[at] = self.shared.forward(prefix, padded).logits.float().cpu().numpy()

        with computing():
            shares = self._shares(texts)
        for members, prefix in ((np.flatnonzero(shares), self.prefix), (np.flatnonzero(~shares), ())):
            lengths = texts.lengths[members] - len(prefix)
            batches = [members[one] for one in length_sorted_batches(lengths, most_rows, budget)]
            if batches:
                with computing(), self.shared.serving([prefix]):
                    at_once = self.at_once and self.packed is not None and not prefix
                    for_each(batches, partial(compute, prefix=prefix), at_once, computing)
        return result

    def _shares(self, texts: TokenizedTexts) -> BoolArray:
        """Which texts are read behind the prefix, bool [texts]."""
        none = np.zeros(len(texts), dtype=bool)
        if not self.prefix:
            return none
        begin = np.array([begins_with(texts[i], self.prefix) for i in range(len(texts))], dtype=bool)
        if begin.any():
            members = np.flatnonzero(begin)[np.argsort(texts.lengths[begin])]
            self.shared.settle(self.prefix, [tuple(texts[i][len(self.prefix) :]) for i in members[[0, -1]]])
        return begin if self.shared.served(self.prefix) else none
