"""Bytes and floating-point operations of tensors that exist in name only.

A step is run on tensors without storage (`FakeTensorMode`), every operation is seen, and what it allocates is counted
until the last reference is gone: what autograd saves, what is recomputed, what lives for a moment. The count is that of
the step itself, for any architecture, attention and adapter, rather than a formula's.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

BLOCK = 512  # bytes in which a GPU's allocator rounds up
ATTENTION = (  # flash attention on a CPU, of which torch counts no operations
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward,
)


class Tally(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is allocated while it is entered.

    Attributes:
        live: bytes that are held now.
        peak: most bytes that were held since `reset`.
        flops: of matrix products and attention, where a multiplication and an addition are two.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = self.flops = 0
        self._seen: dict[int, Any] = {}

    def reset(self) -> None:
        """Count the peak and the operations from here on."""
        self.peak, self.flops = self.live, 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        if _is_asked_for_truth(func, args):
            return False  # no mask is all ones, and no token is attended to by all (Longformer, where one a row is)
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._hold(leaf)
        packet = func._overloadpacket
        if packet in flop_registry:
            self.flops += int(flop_registry[packet](*args, **(kwargs or {}), out_val=result))
        elif packet in ATTENTION:
            self.flops += _attention_flops(packet, args)
        return result

    def _hold(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = id(storage)
        if key in self._seen:
            return
        size = -(-int(storage.nbytes()) // BLOCK) * BLOCK
        self.live += size
        self.peak = max(self.peak, self.live)

        def drop(_: Any) -> None:
            del self._seen[key]
            self.live -= size

        self._seen[key] = weakref.ref(storage, drop)


def _is_asked_for_truth(func: Any, args: Sequence[Any]) -> bool:
    """Whether an operation asks for a truth value that is in no tensor here."""
    return (
        func is torch.ops.aten._local_scalar_dense.default
        and args[0].dtype is torch.bool
        and getattr(args[0], "constant", None) is None
    )


def _attention_flops(packet: Any, args: Sequence[Any]) -> int:
    """Two products of tokens by tokens forward, five backward."""
    backward = packet is ATTENTION[1]
    query, key, value = args[1:4] if backward else args[:3]
    rows, heads, tokens, size = query.shape
    return int(rows * heads * tokens * key.shape[2] * (size + value.shape[-1]) * (5 if backward else 2))


@contextmanager
def as_on_gpu(mixed: bool) -> Iterator[None]:
    """Within it, operations of a CPU allocate what CUDA's do: dropout keeps a mask of bytes, and with mixed precision
    norms and softmax read and give float32.

    The functions themselves are exchanged: autograd leaves a mode while it recomputes activations.
    """
    functional: Any = torch.nn.functional
    own = {name: getattr(functional, name) for name in ("dropout", "layer_norm", "softmax")}
    functional.dropout = _dropout
    if mixed:
        functional.layer_norm = lambda input, *args, **kwargs: own["layer_norm"](input.float(), *args, **kwargs)
        functional.softmax = lambda input, *args, **kwargs: own["softmax"](input.float(), *args, **kwargs)
    try:
        yield
    finally:
        for name, function in own.items():
            setattr(functional, name, function)


def _dropout(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    if p == 0 or not training:
        return input
    dropped: torch.Tensor = torch.native_dropout(input, p, True)[0]
    return dropped
