"""Batches on several threads of a CPU: each computes whole batches, where threads that share one wait for each other
between its many small steps, and for Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager
from threading import Event
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Batch = TypeVar("Batch")
WORKERS = 4  # at most: all wait for one interpreter


def changes_by_batch(model: torch.nn.Module) -> bool:
    """Whether a forward pass changes the model, so that two at once would disturb each other: BigBird chooses its
    attention by the length of a batch, and some rotary embeddings (`dynamic`, `longrope`) their frequencies; quantized
    layers keep notes of a product, offloaded weights come and go, and code that came with a model may do anything."""
    if getattr(model, "quantization_method", None) is not None:
        return True
    return any(
        hasattr(module, "set_attention_type")
        or hasattr(module, "_hf_hook")
        or type(module).__module__.startswith("transformers_modules.")
        or any(kind in str(getattr(module, "rope_type", "")) for kind in ("dynamic", "longrope"))
        for module in model.modules()
    )


def workers(at_once: bool = True) -> int:
    """How many batches are computed at the same time where that is allowed, at most."""
    import torch

    return min(WORKERS, torch.get_num_threads()) if at_once else 1


def for_each(
    batches: Sequence[Batch],
    work: Callable[[Batch], None],
    at_once: bool,
    within: Callable[[], AbstractContextManager[None]],
) -> None:
    """Do the work of each batch, several at once where that is allowed and torch has several threads, which the workers
    divide among themselves. What a batch comes to does not depend on the others.

    Args:
        within: gives the context to compute in, such as autocast, which belongs to a thread: each enters it once, for
            weights that autocast has cast are kept until it is left.

    Raises:
        Exception: the first of those that the work raised; batches that were not begun then are left.
    """
    import torch

    threads = torch.get_num_threads()
    count = min(workers(at_once), len(batches))
    if count < 2:
        with within():
            for batch in batches:
                work(batch)
        return
    left, ended = iter(batches), Event()

    def take() -> None:
        torch.set_num_threads(threads // count)
        try:
            with within():
                for batch in left:  # of all workers: each batch goes to the one that asks next
                    if ended.is_set():
                        return
                    work(batch)
        except BaseException:
            ended.set()
            raise

    pool = ThreadPoolExecutor(count)
    try:
        for done in as_completed([pool.submit(take) for _ in range(count)]):
            done.result()
    finally:
        ended.set()
        pool.shutdown()
        torch.set_num_threads(threads)  # what new threads begin with
