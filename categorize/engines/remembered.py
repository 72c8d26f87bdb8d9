"""What inputs of earlier blocks came to: under a popular video the same comment comes again and again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import numpy as np

from categorize.predictions import BoolArray, FloatArray

MOST = 2**16  # inputs that are kept
MOST_NUMBERS = 2**23  # of their outputs together: 64 MB

Compute = Callable[[Sequence[Any]], tuple[FloatArray, BoolArray]]


class Remembered:
    """Outputs of distinct inputs, those that came last. Off until `begin`: while weights change nothing may be kept.

    >>> import numpy as np
    >>> kept, asked = Remembered(), []
    >>> def double(inputs):
    ...     asked.extend(inputs)
    ...     return np.array([[2.0 * one] for one in inputs]).reshape(-1, 1), np.zeros(len(inputs), dtype=bool)
    >>> kept.begin()
    >>> kept.complete([1, 2], int, double)[0].tolist(), kept.complete([2, 3], int, double)[0].tolist()
    ([[2.0], [4.0]], [[4.0], [6.0]])
    >>> asked
    [1, 2, 3]
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[FloatArray, bool]] | None = None

    def begin(self) -> None:
        """Keep what comes from now on, and nothing of before."""
        self._kept = {}

    def forget(self) -> None:
        """Call where outputs are computed in another way from now on."""
        if self._kept is not None:
            self._kept.clear()

    def complete(
        self, inputs: Sequence[Any], key: Callable[[Any], Hashable], compute: Compute
    ) -> tuple[FloatArray, BoolArray]:
        """Outputs of distinct inputs, float64 [inputs, width], and whether each was cut, bool [inputs]; those that are
        not kept are computed."""
        kept = self._kept
        if kept is None:
            return compute(inputs)
        keys = [key(one) for one in inputs]
        known = [kept.pop(one, None) for one in keys]
        fresh = [i for i, one in enumerate(known) if one is None]
        computed, cut = compute([inputs[i] for i in fresh])
        known_again = iter(zip(computed, cut.tolist(), strict=True))
        rows = [next(known_again) if one is None else one for one in known]
        kept.update(zip(keys, rows, strict=True))
        most = min(MOST, MOST_NUMBERS // max(computed.shape[1], 1))
        for one in list(islice(kept, max(len(kept) - most, 0))):
            del kept[one]
        outputs = np.array([output for output, _ in rows], dtype=np.float64).reshape(len(inputs), computed.shape[1])
        return outputs, np.array([was_cut for _, was_cut in rows], dtype=bool)


@runtime_checkable
class Remembers(Protocol):
    """A predictor that may keep what it computed of earlier blocks, or whose members may."""

    def remember(self) -> None:
        """Keep what inputs come to from now on, and nothing of before."""
