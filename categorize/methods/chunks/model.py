"""A chunk encoder with its aggregator: built from a recipe, and rebuilt from a run folder."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from categorize.data.segments.tokens import TokenCounter
from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.chunks.features import Words
from categorize.methods.chunks.section import ChunksModel
from categorize.nn.adapters import add_adapter
from categorize.nn.head_output import Output, head_output
from categorize.nn.precision import resolve_dtype
from categorize.nn.pretrained import ModelSettings, load_pretrained, load_trained
from categorize.nn.text_tokens import text_tokens
from categorize.nn.tokenizer import clamp_length, load_tokenizer, loading
from categorize.recipe.sections import SeqclsRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from categorize.methods.chunks.network import ChunkClassifier

CHUNKS = "chunks.json"
NEW_MODULES = ("aggregator", "classifier")


@dataclass(frozen=True)
class ChunkSettings(ModelSettings):
    """What the network needs beside weights to predict as it was trained; saved as `chunks.json`.

    Attributes:
        network: keys of `ChunksConfig` beside the encoder's config.
        max_chunks, keep: which chunks of a document are read.
        features: whether the network reads fixed vectors instead of tokens; `max_length` is then in words.
        target_mean, target_std: a regression predicts `mean + std * output`.
    """

    network: dict[str, Any] = field(default_factory=dict)
    max_chunks: int | None = None
    keep: str = "first"
    features: bool = False
    target_mean: float = 0.0
    target_std: float = 1.0


@dataclass
class Chunks:
    """The network, perhaps within an adapter, its tokenizer where it reads tokens, and its settings."""

    model: Any
    tokenizer: PreTrainedTokenizerBase | None
    settings: ChunkSettings

    def output(self, label_set: LabelSet, **options: Any) -> Output:
        """What the network gives, scaled as its targets were in training; options are `Output`'s."""
        return head_output(label_set, mean=self.settings.target_mean, std=self.settings.target_std, **options)

    @property
    def counter(self) -> TokenCounter:
        """What chunks are counted by."""
        if self.tokenizer is None:
            return Words(self.settings.max_length)
        return text_tokens(self.tokenizer, self.settings.max_length)

    @property
    def network(self) -> ChunkClassifier:
        """The network itself, with an adapter's layers in its encoder where it has one."""
        whole: ChunkClassifier = self.model.get_base_model() if hasattr(self.model, "peft_config") else self.model
        return whole


def build_chunks(recipe: SeqclsRecipe, label_set: LabelSet, trust_remote_code: bool = False) -> Chunks:
    """The encoder that the recipe names, with a new aggregator and output layer for the label set, and an adapter in
    the encoder where the recipe has one.

    Raises:
        UserError: the model is missing or cannot be an encoder of chunks, or the adapter does not fit it.
    """
    section = recipe.model
    assert isinstance(section, ChunksModel) and section.name_or_path is not None
    network = {
        "pooling": section.pooling,
        "aggregator": section.aggregator.model_dump(),
        "chunk_batch": section.chunk_batch,
    }
    chunks = load_encoder(
        section.name_or_path,
        label_set,
        network,
        revision=section.revision,
        dtype=resolve_dtype(section.dtype, recipe.adapter is None),
        attn_implementation=section.attn_implementation,
        trust_remote_code=trust_remote_code,
    )
    model = chunks.model
    settings = ChunkSettings(
        max_length=clamp_length(section.max_length, model.config.encoder_config, chunks.tokenizer),
        base=section.name_or_path if recipe.adapter else None,
        base_revision=section.revision if recipe.adapter else None,
        dtype=str(next(model.parameters()).dtype).removeprefix("torch."),
        network=network,
        max_chunks=section.max_chunks,
        keep=section.keep,
    )
    if recipe.adapter is not None:
        checkpointing = bool(recipe.training.upstream().get("activation_checkpointing"))
        model = add_adapter(model, recipe.adapter, None, NEW_MODULES, activation_checkpointing=checkpointing)
    return Chunks(model, chunks.tokenizer, settings)


