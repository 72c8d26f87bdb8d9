"""A peft adapter from a recipe, on a model whose new head is trained and saved whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.nn.tokenizer import loading
from categorize.recipe.adapter_sections import ADAPTER_CLASSES, AdapterSection
from categorize.recipe.compatibility import PROMPT_LEARNING
from categorize.recipe.wording import did_you_mean

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel

# How peft says that an adapter does not fit, and how it stumbles over one.
MISFITS = (
    ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, RuntimeError, TypeError, ValueError,
    re.error,
)  # fmt: skip
PROMPT_ENCODER = "prompt_encoder.safetensors"  # in a checkpoint

DEFAULTS: dict[str, dict[str, Any]] = {
    "lora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear"},
    "dora": {"r": 16, "lora_alpha": 32, "lora_dropout": 0.05, "target_modules": "all-linear", "use_dora": True},
    "rslora": {"r": 16, "lora_alpha": 16, "lora_dropout": 0.05, "target_modules": "all-linear", "use_rslora": True},
    "ia3": {},
    "prefix": {"num_virtual_tokens": 20, "encoder_hidden_size": 128},
    "prompt": {"num_virtual_tokens": 20},
    "p_tuning": {"num_virtual_tokens": 20, "encoder_hidden_size": 128},
    "bottleneck": {},
}


def build_adapter_config(
    section: AdapterSection,
    task_type: str | None,
    new_modules: Sequence[str] = (),
    model: PreTrainedModel | None = None,
) -> PeftConfig:
    """The peft config of the section's type.

    Args:
        model: the base, whose tokenizer reads the text that a learned prompt begins with.
        task_type: `SEQ_CLS` or `CAUSAL_LM`; None: a model that peft knows no form of.
        new_modules: modules that were initialised anew. They are trained and saved whole, and no adapter is put on
            them: peft by itself keeps `classifier` and `score` only, and a reloaded DeBERTa, ModernBERT or DistilBERT
            would predict with a random pooler (peft#2171).
    """
    import peft

    from categorize.nn.bottleneck import BottleneckConfig

    values = {**DEFAULTS[section.type], **section.upstream(), "task_type": task_type}
    peft_class = ADAPTER_CLASSES.get(section.type)
    config_class: Any = getattr(peft, peft_class) if peft_class else BottleneckConfig
    if values.get("prompt_tuning_init") == "TEXT" and model is not None:
        commit = getattr(model.config, "_commit_hash", None)
        values["tokenizer_name_or_path"] = model.name_or_path
        values["tokenizer_kwargs"] = {"revision": commit} if commit else None
    if new_modules:
        # Names are matched by their ending, so a longer path never catches another layer of the same name.
        values["modules_to_save"] = sorted({*new_modules, *(values.get("modules_to_save") or ())})
        if hasattr(config_class, "exclude_modules"):  # LoRA, IA3, bottleneck
            excluded = values.get("exclude_modules") or ()
            if isinstance(excluded, str):
                raise UserError(
                    f"adapter.exclude_modules: {excluded!r} is a pattern; give a list, the new head "
                    f"{list(new_modules)} is added to it"
                )
            values["exclude_modules"] = sorted({*new_modules, *excluded})
    try:
        config: PeftConfig = config_class(**values)
        return config
    except (TypeError, ValueError) as error:
        raise UserError(f"adapter: {' '.join(str(error).split())} (peft.{config_class.__name__})") from error


def add_adapter(
    model: PreTrainedModel,
    section: AdapterSection,
    task_type: str | None,
    new_modules: Sequence[str],
    *,
    activation_checkpointing: bool,
) -> PeftModel:
    """The model with the section's adapter, trained weights in float32.

    Raises:
        UserError: peft cannot put this adapter on this architecture.
    """
    import peft

    refuse_unfit(model, section)
    if getattr(model, "quantization_method", None) is not None:
        model = peft.prepare_model_for_kbit_training(model, use_gradient_checkpointing=activation_checkpointing)
    config = build_adapter_config(section, task_type, new_modules, model)
    try:
        with _same_start(config):
            adapted = peft.get_peft_model(model, config)
    except MISFITS as error:
        way_out = "use another type" if section.type in PROMPT_LEARNING else "name target_modules, or use another type"
        raise UserError(
            f"adapter.type: {section.type} does not fit {type(model).__name__}: "
            f"{' '.join(str(error).split())[:200]} ({way_out})"
        ) from error
    if task_type == "CAUSAL_LM":
        _refuse_output_layer(adapted)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            # Small updates vanish in half precision; the base stays in its own type.
            parameter.data = parameter.data.float()
    return adapted


def load_adapter(model: PreTrainedModel, folder: str) -> PeftModel:
    """The model with the adapter that lies in `folder`."""
    from peft import PeftConfig, PeftModel

    import categorize.nn.bottleneck  # noqa: F401  known to peft from here on

    with _same_start(PeftConfig.from_pretrained(folder)):
        return PeftModel.from_pretrained(model, folder)


def changes_base(folder: str) -> bool:
    """Whether the adapter in `folder` takes its first values out of the base when it is put on it (PiSSA, OLoRA, ...);
    peft may subtract them in place."""
    from peft import PeftConfig

    import categorize.nn.bottleneck  # noqa: F401  known to peft from here on

    with loading(folder, "the adapter"):
        start = getattr(PeftConfig.from_pretrained(folder), "init_lora_weights", True)
    return isinstance(start, str) and start != "gaussian"


@contextmanager
def _same_start(config: PeftConfig) -> Iterator[None]:
    """Random numbers that are the same whenever an adapter with this configuration is put on a model.

    PiSSA takes the adapter's first values out of the base, in training and again when the adapter is loaded. By
    iterations (`pissa_niter_4`) it does so from random numbers: with others, the base is left without other values.
    """
    if not str(getattr(config, "init_lora_weights", "")).startswith("pissa_niter"):
        yield
        return
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


def refuse_unfit(model: PreTrainedModel, section: AdapterSection) -> None:
    """Refuse what peft would build and only the first forward pass would crash on.

    Raises:
        UserError: a learned prompt on an encoder-decoder's head, a prefix on a model without key-value cache, DoRA on
            8-bit weights of a CPU (peft drops their scales there).
    """
    import inspect

    name = type(model).__name__
    if section.type in PROMPT_LEARNING:
        if model.config.is_encoder_decoder:
            raise UserError(
                f"adapter.type: {section.type} does not work with {name}, an encoder-decoder; use lora or ia3"
            )
        if section.type == "prefix" and "past_key_values" not in inspect.signature(model.forward).parameters:
            raise UserError(f"adapter.type: prefix needs cached keys and values, {name} has none; use lora or prompt")
    on_cpu = next(model.parameters()).device.type == "cpu"
    if section.type == "dora" and getattr(model, "is_loaded_in_8bit", False) and on_cpu:
        raise UserError("adapter.type: dora does not work on 8-bit weights on a CPU; use load_in_4bit, or lora")
    _refuse_names_without_a_module(model, section)
    tokens = section.upstream().get("trainable_token_indices") or ()
    indices = [i for part in tokens.values() for i in part] if isinstance(tokens, dict) else tokens
    size = model.get_input_embeddings().weight.shape[0]
    if wrong := [i for i in indices if not 0 <= i < size]:
        raise UserError(
            f"adapter.trainable_token_indices: {wrong[0]} is not the id of a token of {name}, whose ids are "
            f"0 to {size - 1}"
        )


def _refuse_names_without_a_module(model: PreTrainedModel, section: AdapterSection) -> None:
    """Refuse names that no module has: peft passes over them, and what was to be trained is not."""
    modules = [name for name, _ in model.named_modules()]
    lists = ("target_modules", "exclude_modules", "feedforward_modules", "modules_to_save")
    for key in (*lists, "rank_pattern", "alpha_pattern", "trainable_token_indices"):
        value = section.upstream().get(key)
        for name in value if isinstance(value, (list, dict)) else ():
            pattern = name if key.endswith("_pattern") else re.escape(str(name))
            try:
                found = isinstance(name, int) or any(re.match(rf"(.*\.)?({pattern})$", module) for module in modules)
            except re.error as error:
                raise UserError(f"adapter.{key}: {name!r} is not a regular expression: {error}") from error
            if not found:
                raise UserError(
                    f"adapter.{key}: {name!r} is not the name of a module of {type(model).__name__}"
                    f"{did_you_mean(name, {module.rpartition('.')[2] for module in modules})}"
                )


def _refuse_output_layer(model: PeftModel) -> None:
    """Refuse an adapter on the layer that answers are computed by: its weights are read as they are, so that the
    adapter would not be trained."""
    from peft.tuners.trainable_tokens import TrainableTokensLayer
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils.other import TrainableTokensWrapper

    output = model.get_base_model().get_output_embeddings()
    if isinstance(output, (TrainableTokensWrapper, TrainableTokensLayer)):
        raise UserError(
            "adapter.trainable_token_indices: the output layer of this model is its embedding matrix, and answers are "
            "computed from its weights as they are; leave the key out, or train the matrix whole with "
            "modules_to_save: [embed_tokens]"
        )
    if isinstance(output, BaseTunerLayer):
        raise UserError(
            "adapter: the output layer (lm_head) cannot have an adapter, for answers are computed from its weights as "
            "they are; take it out of target_modules, or train it whole with modules_to_save: [lm_head]"
        )


# ---------------------------------------------------------------- checkpoints of learned prompts
def save_prompt_encoder(model: Any, checkpoint: Path) -> None:
    """Write the whole encoder of a learned prompt into a checkpoint; does nothing for another model.

    peft writes what the encoder makes of its own embedding, which is all that predicting needs. But loading puts that
    into the embedding, and an encoder with layers of its own (p_tuning, a projected prefix) is applied once more:
    neither the best checkpoint nor a resumed training would be what was saved.
    """
    if (encoder := _prompt_encoder(model)) is None:
        return
    from safetensors.torch import save_file

    state = {name: value.detach().cpu().contiguous() for name, value in encoder.state_dict().items()}
    save_file(state, checkpoint / PROMPT_ENCODER, metadata={"format": "pt"})


@contextmanager
def prompt_encoder_from(model: Any, checkpoint: Path) -> Iterator[None]:
    """Within it, peft loads the prompt encoder that `save_prompt_encoder` left in the checkpoint.

    Raises:
        UserError: the checkpoint lacks it.
    """
    if (encoder := _prompt_encoder(model)) is None:
        yield
        return
    from safetensors.torch import load_file

    stored = checkpoint / PROMPT_ENCODER
    if not stored.is_file():
        raise UserError(
            f"{checkpoint}: lacks {PROMPT_ENCODER}, so that the learned prompt cannot be continued as it was; start "
            "anew with --overwrite alone"
        )

    def load(_: dict[str, Any]) -> None:
        encoder.load_state_dict(load_file(stored), strict=True)

    encoder._load_adapter_state_dict = load
    try:
        yield
    finally:
        del encoder._load_adapter_state_dict


def _prompt_encoder(model: Any) -> Any:
    """The encoder of the model's learned prompt; None where it learns none, or the embedding is the whole of it."""
    config = getattr(model, "active_peft_config", None)
    if config is None or not config.is_prompt_learning:
        return None
    encoder = model.prompt_encoder[model.active_adapter]
    return encoder if set(encoder.state_dict()) != {"embedding.weight"} else None


def is_prompt_learning(model: Any) -> bool:
    """Whether the model has an adapter that learns a prompt or prefix."""
    return bool(_learned_prompts(model))


def virtual_tokens(model: Any) -> int:
    """Embeddings that a learned prompt puts before every row; a learned prefix comes as keys and values instead."""
    return sum(int(one.num_virtual_tokens) for one in _learned_prompts(model) if one.peft_type != "PREFIX_TUNING")


def _learned_prompts(model: Any) -> list[Any]:
    configs = getattr(getattr(model, "module", model), "peft_config", None) or {}
    return [one for one in configs.values() if one.is_prompt_learning]
