"""An adapter that becomes part of its base's weights; and, before training, whether it can."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from categorize.errors import UserError
from categorize.models.adapters import build_adapter_config
from categorize.models.console import quiet_libraries
from categorize.models.head import OUTPUT_MODULES
from categorize.models.tokenizer import loading
from categorize.recipe.sections import HeadModel, TrainedRecipe

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

# How peft says that it cannot merge, and how it stumbles.
REFUSALS = (ValueError, RuntimeError, NotImplementedError, AttributeError, TypeError)


def merge_adapter(model: PeftModel, *, check: bool = True) -> PreTrainedModel:
    """The base with the adapter in its weights. Weights that the base shares are shared no more where only one of
    their places has an adapter: an adapter on the input embeddings must not change the output layer.

    Args:
        check: refuse weights that are not finite.

    Raises:
        ValueError, RuntimeError, NotImplementedError: what peft cannot merge, and weights that are not finite.
    """
    _put_in_place_of_the_old(model)
    untied = _untie(model)
    merged: PreTrainedModel = model.merge_and_unload(safe_merge=check)
    if untied:
        for config in (merged.config, merged.config.get_text_config()):
            config.tie_word_embeddings = False
    return merged


def refuse_unmergeable(recipe: TrainedRecipe, trust_remote_code: bool = False) -> None:
    """Merge the adapter of a recipe into its model without weights, which tells in a second what cannot be merged.

    Raises:
        UserError: the adapter cannot be merged, or the model cannot be found.
    """
    import peft
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification

    quiet_libraries()
    section, is_head = recipe.model, isinstance(recipe.model, HeadModel)
    assert recipe.adapter is not None and not hasattr(section, "estimator")
    with loading(section.name_or_path, "the model"):
        config = AutoConfig.from_pretrained(
            section.name_or_path, revision=section.revision, trust_remote_code=trust_remote_code
        )
    auto = AutoModelForSequenceClassification if is_head else AutoModelForCausalLM
    # Values do not matter, and some initialisations need them.
    plain = recipe.adapter.model_copy(
        update={"init_lora_weights": True} if "init_lora_weights" in recipe.adapter.upstream() else {}
    )
    with torch.device("meta"), loading(section.name_or_path, "the model"):
        base = auto.from_config(config, trust_remote_code=trust_remote_code)
    new = [name for name, _ in base.named_children() if name in OUTPUT_MODULES] if is_head else []
    try:
        with torch.device("meta"):
            adapted = peft.get_peft_model(base, build_adapter_config(plain, "SEQ_CLS" if is_head else "CAUSAL_LM", new))
    except REFUSALS:
        return  # says so itself when the model is built with its weights
    try:
        merge_adapter(adapted, check=False)
    except REFUSALS as error:
        raise UserError(
            f"--merge: adapter.type {recipe.adapter.type} as it is here cannot become part of the weights of "
            f"{type(base).__name__}: {' '.join(str(error).split())[:200]} (change the adapter, or leave the flag out)"
        ) from error


def _put_in_place_of_the_old(model: PeftModel) -> None:
    """Modules that were trained whole take their places. peft does so for LoRA; for IA3 it looks for the weight of a
    head that consists of several layers."""
    from peft.utils.other import ModulesToSaveWrapper

    for name, module in list(model.base_model.model.named_modules()):
        if isinstance(module, ModulesToSaveWrapper) and module.active_adapters:
            parent, _, child = name.rpartition(".")
            trained = module.modules_to_save[module.active_adapters[0]]
            setattr(model.base_model.model.get_submodule(parent), child, trained)


def _untie(model: PeftModel) -> bool:
    """Give each module its own copy of a weight that an adapter would change for all of them; whether any had to."""
    import torch
    from peft.tuners.tuners_utils import BaseTunerLayer

    adapted = {id(one.get_base_layer()) for one in model.modules() if isinstance(one, BaseTunerLayer)}
    owners: dict[int, list[tuple[torch.nn.Module, str]]] = defaultdict(list)
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            owners[id(parameter)].append((module, name))
    untied = False
    for shared in owners.values():
        if len(shared) > 1 and any(id(module) in adapted for module, _ in shared):
            untied = True
            for module, name in shared[1:]:
                own: Any = getattr(module, name)
                setattr(module, name, torch.nn.Parameter(own.detach().clone(), requires_grad=False))
    return untied
