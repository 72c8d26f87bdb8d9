"""Who says what of each text: one teacher once, several, or one several times; and which texts still lack it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from categorize.errors import UserError
from categorize.labeling.exchange import Labels, Teacher
from categorize.labeling.ledger import Ledger
from categorize.labeling.rows import Survey
from categorize.labeling.student import is_student
from categorize.recipe.labeling_sections import AskedTeacher, LabelingSection

AT_ONCE = 20_000  # keys that are looked up together


@dataclass(frozen=True)
class Vote:
    """One answer of one teacher to each text.

    Attributes:
        section: of the teacher.
        teacher: that is asked.
        variant: under which the ledger has the answers.
        repeat: which time this teacher is asked; it gives rows and labels in another order each time.
        sample: so many texts alone are asked about, to measure the flip rate; None: all.
    """

    section: AskedTeacher
    teacher: Teacher
    variant: int
    repeat: int = 0
    sample: int | None = None


def votes_of(
    labeling: LabelingSection,
    prompt_identity: Mapping[str, Any],
    ledger: Ledger,
    make: Callable[[AskedTeacher], Teacher],
) -> list[Vote]:
    """The votes of a job: each teacher `labeling.repeats` times, and once more for the flip rate.

    Raises:
        UserError: two teachers differ in nothing that shapes an answer (in their names or URLs alone).
    """
    votes = []
    for section in labeling.all_teachers:
        asked = cast(AskedTeacher, section)
        teacher = make(asked)
        fixed = is_student(section)  # says the same each time
        repeats = [(repeat, None) for repeat in range(1 if fixed else labeling.repeats)]
        samples = [(labeling.repeats, labeling.flip_sample)] if labeling.flip_sample and not fixed else []
        for repeat, sample in [*repeats, *samples]:
            variant = ledger.variant(variant_identity(prompt_identity, teacher, repeat))
            votes.append(Vote(asked, teacher, variant, repeat, sample))
    for i, vote in enumerate(votes):
        if same := [one for one in votes[:i] if one.variant == vote.variant]:
            raise UserError(
                f"labeling.teachers: {same[0].teacher.name} and {vote.teacher.name} are the same model with the same "
                "parameters, and would share their answers; remove one, or ask one several times by labeling.repeats"
            )
    return votes


def variant_identity(prompt_identity: Mapping[str, Any], teacher: Teacher, repeat: int = 0) -> dict[str, Any]:
    """Everything beside the row that shapes an answer."""
    return {"prompt": dict(prompt_identity), "teacher": dict(teacher.identity), "repeat": repeat}


def to_answer(vote: Vote, looked: Survey, process: int = 0, processes: int = 1) -> npt.NDArray[np.int64]:
    """Rows whose texts a process sees to: first appearances; of a sample those with the lowest keys, which are as good
    as drawn by chance and the same however often a job starts."""
    at = np.flatnonzero(looked.first)
    if vote.sample is not None and vote.sample < len(at):
        order = np.lexsort(looked.keys[at, :8].T[::-1])
        at = np.sort(at[order[: vote.sample]])
    return looked.share(at, process, processes)


def unanswered(
    vote: Vote, ledger: Ledger, looked: Survey, at: npt.NDArray[np.int64], retry_failed: bool = False
) -> npt.NDArray[np.int64]:
    """Those of the rows without an answer in the ledger."""
    lacking = [np.empty(0, dtype=np.int64)]
    for start in range(0, len(at), AT_ONCE):
        part = at[start : start + AT_ONCE]
        keys = looked.keys_at(part)
        known = ledger.settled(vote.variant, keys, failed=not retry_failed)
        lacking.append(part[[key not in known for key in keys]])
    return np.concatenate(lacking)


def other_variants(vote: Vote, votes: Sequence[Vote], ledger: Ledger) -> list[int]:
    """Variants of earlier prompts, label sets and teachers whose answers may count as this vote's, newest first.

    Never those of the job's other votes; and where there are several, only those of the same teacher, asked for the
    same time: votes that were copied from each other would agree.
    """
    own = {one.variant for one in votes}
    mine = (json.loads(json.dumps(dict(vote.teacher.identity))), vote.repeat)  # as the ledger has it
    return [
        number
        for number, identity in ledger.variants().items()
        if number not in own and (len(votes) == 1 or (identity.get("teacher"), identity.get("repeat")) == mine)
    ]


def answered_elsewhere(
    vote: Vote,
    votes: Sequence[Vote],
    ledger: Ledger,
    looked: Survey,
    at: npt.NDArray[np.int64],
    valid: Callable[[Labels], bool],
    take: bool,
) -> tuple[int, int]:
    """Answers that other prompts, label sets or teachers gave to these rows, and how many have valid labels here.

    Args:
        votes: of the job, see `other_variants`.
        take: keep the valid ones as answers of this vote.
    """
    found = usable = 0
    variants = other_variants(vote, votes, ledger)
    if not variants:
        return 0, 0
    for start in range(0, len(at), AT_ONCE):
        there = ledger.elsewhere(variants, looked.keys_at(at[start : start + AT_ONCE]))
        good = {key: one for key, one in there.items() if one.labels is not None and valid(one.labels)}
        found, usable = found + len(there), usable + len(good)
        if take and good:
            ledger.take_over(vote.variant, good)
    return found, usable


def named(vote: Vote, votes: Sequence[Vote]) -> str:
    """Which of several votes it is, before what is said of it; nothing where there is only one."""
    if len(votes) == 1:
        return ""
    times = ", once more for the flip rate" if vote.sample is not None else ""
    if vote.sample is None and any(one.repeat and one.sample is None for one in votes):
        times = f", time {vote.repeat + 1}"
    return f"{vote.teacher.name}{times}: "


def teachers_named(votes: Sequence[Vote]) -> str:
    """The teachers, for people."""
    return ", ".join(dict.fromkeys(vote.teacher.name for vote in votes))
