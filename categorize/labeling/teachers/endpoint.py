"""A teacher behind an OpenAI-compatible chat server, or behind several that share the work."""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from categorize.labeling.budget import Budget
from categorize.labeling.exchange import JobStops, NotAnswered, Refused, Reply, Request
from categorize.labeling.teachers.abilities import Abilities, probe, probe_probabilities
from categorize.labeling.teachers.chat_reply import read_probabilities, read_reply
from categorize.labeling.teachers.server_errors import (
    Filtered,
    Place,
    Unsupported,
    failure,
    no_model,
    retry_after,
    words,
)
from categorize.recipe.labeling_sections import EndpointTeacher as EndpointSection

CONNECT = 10.0  # seconds that a connection may take
KEPT_ALIVE = 4.0  # seconds that one is kept unused; uvicorn closes its end after 5
FIRST_LEFT_OUT, LONGEST_LEFT_OUT = 0.5, 60.0  # seconds; doubled while a server does not come back
UNCOVERED = 20  # replies in a row whose log-probabilities do not cover the codes, after which they are not asked for


@dataclass(eq=False)
class _Server:
    """One URL.

    Attributes:
        url: base, as in the recipe.
        place: for messages.
        running: requests in flight.
        asked: requests so far.
        failures: in a row.
        pause: seconds that it was left out for last.
        left_out_until: on the monotonic clock.
        abilities: None until they were probed.
        uncovered: replies in a row without the probabilities that were asked for.
    """

    url: str
    place: Place
    running: int = 0
    asked: int = 0
    failures: int = 0
    pause: float = FIRST_LEFT_OUT
    left_out_until: float = 0.0
    abilities: Abilities | None = None
    uncovered: int = 0
    probing: asyncio.Lock = field(default_factory=asyncio.Lock)


