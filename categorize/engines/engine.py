"""What every engine is: encoded rows in, numbers out, batched and placed as it likes."""

from __future__ import annotations

from typing import Protocol, TypeVar

from categorize.predictions import FloatArray

Rows = TypeVar("Rows", contravariant=True)


class Engine(Protocol[Rows]):
    """Computes a fixed number of outputs for each of many encoded rows. Torch here; another runtime, or another way to
    keep a shared prefix, is another engine."""

    def outputs(self, rows: Rows) -> FloatArray:
        """Float64 [rows, width], in the order of the rows."""
        ...
