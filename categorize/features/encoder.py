"""Hidden states of any encoder or decoder as vectors of texts: the mean over the tokens, the first, or the last one
(Reimers and Gurevych, 2019, Sentence-BERT)."""

from __future__ import annotations

from functools import cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from categorize.engines.encoder import TorchEncoder
from categorize.features.featurizer import Vectors
from categorize.features.pretrained import PretrainedFeaturizer
from categorize.nn.pooling import masked_mean
from categorize.nn.precision import resolve_dtype
from categorize.nn.pretrained import load_pretrained
from categorize.nn.tokenizer import clamp_length, loading, tokenize
from categorize.predictions import BoolArray


class EncoderFeaturizer(PretrainedFeaturizer):
    """Any model of transformers that gives hidden states; of an encoder-decoder, its encoder."""

    def commit(self) -> str:
        """Of the model of the Hub."""
        from transformers import AutoConfig

        place, revision = self.section.name_or_path, self.section.revision
        with loading(place, "the model"):
            config = AutoConfig.from_pretrained(place, revision=revision, trust_remote_code=self.trust_remote_code)
        return str(config._commit_hash)

    @cached_property
    def _engine(self) -> tuple[TorchEncoder, Any]:
        import torch
        from transformers import AutoModel

        model, tokenizer, _ = load_pretrained(
            AutoModel,
            self.section.name_or_path,
            revision=self.section.revision,
            dtype=resolve_dtype("auto", trained=False),
            trust_remote_code=self.trust_remote_code,
        )
        if model.config.is_encoder_decoder:
            model = model.get_encoder()
        pooling = self.section.pooling

        class Pooled(torch.nn.Module):
            """The model with its pooled hidden states for logits."""

            def __init__(self) -> None:
                super().__init__()
                self.model, self.config = model, model.config

            def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
                hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
                if pooling == "mean":
                    return SimpleNamespace(logits=masked_mean(hidden, attention_mask))
                last = attention_mask.sum(1) - 1 if pooling == "last_token" else torch.zeros_like(input_ids[:, 0])
                return SimpleNamespace(logits=hidden[torch.arange(len(hidden), device=hidden.device), last])

        return TorchEncoder(Pooled(), model.config.get_text_config().hidden_size, self.prediction), tokenizer

    def embed(self, texts: list[str]) -> tuple[Vectors, BoolArray]:
        """Pooled hidden states, in batches of like length."""
        engine, tokenizer = self._engine
        longest = clamp_length(self.section.max_length, engine.model.config, tokenizer)
        tokens = tokenize(tokenizer, [self.section.prefix + text for text in texts], longest)
        vectors = engine.outputs(tokens)
        if self.section.normalize:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors.astype(np.float32), tokens.cut
