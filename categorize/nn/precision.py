"""What this machine computes in."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def cpu_computes_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16; one without them emulates it, four times slower than float32.

    Known for x86 alone (AVX512-BF16, AMX); other processors count as having them.
    """
    import torch

    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def compute_type() -> str:
    """What 4-bit weights are computed in: bfloat16; float16 on a GPU and float32 on a CPU that would emulate it."""
    import torch

    if torch.cuda.is_available():
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if cpu_computes_bfloat16() else "float32"


def resolve_dtype(name: str, trained: bool) -> torch.dtype | str:
    """Type to load weights in.

    `auto` is float32 where the weights themselves are trained (mixed precision keeps float32 masters), and elsewhere on
    a CPU; on a GPU frozen weights keep the type they were saved in.
    """
    import torch

    if name != "auto":
        named: torch.dtype = getattr(torch, name)
        return named
    if trained or not torch.cuda.is_available():
        return torch.float32
    return "auto"
