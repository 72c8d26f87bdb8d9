"""A classification or regression head on an encoder or a decoder: built from a recipe, and rebuilt from a run
folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.head.section import HeadModel
from categorize.nn.adapters import add_adapter, load_adapter
from categorize.nn.console import quiet_libraries
from categorize.nn.head_output import Output, head_output
from categorize.nn.outputs import Outputs, config_names, follow_labels
from categorize.nn.pooling import pool_by_mean, pool_last_token
from categorize.nn.precision import resolve_dtype
from categorize.nn.quantization import build_quantization, keep_layout, quantized_within
from categorize.nn.sharding import prepare_for_fsdp
from categorize.nn.sparse_attention import keep_sparse_attention
from categorize.nn.tokenizer import clamp_length, ensure_pad_token, load_tokenizer, loading
from categorize.recipe.sections import QuantizationSection, SeqclsRecipe

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HEAD = "head.json"
OUTPUT_MODULES = ("classifier", "score", "classification_head")


@dataclass(frozen=True)
class HeadSettings:
    """What a head needs beside weights to predict as it was trained; saved as `head.json`.

    Attributes:
        max_length: longest input in tokens.
        head_modules: modules that were trained whole: those initialised anew, and the output module.
        target_mean, target_std: a regression predicts `mean + std * output`.
        base: the model that an adapter belongs to, None for full weights.
        base_revision: its revision.
        dtype: type in which the base was loaded.
        quantization: keys of `BitsAndBytesConfig`, None where the weights are whole.
        pooling: what the head reads, `mean` or `default`, see `models.pooling`.
    """

    max_length: int
    head_modules: list[str] = field(default_factory=list)
    target_mean: float = 0.0
    target_std: float = 1.0
    base: str | None = None
    base_revision: str | None = None
    dtype: str = "float32"
    quantization: dict[str, Any] | None = None
    pooling: str = "default"

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class LoadedClassifier:
    """A checkpoint as a sequence classifier.

    Attributes:
        head_modules: what is trained and saved whole beside an adapter: new modules, and the output module in any case.
        untrained: the modules that the checkpoint did not hold, initialised at random.
        outputs: which labels the checkpoint's own head was for.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    head_modules: list[str]
    untrained: list[str]
    outputs: Outputs


@dataclass
class Head:
    """A model with a head, its tokenizer and its settings; `note`: what became of a head that the checkpoint held."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: HeadSettings
    note: str | None = None

    def output(self, label_set: LabelSet, **options: Any) -> Output:
        """What the head gives, scaled as its targets were in training; options are `Output`'s."""
        return head_output(label_set, mean=self.settings.target_mean, std=self.settings.target_std, **options)


def build_head(recipe: SeqclsRecipe, label_set: LabelSet, trust_remote_code: bool = False) -> Head:
    """The model that the recipe names, with a head for the label set, an adapter and quantization as the recipe says.

    Raises:
        UserError: the model is missing, has no sequence-classification form, or the adapter does not fit it.
    """
    section = recipe.model
    assert isinstance(section, HeadModel)
    training = recipe.training.upstream()
    whole = recipe.adapter is None and recipe.quantization is None and not section.freeze
    dtype = resolve_dtype(section.dtype, whole)
    loaded = load_sequence_classifier(
        section.name_or_path,
        label_set,
        revision=section.revision,
        dtype=dtype,
        attn_implementation=section.attn_implementation,
        quantization=recipe.quantization,
        pooling=section.pooling,
        trust_remote_code=trust_remote_code,
    )
    model, tokenizer, heads = loaded.model, loaded.tokenizer, loaded.head_modules
    settings = HeadSettings(
        max_length=clamp_length(section.max_length, model.config, tokenizer),
        head_modules=heads,
        base=section.name_or_path if recipe.adapter else None,
        base_revision=section.revision if recipe.adapter else None,
        dtype=str(next(model.parameters()).dtype if recipe.quantization is None else dtype).removeprefix("torch."),
        quantization=recipe.quantization.upstream() if recipe.quantization else None,
        pooling=section.pooling,
    )
    if recipe.adapter is not None:
        checkpointing = bool(training.get("activation_checkpointing"))
        model = add_adapter(model, recipe.adapter, "SEQ_CLS", heads, activation_checkpointing=checkpointing)
    elif section.freeze:
        freeze_base(model, heads)
    return Head(model, tokenizer, settings, loaded.outputs.note)


