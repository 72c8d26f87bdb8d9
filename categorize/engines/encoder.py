"""The engine of encoders, and of decoders with a head: logits of tokenized texts, by padded forward passes."""

from __future__ import annotations

from typing import Any

import numpy as np

from categorize.engines.batching import autocast, length_sorted_batches
from categorize.nn.tokenizer import TokenizedTexts, pad
from categorize.predictions import FloatArray
from categorize.recipe.decision_sections import PredictionSection


class TorchEncoder:
    """A torch model that gives one row of logits a text.

    Args:
        model: takes `input_ids` and `attention_mask`; its config names the pad token.
        width: outputs of a text.
        section: batch bounds and the type of the computation.
        placed: the weights are where they belong (quantized ones); else they go to a GPU where there is one.
    """

    def __init__(self, model: Any, width: int, section: PredictionSection, placed: bool = False) -> None:
        import torch

        self.model, self.width, self.section = model, width, section
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
            for at in length_sorted_batches(texts.lengths, section.batch_size, section.batch_tokens):
                inputs = pad([texts[i] for i in at], pad_token_id, multiple)
                output = self.model(**{key: value.to(self.device) for key, value in inputs.items()})
                result[at] = output.logits.float().cpu().numpy()
        return result
