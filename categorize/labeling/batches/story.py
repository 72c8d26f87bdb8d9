"""One vote by a provider's batches: read the results that are there, then ask about what is lacking in new files.

Every start does both, so that the same command is run after each download until nothing is lacking.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import numpy as np
import numpy.typing as npt

from categorize.labeling.batches.providers import PROVIDERS, Result
from categorize.labeling.batches.results import Found, read_results, result_files
from categorize.labeling.batches.rounds import REQUESTS, RESULTS, Rounds, Sent
from categorize.labeling.budget import OutOfBudget, Reservation, Spent, cost
from categorize.labeling.examples import groups_of
from categorize.labeling.exchange import Item, Outcome, Request, Tokens
from categorize.labeling.job import Job
from categorize.labeling.votes import Vote, unanswered
from categorize.processes import print0
from categorize.recipe.labeling_sections import BatchFileTeacher, Prices
from categorize.recipe.wording import counted

SHOWN = 3  # broken lines and ids that are named
FOR_A_WHILE = "is asked again"


@dataclass
class Read:
    """What a start read.

    Attributes:
        answered: requests whose answer is new.
        labelled, failed: their items, for good.
        known: results that were read by an earlier start, or came twice.
        unknown: ids that this job never sent.
        reasons: why requests have no answer.
        begun: attempts of rows that failed before, see `Ledger.unsettled`.
    """

    begun: Mapping[bytes, tuple[int, int]] = field(default_factory=dict)
    answered: int = 0
    labelled: int = 0
    failed: int = 0
    known: int = 0
    unknown: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)


def batches_folder(output: Path) -> Path:
    """Where the request files of a run go, and its results come from."""
    return output.parent / f"{output.name}.batches"


def preview_batches(job: Job, vote: Vote, section: BatchFileTeacher, money: float) -> Iterator[str]:
    """What the next start would read and write, beside the estimate of what its requests take.

    Args:
        money: that the requests cost at most, with the discount.
    """
    folder = batches_folder(Path(job.recipe.output_path))
    if waiting := Rounds.open(folder, vote.variant).under_way(job.ledger.named(vote.variant)):
        yield f"{counted(len(waiting), 'request')} are under way; their texts are counted above"
    provider = PROVIDERS[section.provider]
    cost_at_most = f", at most {money:,.2f} {section.prices.currency} with the discount for batches" if money else ""
    yield (
        f"a start reads results from {_places(section, folder)[0]} and writes the requests that are lacking into "
        f"{folder / REQUESTS}: files of up to {provider.requests:,} requests and {provider.size / 1e6:,.0f} MB for "
        f"{section.provider}{cost_at_most}"
    )


def set_batches_aside(output: Path) -> None:
    """Rename the folder of request and result files, for a job that begins anew."""
    folder = batches_folder(output)
    if folder.is_dir():
        there = next(path for i in count(1) if not (path := folder.with_name(f"{folder.name}.before-{i}")).exists())
        folder.rename(there)
        print0(f"the earlier request and result files are kept in {there}")


def read_and_ask(job: Job, vote: Vote, at: npt.NDArray[np.int64], retry: bool = False) -> tuple[bool, list[str]]:
    """Read the results that are there, and write requests for the rows that lack an answer.

    Args:
        at: rows of the vote, first appearances.
        retry: ask again about failed rows, and about requests without a result, which are waited for otherwise.

    Returns:
        Whether every row has its answer; and what to say.

    Raises:
        UserError: results cannot be read, or requests cannot be written.
    """
    section = vote.section
    assert isinstance(section, BatchFileTeacher)
    folder = batches_folder(Path(job.recipe.output_path))
    rounds = Rounds.open(folder, vote.variant)
    job.progress.begin(len(unanswered(vote, job.ledger, job.looked, at, retry)))
    lines = read_back(job, vote, section, rounds, folder)
    closed = job.ledger.named(vote.variant)
    waiting = [] if retry else rounds.under_way(closed)
    asked = {key for one in waiting for key in one.keys}
    lacking = _lacking(job, vote, at, asked, retry)
    job.progress.write("waiting" if waiting or len(lacking) else "asked")
    if waiting:
        ids = ", ".join(one.id for one in waiting[:SHOWN]) + (", ..." if len(waiting) > SHOWN else "")
        lines.append(
            f"waiting for the results of {counted(len(waiting), 'request')} ({ids}) with {len(asked):,} texts: put the "
            f"provider's result and error files into {_places(section, folder)[0]} and run again; --retry-failed asks "
            "again about requests that will have no result"
        )
        return False, lines
    if not len(lacking):
        return True, lines
    return False, [*lines, *ask(job, vote, section, rounds, lacking)]


# ---------------------------------------------------------------- results
def _places(section: BatchFileTeacher, folder: Path) -> list[Path]:
    if section.results is None:
        return [folder / RESULTS]
    return [Path(one) for one in ([section.results] if isinstance(section.results, str) else section.results)]


def read_back(job: Job, vote: Vote, section: BatchFileTeacher, rounds: Rounds, folder: Path) -> list[str]:
    """Put every new answer into the ledger. An answer counts whatever else is said of its request: an expired batch
    holds answers that were paid for."""
    if not rounds.sent:
        return []
    done, read, found = job.ledger.named(vote.variant), Read(begun=job.ledger.unsettled(vote.variant)), Found()
    without: dict[str, Result] = {}
    places = _places(section, folder) if section.results is not None or (folder / RESULTS).is_dir() else []
    for result in read_results(result_files(places), PROVIDERS[section.provider], found):
        if result.id not in rounds.sent:
            read.unknown.append(result.id)
        elif result.id in done:
            read.known += 1
        elif result.reply is None:
            without[result.id] = result
        else:
            done.add(result.id)
            _keep(job, vote, section, rounds.sent[result.id], result, read)
    for one, result in without.items():
        if one not in done:
            _keep(job, vote, section, rounds.sent[one], result, read)
    job.ledger.flush()
    return _lines(read, found)


def _keep(job: Job, vote: Vote, section: BatchFileTeacher, sent: Sent, result: Result, read: Read) -> None:
    """Store what a result says of each item, and which of them are to be asked again."""
    request = job.prompt.request(sent.id, sent.items, sent.rotation)
    if result.reply is None and not result.refused:  # expired, or a broken server: as if it had not been sent
        read.reasons[f"{result.reason} ({FOR_A_WHILE})"] += 1
        job.ledger.record(vote.variant, request, None, [], 0.0)
        return
    if result.reply is None:
        read.reasons[result.reason] += 1
        outcomes = [Outcome(item, None, result.reason, position=i) for i, item in enumerate(request.items)]
        paid = 0.0
    else:
        read.answered += 1
        job.budget.spent += Spent(1, result.reply.tokens, cost(result.reply.tokens, section.prices, batch=True))
        outcomes = job.prompt.outcomes(request, result.reply)
        paid = cost(result.reply.tokens, section.prices, batch=True)
    open_ones = [one.item.key for one in outcomes if one.labels is None]
    if len(request.items) == 1 and open_ones:
        attempts = read.begun.get(open_ones[0], (0, 0))[0] + 1
        if result.refused or attempts >= job.recipe.labeling.attempts:
            open_ones = []
    job.ledger.record(vote.variant, request, result.reply, outcomes, paid, set(open_ones))
    labelled = sum(one.labels is not None for one in outcomes)
    read.labelled += labelled
    read.failed += len(outcomes) - labelled - len(open_ones)
    job.progress.add(labelled, len(outcomes) - labelled - len(open_ones), len(open_ones))


def _lines(read: Read, found: Found) -> list[str]:
    if not found.files:
        return []
    lines = [
        f"{counted(found.files, 'result file')}: {counted(read.answered, 'new answer')}, {read.labelled:,} texts "
        f"labelled, {read.failed:,} failed"
        + (f"; {counted(read.known, 'result')} known or repeated" if read.known else "")
    ]
    lines += [f"  no answer to {counted(n, 'request')}: {reason}" for reason, n in read.reasons.most_common(5)]
    if read.unknown:
        shown = ", ".join(read.unknown[:SHOWN])
        lines.append(f"  {counted(len(read.unknown), 'result')} of requests that this job did not send: {shown}")
    if found.broken:
        shown = ", ".join(found.broken[:SHOWN])
        lines.append(f"  {counted(len(found.broken), 'line')} cannot be read as results: {shown}")
    return lines


# ---------------------------------------------------------------- requests
def _lacking(job: Job, vote: Vote, at: npt.NDArray[np.int64], asked: set[bytes], retry: bool) -> npt.NDArray[np.int64]:
    rest = unanswered(vote, job.ledger, job.looked, at, retry)
    return rest[[key not in asked for key in job.looked.keys_at(rest)]] if len(rest) else rest


def ask(job: Job, vote: Vote, section: BatchFileTeacher, rounds: Rounds, at: npt.NDArray[np.int64]) -> list[str]:
    """Write the next round for these rows; a budget ends it early, and what was left out is said."""
    for sent in rounds.under_way(job.ledger.named(vote.variant)):  # counts as spent, at its worst
        job.budget.spent += Spent(1, Tokens(sent.tokens), sent.money)
    end: list[OutOfBudget] = []
    written = Spent()
    prompt, prices, name = job.prompt.limited(section.max_tokens), discounted(section.prices), rounds.next

    def requests() -> Iterator[tuple[Request, Sent]]:
        nonlocal written
        for number, group in enumerate(_groups(job, vote, at), 1):
            request = prompt.request(f"{name}-u{number}", group, vote.repeat)
            try:
                most = job.budget.reserve_now(request, prices)
            except OutOfBudget as out:
                end.append(out)
                return
            job.budget.release(most)  # what is under way counts as spent; no list of it is held
            job.budget.spent += _worst(most)
            written += _worst(most)
            keys = tuple(item.key for item in group)
            yield request, Sent(request.id, keys, vote.repeat, most.input + most.output, most.money)

    files = rounds.write(requests(), section)
    lines = []
    if files:
        named = f"{files[0]}" + (f" to {files[-1].name}" if len(files) > 1 else "")
        money = f", at most {written.money:.2f} {section.prices.currency}" if written.money else ""
        lines += [
            f"written: {counted(written.requests, 'request')} in {counted(len(files), 'file')}: {named}{money}",
            f"next: upload each file to {section.provider}, download its result and error files into "
            f"{_places(section, rounds.folder)[0]}, and run the same command again",
        ]
    return [*lines, *(f"{out}; the rest was not written" for out in end)]


def _groups(job: Job, vote: Vote, at: npt.NDArray[np.int64]) -> Iterator[list[Item]]:
    """Rows by the size of the request that they go into: new rows first; those whose request failed, in half of it."""
    section = job.recipe.labeling
    most = 1 if section.answer == "code" else section.items
    begun = job.ledger.unsettled(vote.variant)
    waiting: dict[tuple[int, int], list[Item]] = {}

    def fresh() -> Iterator[Item]:
        for item in job.items(np.sort(at)):
            if item.key in begun:
                size = max(1, min(begun[item.key][1] // 2, most))
                waiting.setdefault((size, item.shots), []).append(item)
            else:
                yield item

    yield from groups_of(fresh(), most)
    for (size, _), items in sorted(waiting.items(), reverse=True):
        yield from (items[i : i + size] for i in range(0, len(items), size))


def discounted(prices: Prices) -> Prices:
    """What a provider's batch costs."""
    left = 1 - prices.batch_discount
    cached = None if prices.cached_input is None else prices.cached_input * left
    return prices.model_copy(
        update={"input": prices.input * left, "cached_input": cached, "output": prices.output * left}
    )


def _worst(one: Reservation) -> Spent:
    return Spent(1, Tokens(one.input, 0, one.output), one.money)
