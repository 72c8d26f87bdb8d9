"""A causal language model from a recipe, and rebuilt from a run folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from categorize.methods.sft.section import CausalModel
from categorize.nn.adapters import add_adapter
from categorize.nn.precision import resolve_dtype
from categorize.nn.pretrained import ModelSettings, load_pretrained, load_trained
from categorize.nn.tokenizer import clamp_length
from categorize.prompts.tokens import PromptFormat
from categorize.recipe.adapter_sections import QuantizationSection
from categorize.recipe.sections import SftRecipe

if TYPE_CHECKING:
    import pyarrow as pa
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CAUSAL = "causal.json"
Fits = Callable[["PreTrainedTokenizerBase", int], object]  # raises UserError where what is asked exceeds the length


def anything_fits(tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    """Nothing is checked before the weights are read."""


@dataclass(frozen=True)
class CausalSettings(ModelSettings):
    """What a tuned causal model needs beside weights; saved as `causal.json`.

    Attributes:
        loss: what it learned by, `tokens` or `label_set`.
        label_counts: training rows of each label by name; empty where that is not known.
        prior, length_normalization: how the run scores labels unless it is told otherwise, see
            `CausalPredictionSection`; of the prior what it was settled on, `none`, `contextual` or `batch`.
        leaning: of the prior `batch`, what is taken away from each label's score, by its name.
    """

    loss: str = "tokens"
    label_counts: dict[str, int] = field(default_factory=dict)
    prior: Literal["none", "contextual", "batch"] = "none"
    length_normalization: bool = False
    leaning: dict[str, float] = field(default_factory=dict)


@dataclass
class Causal:
    """A causal model, its tokenizer and its settings."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: CausalSettings


def build_causal(recipe: SftRecipe, trust_remote_code: bool = False, fits: Fits = anything_fits) -> Causal:
    """The model that the recipe names, with its adapter and quantization.

    Args:
        fits: see `load_causal`.

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
        fits=fits,
        trust_remote_code=trust_remote_code,
    )
    if recipe.adapter is not None:
        causal.settings = replace(causal.settings, base=section.name_or_path, base_revision=section.revision)
        checkpointing = recipe.training.upstream().get("activation_checkpointing", True) is not False
        causal.model = add_adapter(
            causal.model, recipe.adapter, "CAUSAL_LM", (), activation_checkpointing=checkpointing
        )
    return causal


def load_causal(
    name_or_path: str,
    *,
    dtype: torch.dtype | str = "auto",
    quantization: QuantizationSection | None = None,
    max_length: int = 1024,
    fits: Fits = anything_fits,
    **options: Any,
) -> Causal:
    """A causal model and its tokenizer; options are those of `load_pretrained`.

    Args:
        fits: is called with the tokenizer and the longest input before the weights are read; raises UserError.
    """
    from transformers import AutoModelForCausalLM

    def check(tokenizer: Any, config: Any) -> None:
        fits(tokenizer, clamp_length(max_length, config, tokenizer))

    options |= {"dtype": dtype, "quantization": quantization}
    model, tokenizer, _ = load_pretrained(AutoModelForCausalLM, name_or_path, check=check, **options)
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
    causal: Causal = load_trained(load_causal, folder, settings, base, trust_remote_code)
    causal.settings = settings
    causal.model.eval()
    return causal


def label_counts(rows: pa.Table | None) -> dict[str, int]:
    """How many of the rows have each label, by name, as they come."""
    gold = () if rows is None else rows.column("gold").to_pylist()
    return dict(Counter(name for names in gold for name in names or ()))


def align_end(causal: Causal, prompt: PromptFormat) -> None:
    """Make the answer's end token one that ends generation, so that a tuned model stops where it learned to."""
    config = causal.model.generation_config
    ends = config.eos_token_id if isinstance(config.eos_token_id, list) else [config.eos_token_id]
    config.eos_token_id = sorted({prompt.end_id, *(end for end in ends if end is not None)})
    # Sampling defaults of the base are of no use to a model that answers with labels, and are refused with greedy
    # search.
    config.do_sample, config.temperature, config.top_p, config.top_k = False, None, None, None
    config.repetition_penalty = None
