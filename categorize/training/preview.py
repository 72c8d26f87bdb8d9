"""The dry run of a head: lengths, cut rows, an example as the model reads it, parameters, and estimates of memory
and time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from categorize.inference.head import encode_texts, model_inputs
from categorize.models.head import Head, build_head, parameter_counts
from categorize.prompts import PromptFormat
from categorize.recipe.sections import SeqclsRecipe
from categorize.training.arguments import ADAPTER_DEFAULTS, DEFAULTS
from categorize.training.method import FitOptions

if TYPE_CHECKING:
    from categorize.data.load import LoadedData
    from categorize.models.tokenizer import TokenizedTexts

GIB = 2**30


def preview_head(recipe: SeqclsRecipe, data: LoadedData, options: FitOptions) -> list[str]:
    """Lines for the terminal. The model is built, for only then its parameters are known; nothing is trained."""
    head = build_head(recipe, data.label_set, options.trust_remote_code)
    prompt = None
    if recipe.prompt is not None:
        prompt = PromptFormat.from_section(recipe.prompt, data.label_set, head.tokenizer, head.settings.max_length)
    rows = data.input_spec.expand(data.splits.train)
    tokens = encode_texts(head, model_inputs(rows, prompt), prompt)
    return [
        *_lengths(tokens, head),
        *_example(tokens, head, rows.column("gold")[0].as_py()),
        *_cost(recipe, head, tokens),
    ]


def _lengths(tokens: TokenizedTexts, head: Head) -> list[str]:
    import numpy as np

    median, high = np.percentile(tokens.lengths, [50, 95])
    limit = head.settings.max_length
    return [
        f"tokens a row: median {median:.0f}, 95% {high:.0f}, longest {tokens.lengths.max()} (max_length {limit})",
        f"rows that would be cut: {tokens.truncated:,} of {len(tokens):,}",
    ]


def _example(tokens: TokenizedTexts, head: Head, gold: Any) -> list[str]:
    ids = tokens[0].tolist()
    pieces = " ".join(repr(piece)[1:-1] for piece in head.tokenizer.convert_ids_to_tokens(ids[:48]))
    return [
        f"example as the model reads it: {pieces}{' ...' if len(ids) > 48 else ''}",
        f"  its label: {gold}; the head reads every token, the loss is on the label alone",
    ]


def _cost(recipe: SeqclsRecipe, head: Head, tokens: TokenizedTexts) -> list[str]:
    """Parameters, steps, and rough estimates: 2 floating-point operations a weight and token forward, 4 backward."""
    import os

    import torch

    trained, total = parameter_counts(head.model)
    values: dict[str, Any] = {**DEFAULTS, **(ADAPTER_DEFAULTS if recipe.adapter else {}), **recipe.training.upstream()}
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = int(values["per_device_train_batch_size"])
    step_rows = batch * int(values.get("gradient_accumulation_steps", 1)) * processes
    steps = math.ceil(len(tokens) / step_rows) * math.ceil(float(values["num_train_epochs"]))
    if int(values.get("max_steps", -1)) > 0:
        steps = int(values["max_steps"])
    stored = sum(parameter.numel() * parameter.element_size() for parameter in head.model.parameters())
    config = head.model.config.get_text_config()
    layers = int(getattr(config, "num_hidden_layers", None) or getattr(config, "num_layers", None) or 12)
    # About 34 bytes a token, layer and unit of width without recomputation (arXiv 2205.05198), in half precision.
    activations = 34 * layers * config.hidden_size * batch * min(int(tokens.lengths.max()), head.settings.max_length)
    memory = stored + trained * 12 + activations
    embedding = head.model.get_input_embeddings().weight.numel()
    work = (
        max(total - embedding, 1)
        * (6 if trained == total else 4)
        * int(tokens.lengths.sum())
        * steps
        * step_rows
        / len(tokens)
    )
    gpu = torch.cuda.is_available()
    speed, device = (
        (1e14 * torch.cuda.device_count(), "GPU at 100 TFLOP/s")
        if gpu
        else (3e10 * (os.cpu_count() or 1), f"{os.cpu_count()} cores at 30 GFLOP/s")
    )
    return [
        f"parameters: {trained:,} trained of {total:,} ({trained / total:.2%})",
        f"optimizer steps: {steps:,} of {step_rows} rows",
        f"memory, estimated: {memory / GIB:.1f} GiB a process; time, estimated: {work / speed / 60:.1f} min on "
        f"{device}",
    ]
