"""The end of a labelling job: the table of labels, the finished run, and what the user wants to know of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from categorize.errors import UserError
from categorize.labeling.budget import Spent
from categorize.labeling.dataset_card import write_card
from categorize.labeling.examples import write_examples
from categorize.labeling.exchange import Tokens
from categorize.labeling.gold import against_gold, gold_lines
from categorize.labeling.job import Job
from categorize.labeling.joining import flips, join, report_lines
from categorize.labeling.place import KIND
from categorize.labeling.spreadsheet import write_spreadsheets
from categorize.labeling.student_vote import StudentTeacher
from categorize.labeling.table import EMPTY, Decides, Verdict, Written, write_labels
from categorize.labeling.votes import Vote
from categorize.runs.contents import LABELS
from categorize.runs.folder import LABEL_SET, METRICS, PROMPT, RunWriter
from categorize.writing import disk_errors

REASONS = 10  # that are shown
LABELS_SHOWN = 30


def finish(job: Job, writer: RunWriter, seconds: float) -> list[str]:
    """Write the table, put the run in place, and say what there is.

    Raises:
        UserError: a row has no answer, the rows changed, or the disk is full.
    """
    section = job.recipe.labeling
    job.progress.write("writing")
    job.ledger.refresh()
    decide, agreement = decides(job)
    flipped, gold = flips(job), against_gold(job, decide)
    with disk_errors(writer.path):
        written = write_labels(writer.stage(LABELS), job.rows, job.looked, decide, job.label_sets, section.shard_rows)
        if agreement or flipped or gold:
            writer.write_json(METRICS, {"agreement": agreement, "flips": flipped, "gold": gold})
        for name, label_set in job.label_sets.items():
            label_set.save(writer.stage(LABEL_SET if job.recipe.label_sets is None else f"label_sets/{name}.json"))
        if job.examples is not None:
            write_examples(writer, job.examples.sets)
        if any(not isinstance(vote.teacher, StudentTeacher) for vote in job.votes):
            writer.write_json(PROMPT, {"messages": job.prompt.shortest().messages[:-1]})
        sheets = _spreadsheets(job, writer) if not written.unanswered else []
    if written.unanswered:
        raise UserError(
            f"{job.ledger.folder}: {written.unanswered:,} rows have no answer after all; run again to ask about them"
        )
    spent = job.ledger.spent()
    found = manifest(job, written, spent, seconds)
    with disk_errors(writer.path):
        write_card(writer.path, found, job.label_sets, str(writer.final))
    run = writer.commit(found)
    job.progress.write("finished")
    lines = [
        *report_lines(agreement, flipped),
        *gold_lines(gold),
        *summary(job, written, spent, seconds, str(run.path)),
    ]
    return [*lines, "spreadsheets: " + ", ".join(f"{run.path}/{name}" for name in sheets)] if sheets else lines


def _spreadsheets(job: Job, writer: RunWriter) -> list[str]:
    form = job.recipe.labeling.spreadsheet
    if form is None:
        return []
    name, label_set = next(iter(job.label_sets.items()))
    parts = sorted(writer.stage(LABELS).glob("part-*.parquet"))
    files = write_spreadsheets(writer.path, parts, name, label_set, form)
    return [str(file.relative_to(writer.path)) for file in files]


def decides(job: Job) -> tuple[Decides, dict[str, Any]]:
    """What becomes of the votes on a text, and how far they agree, where there are several."""
    votes = [vote for vote in job.votes if vote.sample is None]
    if len(votes) == 1:
        return (lambda keys: of_one(job, votes[0], keys)), {}
    return join(job)


def of_one(job: Job, vote: Vote, keys: Sequence[bytes]) -> Mapping[bytes, Verdict]:
    """One teacher's answers as they are."""
    return {key: Verdict.of(one, vote.teacher.name) for key, one in job.ledger.find(vote.variant, keys).items()}


def manifest(job: Job, written: Written, spent: Spent, seconds: float) -> dict[str, object]:
    """What `run.json` says of the run."""
    return {
        "name": job.recipe.name,
        "kind": KIND,
        "method": "labeling",
        "teachers": list(dict.fromkeys(vote.teacher.name for vote in job.votes)),
        "votes": [
            {"teacher": vote.teacher.name, "variant": vote.variant, "repeat": vote.repeat, "sample": vote.sample}
            for vote in job.votes
        ],
        "label_sets": {name: one.fingerprint for name, one in job.label_sets.items()},
        "ledger": str(job.ledger.folder),
        "rows": job.looked.rows,
        "distinct": job.looked.distinct,
        "sources": dict(written.sources),
        "reasons": dict(written.reasons),
        "labels": {name: dict(counts) for name, counts in written.labels.items()},
        "spent": _amounts(spent) | {"currency": job.progress.currency},
        "this_start": _amounts(of_this_start(job, spent)),
        "seconds": round(seconds, 2),
    }


def of_this_start(job: Job, spent: Spent) -> Spent:
    """What this start spent, in all its processes."""
    now, then = spent.tokens, job.before.tokens
    tokens = Tokens(now.input - then.input, now.cached_input - then.cached_input, now.output - then.output)
    return Spent(spent.requests - job.before.requests, tokens, spent.money - job.before.money)


def _amounts(spent: Spent) -> dict[str, float]:
    tokens = spent.tokens
    return {
        "requests": spent.requests,
        "input_tokens": tokens.input,
        "cached_input_tokens": tokens.cached_input,
        "output_tokens": tokens.output,
        "money": round(spent.money, 6),
    }


def summary(job: Job, written: Written, spent: Spent, seconds: float, path: str) -> list[str]:
    """What a user wants to know at the end."""
    now, own, currency = job.progress, of_this_start(job, spent), job.progress.currency
    rows = ", ".join(f"{name} {count:,}" for name, count in written.sources.most_common())
    lines = [f"{job.looked.rows:,} rows: {rows}"]
    for name, counts in written.labels.items():
        if counts:
            lines.append(f"{name}: {_counted(counts, LABELS_SHOWN)}")
    if written.reasons:
        again = "; --retry-failed asks about them again" if set(written.reasons) - {EMPTY.reason} else ""
        lines.append(f"failed because: {_counted(written.reasons, REASONS)}{again}")
    tokens = (
        f"{spent.tokens.input:,} input tokens ({spent.tokens.cached_input:,} cached), {spent.tokens.output:,} output"
    )
    lines.append(
        f"this start: {own.requests:,} requests, {now.retried:,} rows asked again, {own.money:.4f} {currency}, "
        f"{seconds:.1f} s" + (f", {now.asked / max(now.asking_seconds, 1e-9):,.1f} rows/s" if now.asked else "")
    )
    lines.append(f"all starts: {spent.requests:,} requests, {tokens}, {spent.money:.4f} {currency}")
    lines.append(f"table: {path}/{LABELS}   answers as they came: {job.ledger.folder}")
    return lines


def _counted(counts: Counter[str], most: int) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in counts.most_common(most))
    return shown + (f", and {len(counts) - most} more" if len(counts) > most else "")
