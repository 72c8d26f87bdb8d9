"""GPUs: how much memory they have, and how fast they multiply."""

from __future__ import annotations

import re
from dataclasses import dataclass

from categorize.errors import UserError
from categorize.recipe.wording import did_you_mean

GIB = 2**30
CONTEXT = 0.7 * GIB  # what CUDA and its libraries keep to themselves
RESERVED = 0.03  # of the stated size: makers count less than GiB, and drivers keep some
UTILISATION = 0.35  # of the peak that a training with kernels of the shelf reaches

# GiB, and dense bfloat16 (T4, V100: float16) TFLOP/s, as the makers state them.
KNOWN: dict[str, tuple[float, float]] = {
    "t4": (15, 65),
    "v100-16gb": (16, 112),
    "v100-32gb": (32, 112),
    "rtx3060": (12, 51),
    "rtx3090": (24, 71),
    "rtx4060ti-16gb": (16, 88),
    "rtx4090": (24, 165),
    "rtx5090": (32, 209),
    "a10g": (24, 70),
    "l4": (24, 121),
    "l40s": (48, 362),
    "a6000": (48, 155),
    "a100-40gb": (40, 312),
    "a100-80gb": (80, 312),
    "h100": (80, 989),
    "h200": (141, 989),
    "b200": (180, 2250),
}


@dataclass(frozen=True)
class Card:
    """A GPU.

    Attributes:
        name: as the user stated it.
        memory: bytes, as stated.
        flops: dense operations a second at best; None: not known.
    """

    name: str
    memory: int
    flops: float | None = None

    @property
    def usable(self) -> int:
        """Bytes that are left for a training."""
        return int(self.memory * (1 - RESERVED) - CONTEXT)


def parse_card(text: str) -> Card:
    """A size (`24GB`, `24`) or the name of a card (`a100-80gb`).

    Raises:
        UserError: neither.

    >>> parse_card("24GB").memory == 24 * 2**30
    True
    >>> parse_card("RTX 4090").flops
    165000000000000.0
    """
    plain = re.sub(r"[\s_]", "", text.lower()).removeprefix("nvidia")
    if (size := re.fullmatch(r"(\d+(?:\.\d+)?)(?:gi?b?)?", plain)) is not None and 0 < float(size[1]) <= 10_000:
        return Card(f"{float(size[1]):g} GB", int(float(size[1]) * GIB))
    names = [name for name in KNOWN if plain in (name, name.partition("-")[0], name.replace("-", ""))]
    if len(names) > 1:
        raise UserError(f"{text!r}: which of {' and '.join(names)}?")
    if not names:
        raise UserError(
            f"{text!r} is neither a size such as 24GB nor a known card{did_you_mean(plain, list(KNOWN))}; known: "
            f"{', '.join(KNOWN)}"
        )
    memory, speed = KNOWN[names[0]]
    return Card(names[0].upper(), int(memory * GIB), speed * 1e12)
