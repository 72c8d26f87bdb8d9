"""Stand-ins for quantized layers, which allocate what those of bitsandbytes do."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch

BITS = {"4": 4.127, "8": 8.0}  # a weight; NF4 with double quantization: arXiv 2305.14314, section 3


class _Product(torch.autograd.Function):
    """A product with weights that are unpacked for it, forward and backward, and kept packed between."""

    @staticmethod
    def forward(ctx: Any, inputs: torch.Tensor, packed: torch.Tensor, shape: torch.Size, dtype: torch.dtype) -> Any:
        ctx.save_for_backward(packed)
        ctx.shape, ctx.dtype = shape, dtype
        return inputs @ torch.empty(shape, dtype=dtype).t()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        return grads[0] @ torch.empty(ctx.shape, dtype=ctx.dtype).to(grads[0].dtype), None, None, None


class PackedLinear(torch.nn.Linear):
    """A frozen layer of packed weights that is computed in another type."""

    compute: torch.dtype
    shape: torch.Size

    @classmethod
    def pack(cls, layer: torch.nn.Linear, bits: float, compute: torch.dtype) -> PackedLinear:
        """The layer's stand-in."""
        packed = cls(1, 1, bias=False)
        packed.in_features, packed.out_features = layer.in_features, layer.out_features
        packed.shape, packed.compute = layer.weight.shape, compute
        size = int(layer.weight.numel() * bits / 8)
        packed.weight = torch.nn.Parameter(torch.empty(size, dtype=torch.uint8), requires_grad=False)
        packed.bias = layer.bias
        return packed

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """As bitsandbytes: in the compute type, and back."""
        product: Any = _Product.apply
        result: torch.Tensor = product(input.to(self.compute), self.weight, self.shape, self.compute)
        if self.bias is not None:
            result = result + self.bias.to(self.compute)
        return result.to(input.dtype)


def quantize(model: Any, bits: float, compute: torch.dtype, skip: Collection[str]) -> None:
    """Put stand-ins in place of the model's linear layers, but for modules of these names and what is in them."""
    for name, module in list(model.named_modules()):
        if type(module) is not torch.nn.Linear or set(name.split(".")) & set(skip):
            continue
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, PackedLinear.pack(module, bits, compute))
    model.is_loaded_in_4bit, model.quantization_method = True, "bitsandbytes"
