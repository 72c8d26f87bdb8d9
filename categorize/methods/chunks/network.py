"""The network: an encoder of chunks, an aggregator of their vectors, and a linear layer, as a model of transformers."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.configuration_utils import SubConfigSpec
from transformers.modeling_outputs import SequenceClassifierOutput

from categorize.methods.chunks.aggregators import Attention, LogSumExp, Mean, build_aggregator
from categorize.nn.device import trim_heap
from categorize.nn.pooling import masked_mean

Tensor = torch.Tensor


class ChunksConfig(PreTrainedConfig):  # type: ignore[misc]
    """Of a `ChunkClassifier`: that of its encoder, and what stands on it.

    Attributes:
        pooling: a chunk's vector, `mean` over its tokens or `cls`.
        aggregator: keys of the recipe's `model.aggregator`.
        chunk_batch: chunks that the encoder reads at once.
        vector_size: width of the chunk vectors that a network without an encoder is given; None: it has one.
    """

    model_type = "categorize_chunks"
    sub_configs_defaults: ClassVar[dict[str, Any]] = {
        "encoder_config": SubConfigSpec(config_class=AutoConfig, model_type="bert")
    }

    encoder_config: Any = None  # given as a dict, held as the encoder's own class
    pooling: str = "mean"
    aggregator: dict[str, Any] | None = None
    chunk_batch: int = 32
    pad_token_id: int | None = None
    vector_size: int | None = None

    @property
    def hidden_size(self) -> int:
        """Width of the chunk vectors."""
        return int(self.encoder_config.hidden_size) if self.vector_size is None else self.vector_size

    @property
    def num_hidden_layers(self) -> int:
        """Depth of the encoder."""
        return int(self.encoder_config.num_hidden_layers)


class ChunkClassifier(PreTrainedModel):  # type: ignore[misc]
    """Reads documents in chunks.

    Args:
        encoder: with its weights; by default a new one of the config's.
    """

    config_class = ChunksConfig
    base_model_prefix = "encoder"
    supports_gradient_checkpointing = True
    _supports_sdpa = _supports_flash_attn = _supports_flex_attn = _supports_attention_backend = True

    def __init__(self, config: ChunksConfig, encoder: PreTrainedModel | None = None) -> None:
        super().__init__(config)
        if config.vector_size is None:
            self.encoder = AutoModel.from_config(config.encoder_config) if encoder is None else encoder
            # Unused weights, which several processes stumble over.
            if getattr(self.encoder, "pooler", None) is not None:
                self.encoder.pooler = None
            self._no_split_modules = self.encoder._no_split_modules
        else:
            self.main_input_name = "vectors"
        made = dict(config.aggregator or {})
        kind, self.dropout = made["type"], nn.Dropout(made["dropout"])
        self.aggregator = build_aggregator(
            kind, config.hidden_size, made["hidden_size"], made["layers"], config.num_labels
        )
        self.classifier = nn.Linear(int(self.aggregator.width), config.num_labels)  # type: ignore[arg-type]
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """torch's own initial values stay, and the encoder brings its own."""

    def get_input_embeddings(self) -> nn.Module:
        """The encoder's; a network on vectors has none."""
        if self.config.vector_size is not None:
            raise NotImplementedError  # what transformers expects of a model without them
        return self.encoder.get_input_embeddings()  # type: ignore[no-any-return]

    def forward(
        self,
        document: Tensor,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        vectors: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits of documents from all their chunks.

        Args:
            document: of each chunk, [chunks], from 0 and rising.
            input_ids, attention_mask: [chunks, tokens].
            vectors: [chunks, size] instead, of a network without an encoder.
        """
        if vectors is None:
            assert input_ids is not None and attention_mask is not None
            vectors = self.chunks(input_ids, attention_mask)
        return SequenceClassifierOutput(logits=self.documents(vectors, document))

    def chunks(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Chunk vectors [chunks, size], read in batches of chunks of like length; in training each batch is computed
        again in the backward pass (Chen et al., 2016) where there are several."""
        size = self.config.chunk_batch
        if len(input_ids) <= size:
            return self.read(input_ids, attention_mask)
        lengths = attention_mask.sum(1)
        order = lengths.argsort(descending=True, stable=True)
        parts = []
        for at in torch.split(order, size):
            width = int(lengths[at[0]])
            ids, mask = input_ids[at, :width], attention_mask[at, :width]
            if self.training and torch.is_grad_enabled():
                parts.append(checkpoint(self.read_alone, ids, mask, use_reentrant=False))
            else:
                parts.append(self.read(ids, mask))
        return torch.cat(parts)[order.argsort()]

    def read(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Chunk vectors of one pass of the encoder."""
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden[:, 0] if self.config.pooling == "cls" else masked_mean(hidden, attention_mask)

    def read_alone(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The same, of a pass that is computed again later; on a CPU, what passes before it held goes back first."""
        if input_ids.device.type != "cpu":
            return self.read(input_ids, attention_mask)
        trim_heap()
        vectors = self.read(input_ids, attention_mask)
        trim_heap()
        return vectors

    def reader(self) -> ChunkReader:
        """The encoder as a model that gives chunk vectors."""
        return ChunkReader(self)

    def documents(self, vectors: Tensor, document: Tensor) -> Tensor:
        """Logits [documents, labels] from chunk vectors."""
        chunks, mask = self.dense(vectors, document)
        joined: Tensor = self.dropout(self.aggregator(chunks, mask))
        if isinstance(self.aggregator, LogSumExp):
            return self.aggregator.join(self.classifier(joined), mask)
        if joined.ndim == 2:
            return functional.linear(joined, self.classifier.weight, self.classifier.bias)
        return (joined * self.classifier.weight).sum(-1) + self.classifier.bias

    def weights(self, vectors: Tensor, document: Tensor) -> Tensor:
        """What share each chunk has in its document, [documents, chunks] or [documents, labels, chunks]; of an
        aggregator that weighs chunks."""
        chunks, mask = self.dense(vectors, document)
        if isinstance(self.aggregator, LogSumExp):
            logits: Tensor = self.classifier(self.aggregator(chunks, mask))
            return logits.masked_fill(~mask.unsqueeze(-1), -torch.inf).softmax(1).transpose(1, 2)
        assert isinstance(self.aggregator, (Attention, Mean))
        return self.aggregator.weights(chunks, mask)

    def dense(self, vectors: Tensor, document: Tensor) -> tuple[Tensor, Tensor]:
        """Chunk vectors [documents, chunks, size] and where there is a chunk."""
        vectors = self.dropout(vectors.to(self.classifier.weight.dtype))
        parts = list(torch.split(vectors, torch.bincount(document).tolist()))
        counts = torch.tensor([len(part) for part in parts], device=vectors.device)
        padded = nn.utils.rnn.pad_sequence(parts, batch_first=True)
        return padded, torch.arange(padded.shape[1], device=vectors.device) < counts.unsqueeze(1)


class ChunkReader(nn.Module):
    """A network's chunk vectors in the place of logits, so that an engine batches them."""

    def __init__(self, network: ChunkClassifier) -> None:
        super().__init__()
        self.network, self.config = network, network.config

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> SequenceClassifierOutput:
        """Chunk vectors [chunks, size]."""
        return SequenceClassifierOutput(logits=self.network.read(input_ids, attention_mask))
