"""A classification or regression head on an encoder or a decoder: built from a recipe, and rebuilt from a run
folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.methods.head.section import HeadKeys, HeadModel
from categorize.nn.adapters import add_adapter
from categorize.nn.bidirectional import read_both_ways
from categorize.nn.dropout import set_head_dropout
from categorize.nn.head_output import Auxiliary, Output, head_output
from categorize.nn.label_tokens import begin_as_scoring, label_tokens
from categorize.nn.outputs import Outputs, config_names, follow_labels
from categorize.nn.pooling import ATTENTION_POOLING, pool_by_attention, pool_by_mean, pool_last_token
from categorize.nn.precision import resolve_dtype
from categorize.nn.pretrained import ModelSettings, load_pretrained, load_trained, restore
from categorize.nn.quantization import quantized_within
from categorize.nn.tokenizer import clamp_length
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.loss_sections import loss_of
from categorize.recipe.sections import SeqclsRecipe

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

HEAD = "head.json"
OUTPUT_MODULES = ("classifier", "score", "classification_head")
TRAINED_MODULES = (*OUTPUT_MODULES, ATTENTION_POOLING)


@dataclass(frozen=True)
class HeadSettings(ModelSettings):
    """What a head needs beside weights to predict as it was trained; saved as `head.json`.

    Attributes:
        head_modules: modules that were trained whole: those initialised anew, and the output module.
        target_mean, target_std: a regression predicts `mean + std * output`.
        pooling: what the head reads, `default`, `mean` or `attention`, see `nn.pooling`.
        is_causal: False where a decoder reads in both directions, see `nn.bidirectional`.
        loss: name of the loss, which decides what the outputs mean; None: the task's usual one.
        auxiliary: `Auxiliary` scores of a regression, as plain data.
    """

    head_modules: list[str] = field(default_factory=list)
    target_mean: float = 0.0
    target_std: float = 1.0
    pooling: str = "default"
    is_causal: bool | None = None
    loss: str | None = None
    auxiliary: list[dict[str, Any]] = field(default_factory=list)

    def output(self, label_set: LabelSet, make: Callable[..., Output] = head_output, **options: Any) -> Output:
        """What the head gives, scaled as its targets were in training; `make` and its options are those of
        `head_output`."""
        options = {"objective": loss_of(self.loss, label_set.task), **options}
        if self.auxiliary:
            options["auxiliary"] = tuple(Auxiliary(**one) for one in self.auxiliary)
        return make(label_set, mean=self.target_mean, std=self.target_std, **options)


@dataclass(frozen=True)
class HeadKind:
    """What tells the heads of one method from those of another.

    Attributes:
        file: of the settings, in the run.
        output: makes the output for a label set; options are `Output`'s.
    """

    file: str = HEAD
    output: Callable[..., Output] = head_output


@dataclass
class LoadedClassifier:
    """A checkpoint as a sequence classifier.

    Attributes:
        head_modules: what is trained and saved whole beside an adapter: new modules, and the output module in any case.
        untrained: the modules that the checkpoint did not hold, initialised at random.
        outputs: which labels the checkpoint's own head was for.
        left: keys of the checkpoint's weights that a classifier has no place for.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    head_modules: list[str]
    untrained: list[str]
    outputs: Outputs
    left: list[str]


@dataclass
class Head:
    """A model with a head, its tokenizer and its settings.

    Attributes:
        note: what a new head begins as, or what became of one that the checkpoint held.
        prompt: renders rows before the head reads them, in training as in use; None: the text itself is read.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: HeadSettings
    note: str | None = None
    kind: HeadKind = field(default_factory=HeadKind)
    prompt: PromptFormat | None = None

    def output(self, label_set: LabelSet, **options: Any) -> Output:
        """What the head gives, scaled as its targets were in training; options are `Output`'s."""
        return self.settings.output(label_set, self.kind.output, **options)