def build_on_vectors(section: ChunksModel, label_set: LabelSet, size: int) -> Chunks:
    """A network of the recipe's aggregator and an output layer, on chunk vectors of this size."""
    from categorize.methods.chunks.network import ChunkClassifier, ChunksConfig

    aggregator = section.aggregator.model_dump()
    model = ChunkClassifier(ChunksConfig(vector_size=size, aggregator=aggregator, **_of_labels(label_set)))
    settings = ChunkSettings(
        section.max_length, max_chunks=section.max_chunks, keep=section.keep, features=True, network={}
    )
    return Chunks(model, None, settings)


def _of_labels(label_set: LabelSet) -> dict[str, Any]:
    """Keys of a model's config."""
    return {
        "id2label": dict(enumerate(label_set.names)),
        "label2id": dict(label_set.index),
        "problem_type": head_output(label_set).problem_type,
    }


def load_encoder(name_or_path: str, label_set: LabelSet, network: dict[str, Any], **options: Any) -> Chunks:
    """A network on the encoder of a checkpoint; options are those of `load_pretrained`."""
    from transformers import AutoModel

    from categorize.methods.chunks.network import ChunkClassifier, ChunksConfig

    encoder, tokenizer, _ = load_pretrained(AutoModel, name_or_path, configure=refuse_unfit, **options)
    if network["pooling"] == "cls" and tokenizer.cls_token_id is None:
        raise UserError(f"model.pooling: cls: the tokenizer of {name_or_path} has no such token; write mean")
    config = ChunksConfig(
        encoder_config=encoder.config.to_dict(),  # a copy: a model sets the attention of its config, parts included
        pad_token_id=tokenizer.pad_token_id,
        **_of_labels(label_set),
        **network,
    )
    model = ChunkClassifier(config, encoder)
    model.config._commit_hash = getattr(encoder.config, "_commit_hash", None)  # by which a base is known again
    model.aggregator.to(encoder.dtype)
    model.classifier.to(encoder.dtype)
    return Chunks(model, tokenizer, ChunkSettings(0))


def refuse_unfit(config: Any) -> None:
    """Refuse what is not an encoder of one text.

    Raises:
        UserError: an encoder-decoder, or an architecture that is code of the checkpoint.
    """
    name = config.name_or_path
    if getattr(config, "is_encoder_decoder", False):
        raise UserError(
            f"{name}: {config.model_type} is an encoder-decoder, which model.method chunks does not read; name an "
            "encoder"
        )
    if getattr(config, "auto_map", None) and type(config).__module__.startswith("transformers_modules"):
        raise UserError(
            f"{name}: its architecture is code of its own, which a run of model.method chunks cannot hold; name an "
            "encoder that transformers knows"
        )


def load_trained_chunks(
    folder: str, label_set: LabelSet, settings: ChunkSettings, base: str | None = None, trust_remote_code: bool = False
) -> Chunks:
    """The network that a run left in `folder`: full weights, or its adapter on its base.

    Raises:
        UserError: the base cannot be found, or the weights lack something.
    """
    if settings.base is None:
        chunks = _load_whole(folder, settings)
    else:
        reading: dict[str, Any] = {"label_set": label_set, "network": settings.network}
        chunks = load_trained(load_encoder, folder, settings, base, trust_remote_code, **reading)
    chunks.model.eval()
    chunks.settings = settings
    return chunks


def _load_whole(folder: str, settings: ChunkSettings) -> Chunks:
    import torch

    from categorize.methods.chunks.network import ChunkClassifier
    from categorize.nn.console import quiet_libraries

    quiet_libraries()
    with loading(folder, "the model"):
        model, told = ChunkClassifier.from_pretrained(
            folder, dtype=getattr(torch, settings.dtype), output_loading_info=True
        )
        if missing := sorted(told["missing_keys"]):
            raise UserError(f"{folder}: the weights lack {missing[0]}; the run is damaged, train it again")
        return Chunks(model, None if settings.features else load_tokenizer(folder), settings)
