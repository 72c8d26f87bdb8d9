"""Budgets: never overshot, whatever is asked, answered and counted, and by however many at a time."""

from __future__ import annotations

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from categorize.labeling.budget import Budget, OutOfBudget, Spent, cost, most_input_tokens
from categorize.labeling.exchange import NotAnswered, Refused, Reply, Request, Tokens
from categorize.recipe.labeling_sections import Budget as Section
from categorize.recipe.labeling_sections import Prices
from tests.labeling.virtual_time import run

PRICES = Prices(input=3.0, cached_input=0.3, output=15.0)


def sum_of(spent: Spent) -> int:
    return spent.tokens.input + spent.tokens.output


def request(text: str = "a text", max_tokens: int = 100) -> Request:
    return Request("u1", (), [{"role": "system", "content": "Label."}, {"role": "user", "content": text}], max_tokens)


@settings(max_examples=150)
@given(
    seed=st.integers(0, 2**32),
    at_once=st.integers(1, 20),
    requests=st.none() | st.integers(1, 60),
    tokens=st.none() | st.integers(1, 60_000),
    money=st.none() | st.floats(0.0001, 0.2),
    before=st.integers(0, 30),
)
def test_no_budget_is_overshot(
    seed: int, at_once: int, requests: int | None, tokens: int | None, money: float | None, before: int
) -> None:
    dice = random.Random(seed)
    spent = Spent(before, Tokens(before * 200, 0, before * 50), before * 0.002)
    section = Section(requests=requests, tokens=tokens, money=money)
    server = Spent()  # what the server would bill
    lost = Spent()
    stops = []
    cut_off = 0

    def note(request: Request, paid: Spent) -> None:
        nonlocal lost
        lost += paid

    budget = Budget(section, PRICES, spent, note)

    async def ask(request: Request) -> Reply:
        nonlocal server, cut_off
        await asyncio.sleep(dice.random())
        most = most_input_tokens(request)
        given_tokens = dice.randint(1, most)
        counted = Tokens(given_tokens, dice.randint(0, given_tokens), dice.randint(0, request.max_tokens))
        fate = dice.random()
        if fate < 0.1:
            raise NotAnswered("429", rate_limited=True)
        if fate < 0.15:
            raise Refused("too long")
        server += Spent(1, counted, cost(counted, PRICES))
        if fate < 0.25:
            cut_off += 1
            raise NotAnswered("cut off", paid=True)
        return Reply("", tokens=counted if fate < 0.9 else Tokens())

    async def work() -> None:
        for _ in range(20):
            try:
                await budget.pay(request("字" * dice.randint(1, 300), dice.randint(1, 900)), ask)
            except (NotAnswered, Refused):
                continue
            except OutOfBudget as stop:
                stops.append(str(stop))
                return

    async def job() -> None:
        await asyncio.gather(*(work() for _ in range(at_once)))

    run(job())
    total = spent + server
    for limit, billed, known, began in (
        (requests, total.requests, budget.spent.requests, before),
        (tokens, sum_of(total), sum_of(budget.spent), before * 250),
        (money, total.money, budget.spent.money, before * 0.002),
    ):
        assert billed <= known * (1 + 1e-9)
        assert limit is None or known <= max(limit, began) * (1 + 1e-9)
    assert all(line.startswith("labeling.budget.") and "\n" not in line for line in stops)
    assert lost.requests == cut_off


def test_those_in_flight_are_waited_for_before_a_job_is_out_of_budget() -> None:
    """Worst cases of two requests do not fit together, and yet both are sent, one after the other."""
    worst = most_input_tokens(request()) + 100
    budget = Budget(Section(tokens=worst + 120))
    order = []

    async def ask(one: Request) -> Reply:
        order.append("sent")
        await asyncio.sleep(1)
        order.append("answered")
        return Reply("", tokens=Tokens(50, 0, 10))

    async def job() -> None:
        await asyncio.gather(budget.pay(request(), ask), budget.pay(request(), ask))
        with pytest.raises(OutOfBudget, match=r"labeling\.budget\.tokens: 120 of .* start again"):
            await budget.pay(request(max_tokens=101), ask)

    run(job())
    assert order == ["sent", "answered"] * 2


def test_a_resumed_job_has_what_its_budget_has_left() -> None:
    with pytest.raises(OutOfBudget, match=r"labeling\.budget\.money: 9.9999 of 10 EUR"):
        Budget(Section(money=10.0), Prices(input=3.0, output=15.0, currency="EUR"), Spent(money=9.9999)).reserve_now(
            request()
        )


def test_hours_end_a_start() -> None:
    budget = Budget(Section(hours=1e-12))
    with pytest.raises(OutOfBudget, match=r"labeling\.budget\.hours"):
        budget.reserve_now(request())


def test_what_a_server_does_not_count_is_spent_at_its_worst_case() -> None:
    budget = Budget(Section(), PRICES)
    worst = budget.worst_case(request())
    assert budget.settle(budget.reserve_now(request()), None) == worst.money
    assert budget.spent == Spent(1, Tokens(worst.input, 0, worst.output), worst.money)
    budget.release(budget.reserve_now(request()))
    assert budget.spent.requests == 1


def test_a_template_longer_than_the_bound_is_learnt() -> None:
    """A server that adds a long system prompt of its own overshoots once, and is expected from then on."""
    budget = Budget(Section())
    bound = budget.worst_case(request()).input
    budget.settle(budget.reserve_now(request()), Tokens(bound + 1000, 0, 1))
    assert budget.worst_case(request()).input == bound + 1000


def test_a_batch_has_its_discount_and_cached_tokens_their_price() -> None:
    tokens = Tokens(1_000_000, 400_000, 100_000)
    prices = Prices(input=1.0, cached_input=0.25, output=4.0, batch_discount=0.5)
    assert cost(tokens, prices) == pytest.approx(0.6 + 0.1 + 0.4)
    assert cost(tokens, prices, batch=True) == pytest.approx(0.55)
    assert cost(tokens, Prices(input=1.0, output=4.0)) == pytest.approx(1.4)
