"""Of a regression: how far scores are pulled towards the mean."""

from __future__ import annotations

from typing import Any

import numpy as np

from categorize.analysis.inputs import Inputs

PARTS = 5


def residuals(inputs: Inputs) -> dict[str, list[dict[str, Any]]] | None:
    """For each run the rows in five parts by gold, the lowest first: `rows`, the means of `gold` and of what was
    `predicted`, and the mean absolute `error`. None for a classification, and for fewer than five rows."""
    if not inputs.label_set.is_regression or len(inputs.known) < PARTS:
        return None
    found = {}
    for one in inputs.outcomes:
        gold, valid = one.aligned.gold, one.valid
        parts = [at[valid[at]] for at in np.array_split(np.argsort(gold, kind="stable"), PARTS)]
        found[one.name] = [
            {
                "rows": len(at),
                "gold": float(gold[at].mean()),
                "predicted": float(one.said[at].mean()),
                "error": float(one.loss[at].mean()),
            }
            for at in parts
            if len(at)
        ]
    return {name: parts for name, parts in found.items() if parts} or None
