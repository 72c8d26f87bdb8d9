"""What a method is told when it fits, and what it tells when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class FitOptions:
    """What the command line says about fitting."""

    resume: bool = False
    trust_remote_code: bool = False


@dataclass(frozen=True)
class FitSummary:
    """What fitting took.

    Attributes:
        parameters_trained, parameters: of the model.
        seconds: wall clock of fitting alone, over all starts of an interrupted run.
        rows: training rows (segments, where documents are cut) read, over all epochs.
        tokens: tokens read in training, padding not counted; 0 where there are none.
        details: the method's own facts (steps, precision, truncated rows, best checkpoint).
        rows_an_epoch: what an epoch draws, of the balanced rows where labels are balanced.
        seconds_before: how much of `seconds` earlier starts took.
        memory: most bytes that fitting held, on the GPU where there is one.
        energy: joules of `processor` and `gpu` in this start, those that could be measured; None: not of all starts or
            machines.
        members: the runs that it was made of, each with its path from the run's folder.
    """

    parameters_trained: int
    parameters: int
    seconds: float
    rows: int
    tokens: int = 0
    details: dict[str, Any] = field(default_factory=dict)
    rows_an_epoch: int = 0
    seconds_before: float = 0.0
    memory: int | None = None
    energy: dict[str, float] | None = None
    members: tuple[dict[str, str], ...] = ()
