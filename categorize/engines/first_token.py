"""The last layer of an encoder for the first token alone, where its head reads no other.

Behind the last attention nothing mixes tokens any more: what a classifier that reads the first one (BERT's [CLS])
computes of the others there is thrown away. In a model of six layers that is an eighth of all multiplications.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

TRIED = ((12, 7), (3, 24))  # lengths of the texts of each trial batch, in tokens
EXACT = 2e-5  # largest difference of logits, as a share of their spread, that rounding makes in float32


def narrow_last_layer(model: torch.nn.Module) -> dict[str, Callable[[], None]]:
    """Let the linear layers behind the last attention take the first token alone. Which these are is found by trial,
    from the end: as many as leave the logits as they are, in the order of their calls.

    Args:
        model: in float32 and for evaluation; takes `input_ids` and `attention_mask`, and gives `logits`.

    Returns:
        Their names, each with what undoes it. None, where a head pools several tokens or reads another than the first.
    """
    import torch

    found: dict[str, Callable[[], None]] = {}
    with torch.inference_mode(), suppress(Exception):  # of a model that takes other inputs, or no such lengths
        batches = [_batch(model, lengths) for lengths in TRIED]
        layers = _calls(model, batches[0])
        expected = [model(**batch).logits for batch in batches]
        for name, layer in reversed(layers):
            hook = layer.register_forward_pre_hook(_first)
            if not _same(model, batches, expected):
                hook.remove()
                break
            found[name] = hook.remove
    return found


def _first(layer: Any, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return (inputs[0][:, :1], *inputs[1:])  # it stands for all behind it: what is added to it is as long as before


def _batch(model: Any, lengths: Sequence[int]) -> dict[str, torch.Tensor]:
    """Texts of random tokens."""
    import torch

    from categorize.nn.tokenizer import pad

    draw = torch.Generator().manual_seed(1)
    words = int(model.config.get_text_config().vocab_size)
    texts = [torch.randint(words, (length,), generator=draw).tolist() for length in lengths]
    device = next(model.parameters()).device
    return {name: tensor.to(device) for name, tensor in pad(texts, model.config.pad_token_id).items()}


def _calls(model: Any, batch: dict[str, torch.Tensor]) -> list[tuple[str, torch.nn.Linear]]:
    """Linear layers that a forward pass calls once, with the vectors of each token, in the order of their calls."""
    import torch

    seen: list[str] = []
    layers = {name: module for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    hooks = []
    for name, layer in layers.items():

        def note(_: Any, inputs: tuple[Any, ...], name: str = name) -> None:
            if inputs and inputs[0].ndim == 3 and inputs[0].shape[1] > 1:
                seen.append(name)

        hooks.append(layer.register_forward_pre_hook(note))
    try:
        model(**batch)
    finally:
        for hook in hooks:
            hook.remove()
    return [(name, layers[name]) for name, calls in Counter(seen).items() if calls == 1]


def _same(model: Any, batches: list[dict[str, torch.Tensor]], expected: list[torch.Tensor]) -> bool:
    try:
        return all(_close(model(**batch).logits, logits) for batch, logits in zip(batches, expected, strict=True))
    except Exception:  # of shapes that do not fit, of any kind and from any depth: tokens are mixed there
        return False


def _close(logits: torch.Tensor, expected: torch.Tensor) -> bool:
    if logits.shape != expected.shape or not expected.isfinite().all():
        return False
    return bool((logits - expected).abs().max() <= EXACT * expected.std(correction=0).clamp(min=1e-6))
