"""What a chat server can do, found out by small requests: servers refuse keys that others need."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from categorize.labeling.exchange import JobStops, Request
from categorize.labeling.teachers.server_errors import Unsupported
from categorize.labeling.wire import ID
from categorize.recipe.labeling_sections import EndpointTeacher as EndpointSection

GUIDED = ("json_schema", "json_object", "none")  # from the strictest
MOST_TOKEN_IDS = 128  # that vLLM takes
TOP = 20  # log-probabilities that most servers give at most
PROBE_TOKENS = 16

Send = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]  # a request's body to its answer


@dataclass
class Abilities:
    """What a server's requests may hold.

    Attributes:
        guided: the form of answers that it can be held to.
        dropped: keys that it refuses, and that are left out.
        limit: what it calls the most tokens of an answer.
        token_ids: of the tokens that tell codes apart, where it gives the log-probability of any.
        top: log-probabilities that it gives of the likeliest tokens; 0: none.
    """

    guided: str = "json_schema"
    dropped: set[str] = field(default_factory=set)
    limit: str = "max_tokens"
    token_ids: tuple[int, ...] | None = None
    top: int = 0

    def body(self, section: EndpointSection, request: Request) -> dict[str, Any]:
        """The body of a request to this server."""
        body: dict[str, Any] = {"model": section.model, "messages": request.messages, self.limit: request.max_tokens}
        body |= {"temperature": section.temperature} | ({} if section.top_p is None else {"top_p": section.top_p})
        if request.codes is not None and self.token_ids is not None:
            body |= {"logprobs": True, "logprob_token_ids": self.token_ids, "return_tokens_as_token_ids": True}
        elif request.codes is not None and self.top:
            body |= {"logprobs": True, "top_logprobs": self.top}
        if request.schema is not None and self.guided == "json_schema":
            schema = {"name": "labels", "schema": _without_ids(request.schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif request.schema is not None and self.guided == "json_object":
            body["response_format"] = {"type": "json_object"}
        for name in self.dropped:
            body.pop(name, None)
        return body | section.extra_body

    def without(self, said: str, section: EndpointSection, request: Request, guess: bool) -> str | None:
        """Do without what the server refuses.

        Args:
            said: the server's words.
            section: of the recipe.
            request: that it refused.
            guess: whether to give something up that its words do not name.

        Returns:
            What was given up, for the user; None where there is nothing more.
        """
        sent = self.body(section, request)
        if self.limit in sent and re.search(r"max_completion_tokens", said) and self.limit == "max_tokens":
            self.limit = "max_completion_tokens"
            return "max_tokens, and takes max_completion_tokens"
        for name, named in (
            ("response_format", r"response_format|json_schema|json_object|schema|grammar|guided|structured"),
            ("top_p", "top_p"),
            ("temperature", "temperature"),
        ):
            if name not in sent or name in section.extra_body or not (guess or re.search(named, said, re.IGNORECASE)):
                continue
            if name == "response_format" and section.response_format == "auto":
                before, self.guided = self.guided, GUIDED[GUIDED.index(self.guided) + 1]
                return f"response_format {before}"
            if name != "response_format":
                self.dropped.add(name)
                return name
        return None


def _without_ids(schema: Any) -> Any:
    """A schema of answers whatever ids are sent: servers compile each other schema for a second and more, and one that
    named the ids would be another for each request."""
    if not isinstance(schema, Mapping):
        return schema
    return {key: {"type": "string"} if key == ID else _without_ids(value) for key, value in schema.items()}


async def probe(section: EndpointSection, request: Request, send: Send, tell: Callable[[str], None]) -> Abilities:
    """Find out what a server takes, by a question of a few tokens in the form of the job's requests.

    Args:
        section: of the recipe.
        request: one of the job's: its schema and its codes.
        send: sends a body; raises Unsupported where the server refuses it.
        tell: shows the user what is given up.

    Raises:
        JobStops: the server refuses what the recipe wants (`extra_body`, a `response_format`), or everything.
    """
    abilities = Abilities(guided="json_schema" if section.response_format == "auto" else section.response_format)
    question = [{"role": "user", "content": 'Answer with this JSON and nothing else: {"comments": []}'}]
    small = Request(f"{request.id}-probe", (), question, min(PROBE_TOKENS, section.max_tokens), None, request.schema)
    while True:
        try:
            await send(abilities.body(section, small))
            return abilities
        except Unsupported as error:
            refused = str(error)
        given_up = abilities.without(refused, section, small, guess=False)
        if given_up is None and section.extra_body and any(name in refused for name in section.extra_body):
            raise JobStops(
                f"{refused}: correct labeling.teacher.extra_body, or take out what this server does not take"
            )
        given_up = given_up or abilities.without(refused, section, small, guess=True)
        if given_up is None:
            own = (
                "labeling.teacher.response_format and extra_body" if section.extra_body else "what the recipe asks for"
            )
            raise JobStops(f"{refused}: the server refuses even a question of a few words; check {own}")
        left_out = "" if "takes" in given_up else "; it is left out"
        tell(f"refuses {given_up}{left_out} {refused.partition('refused ')[2]}")


async def probe_probabilities(
    abilities: Abilities,
    section: EndpointSection,
    request: Request,
    send: Send,
    tokenize: Callable[[str], Awaitable[Sequence[int] | None]],
) -> None:
    """Find out whether a server gives the probabilities of all codes, and how to ask for them.

    Args:
        abilities: of the server, where what is found is noted.
        section: of the recipe.
        request: one of the job's, with its codes.
        send: as in `probe`.
        tokenize: token ids of a text; None where the server does not tell.
    """
    codes = request.codes or ()
    question = [{"role": "user", "content": f"Answer with this and nothing else: {codes[0]}"}]
    small = Request(f"{request.id}-probe", (), question, min(PROBE_TOKENS, section.max_tokens), request.codes)
    abilities.token_ids = await _telling_ids(codes, tokenize)
    if abilities.token_ids is not None:
        try:
            answer = await send(abilities.body(section, small))
            if gives_ids(answer, abilities.token_ids):
                return
        except Unsupported:
            pass
        abilities.token_ids = None
    for top in [2 * len(codes), TOP] if 2 * len(codes) > TOP else [TOP, 2 * len(codes), len(codes)]:
        if top < len(codes):
            continue
        abilities.top = top
        try:
            answer = await send(abilities.body(section, small))
        except Unsupported:
            continue
        if any(_tops(answer)):
            return
        break
    abilities.top = 0


def gives_ids(answer: Mapping[str, Any], ids: Sequence[int]) -> bool:
    """Whether an answer's first token has the log-probability of each of these tokens."""
    tops = _tops(answer)
    return bool(tops) and {f"token_id:{number}" for number in ids} <= {str(one.get("token")) for one in tops[0]}


def _tops(answer: Mapping[str, Any]) -> list[list[Mapping[str, Any]]]:
    try:
        content = answer["choices"][0]["logprobs"]["content"]
        return [list(position["top_logprobs"]) for position in content]
    except (KeyError, IndexError, TypeError):
        return []


async def _telling_ids(
    codes: Sequence[str], tokenize: Callable[[str], Awaitable[Sequence[int] | None]]
) -> tuple[int, ...] | None:
    """The token of each code that no other code has at its place, behind what all codes begin with."""
    if len(codes) > MOST_TOKEN_IDS:
        return None
    cut: list[Sequence[int]] = []
    for code in codes:
        ids = await tokenize(code)
        if not ids:
            return None
        cut.append(ids)
    for place in range(min(map(len, cut))):
        here = [ids[place] for ids in cut]
        if len(set(here)) == len(here):
            return tuple(here)
        if len(set(here)) > 1:
            return None
    return None
