"""The dry run of a model: lengths, cut rows, an example as it is read, parameters, estimates of memory and time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.inference.head import encode_texts, model_inputs
from categorize.models.causal import build_causal
from categorize.models.head import build_head, parameter_counts
from categorize.models.text_tokens import PromptTokens, text_tokens
from categorize.processes import world_size
from categorize.prompts import PromptFormat
from categorize.recipe.sections import SeqclsRecipe, SftRecipe, TrainedRecipe
from categorize.training.arguments import ADAPTER_DEFAULTS, DEFAULTS
from categorize.training.balance import Balance, build_balance
from categorize.training.inputs import training_inputs
from categorize.training.method import FitOptions
from categorize.training.objectives import named_weights, weights_line

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa
    from transformers import PreTrainedModel

    from categorize.data.load import LoadedData

EXAMPLE_TOKENS = 48
GIB = 2**30


def preview_head(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """Lines for the terminal. The model is built, for only then its parameters are known; nothing is trained."""
    head = build_head(recipe, data.label_set, options.trust_remote_code)
    prompt = None
    if recipe.prompt is not None:
        prompt = PromptFormat.from_section(recipe.prompt, data.label_set, head.tokenizer, head.settings.max_length)
    inputs = training_inputs(data, text_tokens(head.tokenizer, head.settings.max_length, prompt))
    rows = inputs.train
    tokens = encode_texts(head, model_inputs(rows, prompt), prompt)
    pieces = head.tokenizer.convert_ids_to_tokens(tokens[0].tolist()[:EXAMPLE_TOKENS])
    shown = " ".join(repr(piece)[1:-1] for piece in pieces)
    return [
        *([head.note] if head.note else []),
        *inputs.lines(),
        *_lengths(tokens.lengths, tokens.truncated, head.settings.max_length),
        f"example as the model reads it: {shown}{' ...' if len(tokens[0]) > EXAMPLE_TOKENS else ''}",
        f"  its label: {rows.column('gold')[0].as_py()}; the head reads every token, the loss is on the label alone",
        *_cost(recipe, head.model, tokens.lengths, head.settings.max_length, _balance(recipe, data, rows)),
        *_weights(recipe, data, rows),
    ]


def preview_sft(recipe: SftRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """The same for a causal model, with a rendered example whose loss mask is shown."""
    from categorize.training.sft import encode_rows

    causal = build_causal(recipe, options.trust_remote_code)
    prompt = PromptFormat.from_section(recipe.prompt, data.label_set, causal.tokenizer, causal.settings.max_length)
    inputs = training_inputs(data, PromptTokens(prompt))
    train = inputs.train
    rows = encode_rows(prompt, train)
    lengths = np.array([len(row) for row in rows])
    first = rows[0]
    shared = sum(len(row.prefix_ids) for row in rows) / lengths.sum()
    return [
        *inputs.lines(),
        *_lengths(lengths, sum(row.truncated for row in rows), causal.settings.max_length),
        f"shared instruction: {len(prompt.prefix_ids)} tokens, {shared:.0%} of all tokens",
        "example, no loss on this:",
        *(f"  | {line}" for line in causal.tokenizer.decode(first.prompt_ids).splitlines()),
        f"loss on these {len(first.completion_ids)} tokens: {causal.tokenizer.decode(first.completion_ids)!r}",
        *_cost(recipe, causal.model, lengths, causal.settings.max_length, _balance(recipe, data, train)),
        *_weights(recipe, data, train),
    ]


def _lengths(lengths: npt.NDArray[np.int64], cut: int, limit: int) -> list[str]:
    median, high = np.percentile(lengths, [50, 95])
    return [
        f"tokens a row: median {median:.0f}, 95% {high:.0f}, longest {lengths.max()} (max_length {limit})",
        f"rows that would be cut: {cut:,} of {len(lengths):,}",
    ]


def _weights(recipe: TrainedRecipe, data: LoadedData, rows: pa.Table) -> list[str]:
    named = named_weights(recipe, data.label_set, rows)
    return [weights_line(named)] if named else []


def _balance(recipe: TrainedRecipe, data: LoadedData, rows: pa.Table) -> Balance | None:
    targets = data.label_set.encode(rows.column("gold").to_pylist(), rows.column("gold_score").to_pylist())
    return build_balance(recipe.training.balance, data.label_set, targets)


def _cost(
    recipe: TrainedRecipe,
    model: PreTrainedModel,
    lengths: npt.NDArray[np.int64],
    limit: int,
    balance: Balance | None = None,
) -> list[str]:
    """Parameters, steps, and rough estimates: 2 floating-point operations a weight and token forward, 4 backward."""
    import os

    import torch

    trained, total = parameter_counts(model)
    values: dict[str, Any] = {**DEFAULTS, **(ADAPTER_DEFAULTS if recipe.adapter else {}), **recipe.training.upstream()}
    processes = world_size()
    batch = int(values["per_device_train_batch_size"])
    step_rows = batch * int(values.get("gradient_accumulation_steps", 1)) * processes
    steps = math.ceil((balance.rows if balance else len(lengths)) / step_rows) * math.ceil(
        float(values["num_train_epochs"])
    )
    if int(values.get("max_steps", -1)) > 0:
        steps = int(values["max_steps"])
    stored = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    config = model.config.get_text_config()
    layers = int(getattr(config, "num_hidden_layers", None) or getattr(config, "num_layers", None) or 12)
    # About 34 bytes a token, layer and unit of width in half precision (arXiv 2205.05198); with recomputation those of
    # one layer, and of the others what goes into them.
    recomputed = recomputes(recipe)
    layered = 34 + 4 * layers if recomputed else 34 * layers
    activations = layered * config.hidden_size * batch * min(int(lengths.max()), limit)
    memory = stored + trained * 12 + activations
    embedding = model.get_input_embeddings().weight.numel()
    passes = (6 if trained == total else 4) + (2 if recomputed else 0)
    work = max(total - embedding, 1) * passes * int(lengths.sum()) * steps * step_rows / len(lengths)
    if torch.cuda.is_available():
        speed, device = 1e14 * torch.cuda.device_count(), "GPU at 100 TFLOP/s"
    else:
        cores = os.cpu_count() or 1
        speed, device = 3e10 * cores, f"{cores} cores at 30 GFLOP/s"
    return [
        *([balance.line()] if balance else []),
        f"parameters: {trained:,} trained of {total:,} ({trained / total:.2%})",
        f"optimizer steps: {steps:,} of {step_rows} rows",
        f"memory, estimated: {memory / GIB:.1f} GiB a process; "
        f"time, estimated: {work / speed / 60:.1f} min on {device}",
    ]


def recomputes(recipe: TrainedRecipe) -> bool:
    """Whether activations are computed again for the gradients: SFT does so unless the recipe says otherwise."""
    default = isinstance(recipe, SftRecipe) and not (recipe.adapter is not None and recipe.adapter.type == "prefix")
    return bool(recipe.training.upstream().get("activation_checkpointing", default))
