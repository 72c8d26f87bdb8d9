"""A causal language model from a recipe, and rebuilt from a run folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from categorize.methods.sft.section import CausalModel
from categorize.nn.adapters import add_adapter, load_adapter
from categorize.nn.console import quiet_libraries
from categorize.nn.precision import resolve_dtype
from categorize.nn.quantization import build_quantization, keep_layout
from categorize.nn.sharding import prepare_for_fsdp
from categorize.nn.tokenizer import clamp_length, ensure_pad_token, load_tokenizer, loading
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.sections import QuantizationSection, SftRecipe

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CAUSAL = "causal.json"


@dataclass(frozen=True)
class CausalSettings:
    """What a tuned causal model needs beside weights; saved as `causal.json`.

    Attributes:
        max_length: longest prompt and answer in tokens.
        base, base_revision: the model that an adapter belongs to, None for full weights.
        dtype: type in which the base was loaded.
        quantization: keys of `BitsAndBytesConfig`, None where the weights are whole.
    """

    max_length: int
    base: str | None = None
    base_revision: str | None = None
    dtype: str = "float32"
    quantization: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass
class Causal:
    """A causal model, its tokenizer and its settings."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: CausalSettings


def build_causal(recipe: SftRecipe, trust_remote_code: bool = False) -> Causal:
    """The model that the recipe names, with its adapter and quantization.

    Raises:
        UserError: the model is missing or the adapter does not fit it.
    """
    section = recipe.model
    assert isinstance(section, CausalModel)
    whole = recipe.adapter is None and recipe.quantization is None
    causal = load_causal(
        section.name_or_path,
        revision=section.revision,
        dtype=resolve_dtype(section.dtype, whole),
        attn_implementation=section.attn_implementation,
        quantization=recipe.quantization,
        max_length=section.max_length,
        trust_remote_code=trust_remote_code,
    )
    if recipe.adapter is not None:
        causal.settings = CausalSettings(
            **{**causal.settings.to_dict(), "base": section.name_or_path, "base_revision": section.revision}
        )
        checkpointing = recipe.training.upstream().get("activation_checkpointing", True) is not False
        causal.model = add_adapter(
            causal.model, recipe.adapter, "CAUSAL_LM", (), activation_checkpointing=checkpointing
        )
    return causal


def load_causal(
    name_or_path: str,
    *,
    revision: str | None = None,
    dtype: torch.dtype | str = "auto",
    attn_implementation: str | None = None,
    quantization: QuantizationSection | None = None,
    max_length: int = 1024,
    trust_remote_code: bool = False,
) -> Causal:
    """A causal model and its tokenizer, with a pad token that both know. Raises UserError where it cannot be loaded."""
    from transformers import AutoConfig, AutoModelForCausalLM

    quiet_libraries()
    extra: dict[str, Any] = {}
    if quantization is not None:
        extra["quantization_config"] = build_quantization(quantization)
    if attn_implementation is not None:
        extra["attn_implementation"] = attn_implementation
    with loading(name_or_path, "the model"):
        tokenizer = load_tokenizer(name_or_path, revision, trust_remote_code)
        config = AutoConfig.from_pretrained(name_or_path, revision=revision, trust_remote_code=trust_remote_code)
        ensure_pad_token(tokenizer, config)
        model = AutoModelForCausalLM.from_pretrained(
            name_or_path, revision=revision, config=config, dtype=dtype, trust_remote_code=trust_remote_code, **extra
        )
    keep_layout(model)
    prepare_for_fsdp(model)
    model.generation_config.pad_token_id = tokenizer.pad_token_id
    settings = CausalSettings(
        max_length=clamp_length(max_length, model.config, tokenizer),
        dtype=str(model.dtype if quantization is None else dtype).removeprefix("torch."),
        quantization=quantization.upstream() if quantization is not None else None,
    )
    return Causal(model, tokenizer, settings)


def load_trained_causal(
    folder: str, settings: CausalSettings, base: str | None = None, trust_remote_code: bool = False
) -> Causal:
    """The model that a run left in `folder`: full weights, or its adapter on its base.

    Args:
        base: where the base of an adapter is now, if not where it was in training.
    """
    import torch

    dtype = getattr(torch, settings.dtype) if settings.dtype != "auto" else "auto"
    if settings.base is None:
        causal = load_causal(folder, dtype=dtype, max_length=settings.max_length, trust_remote_code=trust_remote_code)
    else:
        causal = load_causal(
            base or settings.base,
            revision=None if base else settings.base_revision,
            dtype=dtype,
            quantization=QuantizationSection(**settings.quantization) if settings.quantization else None,
            max_length=settings.max_length,
            trust_remote_code=trust_remote_code,
        )
        with loading(folder, "the adapter"):
            causal.tokenizer = load_tokenizer(folder, trust_remote_code=trust_remote_code)
            causal.model = load_adapter(causal.model, folder)
    causal.settings = settings
    causal.model.eval()
    return causal


def align_end(causal: Causal, prompt: PromptFormat) -> None:
    """Make the answer's end token one that ends generation, so that a tuned model stops where it learned to."""
    config = causal.model.generation_config
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    config.eos_token_id = sorted({prompt.end_id, *(end for end in ends if end is not None)})
    # Sampling defaults of the base are of no use to a model that answers with labels, and are refused with greedy
    # search.
    config.do_sample, config.temperature, config.top_p, config.top_k = False, None, None, None
    config.repetition_penalty = None
