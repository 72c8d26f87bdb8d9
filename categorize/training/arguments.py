"""`TrainingArguments` from a recipe: its own keys, our defaults, and the precision that this machine can do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.metrics.measures import measure_names
from categorize.metrics.progress import greater_is_better, headline
from categorize.nn.device import one_gpu
from categorize.nn.precision import cpu_computes_bfloat16
from categorize.processes import print0
from categorize.recipe.sections import SftRecipe
from categorize.recipe.training_sections import SftTrainingSection, TrainingSection
from categorize.recipe.upstream import load_table
from categorize.recipe.wording import did_you_mean

if TYPE_CHECKING:
    from transformers import TrainingArguments
    from trl import SFTConfig

Arguments = TypeVar("Arguments")

DEFAULTS: dict[str, Any] = {
    "num_train_epochs": 3,
    "per_device_train_batch_size": 16,
    "learning_rate": 2e-5,
    "weight_decay": 0.01,
    "lr_scheduler_type": "linear",
    "warmup_steps": 0.1,
    "logging_steps": 10,
    "eval_strategy": "epoch",
    "save_strategy": "epoch",
    "save_total_limit": 2,
    "report_to": "none",
    "dataloader_pin_memory": False,
}
EVAL_ROWS, EVAL_TOKENS = 64, 16384  # most rows and, at full length, tokens of an evaluation batch by default
ADAPTER_DEFAULTS: dict[str, Any] = {"learning_rate": 2e-4}
HEAD_ONLY_DEFAULTS: dict[str, Any] = {"learning_rate": 1e-3}


def written_values(section: TrainingSection | SftTrainingSection) -> dict[str, Any]:
    """Arguments as the recipe, our defaults and upstream's have them, before this machine is looked at."""
    upstream = {name: field["default"] for name, field in load_table()[type(section).upstream_class].items()}
    return {**upstream, **DEFAULTS, **section.upstream()}


@dataclass(frozen=True)
class Precision:
    """Type of the computation, and why."""

    bf16: bool
    fp16: bool
    reason: str


def choose_precision(values: dict[str, Any]) -> Precision:
    """bfloat16 where the accelerator has it, float16 with loss scaling elsewhere (T4, V100), float32 on a CPU.

    A recipe's own `bf16: true` or `fp16: true` is kept where the machine can do it; without bfloat16 `bf16: true`
    becomes float16 on a GPU and float32 on a CPU, for the recipe is meant to run there too.
    """
    import torch

    cuda = torch.cuda.is_available()
    has_bf16 = torch.cuda.is_bf16_supported(including_emulation=False) if cuda else cpu_computes_bfloat16()
    if values.get("fp16"):
        if not cuda:
            return Precision(False, False, "float32: fp16 needs a GPU, this machine has none")
        return Precision(False, True, "float16 with loss scaling, as the recipe says")
    if values.get("bf16"):
        if has_bf16:
            return Precision(True, False, "bfloat16, as the recipe says")
        if not cuda:
            return Precision(False, False, "float32: this CPU has no bfloat16 instructions, emulating them is slower")
        return Precision(False, True, "float16 with loss scaling: this GPU has no bfloat16")
    if values.get("bf16") is False or values.get("fp16") is False:
        return Precision(False, False, "float32, as the recipe says")
    if not cuda:
        return Precision(False, False, "float32: no GPU")
    if has_bf16:
        return Precision(True, False, "bfloat16: this GPU has it")
    return Precision(False, True, "float16 with loss scaling: this GPU has no bfloat16")


@contextmanager
def built_for(key: str, value: Any, way_out: str) -> Iterator[None]:
    """What another library raises while it builds what a key of `training` asks for is a one-line error at that key."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever it is, it comes of the key's value
        raise UserError(f"training.{key}: {value}: {' '.join(str(error).split())} ({way_out})") from error


def check_metric(section: TrainingSection | SftTrainingSection, label_set: LabelSet) -> None:
    """Raises UserError for a `metric_for_best_model` that is not measured, before a model is loaded."""
    if (name := section.upstream().get("metric_for_best_model")) is not None:
        _known_metric(str(name), label_set)


@contextmanager
def building_trainer() -> Iterator[None]:
    """What upstream finds wrong with the arguments, or misses, while it builds a trainer is a one-line error."""
    try:
        yield
    except (ImportError, ValueError, TypeError, NotImplementedError) as error:
        raise UserError(f"training: {' '.join(str(error).split())}") from error


def build_arguments(
    section: TrainingSection,
    *,
    checkpoints: Path,
    seed: int,
    label_set: LabelSet,
    max_length: int,
    defaults: dict[str, Any],
    has_validation: bool,
) -> tuple[TrainingArguments, Precision]:
    """The arguments of a head's trainer.

    Args:
        label_set: its headline measure chooses the best checkpoint unless the recipe names another of its measures.
        max_length: longest input in tokens, which bounds the evaluation batch.
        defaults: those of the family, over `DEFAULTS`.
        has_validation: without validation rows nothing is evaluated and the last weights are kept.

    Raises:
        UserError: values that upstream refuses, early stopping without validation rows, a measure that there is not, or
            a logger that is not installed.
    """
    from transformers import TrainingArguments

    values, precision = _values(section, defaults, checkpoints, seed, label_set, max_length, has_validation)
    return _fill(TrainingArguments, values), precision


def build_sft_arguments(
    recipe: SftRecipe, *, checkpoints: Path, label_set: LabelSet, max_length: int, has_validation: bool
) -> tuple[SFTConfig, Precision]:
    """The arguments of TRL's trainer; raises as `build_arguments` does."""
    from trl import SFTConfig

    section = recipe.training
    defaults = dict(ADAPTER_DEFAULTS) if recipe.adapter else {}
    if recipe.adapter is not None and recipe.adapter.type == "prefix":
        defaults["activation_checkpointing"] = False  # recomputation drops the prefix, which is a cache
    values, precision = _values(section, defaults, checkpoints, recipe.seed, label_set, max_length, has_validation)
    # Rows come tokenized and are never cut, packed or dropped by the trainer.
    fixed = {"max_length": None, "packing": False, "dataset_kwargs": {"skip_prepare_dataset": True}}
    return _fill(SFTConfig, {**values, **fixed}), precision


