"""A labelling run, from the recipe to the table of labels: rows, a teacher's answers, ledger, finished folder."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from categorize.errors import StoppedEarly, UserError
from categorize.labeling.asking import GRACE, Asking, Manner
from categorize.labeling.batches.story import read_and_ask, set_batches_aside
from categorize.labeling.budget import OutOfBudget
from categorize.labeling.finish import finish
from categorize.labeling.job import Job, prepare
from categorize.labeling.label_sets import LABEL, validity
from categorize.labeling.live_card import LiveCard
from categorize.labeling.locks import leave_mark, wait_for_others
from categorize.labeling.place import open_ledger, run_writer
from categorize.labeling.preview import preview
from categorize.labeling.review.story import reapply, take_reviewed, write_review
from categorize.labeling.stopping import Stop, stop_on_signals
from categorize.labeling.student import is_student
from categorize.labeling.student_vote import StudentTeacher, predict_votes
from categorize.labeling.teachers.registry import MakesTeacher, make_teacher, pace_of, workers_of
from categorize.labeling.votes import Vote, answered_elsewhere, named, teachers_named, to_answer, unanswered
from categorize.labels import LabelSet
from categorize.processes import is_main_process, print0, rank, world_size
from categorize.recipe.labeling_sections import BatchFileTeacher
from categorize.recipe.sections import LabelRecipe
from categorize.runs.before_push import check_push
from categorize.runs.folder import Run
from categorize.runs.pushing import push

if TYPE_CHECKING:
    from categorize.recipe.command import Command

GO_ON = "every answer that came is stored: the same command goes on"


def label(command: Command, make: MakesTeacher = make_teacher) -> None:
    """Label the rows of a recipe and leave a finished run; with `--dry-run`, show what would happen.

    Args:
        make: makes the teacher of a section.

    Raises:
        UserError: the recipe, the data or the teacher is at fault, or a budget is used up.
        StoppedEarly: by a signal; every answer that came is stored.
    """
    recipe = command.recipe.recipe
    assert isinstance(recipe, LabelRecipe)
    if command.review is not None or command.reviewed is not None:
        for line in review(command, recipe):
            print0(line)
        return
    started = time.monotonic()
    if recipe.hub is not None and is_main_process():
        for line in check_push(recipe):
            print0(line)
    if is_student(recipe.labeling.teacher):
        label_by_student(command, recipe)
        return
    with stop_on_signals() as stop:
        # Before the data is read: a folder that is taken must not cost the user an hour.
        writer = run_writer(recipe, command.recipe.text, command.overwrite, probe=command.looks_only)
        if command.restart and not command.looks_only and is_main_process():
            set_batches_aside(Path(recipe.output_path))
        looks = command.dry_run and not command.probe
        if looks and make is make_teacher:
            make = partial(make_teacher, looks_only=True)
        with open_ledger(recipe, command.restart, look_only=looks) as ledger:
            job = prepare(recipe, ledger, make, command.trust_remote_code)
            print0(f"{recipe.name}: {teachers_named(job.votes)} -> {recipe.output_path}")
            with loop_of(job) as loop:
                if command.looks_only:
                    show_preview(job, command, stop, loop)
                    return
                live = live_card(recipe, job.label_sets)
                job.progress.watch = live
                answered = [get_answers(job, vote, command, stop, loop) for vote in job.votes]
            if not is_main_process():
                ledger.flush()
                leave_mark(ledger.folder, rank())
                return
            wait_for_others(ledger.folder, world_size())  # first of all: they look for who has the ledger
            if not all(answered):
                return
            assert writer is not None
            try:
                lines = finish(job, writer, time.monotonic() - started)
            except BaseException:
                job.progress.write("stopped" if stop.name else "failed")
                raise
            for line in (*lines, *reapply(Path(recipe.output_path))):
                print0(line)
    push_labels(recipe, live)


def live_card(recipe: LabelRecipe, label_sets: Mapping[str, LabelSet]) -> LiveCard | None:
    """What tells the Hub how far the job is, where the recipe asks for it."""
    if recipe.hub is None or recipe.hub.progress_minutes is None or not is_main_process():
        return None
    return LiveCard(recipe.hub, recipe.name, [one.task for one in label_sets.values()], print0)


def push_labels(recipe: LabelRecipe, live: LiveCard | None) -> None:
    """Push the finished table, where the recipe says so."""
    if live is not None:
        live.close()
    if recipe.hub is not None and is_main_process():
        push(Run.open(recipe.output_path), recipe.hub, ())


def label_by_student(command: Command, recipe: LabelRecipe) -> None:
    """Label rows by a trained run, or by a base model that scores labels; there are no requests, and no ledger."""
    from categorize.labeling.bulk import label_in_bulk, preview_student
    from categorize.labeling.student import load_student

    predictor = load_student(recipe, command.trust_remote_code)
    for note in predictor.notes:
        print0(f"{predictor.name}: {note}")
    if command.looks_only:
        lines, live = preview_student(recipe, predictor) if is_main_process() else [], None
    else:
        print0(f"{recipe.name}: {predictor.name} -> {recipe.output_path}")
        live = live_card(recipe, {LABEL: predictor.label_set})
        lines = label_in_bulk(
            recipe, command.recipe.text, predictor, overwrite=command.overwrite, restart=command.restart, watch=live
        )
        lines += reapply(Path(recipe.output_path)) if is_main_process() else []
    for line in lines:
        print0(line)
    if not command.looks_only:
        push_labels(recipe, live)


def review(command: Command, recipe: LabelRecipe) -> list[str]:
    """Write the sheet of a review, or read it back; what to say of it."""
    run, section = Path(recipe.output_path), recipe.labeling.review
    if command.reviewed is not None:
        return take_reviewed(run, Path(command.reviewed), section)
    if command.review is None or command.review < 1:
        raise UserError(f"--review {command.review}: how many rows? At least 1, such as --review 300")
    return write_review(run, command.review, section, recipe.seed, command.overwrite)


def get_answers(job: Job, vote: Vote, command: Command, stop: Stop, loop: asyncio.Runner) -> bool:
    """Ask one teacher about the rows that lack its answer; whether all have one now: a provider's batch takes a day."""
    rest = lacking(job, vote, command)
    if not isinstance(vote.section, BatchFileTeacher):
        answer(job, vote, rest, stop, loop)
        return True
    if not is_main_process():
        return True  # files are written and read by one process
    complete, lines = read_and_ask(job, vote, to_answer(vote, job.looked), command.retry_failed)
    for line in lines:
        print0(line)
    return complete


