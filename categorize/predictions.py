"""Predictions, columnar: what every predictor gives, whatever the model behind it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Usage:
    """What a prediction cost: rows and tokens read (padding not counted), tokens generated, rows cut to fit, seconds
    of wall clock; and rows for which fewer labels stood out than were to be asked about, so that others fill up."""

    rows: int = 0
    tokens: int = 0
    generated_tokens: int = 0
    truncated_rows: int = 0
    seconds: float = 0.0
    filled_rows: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Predictions:
    """A block of predictions in input order.

    Attributes:
        ids: row ids, n of them.
        probabilities: float [n, labels] in label-set order, or None where the predictor has none. NaN: not scored.
        score: float [n] of a regression, else None.
        auxiliary: further scores [n] of a regression by name, which it learned beside that one; else None.
        decided: label names of each row, or None before a decision rule was applied.
        valid: bool [n]; False where no label or number could be read from the model's answer.
        raw: generated text of each row, or None.
        usage: what computing the block cost.
        scope: float [n], how much each row is like the training rows, where rows may be rejected; else None.
        stage: of a cascade the name of the stage that answered each row, else None.
    """

    ids: Sequence[str]
    probabilities: FloatArray | None = None
    score: FloatArray | None = None
    decided: Sequence[Sequence[str]] | None = None
    valid: BoolArray | None = None
    raw: Sequence[str | None] | None = None
    usage: Usage = field(default_factory=Usage)
    auxiliary: dict[str, FloatArray] | None = None
    scope: FloatArray | None = None
    stage: Sequence[str] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __post_init__(self) -> None:
        if self.valid is None:
            object.__setattr__(self, "valid", np.ones(len(self.ids), dtype=bool))
        for name in ("probabilities", "score", "decided", "valid", "raw", "scope", "stage"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.ids):
                raise ValueError(f"{name} has {len(value)} rows, ids has {len(self.ids)}")

    @property
    def is_valid(self) -> BoolArray:
        """`valid`, never None."""
        assert self.valid is not None
        return self.valid

    def take(self, positions: Sequence[int] | npt.NDArray[Any]) -> Predictions:
        """The rows at these positions, in this order; usage stays that of the whole block."""
        at = np.asarray(positions, dtype=np.int64)

        def pick(values: Any) -> Any:
            if values is None:
                return None
            return values[at] if isinstance(values, np.ndarray) else [values[i] for i in at]

        return replace(
            self,
            auxiliary=None if self.auxiliary is None else {name: one[at] for name, one in self.auxiliary.items()},
            **{
                name: pick(getattr(self, name))
                for name in ("ids", "probabilities", "score", "decided", "valid", "raw", "scope", "stage")
            },
        )

    @classmethod
    def concatenate(cls, blocks: Iterable[Predictions]) -> Predictions:
        """One block of all rows; a column that any block lacks is None unless that block is empty."""
        parts = list(blocks)
        filled = [block for block in parts if len(block)] or parts[:1]
        if not filled:
            return cls(ids=[])

        def join(name: str) -> Any:
            columns = [getattr(block, name) for block in filled]
            if any(column is None for column in columns):
                return None
            if isinstance(columns[0], np.ndarray):
                return np.concatenate(columns)
            return [value for column in columns for value in column]

        names = ("ids", "probabilities", "score", "decided", "valid", "raw", "scope", "stage")
        further = [block.auxiliary or {} for block in filled]
        auxiliary = {name: np.concatenate([one[name] for one in further]) for name in further[0]}
        usage = sum((block.usage for block in parts), Usage())
        return cls(**{name: join(name) for name in names}, usage=usage, auxiliary=auxiliary or None)
