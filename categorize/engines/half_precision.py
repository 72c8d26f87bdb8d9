"""Whether bfloat16 pays on this CPU, by a short trial that is kept, and whether it leaves labels as they are."""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from categorize.engines.packed import linear_layers, pack
from categorize.nn.precision import cpu_computes_bfloat16
from categorize.predictions import Predictions
from categorize.writing import whole_file

if TYPE_CHECKING:
    import torch

FOLDER = "CATEGORIZE_CACHE"
SECONDS = 0.25  # of the trial
TOKENS = 256  # of the trial's batch
PAYS = 1.2  # times the speed of float32
SMALLEST = 10**6  # weights of a model that is worth a trial
MARGIN = 0.05  # labels whose lead over the next is larger must not change
OFF = 0.01  # of a score's deviation, that a regression may be moved in the mean


def kept_in(name: str) -> Path:
    """Where what was found out once is kept for later starts: in the environment's folder, or in the user's cache."""
    return Path(os.environ.get(FOLDER) or Path.home() / ".cache" / "categorize").expanduser() / name


# ---------------------------------------------------------------- the trial
def bfloat16_gain(model: torch.nn.Module) -> float:
    """How many times faster this CPU multiplies by the model's weights in bfloat16 than in float32; 1 where it has no
    instructions for it, or the model is so small that it does not matter.

    It is measured on the shape that most of the weights have, and kept in `CATEGORIZE_CACHE`, by default
    ~/.cache/categorize, for this processor, number of threads and version of torch.
    """
    shapes: Counter[tuple[int, int]] = Counter()
    for _, layer in linear_layers(model):
        shapes[layer.in_features, layer.out_features] += layer.weight.numel()
    if shapes.total() < SMALLEST or not cpu_computes_bfloat16():
        return 1.0
    return _gain(*shapes.most_common(1)[0][0])


@cache
def _gain(inputs: int, outputs: int) -> float:
    import torch

    path = kept_in("bfloat16.json")
    key = f"{_processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}, {inputs} x {outputs}"
    kept: dict[str, float] = {}
    with suppress(OSError, ValueError):
        kept = dict(json.loads(path.read_text(encoding="utf-8")))
    if isinstance(gain := kept.get(key), float):
        return gain
    gain = round(_measured(inputs, outputs), 2)
    with suppress(OSError):  # a file that cannot be written costs the next start a trial
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as file:
            file.write_text(json.dumps({**kept, key: gain}, indent=1), encoding="utf-8")
    return gain


def _measured(inputs: int, outputs: int) -> float:
    """Float32's best time over bfloat16's, the two measured in turns."""
    import torch

    rows = torch.randn(TOKENS, inputs)
    layers = {}
    for dtype in (torch.float32, torch.bfloat16):
        layers[dtype] = torch.nn.Sequential(torch.nn.Linear(inputs, outputs))
        pack(layers[dtype], dtype)
    best = dict.fromkeys(layers, float("inf"))
    end = time.perf_counter() + SECONDS
    with torch.inference_mode():
        while time.perf_counter() < end or min(best.values()) == float("inf"):
            for dtype, layer in layers.items():
                start = time.perf_counter()
                with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
                    layer(rows)
                best[dtype] = min(best[dtype], time.perf_counter() - start)
    return best[torch.float32] / best[torch.bfloat16]


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


# ---------------------------------------------------------------- agreement
@dataclass(frozen=True)
class Agreement:
    """How predictions of the same rows by two ways of computing agree.

    Attributes:
        rows: that were compared.
        changed: how many of them are decided otherwise.
        beyond: how many of these had led by more than `MARGIN`; of a regression, whether its scores moved
            by more than `OFF`.
        apart: sum over rows of the mean absolute difference of probabilities, or of scores in deviations.
    """

    rows: int = 0
    changed: int = 0
    beyond: int = 0
    apart: float = 0.0

    @classmethod
    def of(cls, exact: Predictions, other: Predictions, multi_label: bool, deviation: float = 1.0) -> Agreement:
        """Of undecided predictions; several labels are decided at 0.5, and each leads by twice its distance to it."""
        if exact.score is not None and other.score is not None:
            moved = np.abs(exact.score - other.score) / deviation
            moved = np.where(np.isfinite(moved), moved, np.inf)
            return cls(len(moved), 0, int(moved.mean() > OFF) if len(moved) else 0, float(moved.sum()))
        ours, theirs = exact.probabilities, other.probabilities
        assert ours is not None and theirs is not None
        apart = np.abs(ours - theirs).mean(axis=1)
        apart = np.where(np.isfinite(apart), apart, 1.0)
        if multi_label:
            differs = (ours >= 0.5) != (theirs >= 0.5)
            changed, leads = differs.any(axis=1), np.where(differs, np.abs(2 * ours - 1), 0).max(axis=1)
        else:
            changed = ours.argmax(axis=1) != theirs.argmax(axis=1)
            two = np.sort(ours, axis=1)[:, -2:]
            leads = two[:, -1] - (two[:, 0] if ours.shape[1] > 1 else 0)
        return cls(len(ours), int(changed.sum()), int((changed & (leads > MARGIN)).sum()), float(apart.sum()))

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def facts(self) -> dict[str, Any]:
        """For the run's manifest."""
        return {
            "rows": self.rows,
            "changed": self.changed,
            "changed_beyond_margin": self.beyond,
            "mean_difference": round(self.apart / max(self.rows, 1), 6),
        }

    def kept(self) -> dict[str, float]:
        """As plain data, to go on with."""
        return asdict(self)

    def told(self) -> str:
        """In words."""
        if self.rows == 0:
            return "nothing was compared"
        mean = self.apart / self.rows
        return (
            f"{self.changed} of {self.rows} texts change their label, {self.beyond} of them with a margin above "
            f"{MARGIN:g}, mean difference {mean:.1g}"
        )
