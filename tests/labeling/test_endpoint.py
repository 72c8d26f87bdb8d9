"""The endpoint teacher against a real server in a process of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest
from pydantic import ValidationError

from categorize.labeling.budget import Budget, OutOfBudget
from categorize.labeling.exchange import Item, JobStops, NotAnswered, Refused, Reply, Request, Tokens
from categorize.labeling.teachers.abilities import Abilities
from categorize.labeling.teachers.endpoint import EndpointTeacher
from categorize.recipe.labeling_sections import Budget as BudgetSection
from categorize.recipe.labeling_sections import EndpointTeacher as Section
from categorize.recipe.labeling_sections import Prices
from tests.labeling.fault_server import Script, serving, truth

Result = TypeVar("Result")
KEY = "sk-Zx81-never-shown"
SCHEMA = {"type": "object", "properties": {"comments": {"type": "array"}}}


def section(url: str | list[str], **keys: Any) -> Section:
    return Section(type="endpoint", url=url, model="m", **keys)


def request(texts: list[str], number: int = 1) -> Request:
    items = tuple(Item(text.encode(), text) for text in texts)
    ids = Request(f"u{number}", items, (), 1).item_ids
    asked = {"comments": [{"comment_id": id, "text": text} for id, text in zip(ids, texts, strict=True)]}
    messages = [{"role": "system", "content": "Label."}, {"role": "user", "content": json.dumps(asked)}]
    return Request(f"u{number}", items, messages, 300, schema=SCHEMA)


def code_request(text: str, codes: tuple[str, ...]) -> Request:
    messages = [{"role": "user", "content": json.dumps({"text": text})}]
    return Request("u1", (Item(text.encode(), text),), messages, 5, codes=codes)


def run(teacher: EndpointTeacher, talk: Callable[[EndpointTeacher], Awaitable[Result]]) -> Result:
    async def whole() -> Result:
        try:
            return await talk(teacher)
        finally:
            await teacher.close()

    return asyncio.run(whole())


def ask(teacher: EndpointTeacher, *requests: Request) -> list[Reply]:
    async def talk(teacher: EndpointTeacher) -> list[Reply]:
        return [await teacher.ask(one) for one in requests]

    return run(teacher, talk)


def labels(reply: Reply) -> dict[str, list[str]]:
    return {one["comment_id"]: one["labels"] for one in json.loads(reply.text)["comments"]}


def test_an_answer_comes_with_its_text_its_end_and_what_the_server_counted(tmp_path: Path) -> None:
    asked = request(["很好", 'bad {"comment_id": "u1-k1"}'])
    with serving(tmp_path, Script(cached=3)) as server:
        (reply,) = ask(EndpointTeacher(section(server.url)), asked)
    assert labels(reply) == {
        id: truth(item.text, ["good", "bad"]) for id, item in zip(asked.item_ids, asked.items, strict=True)
    }
    assert reply.finish_reason == "stop" and reply.tokens.input > 3
    assert reply.tokens.cached_input == 3 and reply.tokens.output > 0 and reply.seconds > 0


def test_what_a_server_refuses_is_found_out_once_and_left_out(tmp_path: Path) -> None:
    said: list[str] = []
    refused = ["response_format", "top_p", "max_tokens"]
    # The server's words do not say what it would take instead of max_tokens.
    with serving(tmp_path, Script(refused=refused)) as server, pytest.raises(JobStops, match="refuses even a question"):
        ask(EndpointTeacher(section(server.url, top_p=0.5), say=said.append), request(["a"]))
    said.clear()
    with serving(tmp_path, Script(refused=refused[:2])) as server:
        teacher = EndpointTeacher(section(server.url, top_p=0.5, extra_body={"seed": 3}), say=said.append)
        replies = ask(teacher, request(["a"]), request(["b"], 2), request(["c"], 3))
        bodies = [entry["keys"] for entry in server.log() if entry["ids"]]
    assert len(replies) == 3 and bodies == [["max_tokens", "messages", "model", "seed", "temperature"]] * 3
    assert len(said) == len(set(said)) == 3
    assert [next(word for word in ("json_schema", "json_object", "top_p") if word in line) for line in said] == [
        "json_schema", "json_object", "top_p"
    ]  # fmt: skip


def test_max_tokens_has_another_name_where_the_server_says_so(tmp_path: Path) -> None:
    said = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens' instead."
    no = {"status": 400, "body": {"error": {"message": said, "code": "unsupported_parameter"}}}
    with serving(tmp_path, Script(replies=[no])) as server:
        ask(EndpointTeacher(section(server.url)), request(["a"]))
        assert "max_completion_tokens" in server.log()[-1]["keys"] and "max_tokens" not in server.log()[-1]["keys"]


def test_a_refused_key_of_extra_body_stops_the_job_for_it_was_asked_for(tmp_path: Path) -> None:
    with serving(tmp_path, Script(refused=["chat_template_kwargs"])) as server:
        extra = {"chat_template_kwargs": {"enable_thinking": False}}
        with pytest.raises(JobStops, match=r"chat_template_kwargs.*labeling\.teacher\.extra_body"):
            ask(EndpointTeacher(section(server.url, extra_body=extra)), request(["a"]))


ERROR = {"message": "m", "type": "t"}
STOPS = [
    (401, {"error": {**ERROR, "code": "invalid_api_key"}}, ["the key in TEST_KEY", "put a valid one"]),
    (403, {"message": "forbidden"}, ["the key in TEST_KEY"]),
    (402, {"error": ERROR}, ["balance of the key in TEST_KEY", "top it up"]),
    (429, {"error": {**ERROR, "code": "insufficient_quota"}}, ["balance", "top it up"]),
    (403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}, ["balance"]),
    (
        404,
        {"error": {"message": "The model `m` does not exist.", "code": 404}},
        ["does not have this model", "/models"],
    ),
    (400, {"error": {"message": "Model Not Exist", "type": "invalid_request_error"}}, ["does not have this model"]),
    (404, "Not Found", ["nothing answers chat requests", "labeling.teacher.url"]),
    (200, {"error": {"message": "Insufficient Balance", "code": 402}}, ["balance"]),
]


@pytest.mark.parametrize("status, body, says", STOPS)
def test_what_no_request_gets_past_stops_the_job_in_one_line(
    status: int, body: Any, says: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEY", KEY)
    with serving(tmp_path, Script(replies=[None, {"status": status, "body": body}])) as server:
        with pytest.raises(JobStops) as stop:
            ask(EndpointTeacher(section(server.url, api_key_env="TEST_KEY")), request(["a", "b"]))
        assert len(server.log()) == 2
    line = str(stop.value)
    assert "\n" not in line and all(one in line for one in [*says, server.url, "model m"])


REFUSALS = [
    (400, {"error": {"message": "This model's maximum context length is 4096 tokens. However, you requested 9000."}}),
    (
        400,
        {"error": {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}},
    ),
    (400, {"error": {"message": "m", "code": "content_filter"}}),
    (413, "too much"),
    (429, {"error": {"message": "Request too large for m on tokens per min", "code": "rate_limit_exceeded"}}),
    (422, {"detail": [{"loc": ["body", "messages"], "msg": "cannot be rendered", "input": "insufficient_quota"}]}),
]


@pytest.mark.parametrize("status, body", REFUSALS)
def test_what_a_server_will_never_answer_is_refused(status: int, body: Any, tmp_path: Path) -> None:
    with (
        serving(tmp_path, Script(replies=[None, {"status": status, "body": body}])) as server,
        pytest.raises(Refused),
    ):
        ask(EndpointTeacher(section(server.url)), request(["a", "b"]))


def test_a_row_alone_that_is_refused_before_any_answer_stops_the_job(tmp_path: Path) -> None:
    """A context that holds not even one row fails every row: not one by one."""
    no = {"status": 400, "body": {"error": {"message": "maximum context length is 64 tokens"}}}
    with serving(tmp_path, Script(replies=[None, no])) as server, pytest.raises(JobStops, match="not even one row"):
        ask(EndpointTeacher(section(server.url)), request(["a"]))
    with serving(tmp_path, Script(replies=[None, None, no])) as server, pytest.raises(Refused):
        ask(EndpointTeacher(section(server.url)), request(["a"]), request(["b"], 2))


AGAIN = [
    ({"status": 429, "headers": {"Retry-After": "7"}}, 7.0, True, False, False),
    ({"status": 503, "headers": {"retry-after-ms": "500"}, "body": "Loading model"}, 0.5, True, False, False),
    ({"status": 500, "body": "<html>"}, None, False, False, False),
    ({"status": 408}, None, False, True, False),
    ({"status": 409}, None, False, False, False),
    ({"status": 502}, None, False, False, True),
    ({"status": 504}, None, False, True, False),
    ({"status": 200, "body": {"error": {"message": "upstream failed"}}}, None, False, True, False),
    ({"status": 200, "body": {"choices": []}}, None, False, True, False),
    ({"status": 200, "body": '{"choices": [{"mess'}, None, False, True, False),
    ({"status": 200, "body": "[]"}, None, False, True, False),
]


@pytest.mark.parametrize("reply, after, rate_limited, paid, down", AGAIN)
def test_what_may_be_asked_again_says_when_and_whether_it_was_paid_for(
    reply: dict[str, Any], after: float | None, rate_limited: bool, paid: bool, down: bool, tmp_path: Path
) -> None:
    with serving(tmp_path, Script(replies=[None, reply])) as server, pytest.raises(NotAnswered) as error:
        ask(EndpointTeacher(section(server.url)), request(["a"]))
    found = error.value
    assert (found.after, found.rate_limited, found.paid, found.down) == (after, rate_limited, paid, down)
    assert server.url in str(found) and "\n" not in str(found)


@pytest.mark.parametrize("fault", ["close", "hang"])
def test_an_answer_that_is_cut_off_or_never_comes_may_have_been_paid_for(fault: str, tmp_path: Path) -> None:
    script = Script(rate=1.0, faults=[fault])
    with serving(tmp_path, script) as server, pytest.raises(NotAnswered) as error:
        ask(EndpointTeacher(section(server.url, timeout=0.5)), request(["a"]))
    assert error.value.paid and not error.value.down


def test_thoughts_are_left_out_and_parts_are_joined(tmp_path: Path) -> None:
    message = {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "reasoning_content": "hm"}
    body = {"choices": [{"message": message, "finish_reason": "length"}]}
    with serving(tmp_path, Script(replies=[None, {"body": body}])) as server:
        (reply,) = ask(EndpointTeacher(section(server.url)), request(["x"]))
    assert (reply.text, reply.finish_reason, reply.tokens) == ("ab", "length", Tokens())


def test_several_urls_share_the_work_and_one_that_is_down_is_left_out_and_tried_again(tmp_path: Path) -> None:
    said: list[str] = []

    async def talk(teacher: EndpointTeacher) -> None:
        await asyncio.gather(*(teacher.ask(request([f"a{i}"], i)) for i in range(20)))
        second.process.kill()
        second.process.wait()
        await asyncio.gather(*(teacher.ask(request([f"b{i}"], i)) for i in range(20)))
        with serving(tmp_path, Script(seconds=0.05), port=int(second.url.split(":")[2].split("/")[0])) as revived:
            while not any(entry["ids"] for entry in revived.log()):
                await asyncio.gather(*(teacher.ask(request([f"c{i}"], i)) for i in range(20)))

    with serving(tmp_path, Script(seconds=0.05)) as first, serving(tmp_path, Script(seconds=0.05)) as second:
        run(EndpointTeacher(section([first.url, second.url]), say=said.append), talk)
        served = [[text for entry in server.log() for text in entry["texts"]] for server in (first, second)]
    assert [sum(text.startswith("a") for text in texts) for texts in served] == [10, 10]
    # What was under way when it died may be asked again; nothing else is lost.
    assert {text for text in served[0] if text.startswith("b")} == {f"b{i}" for i in range(20)}
    assert sum("cannot be reached" in line for line in said) == 1


def test_the_key_stands_in_nothing_that_a_job_leaves_or_prints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("TEST_KEY", KEY)
    with serving(tmp_path, Script(key=KEY)) as server:
        teacher = EndpointTeacher(section(server.url, api_key_env="TEST_KEY"))
        (reply,) = ask(teacher, request(["a"]))
        shown = [repr(teacher), repr(teacher.identity), repr(reply), str(vars(teacher)["_client"])]
    monkeypatch.setenv("TEST_KEY", KEY + "x")  # the server repeats a wrong key in its error
    with serving(tmp_path, Script(key=KEY)) as server, pytest.raises(JobStops) as error:
        ask(EndpointTeacher(section(server.url, api_key_env="TEST_KEY")), request(["a"]))
    assert "$TEST_KEY" in str(error.value)
    printed = capfd.readouterr()
    for text in [*shown, repr(error.value), caplog.text, printed.out, printed.err]:
        assert KEY not in text


@pytest.mark.parametrize("key", [None, " ", "two words", "schlüssel"])
def test_a_variable_without_a_key_is_named_before_anything_is_sent(
    key: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_KEY", raising=False)
    if key is not None:
        monkeypatch.setenv("TEST_KEY", key)
    with pytest.raises(JobStops, match="environment variable TEST_KEY") as error:
        EndpointTeacher(section("http://localhost:1", api_key_env="TEST_KEY"))
    assert key is None or not key.strip() or key not in str(error.value)


CODES = ("A", "B", "C")


@pytest.mark.parametrize("abilities, keys", [
    ({"token_ids": True}, ["logprob_token_ids", "logprobs"]),
    ({"token_ids": True, "top": 20, "refused": ["logprob_token_ids"]}, ["logprobs", "top_logprobs"]),
    ({"top": 20}, ["logprobs", "top_logprobs"]),
])  # fmt: skip
def test_the_probabilities_of_all_codes_are_taken_where_a_server_gives_them(
    abilities: dict[str, Any], keys: list[str], tmp_path: Path
) -> None:
    script = Script(labels=["x", "y", "z"], codes=list(CODES), **abilities)
    with serving(tmp_path, script) as server:
        (reply,) = ask(EndpointTeacher(section(server.url)), code_request("a text", CODES))
        assert set(keys) <= set(server.log()[-1]["keys"])
    probabilities = reply.probabilities
    assert probabilities is not None and sum(probabilities) == pytest.approx(1)
    assert CODES[probabilities.index(max(probabilities))] == reply.text


@pytest.mark.parametrize("abilities", [{}, {"top": 2}, {"top": 20, "refused": ["logprobs"]}])
def test_probabilities_that_do_not_cover_all_codes_are_not_taken(abilities: dict[str, Any], tmp_path: Path) -> None:
    said: list[str] = []
    script = Script(labels=["x", "y", "z"], codes=list(CODES), **abilities)
    with serving(tmp_path, script) as server:
        replies = ask(EndpointTeacher(section(server.url), say=said.append), *[code_request("t", CODES)] * 30)
        last = server.log()[-1]["keys"]
    assert {reply.probabilities for reply in replies} == {None} and {reply.text for reply in replies} <= set(CODES)
    assert "logprobs" not in last  # they are not asked for in vain
    assert len(said) == ("refused" not in abilities and bool(abilities))


def test_probes_are_paid_from_the_budget_and_told_to_the_ledger(tmp_path: Path) -> None:
    lost: list[str] = []
    with serving(tmp_path, Script()) as server:
        prices = Prices(input=1.0, output=1.0)
        budget = Budget(BudgetSection(requests=2), prices, lost=lambda request, paid: lost.append(request.id))
        teacher = EndpointTeacher(section(server.url), budget)

        async def talk(teacher: EndpointTeacher) -> None:
            await budget.pay(request(["a"]), teacher.ask)
            with pytest.raises(OutOfBudget, match=r"labeling\.budget\.requests: 2 of 2"):
                await budget.pay(request(["b"], 2), teacher.ask)

        run(teacher, talk)
        assert len(server.log()) == 2 and budget.spent.requests == 2 and lost == ["u1-probe"]
        assert budget.spent.money > 0


def test_a_proxy_of_the_environment_is_not_asked_for_a_server_on_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with serving(tmp_path, Script()) as server:
        assert ask(EndpointTeacher(section(server.url)), request(["a"]))[0].text


@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "http://a:99999999/v1", "http://[::1/v1", "http://me:key@a/v1", "http://a/v1?key=k"]
)
def test_a_url_that_is_none_or_holds_a_key_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="must be the base URL of a server"):
        section(url)
    assert section("http://[::1]:8000/v1/chat/completions").url == "http://[::1]:8000/v1"


@pytest.mark.parametrize("name", ["messages", "stream", "temperature"])
def test_extra_body_cannot_change_what_has_a_key_of_its_own(name: str) -> None:
    with pytest.raises(ValidationError, match=f"{name} is not for extra_body"):
        section("http://a/v1", extra_body={name: 1})


def test_all_requests_of_a_size_have_one_schema() -> None:
    """Servers compile each other schema for a second and more."""
    bodies = []
    for number in (1, 2):
        asked = request(["a", "b"], number)
        named = {"properties": {"comment_id": {"enum": asked.item_ids}, "labels": {"enum": ["good", "bad"]}}}
        body = Abilities().body(section("http://a/v1"), replace(asked, schema={"type": "array", "items": named}))
        bodies.append(body["response_format"])
    assert bodies[0] == bodies[1]
    assert bodies[0]["json_schema"]["schema"]["items"]["properties"]["labels"] == {"enum": ["good", "bad"]}
