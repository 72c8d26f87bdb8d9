"""From the labels of several teachers, or of repeats, to one label a row with a confidence, and how far they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from categorize.labels import LabelSet
from categorize.metrics.agreement import (
    NO_VOTE,
    Consensus,
    cohen_kappa,
    dawid_skene,
    fleiss_kappa,
    krippendorff_alpha,
    majority,
    masi_distance,
)
from categorize.metrics.arrays import BoolArray, FloatArray, IntArray
from categorize.metrics.corrected import wilson
from categorize.recipe.labeling_sections import Agreement

Vote = tuple[str, ...] | None  # the labels that one rater gave one row; None where it gave none
COMPARED = 20_000  # rows at most whose sets of labels are compared for alpha
POSITION_BUCKETS = 10
SCALE = 200  # steps of a score's range that alpha tells apart


@dataclass(frozen=True)
class Silver:
    """One label a row out of several votes.

    Attributes:
        labels: of each row; None where nobody voted.
        confidence: [rows]; the probability of these labels given all votes, NaN without a vote.
        unanimous: [rows]; whether all raters that voted gave the same.
        report: agreement in figures, for the summary and `metrics.json`.
    """

    labels: list[Vote]
    confidence: FloatArray
    unanimous: BoolArray
    report: dict[str, Any]


def join_votes(
    label_set: LabelSet, raters: Sequence[str], votes: Sequence[Sequence[Vote]], section: Agreement
) -> Silver:
    """Join what the raters said of each row.

    A single label is the most probable one; several labels are the most probable of the sets that a rater gave, so that
    no rule of the schema is broken by joining; a score is the mean.

    Args:
        raters: names of the teachers or repeats.
        votes: of each rater one vote a row.

    >>> from categorize.labels import Label
    >>> moods = LabelSet("single_label", (Label("good"), Label("bad")))
    >>> votes = [[("good",), ("bad",)], [("good",), ("good",)], [("good",), None]]
    >>> silver = join_votes(moods, ["a", "b", "c"], votes, Agreement(method="majority"))
    >>> silver.labels[0], silver.unanimous.tolist(), silver.confidence.tolist()
    (('good',), [True, False], [1.0, 0.5])
    """
    rows = list(zip(*votes, strict=True))
    unanimous = np.array([len({frozenset(vote) for vote in row if vote is not None}) < 2 for row in rows], dtype=bool)
    join = _scores if label_set.is_regression else _sets if label_set.is_multi_label else _single
    labels, confidence, accuracy = join(label_set, rows, section)
    report: dict[str, Any] = {
        "raters": list(raters),
        "method": "mean" if label_set.is_regression else section.method,
        "rows": len(rows),
        "unanimous": int((unanimous & ~np.isnan(confidence)).sum()),
        "without_a_vote": int(np.isnan(confidence).sum()),
        "pairs": [
            {"raters": [raters[i], raters[j]], **_pair(label_set, votes[i], votes[j])}
            for i, j in combinations(range(len(raters)), 2)
        ],
        "krippendorff_alpha": _alpha(label_set, rows),
    }
    if not (label_set.is_multi_label or label_set.is_regression):
        report["fleiss_kappa"] = fleiss_kappa(_positions(label_set, rows), len(label_set))
    if accuracy is not None:
        report["estimated_accuracy"] = dict(zip(raters, map(float, accuracy), strict=True))
    return Silver(labels, confidence, unanimous, report)


def _consensus(section: Agreement, votes: IntArray, values: int) -> Consensus:
    return dawid_skene(votes, values) if section.method == "dawid_skene" else majority(votes, values)


def _positions(label_set: LabelSet, rows: Sequence[Sequence[Vote]]) -> IntArray:
    return np.array([[label_set.index[vote[0]] if vote else NO_VOTE for vote in row] for row in rows], dtype=np.int64)


Joined = tuple[list[Vote], FloatArray, FloatArray | None]


def _single(label_set: LabelSet, rows: Sequence[Sequence[Vote]], section: Agreement) -> Joined:
    joined = _consensus(section, _positions(label_set, rows), len(label_set))
    labels: list[Vote] = [None if at == NO_VOTE else (label_set.names[at],) for at in joined.value.tolist()]
    return labels, joined.confidence, joined.accuracy


def _sets(label_set: LabelSet, rows: Sequence[Sequence[Vote]], section: Agreement) -> Joined:
    """Each label is judged by itself; of the sets that were given, the one that is most probable by all of them."""
    shape = (len(rows), len(rows[0]) if rows else 0)
    voted = np.array([[vote is not None for vote in row] for row in rows], dtype=bool).reshape(shape)
    has = np.empty((len(rows), len(label_set)))
    accuracy = np.zeros(shape[1])
    for j, name in enumerate(label_set.names):
        given = np.array([[vote is not None and name in vote for vote in row] for row in rows], dtype=bool)
        joined = _consensus(section, np.where(voted, given.reshape(shape), NO_VOTE).astype(np.int64), 2)
        has[:, j] = joined.probabilities[:, 1]
        accuracy += 0 if joined.accuracy is None else joined.accuracy / len(label_set)
    labels: list[Vote] = []
    confidence = np.full(len(rows), np.nan)
    for i, row in enumerate(rows):
        sets = {frozenset(vote): vote for vote in row if vote is not None}
        chance = {
            key: float(np.prod([has[i, j] if name in key else 1 - has[i, j] for j, name in enumerate(label_set.names)]))
            for key in sets
        }
        best = max(chance, key=chance.__getitem__, default=None)
        labels.append(None if best is None else sets[best])
        if best is not None:
            confidence[i] = chance[best]
    return labels, confidence, accuracy if section.method == "dawid_skene" else None


def _scores(label_set: LabelSet, rows: Sequence[Sequence[Vote]], section: Agreement) -> Joined:
    """Means; the confidence falls with the spread, as a share of the range of all scores."""
    given = np.array([[float(vote[0]) if vote else np.nan for vote in row] for row in rows], dtype=np.float64)
    known = ~np.isnan(given).all(axis=1)
    labels: list[Vote] = [None] * len(rows)
    confidence = np.full(len(rows), np.nan)
    if known.any():
        span = float(np.nanmax(given) - np.nanmin(given)) or 1.0
        for i in np.flatnonzero(known):
            labels[i] = (f"{np.nanmean(given[i]):.6g}",)
            confidence[i] = 1 - float(np.nanmax(given[i]) - np.nanmin(given[i])) / span
    return labels, confidence, None


def _pair(label_set: LabelSet, first: Sequence[Vote], second: Sequence[Vote]) -> dict[str, Any]:
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    if label_set.is_regression:
        apart = [abs(float(a[0]) - float(b[0])) for a, b in both]
        return {"rows": len(both), "mean_difference": float(np.mean(apart)) if both else None}
    same = sum(frozenset(a) == frozenset(b) for a, b in both)
    found: dict[str, Any] = {"rows": len(both), "agreement": same / len(both) if both else None}
    if not label_set.is_multi_label:
        pair = _positions(label_set, [first, second])
        found["cohen_kappa"] = cohen_kappa(*pair.tolist())
    return found


def _alpha(label_set: LabelSet, rows: Sequence[Sequence[Vote]]) -> float | None:
    step = max(1, len(rows) // COMPARED)
    given = [[vote for vote in row if vote is not None] for row in rows[::step]]
    if label_set.is_regression:
        scores = [[float(vote[0]) for vote in row if vote] for row in given]
        every = [score for row in scores for score in row] or [0.0]
        low, high = min(every), max(every)
        steps = [[round(SCALE * (score - low) / (high - low or 1.0)) for score in row] for row in scores]
        return krippendorff_alpha(steps, lambda a, b: float((a - b) ** 2))
    sets = [[frozenset(vote) for vote in row] for row in given]
    return krippendorff_alpha(sets, masi_distance if label_set.is_multi_label else None)


def flip_rate(first: Sequence[Vote], second: Sequence[Vote]) -> dict[str, Any]:
    """How often a row that was asked about twice got other labels: what temperature, server and neighbours change.

    >>> flip_rate([("a",), ("b",), None], [("a",), ("a",), ("a",)])["flipped"]
    1
    """
    both = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    flipped = sum(frozenset(a) != frozenset(b) for a, b in both)
    one = wilson(flipped, len(both))
    rate = {"rate": one.value, "low": one.low, "high": one.high} if both else {}
    return {"rows": len(both), "flipped": flipped, **rate}


def accuracy_by_position(positions: Sequence[int], items: Sequence[int], right: Sequence[bool]) -> list[dict[str, Any]]:
    """Whether rows that stand late in a long request are labelled worse: accuracy by tenths of the request.

    Args:
        positions: of each row in its request, from 0.
        items: rows of that request.
        right: whether its label equals the gold, or what all teachers together say.
    """
    buckets: dict[int, list[bool]] = {}
    for position, size, is_right in zip(positions, items, right, strict=True):
        buckets.setdefault(position * POSITION_BUCKETS // max(size, 1), []).append(is_right)
    table = []
    for bucket, marks in sorted(buckets.items()):
        one = wilson(sum(marks), len(marks))
        table.append(
            {
                "from": bucket / POSITION_BUCKETS,
                "rows": len(marks),
                "accuracy": one.value,
                "low": one.low,
                "high": one.high,
            }
        )
    return table
