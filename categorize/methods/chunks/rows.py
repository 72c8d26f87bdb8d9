"""Documents as the trainer reads them: their chunks' tokens, and batches of several documents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from categorize.methods.chunks.documents import DocumentChunks
from categorize.nn.tokenizer import TokenizedTexts, pad
from categorize.predictions import FloatArray
from categorize.training.step_batches import StepRows
from categorize.training.trainer import HeadCollator


class ChunkRows(StepRows):
    """Documents with targets [n, labels] and loss weights [n]; a row's length is the tokens of its chunks."""

    def __init__(
        self, documents: DocumentChunks, tokens: TokenizedTexts, targets: FloatArray, weights: FloatArray
    ) -> None:
        lengths = np.array([tokens.lengths[chunks].sum() for chunks in documents.chunks], dtype=np.int64)
        super().__init__(lengths, weights)
        self.documents, self.tokens, self.targets = documents, tokens, targets

    def item(self, row: int) -> dict[str, Any]:
        """Token ids of each chunk of a document, and its target."""
        return {"chunks": [self.tokens[i] for i in self.documents.chunks[row]], "target": self.targets[row]}

    @property
    def truncated(self) -> int:
        """Documents of which chunks were left out."""
        return int(np.count_nonzero(self.documents.left_out))


class ChunkCollator(HeadCollator):
    """The chunks of all documents of a micro-batch, [chunks, tokens], and the document of each."""

    def inputs(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """What the network reads."""
        counts = torch.tensor([len(item["chunks"]) for item in items])
        batch = pad([chunk for item in items for chunk in item["chunks"]], self.pad_token_id, self.multiple)
        return {**batch, "document": torch.arange(len(items)).repeat_interleave(counts)}
