"""What passes between the parts of a labelling run: items, requests, replies, outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from typing import Any, Literal, Protocol
from zlib import crc32

from categorize.errors import UserError

GOLDEN = (5**0.5 - 1) / 2

Labels = tuple[tuple[str, ...], ...]  # of one row: the label names of each label set, in the recipe's order


@dataclass(frozen=True, slots=True)
class Item:
    """One distinct text to label.

    Attributes:
        key: BLAKE2b of the rendered row, 16 bytes: the ledger's key beside the variant (what else shapes an answer).
        text: the row as the prompt shows it (`prompt.template` filled).
        failures: answers about it that could not be used.
        shots: number of the set of examples that it is asked with, see `labeling.examples`.
    """

    key: bytes
    text: str
    failures: int = 0
    shots: int = 0


def golden_step(circle: int) -> int:
    """The step nearest to the golden section of a circle of places that comes to each of them; any number of such steps
    lies evenly on it."""
    step = round(circle * GOLDEN)
    while gcd(step, circle) > 1:
        step += 1
    return step


def item_ids(request_id: str, count: int) -> list[str]:
    """Distinct ids for the items of a request: steps of the golden section on a circle of numbers, from a place that
    hangs on the request's id. Any two numbers are further apart than there are items."""
    lowest = 100
    while 9 * lowest < 3 * count * count:
        lowest *= 10
    circle = 9 * lowest
    step, start = golden_step(circle), crc32(request_id.encode())
    return [f"{request_id}-k{lowest + (start + step * i) % circle}" for i in range(count)]


@dataclass(frozen=True)
class Request:
    """One question about one or several items.

    Attributes:
        id: unique in the job, such as `u1`; the ids of the items begin with it (`u1-k347`, ...).
        items: in the order in which they are shown.
        messages: the chat; all requests of a job with the same examples share all but the last message, byte for byte.
        max_tokens: most tokens of the answer.
        codes: where one row is answered by a bare code: what may be answered, in label-set order.
        schema: JSON Schema of the answer, for servers that guide by one.
    """

    id: str
    items: tuple[Item, ...]
    messages: Sequence[Mapping[str, str]]
    max_tokens: int
    codes: tuple[str, ...] | None = None
    schema: Mapping[str, Any] | None = None

    @property
    def item_ids(self) -> list[str]:
        """The ids that the items have in the question and in its answer, such as `u1-k347`.

        Their numbers are far apart: a teacher that leaves an item out and counts on, or counts from 1, writes ids that
        were not sent, so that no label moves to another row.
        """
        return item_ids(self.id, len(self.items))


@dataclass(frozen=True)
class Tokens:
    """Tokens of a request: `input` counts those that were cached too."""

    input: int = 0
    cached_input: int = 0
    output: int = 0

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(self.input + other.input, self.cached_input + other.cached_input, self.output + other.output)


@dataclass(frozen=True)
class Reply:
    """What a teacher answered to one request.

    Attributes:
        text: as it came.
        finish_reason: `stop`, or why the answer is not whole (`length`, `abort`, `content_filter`, ...).
        tokens: what the server counted; zeros where it does not say.
        probabilities: of the labels in label-set order, where the request had `codes` and the server gives them.
        seconds: that the answer took.
    """

    text: str
    finish_reason: str = "stop"
    tokens: Tokens = field(default_factory=Tokens)
    probabilities: tuple[float, ...] | None = None
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one reply says of one item.

    Attributes:
        item: that was asked about.
        labels: names for each label set; None where nothing certain could be read.
        reason: why not; empty where it could.
        rationale: the reason that the teacher gave, cut to its bound.
        position: of the item in its request, from 0.
        confidence: probability of the label, where the server gave probabilities.
    """

    item: Item
    labels: Labels | None
    reason: str = ""
    rationale: str = ""
    position: int = 0
    confidence: float | None = None


class NotAnswered(Exception):
    """A request that was not answered, and may be sent again.

    Attributes:
        after: seconds that the server asks to wait.
        rate_limited: whether it said that there were too many requests (429).
        paid: whether the server may have worked on it.
        down: whether no server took it.
        tokens: of an answer that could not be used, where the server counted them; a paid request without them is
            taken to have cost its worst case.
    """

    def __init__(
        self,
        reason: str,
        after: float | None = None,
        rate_limited: bool = False,
        paid: bool = False,
        down: bool = False,
        tokens: Tokens | None = None,
    ) -> None:
        super().__init__(reason)
        self.after, self.rate_limited, self.paid, self.down, self.tokens = after, rate_limited, paid, down, tokens


class Refused(Exception):
    """A request that this server will not answer however often it is sent (too long, a content filter): its items are
    asked in smaller requests, and alone they fail."""


class JobStops(UserError):
    """What stops the whole job in one line: a wrong key, an empty balance, a missing model, a server that is down."""


class Teacher(Protocol):
    """Answers requests, several at a time.

    Attributes:
        name: what tables call it.
        identity: everything of it that shapes an answer (model, parameters), as JSON: a part of the ledger's variant.
    """

    name: str
    identity: Mapping[str, Any]

    async def ask(self, request: Request) -> Reply:
        """The answer to one request.

        Raises:
            NotAnswered: it may be sent again.
            Refused: it will never be answered.
            JobStops: no request will be.
        """
        ...

    async def close(self) -> None:
        """Let connections and models go."""
        ...


State = Literal["labelled", "failed"]


@dataclass(frozen=True, slots=True)
class Stored:
    """An answer in the ledger.

    Attributes:
        state: `failed` rows are not asked about again unless told.
        labels: of a labelled row.
        reason: of a failed one.
        attempts: requests that held the row.
        cost: its share of what they cost, in the currency of the prices.
        request: row number of the request, whose raw answer the ledger keeps.
        position, items: where it stood in that request, and of how many.
        reused: whether it was taken over from another prompt, schema or teacher.
    """

    state: State
    labels: Labels | None
    reason: str = ""
    rationale: str = ""
    attempts: int = 1
    cost: float = 0.0
    request: int | None = None
    position: int = 0
    items: int = 1
    confidence: float | None = None
    reused: bool = False