def lacking(job: Job, vote: Vote, command: Command, take: bool = True) -> npt.NDArray[np.int64]:
    """Rows that this process asks about, said in a line; `--reuse` takes over what others than this vote said."""
    at = to_answer(vote, job.looked, rank(), world_size())
    rest = unanswered(vote, job.ledger, job.looked, at, command.retry_failed)
    found, valid = answered_elsewhere(
        vote, job.votes, job.ledger, job.looked, rest, validity(job.label_sets), take=command.reuse and take
    )
    whose = named(vote, job.votes)
    line = f"{whose}{len(at):,} texts: {len(at) - len(rest):,} have their answer, {len(rest):,} to ask about"
    if command.reuse and take and valid:
        rest = unanswered(vote, job.ledger, job.looked, at, command.retry_failed)
        line += f"; {valid:,} labels of another prompt, label set or teacher are reused, {len(rest):,} are left"
    elif found:
        line += f"; {found:,} were answered under another prompt, label set or teacher: --reuse takes the {valid:,} "
        line += "whose labels are in the set"
    print0(line)
    return rest


def show_preview(job: Job, command: Command, stop: Stop, loop: asyncio.Runner) -> None:
    """What the job would ask and take."""
    for vote in job.votes:
        at = lacking(job, vote, command, take=False)
        if isinstance(vote.teacher, StudentTeacher):
            print0(f"{vote.teacher.name}: a student, which labels them without requests")
            continue
        for line in preview(job, vote, at, partial(answer, job, stop=stop, loop=loop), command.probe):
            print0(line)
    print0("dry run: no table was written" + ("; the probe's answers are stored" if command.probe else ""))


@contextmanager
def loop_of(job: Job) -> Iterator[asyncio.Runner]:
    """One event loop for all that is asked: connections of a teacher outlive a vote, and are closed with it."""
    with asyncio.Runner() as loop:
        try:
            yield loop
        finally:
            for teacher in {id(vote.teacher): vote.teacher for vote in job.votes}.values():
                loop.run(teacher.close())


def answer(job: Job, vote: Vote, at: npt.NDArray[np.int64], stop: Stop, loop: asyncio.Runner) -> None:
    """Ask one teacher about these rows, and store what it says.

    Raises:
        UserError: a budget is used up, the teacher answers nothing any more, or an answer could not be stored.
        StoppedEarly: by a signal.
    """
    progress = job.progress
    progress.begin(len(at))
    if not len(at):
        return
    state = "failed"
    try:
        if isinstance(vote.teacher, StudentTeacher):
            (label_set,) = job.label_sets.values()
            predict_votes(vote.teacher, label_set, job.ledger, vote.variant, job.rows, job.looked, at, progress)
        else:
            loop.run(_ask(job, vote, at, stop))
        state = "stopped" if stop.name else "asked"
        stop.raise_if_asked()
    except OutOfBudget as end:
        state = "out_of_budget"
        raise UserError(f"{end}; {progress.done:,} of {progress.total:,} texts got their answer, {GO_ON}") from None
    except (StoppedEarly, KeyboardInterrupt):
        state = "stopped"
        raise
    finally:
        progress.show(state)


async def _ask(job: Job, vote: Vote, at: npt.NDArray[np.int64], stop: Stop) -> None:
    section, processes = job.recipe.labeling, world_size()
    manner = Manner(
        items=1 if section.answer == "code" else section.items,
        attempts=section.attempts,
        rotation=vote.repeat,
        workers=workers_of(vote.section),
        first=job.ledger.requests * processes + rank() + 1,
        step=processes,
    )
    pace = pace_of(vote.section)
    job.progress.trouble = lambda: pace.trouble
    asking = Asking(
        job.ledger,
        vote.variant,
        job.prompt.limited(vote.section.max_tokens),
        vote.teacher,
        manner,
        pace,
        job.budget,
        job.progress,
        vote.section.prices,
        job.ledger.unsettled(vote.variant),
    )
    ticking = asyncio.create_task(_tick(job))
    try:
        with stop.handled_by(lambda again: asking.stop(0.0 if again else GRACE)):
            await asking.run(job.items(at))
    finally:
        ticking.cancel()


async def _tick(job: Job) -> None:
    """Say how far the job is also while no answer comes."""
    while True:
        await asyncio.sleep(1.0)
        job.progress.tick()
