"""What a dry run says of a training: lengths, cut rows, parameters, memory and time as a few steps show them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from categorize.data.splits import LoadedData
from categorize.nn.parameters import parameter_counts
from categorize.predictions import IntArray
from categorize.recipe.sections import TrainedRecipe
from categorize.training.fitting import Prepared

LONGEST_STEP = 60.0  # seconds, estimated: above, a dry run takes no step
GIB = 2**30


def preview_lines(
    data: LoadedData, prepared: Prepared, example: list[str], recipe: TrainedRecipe | None = None
) -> list[str]:
    """The dry run of a training that is prepared: lengths, what would be cut, the example, and what it costs.

    Args:
        recipe: of a head or a causal model, whose memory is counted from its config; None: by a rule of thumb.
    """
    rows = prepared.trainer.rows
    return [
        *length_lines(rows.lengths, rows.truncated, prepared.max_length),
        *example,
        *cost_lines(data, prepared.trainer, recipe),
    ]


def length_lines(lengths: IntArray, cut: int, limit: int) -> list[str]:
    """Tokens a row, and how many rows are longer than the model reads."""
    median, high = np.percentile(lengths, [50, 95])
    return [
        f"tokens a row: median {median:.0f}, 95% {high:.0f}, longest {lengths.max()} (max_length {limit})",
        f"rows that would be cut: {cut:,} of {len(lengths):,}",
    ]


def cost_lines(data: LoadedData, trainer: Any, recipe: TrainedRecipe | None = None) -> list[str]:
    """Parameters, steps, memory and time: measured on a few steps where they are quick and fit, else estimated."""
    from categorize.training.rehearsal import planned_steps, rehearse

    lengths = trainer.rows.lengths
    trained, total = parameter_counts(trainer.model)
    steps = planned_steps(trainer)
    rows_a_step = trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps * trainer.args.world_size
    guess = estimate(trainer)
    if recipe is not None and (counted := counted_memory(recipe, trainer)) is not None:
        guess = replace(guess, memory=counted)
    lines = [
        f"parameters: {trained:,} trained of {total:,} ({trained / total:.2%})",
        f"optimizer steps: {steps:,} of {rows_a_step} rows",
    ]
    if (reason := _unmeasured(guess)) is not None:
        seconds = guess.step_seconds * steps * float(lengths.mean() / lengths.max())
        return [
            *lines,
            f"memory, estimated: {guess.memory / GIB:.1f} GiB a process; time, estimated: {_duration(seconds)} on "
            f"{guess.device}; neither is measured: {reason}",
        ]
    measured = rehearse(trainer)
    rows, width = measured.batch
    held_out = data.splits.validation.num_rows + data.splits.test.num_rows
    predicting = measured.row_seconds * held_out
    validated = "" if not measured.row_seconds else " and on validation rows"
    return [
        *lines,
        f"memory, measured: {measured.memory / GIB:.2f} GiB {'on the GPU' if measured.on_gpu else 'of this process'} "
        f"in steps on the longest batch ({rows} rows of {width} tokens){validated}; "
        f"estimated: {guess.memory / GIB:.2f} GiB",
        f"time, measured: {measured.longest_step:.2g} s for the first step, on the longest batch, "
        f"{measured.common_step:.2g} s for a common one",
        f"time, extrapolated from that: training {_duration(measured.training)}"
        + (
            f", {measured.validations} validations {_duration(measured.validation)}, "
            f"predictions at the end {_duration(predicting)}"
            if measured.row_seconds
            else ""
        )
        + "; loading and saving come on top",
    ]


def counted_memory(recipe: TrainedRecipe, trainer: Any) -> int | None:
    """Bytes of a process, from a step of the model that is counted and not taken; None where it cannot be counted.

    On a CPU with what the process holds already beside the weights: libraries and data.
    """
    from transformers import AutoConfig

    from categorize.memory.plans import is_countable, plan_of
    from categorize.memory.simulation import FRAGMENTS, simulate

    arguments, section = trainer.args, cast(Any, recipe.model)
    gpu = arguments.device.type == "cuda"
    try:
        options = {"revision": section.revision, "trust_remote_code": False}
        config = AutoConfig.from_pretrained(section.name_or_path, **options)
        if not is_countable(config):
            return None
        mixed = "bfloat16" if arguments.bf16 else "float16" if arguments.fp16 else None
        labels = int(getattr(trainer.model.config, "num_labels", 2))
        plan = plan_of(recipe, config, vars(arguments), gpu=gpu, mixed=mixed, labels=labels)
        evaluated = 0 if trainer.held_out is None else min(int(arguments.eval_batch_size), len(trainer.held_out))
        rows = int(arguments.train_batch_size)
        sequences = rows * (plan.readings if plan.causal else 1)
        step = simulate(plan, rows, -(-_tokens_of_longest(trainer) // sequences), evaluated)
    except Exception:  # an architecture or an optimizer of which nothing is known; the rule of thumb stays
        return None
    if gpu:
        return int(step.total * FRAGMENTS)
    import psutil  # accelerate brings it

    return int(step.total * FRAGMENTS) + max(int(psutil.Process().memory_info().rss) - step.weights, 0)


@dataclass(frozen=True)
class Estimate:
    """Bytes of a process and seconds of an optimizer step on the longest rows, by rules of thumb."""

    memory: float
    step_seconds: float
    device: str


def estimate(trainer: Any) -> Estimate:
    """What a step may take: 2 floating-point operations a weight and token forward, 4 backward."""
    import torch

    model, arguments = trainer.model, trainer.args
    trained, total = parameter_counts(model)
    tokens = _tokens_of_longest(trainer)
    stored = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    config = model.config.get_text_config()
    layers = int(getattr(config, "num_hidden_layers", None) or getattr(config, "num_layers", None) or 12)
    # About 34 bytes a token, layer and unit of width in half precision (arXiv 2205.05198); with recomputation those of
    # one layer, and of the others what goes into them.
    recomputed = bool(arguments.activation_checkpointing)
    layered = 34 + 4 * layers if recomputed else 34 * layers
    activations = layered * config.hidden_size * tokens
    memory = stored + trained * 12 + activations
    embedding = model.get_input_embeddings().weight.numel()
    passes = (6 if trained == total else 4) + (2 if recomputed else 0)
    work = max(total - embedding, 1) * passes * tokens * int(arguments.gradient_accumulation_steps)
    if torch.cuda.is_available():
        return Estimate(memory, work / 1e14, "GPU at 100 TFLOP/s")
    cores = os.cpu_count() or 1
    return Estimate(memory, work / (3e10 * cores), f"{cores} cores at 30 GFLOP/s")


def _tokens_of_longest(trainer: Any) -> int:
    """Tokens that a pass over the longest rows computes."""
    from categorize.training.rehearsal import longest_rows

    return int(trainer.pass_tokens(trainer.rows, longest_rows(trainer.rows.lengths, trainer.args.train_batch_size)))


def _unmeasured(guess: Estimate) -> str | None:
    """Why no steps should be taken; None where they are quick and fit. A GPU says by itself what does not fit."""
    import psutil  # accelerate brings it
    import torch

    if guess.step_seconds > LONGEST_STEP:
        return f"a step would take about {_duration(guess.step_seconds)}"
    free = psutil.virtual_memory().available
    if not torch.cuda.is_available() and 2 * guess.memory > free:  # a heap may take twice what is held
        return f"steps may not fit into the {free / GIB:.1f} GiB that are free"
    return None


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
