"""Batches on several threads of a CPU: each computes whole batches, where threads that share one wait for each other
between its many small steps, and for Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

Batch = TypeVar("Batch")
WORKERS = 4  # at most: all wait for one interpreter


def changes_by_batch(model: torch.nn.Module) -> bool:
    """Whether a forward pass changes the model by the length of its batch, so that two at once would disturb each
    other: BigBird chooses its attention, and some rotary embeddings (`dynamic`, `longrope`) their frequencies."""
    return any(
        hasattr(module, "set_attention_type")
        or any(kind in str(getattr(module, "rope_type", "")) for kind in ("dynamic", "longrope"))
        for module in model.modules()
    )


def for_each(batches: Sequence[Batch], work: Callable[[Batch], None], at_once: bool) -> None:
    """Do the work of each batch, several at once where that is allowed and torch has several threads, which the workers
    divide among themselves. What a batch comes to does not depend on the others.

    Raises:
        Exception: the first of those that the work raised; batches that were not begun then are left.
    """
    import torch

    threads = torch.get_num_threads()
    workers = min(WORKERS, threads, len(batches)) if at_once else 1
    if workers < 2:
        for batch in batches:
            work(batch)
        return
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,))
    try:
        for done in [pool.submit(work, batch) for batch in batches]:
            done.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)  # what new threads begin with
