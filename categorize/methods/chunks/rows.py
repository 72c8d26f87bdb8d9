"""Documents as the trainer reads them: tokens or vectors of their chunks, and batches of several documents."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from categorize.features.featurizer import Vectors
from categorize.methods.chunks.documents import DocumentChunks
from categorize.nn.tokenizer import TokenizedTexts, pad
from categorize.predictions import FloatArray
from categorize.training.step_batches import StepRows
from categorize.training.trainer import HeadCollator


class ChunkRows(StepRows):
    """Documents with targets [n, labels] and loss weights [n].

    Args:
        read: of each distinct chunk its tokens, or its vector [texts, size].
    """

    def __init__(
        self, documents: DocumentChunks, read: TokenizedTexts | Vectors, targets: FloatArray, weights: FloatArray
    ) -> None:
        sizes = read.lengths if isinstance(read, TokenizedTexts) else np.ones(len(read), dtype=np.int64)
        super().__init__(np.array([sizes[chunks].sum() for chunks in documents.chunks], dtype=np.int64), weights)
        self.documents, self.read, self.targets = documents, read, targets

    def item(self, row: int) -> dict[str, Any]:
        """What is read of each chunk of a document, and its target."""
        return {"chunks": [self.read[i] for i in self.documents.chunks[row]], "target": self.targets[row]}

    @property
    def truncated(self) -> int:
        """Documents of which chunks were left out."""
        return int(np.count_nonzero(self.documents.left_out))


class ChunkCollator(HeadCollator):
    """The chunks of all documents of a micro-batch, [chunks, tokens], and the document of each."""

    def inputs(self, items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """What the network reads."""
        counts = torch.tensor([len(item["chunks"]) for item in items])
        chunks = [chunk for item in items for chunk in item["chunks"]]
        return {**self.chunks(chunks), "document": torch.arange(len(items)).repeat_interleave(counts)}

    def chunks(self, chunks: list[Any]) -> dict[str, torch.Tensor]:
        """Padded token ids."""
        return pad(chunks, self.pad_token_id, self.multiple)


class VectorCollator(ChunkCollator):
    """The same with vectors [chunks, size]."""

    def chunks(self, chunks: list[Any]) -> dict[str, torch.Tensor]:
        """Vectors, one a row."""
        return {"vectors": torch.from_numpy(np.stack(chunks))}
