"""Which device this process computes on, settled before anything is loaded onto one."""

from __future__ import annotations

import os
import sys
from functools import cache
from typing import Any

from categorize.processes import local_rank


def settle_device(use_cpu: bool = False) -> None:
    """Make all parts of a run agree on one device; call before torch looks for GPUs.

    Where the recipe or the launch says CPU, GPUs are hidden from this process: the trainer alone would heed it, and
    what loads, scores or predicts would meet weights of another device. Where several processes were launched, each
    takes its own GPU at once: quantized weights are loaded onto the current one, which would be the first for all of
    them, and accelerate refuses to train weights that lie on another process's device.
    """
    if use_cpu or os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes", "on"):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    rank = local_rank()
    if rank is None:
        return
    import torch

    if torch.cuda.is_available() and rank < torch.cuda.device_count():
        torch.cuda.set_device(rank)


def free_memory() -> None:
    """Give back what models hold that are used no more; they are tied in knots, which wait for the collector."""
    import gc

    gc.collect()
    if "torch" in sys.modules:
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def trim_heap() -> None:
    """Give freed memory of a CPU back to the system, where the C library can (glibc): small blocks that live on between
    large ones that were freed would keep all of it."""
    if (trim := _of_libc("malloc_trim")) is not None:
        trim(0)


@cache
def keep_heap() -> None:
    """Keep some hundred MB of freed memory for the next batch, where the C library can (glibc): given back and taken
    anew, each of its pages is cleared by the system, which costs short texts a tenth of their time and more."""
    if (set_option := _of_libc("mallopt")) is not None:
        set_option(-1, 2**28)  # M_TRIM_THRESHOLD
        set_option(-3, 2**25)  # M_MMAP_THRESHOLD, the largest that is allowed


@cache
def _of_libc(name: str) -> Any:
    import ctypes

    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None


def one_gpu(arguments: Any) -> int:
    """Keep a process that was not launched with others on one GPU; gives how many it sees.

    Upstream would wrap the model into `DataParallel`: batches as many times larger as there are GPUs, a loss over other
    rows than those of a step, and no quantized weights at all.
    """
    seen = int(arguments.n_gpu)
    if seen > 1:
        arguments._n_gpu = 1
    return seen
