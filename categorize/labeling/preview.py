"""The dry run of a labelling job: a rendered request, its tokens, and what the job would take."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from categorize.labeling.batches.story import discounted, preview_batches
from categorize.labeling.budget import Spent, cost
from categorize.labeling.exchange import Item, Request, Tokens
from categorize.labeling.job import Job
from categorize.labeling.progress import duration
from categorize.labeling.votes import Vote
from categorize.labeling.wire import estimated_tokens
from categorize.recipe.labeling_sections import AskedTeacher, BatchFileTeacher, LocalTeacher, Prices
from categorize.recipe.wording import counted
from categorize.runs.folder import MANIFEST

SHOWN = 3  # rows of the request that is shown
LOOKED_AT = 20  # requests whose tokens are counted
PROBES = 4  # requests that a probe asks
STUDENTS = 3  # trained runs whose speed is shown

Answers = Callable[[Vote, npt.NDArray[np.int64]], None]
CountsTokens = Callable[[str], int]


@dataclass(frozen=True)
class Estimate:
    """What the texts without an answer would take under one vote.

    Attributes:
        texts, requests: to be asked about, and in how many requests.
        shared: tokens of the messages that all requests begin with, or all of a set of examples.
        sets: of examples, each with a beginning of its own.
        tokens: of all requests together; nothing cached.
        largest: tokens of the answer to a full request.
        money: in the currency of the prices.
        most: money at the worst, as budgets count it.
    """

    texts: int
    requests: int
    shared: int
    sets: int
    tokens: Tokens
    largest: int
    money: float
    most: float


def preview(job: Job, vote: Vote, at: npt.NDArray[np.int64], answer: Answers, probe: bool = False) -> Iterator[str]:
    """What a job would ask of one vote, and what that takes, as lines.

    Args:
        at: rows without an answer.
        answer: asks about rows, for a probe.
        probe: ask a few requests for real.
    """
    if not len(at):
        yield "nothing is left to ask about"
        return
    size = items_of_a_request(job)
    count, how = token_counter(vote.section)
    sample = at[np.unique(np.linspace(0, len(at) - 1, min(len(at), LOOKED_AT * size)).astype(np.int64))]
    items = list(job.items(sample))
    first = [item for item in items if item.shots == items[0].shots][: min(SHOWN, size)]
    yield from rendered(job.prompt.request("u1", first, vote.repeat), min(size, len(at)))
    found = estimate(job, vote, len(at), items, size, count)
    yield from estimate_lines(job, vote, found, how)
    if isinstance(vote.section, BatchFileTeacher):
        yield from preview_batches(job, vote, vote.section, found.most)
    if probe:
        before = job.budget.spent
        answer(vote, at[: PROBES * size])
        yield from probe_lines(job, found, before)
    yield from student_lines(job, len(at))


def items_of_a_request(job: Job) -> int:
    """Rows a request, at most."""
    return 1 if job.recipe.labeling.answer == "code" else job.recipe.labeling.items


def rendered(request: Request, size: int) -> Iterator[str]:
    """A request as it is sent."""
    shown = len(request.items)
    yield f"a request, with {f'{shown} of its {size} rows' if size > shown else counted(shown, 'row')}:"
    for message in request.messages:
        yield f"--- {message['role']}"
        yield message["content"]
    yield "---"


def estimate(job: Job, vote: Vote, texts: int, items: Sequence[Item], size: int, count: CountsTokens) -> Estimate:
    """What texts would take, from a sample of them."""
    # Of full requests, as most will be: the sample has too few rows of each set of examples to fill one.
    full = [items[start : start + size] for start in range(0, len(items), size)]
    groups = [[replace(item, shots=group[0].shots) for item in group] for group in full]
    prompt, prices = job.prompt.limited(vote.section.max_tokens), prices_of(vote.section)
    requests = [prompt.request(f"u{i + 1}", group, vote.repeat) for i, group in enumerate(groups)]
    beginnings = {"".join(one["content"] for one in request.messages[:-1]): request for request in requests}
    counts = [sum(count(one["content"]) for one in request.messages[:-1]) for request in beginnings.values()]
    shared = round(sum(counts) / len(counts))
    row = sum(count(one.messages[-1]["content"]) for one in requests) / len(items)
    number = math.ceil(texts / size)
    answer = job.prompt.expected_tokens(min(size, texts))
    tokens = Tokens(round(number * shared + texts * row), 0, round(texts * answer / min(size, texts)))
    most = sum(job.budget.worst_case(one, prices).money for one in requests) / len(requests) * number
    sets = 1 if job.examples is None else min(len(job.examples.sets), number)
    return Estimate(texts, number, shared, sets, tokens, answer, cost(tokens, prices), most)


def prices_of(section: AskedTeacher) -> Prices:
    """What a teacher costs, with the discount for batches where it is asked by these."""
    return discounted(section.prices) if isinstance(section, BatchFileTeacher) else section.prices


def estimate_lines(job: Job, vote: Vote, found: Estimate, how: str) -> Iterator[str]:
    """An estimate for people, and what speaks against it."""
    prices, tokens, section = prices_of(vote.section), found.tokens, job.recipe.labeling
    each = found.tokens.input / found.requests
    same = f"{found.shared:,} of them the same in all{' with the same examples' if found.sets > 1 else ''} ({how})"
    yield (
        f"{vote.teacher.name}: {found.texts:,} texts in {counted(found.requests, 'request')}, each about {each:,.0f} "
        f"input tokens, {same}, and {found.largest:,} tokens of answer"
    )
    line = f"in all about {tokens.input:,} input and {tokens.output:,} output tokens"
    if prices.input or prices.output:
        line += f", {found.money:,.2f} {prices.currency}"
        if prices.cached_input is not None:
            again = Tokens(tokens.input, found.shared * (found.requests - found.sets), tokens.output)
            line += f", or {cost(again, prices):,.2f} where the shared part is cached"
    else:
        line += "; labeling.teacher.prices would tell the cost"
    yield line
    if found.largest > (most := vote.section.max_tokens):
        fits = next((n for n in range(items_of_a_request(job), 0, -1) if job.prompt.expected_tokens(n) <= most), 1)
        yield (
            f"warning: the answer to {items_of_a_request(job)} rows has about {found.largest:,} tokens and may be cut "
            f"at max_tokens: {most:,}; set labeling.items: {fits}, or raise labeling.teacher.max_tokens"
        )
    needs = {"requests": found.requests, "tokens": tokens.input + tokens.output, "money": found.money}
    spent = {"requests": job.before.requests, "tokens": job.before.tokens.input + job.before.tokens.output}
    for name, need in needs.items():
        limit, used = getattr(section.budget, name), spent.get(name, job.before.money)
        if limit is not None and used + need > limit:
            yield (
                f"warning: labeling.budget.{name}: {limit:,g}, of which {used:,.10g} are spent, will not be enough for "
                f"about {need:,.10g} more"
            )


def probe_lines(job: Job, found: Estimate, before: Spent) -> Iterator[str]:
    """What a probe measured, and what follows for the rest."""
    progress = job.progress
    done, seconds = progress.done, max(progress.seconds, 1e-9)
    if not done:
        yield "the probe got no answer that could be used"
        return
    after = job.budget.spent
    requests, money = after.requests - before.requests, after.money - before.money
    output = after.tokens.output - before.tokens.output
    rest = found.texts - done
    yield (
        f"probe: {done:,} texts in {requests:,} requests and {seconds:.1f} s, {progress.failed:,} failed, "
        f"{output / done:.1f} output tokens a text"
    )
    price = f", {money / done * rest:,.2f} {progress.currency}" if money else ""
    yield (
        f"the other {rest:,} texts at this rate: {duration(rest / done * seconds)}{price}, "
        f"{requests / done * rest:,.0f} requests; more requests at a time than the probe's are faster"
    )


def student_lines(job: Job, texts: int) -> Iterator[str]:
    """How long trained runs beside this one would take, by the speed that was measured when they were made."""
    speeds: list[tuple[float, str]] = []
    for file in Path(job.recipe.output_path).parent.glob(f"*/{MANIFEST}"):
        try:
            speed = json.loads(file.read_text(encoding="utf-8"))["prediction"]["documents_per_second"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if speed:
            speeds.append((float(speed), str(file.parent)))
    for speed, path in sorted(speeds, reverse=True)[:STUDENTS]:
        yield f"a student as fast as {path}: {duration(texts / speed)} for {texts:,} texts ({speed:,.0f} a second)"


def token_counter(section: AskedTeacher) -> tuple[CountsTokens, str]:
    """Counts tokens of a text, by the model's own tokenizer where it is at hand; and how."""
    name = section.name_or_path if isinstance(section, LocalTeacher) else getattr(section, "model", "")
    if Path(name).is_dir() and any(Path(name).glob("tokenizer*")):
        from categorize.nn.tokenizer import load_tokenizer

        tokenizer = load_tokenizer(name)
        return lambda text: len(tokenizer(text)["input_ids"]), "counted by the model's tokenizer"
    return estimated_tokens, "estimated, without the model's tokenizer"
