"""What makes one vector of the chunk vectors of a document, or one for each label.

All read chunk vectors [documents, chunks, size] with `mask` [documents, chunks], True where there is a chunk, and give
[documents, width], or [documents, labels, width]; `LogSumExp` joins logits of chunks instead. What stands at masked
places changes nothing. Those that weigh chunks tell how, `weights` [documents, chunks] or [documents, labels, chunks].
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import nn

Tensor = torch.Tensor


class Mean(nn.Module):
    """The mean of the chunks."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.width = size

    def weights(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """The same for every chunk."""
        return torch.div(mask.to(vectors.dtype), mask.sum(1, keepdim=True))

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """[documents, size]."""
        return torch.einsum("dc,dcs->ds", self.weights(vectors, mask), vectors)


class Max(nn.Module):
    """The maximum over the chunks, in each dimension."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.width = size

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """[documents, size]."""
        return vectors.masked_fill(~mask.unsqueeze(-1), -torch.inf).amax(1)


class Attention(nn.Module):
    """A mean with learned weights, by gated attention (Ilse, Tomczak and Welling, 2018, Attention-based Deep Multiple
    Instance Learning). Blind to the order of chunks.

    Args:
        labels: how many means, each with weights of its own (Mullenbach et al., 2018); None: one for all labels.
    """

    def __init__(self, size: int, hidden: int, labels: int | None = None) -> None:
        super().__init__()
        self.labels = labels
        self.value, self.gate = nn.Linear(size, hidden), nn.Linear(size, hidden)
        self.score = nn.Linear(hidden, labels or 1, bias=False)
        self.width = size

    def weights(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Sum to 1 over the chunks of a document."""
        scores = self.score(torch.tanh(self.value(vectors)) * torch.sigmoid(self.gate(vectors)))
        weights = scores.masked_fill(~mask.unsqueeze(-1), -torch.inf).softmax(1).transpose(1, 2)
        shares: Tensor = weights if self.labels else weights[:, 0]
        return shares

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """[documents, size], or [documents, labels, size]."""
        return torch.einsum("d...c,dcs->d...s", self.weights(vectors, mask), vectors)


class Mlp(nn.Module):
    """The mean of what a network makes of each chunk (Zaheer et al., 2017, Deep Sets)."""

    def __init__(self, size: int, hidden: int, layers: int) -> None:
        super().__init__()
        sizes = [size, *[hidden] * layers]
        self.network = nn.Sequential(*(module for a, b in pairwise(sizes) for module in (nn.Linear(a, b), nn.GELU())))
        self.mean = Mean(hidden)
        self.width = hidden

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """[documents, hidden]."""
        joined: Tensor = self.mean(self.network(vectors), mask)
        return joined


class LogSumExp(nn.Module):
    """Each chunk has logits of its own, from what a network makes of it, and the document's are their logarithm of the
    sum of exponentials: one chunk suffices for a label (Ramon and De Raedt, 2000, Multi Instance Neural Networks)."""

    def __init__(self, size: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.network = Mlp(size, hidden, layers).network
        self.width = hidden

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """[documents, chunks, hidden]; what logits of chunks are made of."""
        made: Tensor = self.network(vectors)
        return made

    def join(self, logits: Tensor, mask: Tensor) -> Tensor:
        """[documents, labels] of the chunks' logits."""
        return logits.masked_fill(~mask.unsqueeze(-1), -torch.inf).logsumexp(1)


class Lstm(nn.Module):
    """The last states of an LSTM in either direction (Pappagari et al., 2019, Hierarchical Transformers for Long
    Document Classification)."""

    def __init__(self, size: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.network = nn.LSTM(size, hidden, layers, batch_first=True, bidirectional=True)
        self.width = 2 * hidden

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """[documents, 2 * hidden]."""
        lengths = mask.sum(1).cpu()
        packed = nn.utils.rnn.pack_padded_sequence(vectors, lengths, batch_first=True, enforce_sorted=False)
        _, (states, _) = self.network(packed)
        return torch.cat([states[-2], states[-1]], dim=-1)


class Transformer(nn.Module):
    """The mean over what transformer layers make of the chunks, at sinusoidal positions (Pappagari et al., 2019)."""

    def __init__(self, size: int, hidden: int, layers: int) -> None:
        super().__init__()
        heads = next(n for n in (8, 4, 2, 1) if size % n == 0)
        layer = nn.TransformerEncoderLayer(size, heads, hidden, dropout=0.0, batch_first=True, norm_first=True)
        self.network = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.mean = Mean(size)
        self.width = size

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """[documents, size]."""
        read = self.network(vectors + positions(vectors), src_key_padding_mask=~mask)
        joined: Tensor = self.mean(read.masked_fill(~mask.unsqueeze(-1), 0.0), mask)
        return joined


def positions(vectors: Tensor) -> Tensor:
    """Sinusoids of the chunks' places [chunks, size] (Vaswani et al., 2017)."""
    chunks, size = vectors.shape[1:]
    place = torch.arange(chunks, device=vectors.device, dtype=torch.float32).unsqueeze(1)
    rate = torch.exp(torch.arange(0, size, 2, device=vectors.device) * (-math.log(10000.0) / size))
    angles = torch.stack([(place * rate).sin(), (place * rate).cos()], dim=-1).flatten(1)
    return angles[:, :size].to(vectors.dtype)


def build_aggregator(kind: str, size: int, hidden: int | None, layers: int, labels: int) -> nn.Module:
    """The aggregator that a recipe names, for chunk vectors of this size."""
    half = hidden or max(size // 2, 1)
    if kind in ("mean", "max"):
        return Mean(size) if kind == "mean" else Max(size)
    if kind in ("attention", "label_attention"):
        return Attention(size, half, labels if kind == "label_attention" else None)
    if kind == "transformer":
        return Transformer(size, hidden or 2 * size, layers)
    kinds = {"mlp": Mlp, "logsumexp": LogSumExp, "lstm": Lstm}
    return kinds[kind](size, half, layers)
