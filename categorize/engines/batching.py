"""What every engine does with rows: distinct ones once, sorted by length, in batches that a token budget bounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from categorize.predictions import IntArray
from categorize.prompts.messages import Prompt

if TYPE_CHECKING:
    import torch

MAX_PADDING = 0.25  # largest share of padding in a batch: a token budget alone lets one long text pad many short ones
ENOUGH = 4  # a batch of this part of its budget is not padded further: texts of another length begin the next one
ON_CPU = 2048  # tokens that a batch of an encoder has by default: what it computes then stays in the caches
ROWS_ON_CPU = 256  # of such a batch: very short texts fill it, too


def model_inputs(rows: pa.Table | pa.RecordBatch, prompt: Prompt | None) -> list[Any]:
    """What the model reads of each row: its text, or the fields that its prompt is rendered from."""
    texts = rows.column("text").to_pylist()
    if prompt is None:
        return list(texts)
    fields = rows.column("fields").to_pylist()
    return [{**(raw or {}), "text": text} for raw, text in zip(fields, texts, strict=True)]


def input_key(prompt: Prompt | None) -> Callable[[Any], Any]:
    """What makes two inputs the same to the model: their text, or the columns that the prompt has."""
    if prompt is None:
        return lambda text: text
    return lambda fields: tuple(fields.get(column) for column in prompt.columns)


def distinct_inputs(inputs: list[Any], prompt: Prompt | None) -> tuple[list[Any], IntArray]:
    """The distinct inputs, and for each row which of them it is, int64 [rows]."""
    keys = [*map(input_key(prompt), inputs)]
    distinct = dict(zip(keys, inputs, strict=True))
    position = {key: i for i, key in enumerate(distinct)}
    return list(distinct.values()), np.array([position[key] for key in keys], dtype=np.int64)


def length_sorted_batches(lengths: IntArray, batch_size: int, batch_tokens: int) -> Iterator[IntArray]:
    """Positions in batches of like length, longest first, so that a memory shortage shows at once.

    A batch holds at most `batch_size` rows, `batch_tokens` tokens with padding, and a share of `MAX_PADDING` padding.
    Where many texts have the same length, they fill batches of their own, which need no padding and no mask.

    >>> import numpy as np
    >>> [batch.tolist() for batch in length_sorted_batches(np.array([3, 40, 4, 38]), 64, 1000)]
    [[1, 3], [2, 0]]
    """
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        width = max(1, int(lengths[order[start]]))
        end, tokens = start, 0
        while end < len(order) and end - start < batch_size and width * (end - start + 1) <= max(batch_tokens, width):
            length = int(lengths[order[end]])
            if length < width and tokens * ENOUGH >= batch_tokens:
                break
            tokens += length
            if 1 - tokens / (width * (end - start + 1)) > MAX_PADDING and end > start:
                break
            end += 1
        yield order[start:end]
        start = end


def compute_dtype(name: str, model: torch.nn.Module, device: torch.device) -> torch.dtype | None:
    """Half precision to compute in, or None for the weights' own type.

    `auto` is bfloat16 on a GPU that has it, and where any weights are in half precision already; float16 for bfloat16
    weights on a GPU that has no bfloat16.
    """
    import torch

    if name == "float32":
        return None
    if name in ("bfloat16", "float16"):
        half: torch.dtype = getattr(torch, name)
        return half
    # bitsandbytes turns biases into its compute type in the first forward pass: matrices alone tell.
    matrices = {parameter.dtype for parameter in model.parameters() if parameter.ndim > 1}
    halves = matrices & {torch.bfloat16, torch.float16}
    has_bfloat16 = device.type != "cuda" or torch.cuda.is_bf16_supported(including_emulation=False)
    if halves:
        return torch.bfloat16 if torch.bfloat16 in halves and has_bfloat16 else torch.float16
    return torch.bfloat16 if device.type == "cuda" and has_bfloat16 else None


def autocast(name: str, model: torch.nn.Module, device: torch.device) -> AbstractContextManager[Any]:
    """Context that computes in `compute_dtype` of these arguments."""
    import torch

    dtype = compute_dtype(name, model, device)
    return torch.autocast(device.type, dtype=dtype) if dtype is not None else nullcontext()
