"""Several votes on each text become one label: teachers that are compared, or one that is asked again in another
order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from categorize.labeling.exchange import Labels, Stored
from categorize.labeling.job import Job
from categorize.labeling.silver import Silver, accuracy_by_position, flip_rate, join_votes
from categorize.labeling.table import Decides, Verdict
from categorize.labeling.votes import AT_ONCE, Vote, to_answer

DISAGREEMENT = "disagreement"


def raters_of(votes: Sequence[Vote]) -> list[str]:
    """A name for each vote: the teacher's, with the time it was asked where it was asked more than once.

    Two teachers of one name are told apart by their place.
    """
    names = [vote.teacher.name for vote in votes]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: i + 1].count(name)})" for i, name in enumerate(names)
    ]


def join(job: Job) -> tuple[Decides, dict[str, Any]]:
    """What becomes of the votes on each text, and how far they agree, as plain data for `metrics.json`.

    Rows below `labeling.agreement.min_confidence` are set apart: source `disagreement`, without a label.
    """
    votes = [vote for vote in job.votes if vote.sample is None]
    at = np.flatnonzero(job.looked.first)
    place: dict[bytes, int] = {}
    stored: list[list[Stored | None]] = [[] for _ in votes]
    for keys in _chunks(job, at):
        for key in keys:
            place[key] = len(place)
        for column, vote in zip(stored, votes, strict=True):
            found = job.ledger.find(vote.variant, keys)
            column.extend(found.get(key) for key in keys)
    section, names = job.recipe.labeling.agreement, raters_of(votes)
    silver = [
        join_votes(label_set, names, [[_labels(one, k) for one in column] for column in stored], section)
        for k, label_set in enumerate(job.label_sets.values())
    ]
    report: dict[str, Any] = {
        name: one.report | {"by_position": _by_position(one, stored, k)}
        for k, (name, one) in enumerate(zip(job.label_sets, silver, strict=True))
    }

    def decides(keys: Sequence[bytes]) -> Mapping[bytes, Verdict]:
        return {
            key: _verdict([column[place[key]] for column in stored], names, silver, place[key], section.min_confidence)
            for key in keys
            if key in place
        }

    return decides, report


def flips(job: Job) -> dict[str, Any]:
    """The flip rate of each teacher that was asked about a sample once more, by label set."""
    found: dict[str, Any] = {}
    for again in (vote for vote in job.votes if vote.sample is not None):
        first = next(vote for vote in job.votes if vote.teacher is again.teacher and vote.sample is None)
        before: list[Stored | None] = []
        after: list[Stored | None] = []
        for keys in _chunks(job, to_answer(again, job.looked)):
            one, other = (job.ledger.find(vote.variant, keys) for vote in (first, again))
            before.extend(one.get(key) for key in keys)
            after.extend(other.get(key) for key in keys)
        found[again.teacher.name] = {
            name: flip_rate([_labels(one, k) for one in before], [_labels(one, k) for one in after])
            for k, name in enumerate(job.label_sets)
        }
    return found


def report_lines(agreement: Mapping[str, Any], flipped: Mapping[str, Any]) -> list[str]:
    """The figures for the terminal."""
    lines = []
    for name, one in agreement.items():
        alpha = one["krippendorff_alpha"]
        voted = one["rows"] - one["without_a_vote"]
        lines.append(
            f"{name}: {one['unanimous']:,} of {voted:,} texts unanimous"
            + (f", Krippendorff's alpha {alpha:.3f}" if alpha is not None else "")
            + "".join(
                f"; {rater} about {value:.1%} right" for rater, value in one.get("estimated_accuracy", {}).items()
            )
        )
    for teacher, sets in flipped.items():
        for name, one in sets.items():
            if one["rows"]:
                lines.append(
                    f"{teacher}, asked twice about {one['rows']:,} texts: other {name} in {one['rate']:.1%} "
                    f"[{one['low']:.1%}, {one['high']:.1%}]"
                )
    return lines


def _chunks(job: Job, at: npt.NDArray[np.int64]) -> Iterator[list[bytes]]:
    for start in range(0, len(at), AT_ONCE):
        yield job.looked.keys_at(at[start : start + AT_ONCE])


def _labels(stored: Stored | None, k: int) -> tuple[str, ...] | None:
    return None if stored is None or stored.labels is None else stored.labels[k]


def _by_position(silver: Silver, stored: Sequence[Sequence[Stored | None]], k: int) -> list[dict[str, Any]]:
    """Agreement with the joined label by place in the request, over all votes of several items."""
    rows = [
        (one.position, one.items, frozenset(one.labels[k]) == frozenset(joined))
        for column in stored
        for one, joined in zip(column, silver.labels, strict=True)
        if one is not None and one.labels is not None and joined is not None and one.items > 1
    ]
    return accuracy_by_position(*zip(*rows, strict=True)) if rows else []


def _verdict(
    given: Sequence[Stored | None], names: Sequence[str], silver: Sequence[Silver], at: int, least: float
) -> Verdict:
    answers = [(one, name) for one, name in zip(given, names, strict=True) if one is not None]
    cost, attempts = sum(one.cost for one, _ in answers), sum(one.attempts for one, _ in answers)
    labels = [one.labels[at] for one in silver]
    confidence = float(min(one.confidence[at] for one in silver))
    if any(vote is None for vote in labels):
        reason = "; ".join(f"{name}: {one.reason}" for one, name in answers)
        return Verdict(None, "failed", reason, attempts=attempts, cost=cost)
    joined: Labels = tuple(vote for vote in labels if vote is not None)
    agreeing = [(one, name) for one, name in answers if one.labels == joined]
    said = agreeing[0][0] if agreeing else None
    if confidence < least:
        reason = f"confidence {confidence:.2f}: " + "; ".join(
            f"{name}: {' + '.join(', '.join(vote) for vote in one.labels)}"
            for one, name in answers
            if one.labels is not None
        )
        return Verdict(None, DISAGREEMENT, reason, confidence=confidence, attempts=attempts, cost=cost)
    return Verdict(
        joined,
        "teacher",
        rationale=said.rationale if said is not None else "",
        confidence=confidence,
        attempts=attempts,
        cost=cost,
        request=said.request if said is not None else None,
        teacher=", ".join(name for _, name in agreeing) or None,
    )