def load_sequence_classifier(
    name_or_path: str,
    label_set: LabelSet,
    *,
    revision: str | None = None,
    dtype: torch.dtype | str = "auto",
    attn_implementation: str | None = None,
    quantization: QuantizationSection | None = None,
    pooling: str = "default",
    trust_remote_code: bool = False,
) -> LoadedClassifier:
    """Model and tokenizer of a checkpoint, with a head for the label set; the rows of a head that it holds follow their
    labels, see `models.outputs`."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    quiet_libraries()
    with loading(name_or_path, "the model"):
        tokenizer = load_tokenizer(name_or_path, revision, trust_remote_code)
        config = AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
        names = config_names(config)
        config.num_labels = len(label_set)
        config.id2label = dict(enumerate(label_set.names))
        config.label2id = dict(label_set.index)
        config.problem_type = head_output(label_set).problem_type
        ensure_pad_token(tokenizer, config)
        skip = OUTPUT_MODULES
        extra: dict[str, Any] = {}
        if quantization is not None:
            extra["quantization_config"] = build_quantization(quantization, skip)
        if attn_implementation is not None:
            extra["attn_implementation"] = attn_implementation
        model, info = AutoModelForSequenceClassification.from_pretrained(
            name_or_path,
            revision=revision,
            config=config,
            dtype=dtype,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            trust_remote_code=trust_remote_code,
            **extra,
        )
    keep_layout(model)
    keep_sparse_attention(model)
    prepare_for_fsdp(model)
    pool_last_token(model)
    if pooling == "mean":
        pool_by_mean(model)
    outputs = follow_labels(model, names, label_set, info["missing_keys"])
    missing = {*info["missing_keys"], *(key for key, *_ in info.get("mismatched_keys", ()))}
    heads = head_modules(model, missing)
    if trapped := quantized_within(model, heads):
        raise UserError(
            f"quantization: {trapped[0]} of {name_or_path} is new and cannot be trained once it is quantized; "
            f"list it in quantization.llm_int8_skip_modules"
        )
    return LoadedClassifier(model, tokenizer, heads, new_modules(model, missing), outputs)


def head_modules(model: PreTrainedModel, missing: Iterable[str]) -> list[str]:
    """The new modules, and the output module even where the checkpoint holds it: it is trained for this label set
    anyway."""
    outputs = [name for name, _ in model.named_children() if name in OUTPUT_MODULES]
    return _outermost({*outputs, *new_modules(model, missing)})


def new_modules(model: PreTrainedModel, missing: Iterable[str]) -> list[str]:
    """Paths of the largest modules all of whose parameters are missing from the checkpoint."""
    names = [name for name, _ in model.named_parameters()]
    gone = set(missing) & set(names)
    found: set[str] = set()
    for key in gone:
        path = key.rpartition(".")[0]
        while "." in path:
            parent = path.rpartition(".")[0]
            if not {name for name in names if name.startswith(f"{parent}.")} <= gone:
                break
            path = parent
        if path:
            found.add(path)
    return _outermost(found)


def _outermost(paths: set[str]) -> list[str]:
    return sorted(path for path in paths if not any(path.startswith(f"{other}.") for other in paths))


def freeze_base(model: PreTrainedModel, heads: Iterable[str]) -> None:
    """Train the head modules alone (a linear probe)."""
    prefixes = tuple(f"{name}." for name in heads)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith(prefixes)
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def load_trained_head(
    folder: str, label_set: LabelSet, settings: HeadSettings, base: str | None = None, trust_remote_code: bool = False
) -> Head:
    """The head that a run left in `folder`: full weights, or its adapter on its base.

    Args:
        base: where the base of an adapter is now, if not where it was in training.

    Raises:
        UserError: the base cannot be found, or the weights lack a module that was trained.
    """
    import torch

    if settings.base is None:
        loaded = load_sequence_classifier(
            folder,
            label_set,
            dtype=getattr(torch, settings.dtype),
            pooling=settings.pooling,
            trust_remote_code=trust_remote_code,
        )
        if loaded.untrained:
            raise UserError(
                f"{folder}: the weights lack {', '.join(loaded.untrained)}; the run is damaged, train it again"
            )
        model, tokenizer = loaded.model, loaded.tokenizer
    else:
        quantization = QuantizationSection(**settings.quantization) if settings.quantization else None
        model = load_sequence_classifier(
            base or settings.base,
            label_set,
            revision=None if base else settings.base_revision,
            dtype=getattr(torch, settings.dtype),
            quantization=quantization,
            pooling=settings.pooling,
            trust_remote_code=trust_remote_code,
        ).model
        with loading(folder, "the adapter"):
            tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
            pad = tokenizer.pad_token_id
            model = load_adapter(model, folder)
        model.config.pad_token_id = pad
    model.eval()
    return Head(model, tokenizer, settings)