def build_head(
    recipe: SeqclsRecipe, label_set: LabelSet, trust_remote_code: bool = False, kind: HeadKind | None = None
) -> Head:
    """The model that the recipe names, with a head for the label set, an adapter and quantization as the recipe says.

    Raises:
        UserError: the model is missing, has no sequence-classification form, or the prompt, the labels or the adapter
            do not fit it.
    """
    section, kind = recipe.model, kind or HeadKind()
    assert isinstance(section, HeadKeys)
    training = recipe.training.upstream()
    loss = loss_of(recipe.training.loss, label_set.task)
    auxiliary = tuple(Auxiliary(name, weight) for name, weight in (recipe.training.auxiliary or {}).items())
    whole = recipe.adapter is None and recipe.quantization is None and not section.freeze
    dtype = resolve_dtype(section.dtype, whole)
    from_tokens = isinstance(section, HeadModel) and section.head_init == "label_tokens"

    def prompt_for(tokenizer: PreTrainedTokenizerBase, config: Any) -> PromptFormat | None:
        if recipe.prompt is None:
            return None
        max_length = clamp_length(section.max_length, config, tokenizer)
        prompt = PromptFormat.from_section(recipe.prompt, label_set, tokenizer, max_length)
        if from_tokens:
            label_tokens(prompt)
        return prompt

    loaded = load_sequence_classifier(
        section.name_or_path,
        label_set,
        revision=section.revision,
        dtype=dtype,
        attn_implementation=section.attn_implementation,
        quantization=recipe.quantization,
        pooling=section.pooling,
        is_causal=section.is_causal,
        output=kind.output(label_set, objective=loss, **({"auxiliary": auxiliary} if auxiliary else {})),
        trust_remote_code=trust_remote_code,
        check=prompt_for,
    )
    model, tokenizer, heads, note = loaded.model, loaded.tokenizer, loaded.head_modules, loaded.outputs.note
    settings = HeadSettings(
        max_length=clamp_length(section.max_length, model.config, tokenizer),
        head_modules=heads,
        base=section.name_or_path if recipe.adapter else None,
        base_revision=section.revision if recipe.adapter else None,
        dtype=str(next(model.parameters()).dtype if recipe.quantization is None else dtype).removeprefix("torch."),
        quantization=recipe.quantization.upstream() if recipe.quantization else None,
        pooling=section.pooling,
        is_causal=section.is_causal,
        loss=loss.type,
        auxiliary=[asdict(one) for one in auxiliary],
    )
    prompt = prompt_for(tokenizer, model.config)
    if from_tokens and prompt is not None:
        note = begin_as_scoring(model, prompt, section.name_or_path, loaded.left, section.revision)
        note += ", in place of the head that the checkpoint holds" if loaded.outputs.held else ""
    if section.dropout is not None:
        set_head_dropout(model, section.dropout, OUTPUT_MODULES)
    if recipe.adapter is not None:
        checkpointing = bool(training.get("activation_checkpointing"))
        model = add_adapter(model, recipe.adapter, "SEQ_CLS", heads, activation_checkpointing=checkpointing)
    elif section.freeze:
        freeze_base(model, heads)
    return Head(model, tokenizer, settings, note, kind, prompt)


def load_sequence_classifier(
    name_or_path: str,
    label_set: LabelSet,
    *,
    output: Output | None = None,
    pooling: str = "default",
    is_causal: bool | None = None,
    **options: Any,
) -> LoadedClassifier:
    """Model and tokenizer of a checkpoint, with a head for the label set; the rows of a head that it holds follow their
    labels, see `nn.outputs`. `output` is what the head is to give, by default the labels; options are those of
    `load_pretrained`."""
    from transformers import AutoModelForSequenceClassification

    names: list[str] = []
    output = output or head_output(label_set)

    def configure(config: Any) -> None:
        names.extend(config_names(config))
        config.num_labels = output.width
        config.id2label = dict(enumerate(output.names))
        config.label2id = {name: number for number, name in enumerate(output.names)}
        config.problem_type = output.problem_type
        if is_causal is False:
            config.is_causal = config.get_text_config().is_causal = False

    model, tokenizer, told = load_pretrained(
        AutoModelForSequenceClassification,
        name_or_path,
        skip=OUTPUT_MODULES,
        configure=configure,
        ignore_mismatched_sizes=True,
        **options,
    )
    pool_last_token(model)
    if is_causal is False:
        read_both_ways(model)
    if pooling == "mean":
        pool_by_mean(model)
    own = None if output.names == label_set.names else output.names
    outputs = follow_labels(model, names, label_set, told["missing_keys"], own)
    missing = {*told["missing_keys"], *(key for key, *_ in told.get("mismatched_keys", ()))}
    if pooling == "attention":
        pool_by_attention(model)
        if not restore(model, ATTENTION_POOLING, name_or_path, told["unexpected_keys"], options.get("revision")):
            missing.add(f"{ATTENTION_POOLING}.weight")
    heads, untrained = head_modules(model, missing), new_modules(model, missing)
    if trapped := quantized_within(model, heads):
        raise UserError(
            f"quantization: {trapped[0]} of {name_or_path} is new and cannot be trained once it is quantized; "
            f"list it in quantization.llm_int8_skip_modules"
        )
    return LoadedClassifier(model, tokenizer, heads, untrained, outputs, sorted(told["unexpected_keys"]))


def head_modules(model: PreTrainedModel, missing: Iterable[str]) -> list[str]:
    """The new modules, and the output module even where the checkpoint holds it: it is trained for this label set
    anyway."""
    outputs = [name for name, _ in model.named_children() if name in TRAINED_MODULES]
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
    folder: str,
    label_set: LabelSet,
    settings: HeadSettings,
    base: str | None = None,
    trust_remote_code: bool = False,
    kind: HeadKind | None = None,
) -> Head:
    """The head that a run left in `folder`: full weights, or its adapter on its base.

    Args:
        base: where the base of an adapter is now, if not where it was in training.

    Raises:
        UserError: the base cannot be found, or the weights lack a module that was trained.
    """
    kind = kind or HeadKind()
    output = settings.output(label_set, kind.output)
    reading: dict[str, Any] = {"pooling": settings.pooling, "is_causal": settings.is_causal}
    loaded: LoadedClassifier = load_trained(
        load_sequence_classifier,
        folder,
        settings,
        base,
        trust_remote_code,
        shares=settings.pooling != "attention",  # which finds its module by the model
        label_set=label_set,
        output=output,
        **reading,
    )
    if settings.base is None and loaded.untrained:
        raise UserError(f"{folder}: the weights lack {', '.join(loaded.untrained)}; the run is damaged, train it again")
    loaded.model.config.pad_token_id = loaded.tokenizer.pad_token_id
    loaded.model.eval()
    return Head(loaded.model, loaded.tokenizer, settings, kind=kind)