class EndpointTeacher:
    """Asks chat servers: vLLM, SGLang, llama.cpp, `transformers serve`, paid APIs.

    Each server is probed once, with the first request that goes to it. Of several, the least busy is asked; one that
    cannot be reached, or fails three times in a row, is left out for a while.

    Args:
        section: of the recipe.
        budget: pays for the probes.
        say: shows a line to the user.
        looks_only: nothing will be asked: a key that is not set is told, and no mistake.

    Raises:
        JobStops: the variable that should hold the key is not set, or a URL is not one.
    """

    def __init__(
        self,
        section: EndpointSection,
        budget: Budget | None = None,
        say: Callable[[str], None] = print,
        looks_only: bool = False,
    ) -> None:
        self._section, self._budget, self._say = section, budget, say
        self.name = section.name or section.model
        self.identity: Mapping[str, Any] = {
            "type": "endpoint",
            "model": section.model,
            "temperature": section.temperature,
            "top_p": section.top_p,
            "extra_body": section.extra_body,
        }
        try:
            self._key = _key(section)
        except JobStops as error:
            if not looks_only:
                raise
            say(f"warning: {error}")
            self._key = ""
        urls = [section.url] if isinstance(section.url, str) else section.url
        for url in urls:
            try:
                httpx.URL(url)
            except httpx.InvalidURL as error:
                raise JobStops(f"labeling.teacher.url: {url}: {error}: correct it") from None
        self._servers = [_Server(url, Place(url, section.model, section.api_key_env)) for url in urls]
        self._answered = False  # whether any request ever was
        self._said: set[str] = set()
        self._client = httpx.AsyncClient(
            timeout=httpx.Timeout(None, connect=CONNECT),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=KEPT_ALIVE),
            # A proxy of the environment is for the network, not for a server on this machine.
            mounts=dict.fromkeys(("all://localhost", "all://127.0.0.1", "all://[::1]")),
            headers={"Content-Type": "application/json"}
            | ({"Authorization": f"Bearer {self._key}"} if self._key else {}),
        )

    def __repr__(self) -> str:
        return f"EndpointTeacher({self.name!r})"

    async def ask(self, request: Request) -> Reply:
        """One try of a request, at the least busy server that can be reached; see `exchange.Teacher`."""
        left = list(self._servers)
        while True:
            now = time.monotonic()
            ready = [server for server in left if server.left_out_until <= now]
            # Where all are left out, the one that comes back first is tried: when, is the pace's to say.
            server = min(ready or left, key=lambda one: (0 if ready else one.left_out_until, one.running, one.asked))
            left.remove(server)
            server.running += 1
            server.asked += 1
            try:
                reply = await self._ask(server, request)
            except NotAnswered as error:
                others = any(one.left_out_until <= time.monotonic() for one in self._servers if one is not server)
                self._leave_out(server, error)
                if error.down and left and others:
                    continue
                if error.after and others:
                    error.after = 0.0  # the others may be asked meanwhile
                raise
            finally:
                server.running -= 1
            server.failures, server.pause = 0, FIRST_LEFT_OUT
            return reply

    async def close(self) -> None:
        """Let the connections go."""
        await self._client.aclose()

    async def _ask(self, server: _Server, request: Request) -> Reply:
        async with server.probing:
            if server.abilities is None:
                try:
                    server.abilities = await self._probe(server, request)
                except Refused as error:
                    raise JobStops(f"{error}: the server refuses even a question of a few words") from None
                except NotAnswered as error:
                    if not (error.rate_limited or error.down) and await self._lacks_model(server):
                        raise no_model(server.place, str(error)) from None
                    raise
        abilities = server.abilities
        while True:
            began = time.monotonic()
            try:
                answer = await self._post(server, abilities.body(self._section, request))
            except Unsupported as error:
                given_up = abilities.without(str(error), self._section, request, guess=False)
                if given_up is not None:
                    self._tell(server, f"refuses {given_up} {str(error).partition('refused ')[2]}")
                    continue
                raise self._refused(error, request) from None
            except Refused as error:
                raise self._refused(error, request) from None
            break
        reply = read_reply(answer, server.place.url, time.monotonic() - began)
        self._answered = True
        if request.codes is not None and (abilities.token_ids is not None or abilities.top):
            reply = replace(reply, probabilities=read_probabilities(answer, request.codes, abilities.token_ids))
            server.uncovered = server.uncovered + 1 if reply.probabilities is None else 0
            if server.uncovered >= UNCOVERED:
                abilities.token_ids, abilities.top = None, 0
                self._tell(server, "its log-probabilities do not cover all codes; rows have no probabilities")
        return reply

    def _refused(self, error: Refused, request: Request) -> Refused | JobStops:
        """What a refusal means: where not even one row was ever answered, no request will be."""
        if self._answered or len(request.items) > 1 or isinstance(error, Filtered):
            return error
        return JobStops(
            f"{error}: not even one row alone was answered; max_tokens or the server's context may be wrong"
        )

    async def _probe(self, server: _Server, request: Request) -> Abilities:
        section = self._section

        async def send(body: Mapping[str, Any]) -> Mapping[str, Any]:
            answers: list[Mapping[str, Any]] = []

            async def once(sent: Request) -> Reply:
                answers.append(await self._post(server, body))
                return read_reply(answers[-1], server.place.url)

            sent = Request(f"{request.id}-probe", (), body["messages"], _most(body))
            if self._budget is None:
                await once(sent)
            else:
                await self._budget.pay(sent, once, section.prices, probe=True)
            return answers[-1]

        async def tokenize(text: str) -> Sequence[int] | None:
            root = re.sub(r"/v\d+$", "", server.url)
            asked = {"model": section.model, "prompt": text, "add_special_tokens": False}
            try:
                async with asyncio.timeout(CONNECT):
                    tokens = (await self._client.post(f"{root}/tokenize", content=_json(asked))).json()["tokens"]
            except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError):
                return None
            return tokens if isinstance(tokens, list) and all(isinstance(one, int) for one in tokens) else None

        abilities = await probe(section, request, send, lambda what: self._tell(server, what))
        if request.codes and section.probabilities == "auto":
            await probe_probabilities(abilities, section, request, send, tokenize)
        return abilities

    async def _lacks_model(self, server: _Server) -> bool:
        """Whether the server lists models, and not this one: some fail in odd ways where they do not have it."""
        try:
            async with asyncio.timeout(CONNECT):
                listed = (await self._client.get(f"{server.url}/models")).json()["data"]
            return bool(listed) and self._section.model not in {one["id"] for one in listed}
        except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError):
            return False

    async def _post(self, server: _Server, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """A server's answer to a request's body.

        Raises:
            NotAnswered, Refused, JobStops: as `server_errors.failure` reads it.
        """
        place, timeout = server.place, self._section.timeout
        try:
            async with asyncio.timeout(timeout):
                response = await self._client.post(f"{server.url}/chat/completions", content=_json(body))
        except TimeoutError:
            raise NotAnswered(f"{place.url}: no answer in {timeout:g} s", paid=True) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            what = self._shown(error)
            if not self._answered and "CERTIFICATE" in what.upper():
                raise JobStops(f"{place.url} (model {place.model}): {what}: correct labeling.teacher.url") from None
            raise NotAnswered(f"{place.url} cannot be reached: {what}", down=True) from None
        except httpx.HTTPError as error:  # cut off while it was sent, worked on or answered
            raise NotAnswered(f"{place.url}: {self._shown(error)}", paid=True) from None
        said = ""
        if response.status_code != 200:
            said = self._shown(words(response.text))
            raise failure(response.status_code, said, place, retry_after(response.headers))
        try:
            answer = json.loads(response.content)
        except ValueError:
            raise NotAnswered(f"{place.url}: the answer is cut off or not JSON", paid=True) from None
        if isinstance(answer, dict) and answer.get("error"):
            code = answer["error"].get("code") if isinstance(answer["error"], dict) else None
            status = code if isinstance(code, int) and 400 <= code < 600 else 200
            error_found = failure(status, self._shown(words(response.text)), place, retry_after(response.headers))
            raise error_found
        if not isinstance(answer, dict):
            raise NotAnswered(f"{place.url}: answered with something else than a chat completion", paid=True)
        return answer

    def _leave_out(self, server: _Server, error: NotAnswered) -> None:
        server.failures += 1
        now = time.monotonic()
        if error.down and server.failures == 1:
            self._say(f"{error}; it is tried again now and then")
        if error.after:
            server.left_out_until = max(server.left_out_until, now + error.after)
        elif server.left_out_until <= now and (error.down or (server.failures >= 3 and not error.rate_limited)):
            server.pause = min(LONGEST_LEFT_OUT, 2 * server.pause)
            server.left_out_until = now + server.pause

    def _tell(self, server: _Server, what: str) -> None:
        """Say something of a server, once."""
        line = f"{server.place.url}: {what}"
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def _shown(self, what: object) -> str:
        """Other people's words, without the key."""
        text = " ".join(str(what).split()) or type(what).__name__
        return text.replace(self._key, f"${self._section.api_key_env}") if self._key else text


def _key(section: EndpointSection) -> str:
    name = section.api_key_env
    if name is None:
        return ""
    key = os.environ.get(name, "").strip()
    model = section.model
    if not key:
        raise JobStops(f"the environment variable {name} is not set: it must hold the key for model {model}")
    if not re.fullmatch(r"[\x21-\x7e]+", key):
        raise JobStops(f"the environment variable {name} holds something else than a key (for model {model})")
    return key


def _json(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")


def _most(body: Mapping[str, Any]) -> int:
    return int(body.get("max_tokens") or body.get("max_completion_tokens") or 1)
