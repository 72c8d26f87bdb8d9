"""What a training asks of this machine: packages, a GPU, arguments that upstream wants only when training begins.

Looked at before anything costly, in the dry run and in the run alike: upstream raises behind the data and the model.
"""

from __future__ import annotations

import os
from typing import Any

from categorize.errors import UserError
from categorize.recipe.sections import TrainedRecipe
from categorize.training.arguments import built_for, check_loggers, refuse_unknown, written_values


def check_machine(recipe: TrainedRecipe) -> None:
    """Raises UserError for what the recipe asks for and this machine, or a package that is not installed, lacks."""
    _check_attention(getattr(recipe.model, "attn_implementation", None))
    cls, values = type(recipe.training).upstream_class, written_values(recipe.training)
    check_loggers(values["report_to"])
    _check_hardware(values)
    _check_compilation(values)
    _check_checkpointing(values, selective=cls == "SFTConfig")
    _check_optimizer(values)
    _check_scheduler(values)


def _has_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _check_attention(name: str | None) -> None:
    if name is None:
        return
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.utils import import_utils

    key = f"model.attn_implementation: {name}"
    known = ["eager", *(one for one in ALL_ATTENTION_FUNCTIONS.valid_keys() if "|" not in one)]
    refuse_unknown(key, name, known)
    if name.startswith("fl") and not _has_gpu():
        raise UserError(f"{key} needs a GPU, this machine has none; write sdpa or eager, or remove the key")
    available = getattr(import_utils, f"is_{name.replace('attention', 'attn')}_available", None)
    if name.startswith("flash") and available is not None and not available(kernels_fallback_ok=True):
        raise UserError(f"{key} is not installed; install its package, write sdpa, or remove the key")


def _check_hardware(values: dict[str, Any]) -> None:
    from transformers.utils import is_liger_kernel_available, is_torch_tf32_available

    if values["ddp_backend"] is not None and "WORLD_SIZE" not in os.environ:
        raise UserError(
            "training.ddp_backend: is for several processes; start them with accelerate launch, or remove it"
        )
    if values["tf32"] and not is_torch_tf32_available():
        raise UserError("training.tf32: needs a GPU of Ampere or newer, which this machine lacks; remove the key")
    if values["use_liger_kernel"] and not is_liger_kernel_available():
        raise UserError(
            "training.use_liger_kernel: the package liger-kernel is not installed; install it, or remove the key"
        )
    for key in ("activation_offloading", "use_liger_kernel"):
        if values.get(key) and not _has_gpu():
            raise UserError(f"training.{key}: needs a GPU, this machine has none; remove the key")


def _check_compilation(values: dict[str, Any]) -> None:
    backend, mode = values["torch_compile_backend"], values["torch_compile_mode"]
    if backend is not None:
        import torch
        from accelerate.utils import DynamoBackend

        known = [one for one in torch._dynamo.list_backends(()) if one.upper() in DynamoBackend.__members__]
        refuse_unknown(f"training.torch_compile_backend: {backend!r}", backend, known)
    if mode is not None:
        from torch._inductor import list_mode_options

        refuse_unknown(f"training.torch_compile_mode: {mode!r}", mode, list(list_mode_options()))


def _check_checkpointing(values: dict[str, Any], *, selective: bool) -> None:
    """Arguments of recomputation, which torch would refuse in the first forward pass."""
    import inspect

    from torch.utils.checkpoint import checkpoint

    known = {name for name, one in inspect.signature(checkpoint).parameters.items() if one.kind is not one.VAR_KEYWORD}
    known = known - {"function", "args"} | {"every_n_layers", "offload"} | ({"selective"} if selective else set())
    for name in values["activation_checkpointing_kwargs"] or ():
        refuse_unknown(f"training.activation_checkpointing_kwargs: {name!r}", name, sorted(known))


def _check_optimizer(values: dict[str, Any]) -> None:
    """The optimizer's package, and arguments that it has no use for.

    A layer stands for the model: what only the model itself shows is refused when the optimizer is built.
    """
    pairs = [pair.split("=") for pair in (values["optim_args"] or "").replace(" ", "").split(",") if pair]
    for pair in pairs:
        if len(pair) != 2:
            raise UserError(
                f"training.optim_args: {'='.join(pair)!r} is not name=value; write them as beta1=0.9,beta2=0.99"
            )
    try:
        built = _optimizer_values(values, pairs)
    except (ImportError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, ImportError) or "install" in reason or "import" in reason:
            raise UserError(f"training.optim: {values['optim']}: {reason} (or choose another optimizer)") from error
        return
    for i, (name, value) in enumerate(pairs):
        others = [[name, _another(value)] if j == i else pair for j, pair in enumerate(pairs)]
        try:
            used = _optimizer_values(values, others) != built
        except (ImportError, ValueError, TypeError, AttributeError):
            used = True  # read, for another value would not do
        if not used:
            raise UserError(f"training.optim_args: {name} has no effect with optim: {values['optim']}; remove it")


def _optimizer_values(values: dict[str, Any], pairs: list[list[str]]) -> dict[str, Any]:
    from types import SimpleNamespace

    import torch
    from transformers import Trainer
    from transformers.training_args import OptimizerNames, ParallelMode

    arguments = SimpleNamespace(
        **{
            **values,
            "optim": OptimizerNames(values["optim"]),
            "optim_args": ",".join("=".join(pair) for pair in pairs),
            "parallel_mode": ParallelMode.NOT_DISTRIBUTED,
        }
    )
    model: Any = torch.nn.Linear(1, 1)
    return dict(Trainer.get_optimizer_cls_and_kwargs(arguments, model)[1])


def _another(value: str) -> str:
    """A value other than this, of the same kind."""
    if value.lower() in ("true", "false"):
        return "False" if value.lower() == "true" else "True"
    try:
        return str(float(value) / 2 + 0.1) if "." in value or "e" in value.lower() else str(int(value) + 1)
    except ValueError:
        return f"{value}_"


def _check_scheduler(values: dict[str, Any]) -> None:
    import torch
    from transformers.optimization import get_scheduler

    with built_for("lr_scheduler_type", values["lr_scheduler_type"], "see training.lr_scheduler_kwargs"):
        get_scheduler(
            values["lr_scheduler_type"],
            optimizer=torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1),
            num_warmup_steps=1,
            num_training_steps=100,
            scheduler_specific_kwargs=dict(values["lr_scheduler_kwargs"] or {}),
        )