def _values(
    section: TrainingSection | SftTrainingSection,
    defaults: dict[str, Any],
    checkpoints: Path,
    seed: int,
    label_set: LabelSet,
    max_length: int,
    has_validation: bool,
) -> tuple[dict[str, Any], Precision]:
    """What the arguments are made of; `defaults` go over `DEFAULTS`."""
    import torch

    precision = choose_precision(section.upstream())
    values: dict[str, Any] = {**DEFAULTS, **defaults, **section.upstream()}
    values = {
        "per_device_eval_batch_size": evaluation_rows(values, max_length),
        **values,
        "bf16": precision.bf16,
        "fp16": precision.fp16,
    }
    if not has_validation:
        if section.early_stopping is not None:
            raise UserError("training.early_stopping: there are no validation rows; set data.splits.validation above 0")
        values |= {"eval_strategy": "no"}
    _fit_saving(values, section.upstream())
    choose_best = values["eval_strategy"] != "no" and values["save_strategy"] != "no"
    if section.early_stopping is not None and not choose_best:
        raise UserError(
            "training.early_stopping: needs eval_strategy and save_strategy of steps or epoch, one of them is no"
        )
    if choose_best:
        values = {"load_best_model_at_end": True, "metric_for_best_model": headline(label_set)} | values
        metric = _known_metric(str(values["metric_for_best_model"]), label_set)
        # Upstream takes the highest value of everything that is not called loss, an error's too.
        values = {"greater_is_better": greater_is_better(metric)} | values
    check_loggers(values["report_to"])
    if not torch.accelerator.is_available():
        values["use_cpu"] = True  # else upstream refuses bf16 on a CPU that can do it
    values |= {
        "output_dir": str(checkpoints),
        "seed": seed,
        "data_seed": seed,
        "restore_callback_states_from_checkpoint": True,
        "remove_unused_columns": False,
    }
    return values, precision


def evaluation_rows(values: Mapping[str, Any], max_length: int) -> int:
    """Rows of an evaluation batch by default: fewer where inputs are long, but no fewer than training holds with its
    gradients."""
    return max(int(values["per_device_train_batch_size"]), min(EVAL_ROWS, EVAL_TOKENS // max_length))


def _fit_saving(values: dict[str, Any], written: dict[str, Any]) -> None:
    """Checkpoints where evaluations are, unless the recipe says otherwise.

    Raises:
        UserError: evaluations without a checkpoint, of which one may be the best: upstream would say that it is, and
            keep other weights.
    """
    if "save_strategy" not in written and values["eval_strategy"] != "no":
        values["save_strategy"] = values["eval_strategy"]
    if not values["eval_strategy"] == values["save_strategy"] == "steps":
        return
    every = values.get("eval_steps") or values["logging_steps"]  # as upstream has it
    saved = values.setdefault("save_steps", every)
    if saved != every and values.get("load_best_model_at_end", True):
        raise UserError(
            f"training.save_steps: {saved} leaves evaluations (every {every} steps) without a checkpoint, of which one "
            "may be the best; write the same number for both, or save_strategy: best"
        )


def _known_metric(name: str, label_set: LabelSet) -> str:
    """A measure's name without `eval_`. Upstream would look for it when the first epoch is over.

    Raises:
        UserError: nothing of that name is measured.
    """
    metric = name.removeprefix("eval_")
    known = ["loss", *measure_names(label_set)]
    if metric not in known:
        raise UserError(
            f"training.metric_for_best_model: {name!r} is not measured{did_you_mean(metric, known)}; "
            f"a {label_set.task} task has: {', '.join(known)}"
        )
    return metric


def refuse_unknown(what: str, name: str, known: Sequence[str]) -> None:
    """Raises UserError, which begins with `what`, for a name that is not known."""
    if name not in known:
        raise UserError(f"{what} is unknown{did_you_mean(name, known)}; one of: {', '.join(known)}")


def check_loggers(report_to: str | list[str] | None) -> None:
    """Raises UserError for a logger of `report_to` that is not installed; upstream would raise behind the model."""
    from transformers.integrations.integration_utils import (
        INTEGRATION_TO_CALLBACK,
        get_available_reporting_integrations,
    )

    for name in [report_to] if isinstance(report_to, str) else report_to or ():
        if name in ("none", "all"):
            continue
        refuse_unknown(f"training.report_to: {name!r}", name, ["none", *sorted(INTEGRATION_TO_CALLBACK)])
        if name not in get_available_reporting_integrations():
            raise UserError(f"training.report_to: {name} is not installed; install it, or write none")


def _fill(arguments: type[Arguments], values: dict[str, Any]) -> Arguments:
    with building_trainer():
        filled = arguments(**values)
    if (seen := one_gpu(filled)) > 1:
        print0(
            f"  one of {seen} GPUs is used; all of them with: accelerate launch --config_file "
            f"accelerate_configs/multi_gpu.yaml --num_processes {seen}"
        )
    return filled
