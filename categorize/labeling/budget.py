"""What a job may cost: the worst case of a request is reserved before it is sent, so that no budget is overshot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from categorize.labeling.exchange import NotAnswered, Reply, Request, Tokens
from categorize.recipe.labeling_sections import Budget as BudgetSection
from categorize.recipe.labeling_sections import Prices

# Tokens of a chat template around one message, and around the whole chat: special tokens, names of roles, the date and
# the system prompt that some templates add.
MESSAGE_OVERHEAD = 16
CHAT_OVERHEAD = 256


class OutOfBudget(Exception):
    """Nothing more may be sent; the message is one line that names the budget and the way out."""


@dataclass(frozen=True)
class Spent:
    """What requests cost: how many servers took, their tokens, and money in the currency of the prices."""

    requests: int = 0
    tokens: Tokens = field(default_factory=Tokens)
    money: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(self.requests + other.requests, self.tokens + other.tokens, self.money + other.money)


@dataclass(frozen=True, eq=False)
class Reservation:
    """The worst case of a request that may be sent now."""

    input: int
    output: int
    money: float
    prices: Prices


def most_input_tokens(request: Request) -> int:
    """An upper bound of a request's input tokens, without a tokenizer.

    A token holds at least one byte of UTF-8 in every vocabulary that can write any text (byte-level BPE,
    SentencePiece with bytes to fall back to).

    Example:
        >>> from categorize.labeling.exchange import Request
        >>> most_input_tokens(Request("u1", (), [{"role": "user", "content": "好 ok"}], max_tokens=5))
        278
    """
    said = sum(len(message["content"].encode()) + MESSAGE_OVERHEAD for message in request.messages)
    return said + CHAT_OVERHEAD


def cost(tokens: Tokens, prices: Prices, batch: bool = False) -> float:
    """What tokens cost, in the currency of the prices.

    Args:
        tokens: as the server counted them.
        prices: for a million tokens.
        batch: whether they were asked for in a provider batch, which has a discount.

    Example:
        >>> prices = Prices(input=2.0, cached_input=0.5, output=8.0)
        >>> cost(Tokens(input=3_000_000, cached_input=2_000_000, output=1_000_000), prices)
        11.0
    """
    cached = prices.input if prices.cached_input is None else prices.cached_input
    fresh = tokens.input - tokens.cached_input
    full = (fresh * prices.input + tokens.cached_input * cached + tokens.output * prices.output) / 1e6
    return full * (1 - prices.batch_discount) if batch else full


class Budget:
    """The limits of a job, and what of them is spent and reserved.

    Args:
        section: limits; a limit that is absent does not bind.
        prices: of the teacher; `reserve` takes those of another one.
        spent: by earlier starts of the job, from its ledger.
        lost: called with a request that was paid for and whose answer is not kept (cut off, a probe), and with what it
            cost, so that the ledger's totals hold it too.
    """

    def __init__(
        self,
        section: BudgetSection,
        prices: Prices | None = None,
        spent: Spent | None = None,
        lost: Callable[[Request, Spent], None] | None = None,
    ) -> None:
        self._section, self._prices, self._lost = section, prices or Prices(), lost
        self.spent = spent or Spent()
        self._open: set[Reservation] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self._beyond = 0  # tokens that a server's chat template adds beyond the bound
        self._ends = None if section.hours is None else time.monotonic() + section.hours * 3600

    def worst_case(self, request: Request, prices: Prices | None = None) -> Reservation:
        """What a request can cost at most: nothing cached, and an answer of `max_tokens`."""
        prices = prices or self._prices
        most = most_input_tokens(request) + self._beyond
        highest = max(prices.input, prices.cached_input or 0.0)
        money = (most * highest + request.max_tokens * prices.output) / 1e6
        return Reservation(most, request.max_tokens, money, prices)

    def reserve_now(self, request: Request, prices: Prices | None = None) -> Reservation:
        """Room for a request, without waiting for those in flight.

        Raises:
            OutOfBudget: there is none at the moment.
        """
        wanted = self.worst_case(request, prices)
        trouble = self._trouble(wanted, [*self._open, wanted])
        if trouble:
            raise OutOfBudget(trouble)
        self._open.add(wanted)
        return wanted

    async def reserve(self, request: Request, prices: Prices | None = None) -> Reservation:
        """Room for a request, once those in flight have left enough.

        Raises:
            OutOfBudget: what is spent leaves too little, whatever those in flight will cost.
        """
        while True:
            try:
                return self.reserve_now(request, prices)
            except OutOfBudget:
                wanted = self.worst_case(request, prices)
                trouble = self._trouble(wanted, [wanted])
                if trouble:
                    raise OutOfBudget(trouble) from None
            change = asyncio.get_running_loop().create_future()
            self._waiting.append(change)
            await change

    def settle(self, reservation: Reservation, tokens: Tokens | None) -> float:
        """Replace what was reserved by what the server counted.

        Args:
            reservation: of the request.
            tokens: as the server counted them; None where it did not say: the worst case counts as spent.

        Returns:
            What the request cost.
        """
        return self._settled(reservation, tokens).money

    def release(self, reservation: Reservation) -> None:
        """Give back what was reserved for a request that no server worked on."""
        self._close(reservation)

    async def pay(
        self,
        request: Request,
        ask: Callable[[Request], Awaitable[Reply]],
        prices: Prices | None = None,
        probe: bool = False,
    ) -> tuple[Reply, float]:
        """Reserve, ask once, settle.

        Args:
            request: to be sent.
            ask: sends it, once.
            prices: of another teacher than the job's first.
            probe: the answer is not kept, and nothing is waited for: `lost` is told what it cost.

        Returns:
            The reply, and what it cost.

        Raises:
            OutOfBudget: nothing was sent.
            NotAnswered, Refused, JobStops: as the teacher raised them; what a failed try cost is counted, and told to
                `lost`.
        """
        reservation = self.reserve_now(request, prices) if probe else await self.reserve(request, prices)
        try:
            reply = await ask(request)
        except BaseException as error:
            # A try that is cut off here (a signal) may be answered and billed all the same.
            if isinstance(error, asyncio.CancelledError) or (isinstance(error, NotAnswered) and error.paid):
                paid = self._settled(reservation, getattr(error, "tokens", None))
                if self._lost is not None:
                    self._lost(request, paid)
            else:
                self.release(reservation)
            raise
        known = reply.tokens if reply.tokens.input or reply.tokens.output else None
        paid = self._settled(reservation, known)
        if probe and self._lost is not None:
            self._lost(request, paid)
        return reply, paid.money

    def _settled(self, reservation: Reservation, tokens: Tokens | None) -> Spent:
        money = reservation.money if tokens is None else cost(tokens, reservation.prices)
        tokens = tokens or Tokens(reservation.input, 0, reservation.output)
        self._beyond += max(0, tokens.input - reservation.input)
        paid = Spent(1, tokens, money)
        self.spent += paid
        self._close(reservation)
        return paid

    def _close(self, reservation: Reservation) -> None:
        self._open.remove(reservation)
        waiting, self._waiting = self._waiting, []
        for change in waiting:
            if not change.done():
                change.set_result(None)

    def _trouble(self, wanted: Reservation, reserved: list[Reservation]) -> str | None:
        """Why these cannot be sent, beside what is spent."""
        section, spent = self._section, self.spent
        if self._ends is not None and time.monotonic() >= self._ends:
            return f"labeling.budget.hours: the {section.hours:g} hours of this start are over; start again to go on"
        for name, limit, used, needs in (
            ("requests", section.requests, spent.requests, len(reserved)),
            (
                "tokens",
                section.tokens,
                spent.tokens.input + spent.tokens.output,
                sum(one.input + one.output for one in reserved),
            ),
            ("money", section.money, spent.money, sum(one.money for one in reserved)),
        ):
            if limit is not None and used + needs > limit:
                unit = wanted.prices.currency if name == "money" else name
                return (
                    f"labeling.budget.{name}: {used:.10g} of {limit:.10g} {unit} are spent, and the next request may "
                    f"need {needs:.6g}; raise it and start again to go on"
                )
        return None
