"""Where runs say different things of the same row."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

from categorize.analysis.inputs import Inputs
from categorize.predictions import BoolArray

IDS = 1000  # of rows that are listed


def same(inputs: Inputs, first: int, second: int) -> BoolArray:
    """[rows]; whether two runs said the same."""
    a, b = inputs.outcomes[first].said, inputs.outcomes[second].said
    equal = a == b
    return np.asarray(equal.all(axis=1) if equal.ndim == 2 else equal, dtype=bool)


def differing(inputs: Inputs) -> BoolArray:
    """[rows]; whether any two runs said different things."""
    others = range(1, len(inputs.runs))
    return np.asarray(~np.stack([same(inputs, 0, other) for other in others], axis=1).all(axis=1), dtype=bool)


def disagreements(inputs: Inputs) -> dict[str, Any] | None:
    """`pairs` of runs: the rows of which they say different things, and who is right where they do; `rows`, those of
    which any two do, with the first `ids`; `any_right`, the share of all rows of which at least one run is right, which
    no vote or cascade of them can exceed. None for a regression, for one run and without rows."""
    if inputs.label_set.is_regression or len(inputs.runs) < 2 or not len(inputs.known):
        return None
    differs = differing(inputs)
    pairs = []
    for a, b in combinations(range(len(inputs.runs)), 2):
        apart = ~same(inputs, a, b)
        wrong = inputs.wrong[apart]
        pairs.append(
            {
                "a": inputs.runs[a].name,
                "b": inputs.runs[b].name,
                "rows": int(apart.sum()),
                "share": float(apart.mean()),
                "only_a_right": int((~wrong[:, a] & wrong[:, b]).sum()),
                "only_b_right": int((wrong[:, a] & ~wrong[:, b]).sum()),
                "none_right": int((wrong[:, a] & wrong[:, b]).sum()),
            }
        )
    ids = inputs.rows["id"].to_pylist()
    return {
        "rows": int(differs.sum()),
        "share": float(differs.mean()),
        "any_right": float((~inputs.wrong).any(axis=1).mean()),
        "ids": [ids[i] for i in np.flatnonzero(differs)[:IDS]],
        "pairs": pairs,
    }
