"""The engine of encoders, and of decoders with a head: logits of tokenized texts, by padded forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from categorize.engines.batching import autocast, length_sorted_batches
from categorize.engines.shared_prefix import begins_with, behind_prefix, head_shares_prefix, is_repeatable
from categorize.nn.tokenizer import TokenizedTexts, pad
from categorize.predictions import BoolArray, FloatArray
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
        self.prefix = list(prefix) if prefix and head_shares_prefix(model) else []
        self._cache: Any = None
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if not placed:
            model.to(self.device)
        model.eval()

    def outputs(self, texts: TokenizedTexts) -> FloatArray:
        """The model's logits, float64 [texts, width]."""
        import torch

        result = np.zeros((len(texts), self.width), dtype=np.float64)
        multiple = 8 if self.device.type == "cuda" else 1
        pad_token_id, section = self.model.config.pad_token_id, self.section
        with torch.inference_mode(), autocast(section.dtype, self.model, self.device):
            shared = self._shared(texts)
            for members, prefix in ((np.flatnonzero(shared), len(self.prefix)), (np.flatnonzero(~shared), 0)):
                lengths = texts.lengths[members] - prefix
                for batch in length_sorted_batches(lengths, section.batch_size, section.batch_tokens):
                    at = members[batch]
                    padded = pad([texts[i][prefix:] for i in at], pad_token_id, multiple)
                    inputs = {key: value.to(self.device) for key, value in padded.items()}
                    if prefix:
                        inputs = behind_prefix(self._cache, prefix, padded, self.device)
                    result[at] = self.model(**inputs).logits.float().cpu().numpy()
        return result

    def _shared(self, texts: TokenizedTexts) -> BoolArray:
        """Which texts are read behind the prefix, bool [texts]; its keys and values are computed with the first."""
        import torch

        if self.prefix and self._cache is None and len(texts):
            ids = torch.tensor([self.prefix], device=self.device)
            self._cache = self.model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=True).past_key_values
            if not is_repeatable(self._cache):
                self.prefix = []
        return np.array(
            [bool(self.prefix) and begins_with(texts[i], self.prefix) for i in range(len(texts))], dtype=bool
        )
