"""Where runs err more than elsewhere: the error rate of each value of each trait, and weak segments that are searched
for over one condition and two together, as SliceFinder does (Chung et al. 2019), with exact tests and Holm's (1979)
correction for every segment that was looked at, so that chance finds one in at most 5% of all evaluations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from categorize.analysis.inputs import Inputs, Outcome
from categorize.analysis.traits import FEWEST, Condition
from categorize.metrics.corrected import Z, wilson
from categorize.metrics.significance import holm
from categorize.predictions import BoolArray, FloatArray, IntArray

ALPHA = 0.05
KEPT = 10  # weak segments of a run


def slices(inputs: Inputs, found: Sequence[Condition]) -> dict[str, list[dict[str, Any]]]:
    """For each run and condition `column`, `value`, `rows`, `error_rate` (of a regression the mean absolute error) with
    the 95% interval `low` and `high` (Wilson's; of a regression a normal one), and `adjusted_p`: that such a rate, high
    or low, comes about by chance, corrected for all values of the run."""
    result = {}
    for one in inputs.outcomes:
        rows = [condition.rows for condition in found]
        high, low = p_values(one, rows, "greater"), p_values(one, rows, "less")
        adjusted = holm(np.minimum(2 * np.minimum(high, low), 1.0))
        result[one.name] = [
            {"column": c.column, "value": c.value, **rate(inputs, one, c.rows), "adjusted_p": float(p)}
            for c, p in zip(found, adjusted, strict=True)
        ]
    return result


def weak_segments(inputs: Inputs, found: Sequence[Condition]) -> dict[str, Any] | None:
    """`looked_at`, how many segments of all runs were; `runs`: for each run those in which it errs more than elsewhere,
    at most ten: `segment` in words, its `conditions`, and what `slices` has, with `elsewhere`, the error rate of the
    other rows. None where there was nothing to look at."""
    members = np.stack([one.rows for one in found], axis=1) if found else np.zeros((len(inputs.known), 0), dtype=bool)
    segments = _segments(found, members)
    if not segments or not len(inputs.known):
        return None
    p = _p_of_segments(inputs, members, segments)
    adjusted = holm(p.reshape(-1)).reshape(p.shape)  # one family: every segment of every run
    runs = {}
    for r, one in enumerate(inputs.outcomes):
        runs[one.name] = [
            {
                "segment": " and ".join(found[j].text for j in segments[i]),
                "conditions": [{"column": found[j].column, "value": found[j].value} for j in segments[i]],
                **rate(inputs, one, rows),
                "elsewhere": float(one.loss[~rows].mean()),
                "adjusted_p": float(adjusted[r, i]),
            }
            for i, rows in _distinct(one, members, segments, adjusted[r], p[r])
        ]
    return {"looked_at": int(len(segments) * len(runs)), "runs": runs}


def rate(inputs: Inputs, outcome: Outcome, rows: BoolArray) -> dict[str, Any]:
    """`rows`, and the error rate (mean absolute error) of a run in them with its 95% interval."""
    loss, n = outcome.loss[rows], int(rows.sum())
    if inputs.label_set.is_regression:
        half = Z * float(loss.std(ddof=1)) / np.sqrt(n) if n > 1 else float("nan")
        mean = float(loss.mean())
        bounds = {"low": max(mean - half, 0.0), "high": mean + half} if n > 1 else {"low": None, "high": None}
        return {"rows": n, "error_rate": mean, **bounds}
    found = wilson(float(loss.sum()), n)
    return {"rows": n, "error_rate": found.value, "low": found.low, "high": found.high}


def p_values(outcome: Outcome, segments: Sequence[BoolArray], side: str) -> FloatArray:
    """The chance that so many (or few) errors fall into so many rows drawn at random, for each segment: exact,
    hypergeometric; of a regression by the normal distribution of a mean of rows drawn without replacement."""
    sizes = np.array([one.sum() for one in segments], dtype=np.int64)
    sums = np.array([outcome.loss[one].sum() for one in segments], dtype=np.float64)
    return _tail(outcome.loss, sizes, sums, side)


def _tail(loss: FloatArray, sizes: IntArray, sums: FloatArray, side: str) -> FloatArray:
    """The chance of such sums of the loss in so many of the rows."""
    from scipy.stats import hypergeom, norm

    total, rows = loss.sum(), len(loss)
    if np.isin(loss, (0.0, 1.0)).all():
        if side == "greater":
            return np.asarray(hypergeom.sf(np.round(sums) - 1, rows, total, sizes))
        return np.asarray(hypergeom.cdf(np.round(sums), rows, total, sizes))
    variance = loss.var(ddof=1) / sizes * (1 - sizes / rows)
    z = (sums / sizes - total / rows) / np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    return np.asarray(norm.sf(z) if side == "greater" else norm.cdf(z))


def _segments(found: Sequence[Condition], members: BoolArray) -> list[tuple[int, ...]]:
    """Conditions alone, and pairs of two traits (or two words), where the segment has rows enough and leaves as many
    outside. Chosen by their size alone: looking at the errors here would spoil the correction."""
    n = len(members)
    together = members.T.astype(np.float32) @ members.astype(np.float32)
    sizes = np.diag(together)

    def worth(size: float) -> bool:
        return FEWEST <= size <= n - FEWEST

    single: list[tuple[int, ...]] = [(j,) for j in range(len(found)) if worth(sizes[j])]
    pairs = [
        (a, b)
        for a, b in combinations(range(len(found)), 2)
        # A pair that is one of its conditions but for a few rows says nothing new.
        if worth(together[a, b]) and together[a, b] < 0.95 * min(sizes[a], sizes[b])
    ]
    return single + pairs


def _p_of_segments(inputs: Inputs, members: BoolArray, segments: Sequence[tuple[int, ...]]) -> FloatArray:
    """Of each run the chance of so many errors in each segment, [runs, segments]."""
    dense = members.astype(np.float64)
    first, last = (np.array([one[k] for one in segments]) for k in (0, -1))
    sizes = (dense.T @ dense)[first, last].astype(np.int64)
    p = np.empty((len(inputs.runs), len(segments)))
    for r, one in enumerate(inputs.outcomes):
        sums = (dense.T @ (dense * one.loss[:, None]))[first, last]
        p[r] = _tail(one.loss, sizes, sums, "greater")
    return p


def _distinct(
    outcome: Outcome, members: BoolArray, segments: Sequence[tuple[int, ...]], adjusted: FloatArray, p: FloatArray
) -> list[tuple[int, BoolArray]]:
    """Significant segments, the surest first, one condition before two of the same rows. A segment counts where it is
    significant without the rows of those before it, too: else they are what makes it weak."""
    kept: list[tuple[int, BoolArray]] = []
    others = np.ones(len(members), dtype=bool)  # rows of no segment that is kept
    for i in sorted(np.flatnonzero(adjusted < ALPHA).tolist(), key=lambda i: (p[i], len(segments[i]))):
        rows = np.asarray(members[:, list(segments[i])].all(axis=1), dtype=bool)
        rest = rows & others
        if rest.sum() < FEWEST:
            continue
        sizes, sums = np.array([rest.sum()]), np.array([outcome.loss[rest].sum()])
        if kept and _tail(outcome.loss[others], sizes, sums, "greater")[0] > ALPHA / len(segments):
            continue
        kept.append((i, rows))
        others &= ~rows
        if len(kept) == KEPT:
            break
    return kept
