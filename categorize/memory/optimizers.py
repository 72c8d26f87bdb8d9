"""What optimizers keep of each trained weight."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

# Values kept of a weight, in its own type; None: rows and columns alone.
VALUES = {"adamw_torch": 2, "adamw_torch_fused": 2, "adamw_apex_fused": 2, "adamw_anyprecision": 2, "lion_32bit": 1,
          "sgd": 0, "adagrad": 1, "rmsprop": 1, "adafactor": None}  # fmt: skip
BYTES = {"adamw_bnb_8bit": 2, "adamw_8bit": 2, "lion_8bit": 1, "rmsprop_bnb_8bit": 1, "ademamix_8bit": 3}
SMALL = 4096  # below, 8-bit optimizers keep float32


def is_known(name: str) -> bool:
    """Whether it is known what the optimizer keeps."""
    name = name.removeprefix("paged_")
    return name in VALUES or name in BYTES


def state_bytes(name: str, trained: Iterable[Any]) -> int:
    """Bytes of the optimizer's state of these parameters.

    Raises:
        KeyError: an optimizer that is not known here.
    """
    name, total = name.removeprefix("paged_"), 0
    for one in trained:
        if name in BYTES:
            total += one.numel() * BYTES[name] * (1 if one.numel() >= SMALL else 4)
        elif (values := VALUES[name]) is not None:
            total += one.numel() * values * one.element_size()
        else:
            total += 4 * (one.numel() if one.ndim < 2 else sum(one.shape[-2:]) * one.shape[:-2].numel())
    return total
