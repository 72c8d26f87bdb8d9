"""Whose batches: the form of a request, the limits of a file, and what a line of results says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from categorize.labeling.exchange import NotAnswered, Reply, Request, Tokens
from categorize.labeling.teachers.chat_reply import read_reply
from categorize.recipe.labeling_sections import BatchFileTeacher

REFUSALS = frozenset({"invalid_request", "invalid_request_error", "content_filter", "context_length_exceeded"})


@dataclass(frozen=True)
class Provider:
    """One provider's batches.

    Attributes:
        requests, size: most requests and bytes of a file.
        line: a request as the provider reads it.
        read: what a line of results says; see `Result`.
        wrapped: whether a file is one JSON document, `{"requests": [...]}`, the body of the call that starts a batch;
            else it holds a request a line.
    """

    requests: int
    size: int
    line: Callable[[Request, BatchFileTeacher], dict[str, Any]]
    read: Callable[[Mapping[str, Any]], Result]
    wrapped: bool = False


@dataclass(frozen=True)
class Result:
    """What a provider says of one request.

    Attributes:
        id: `custom_id` of the request.
        reply: its answer, where there is one.
        refused: whether it will never be answered as it stands (too long, filtered): smaller requests may be.
        reason: why there is no answer; one that expired or met a broken server is asked again as it was.
    """

    id: str
    reply: Reply | None = None
    refused: bool = False
    reason: str = ""


# ---------------------------------------------------------------- OpenAI's form
def chat_body(request: Request, section: BatchFileTeacher) -> dict[str, Any]:
    """The body of a chat completion; `extra_body` is laid over it, and a null there takes a key out."""
    body: dict[str, Any] = {
        "model": section.model,
        "messages": [dict(message) for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": section.temperature,
    }
    if section.top_p is not None:
        body["top_p"] = section.top_p
    return {key: value for key, value in (body | section.extra_body).items() if value is not None}


def _openai_line(request: Request, section: BatchFileTeacher) -> dict[str, Any]:
    return {
        "custom_id": request.id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": chat_body(request, section),
    }


def _openai_result(line: Mapping[str, Any]) -> Result:
    """`response` with a status and a chat completion, or `error`; an expired batch has lines of both."""
    one = str(line["custom_id"])
    response, error = line.get("response"), line.get("error")
    if not response and not error:
        raise KeyError("a line of requests, not of results")
    body = response.get("body") if isinstance(response, Mapping) else None
    status = int(response.get("status_code") or 0) if isinstance(response, Mapping) else 0
    if status == 200 and isinstance(body, Mapping) and not body.get("error"):
        try:
            return Result(one, read_reply(body, "batch"))
        except NotAnswered as nothing:
            return Result(one, reason=str(nothing))
    given = error or (body.get("error") if isinstance(body, Mapping) else None) or {}
    code = str(given.get("code") or given.get("type") or status) if isinstance(given, Mapping) else str(given)
    said = str(given.get("message") or code) if isinstance(given, Mapping) else code
    return Result(one, None, code in REFUSALS or status == 400, f"{code}: {said}" if said != code else code)


# ---------------------------------------------------------------- Anthropic's form
def _anthropic_line(request: Request, section: BatchFileTeacher) -> dict[str, Any]:
    body = chat_body(request, section)
    system = [message["content"] for message in body["messages"] if message["role"] == "system"]
    body["messages"] = [message for message in body["messages"] if message["role"] != "system"]
    if system:  # marked so that the shared part is read from the provider's cache
        body["system"] = [{"type": "text", "text": "\n\n".join(system), "cache_control": {"type": "ephemeral"}}]
    return {"custom_id": request.id, "params": body}


def _anthropic_result(line: Mapping[str, Any]) -> Result:
    """`result.type`: succeeded with a message, errored, canceled or expired."""
    one, result = str(line["custom_id"]), line["result"]
    if result["type"] != "succeeded":
        error = result.get("error") or {}
        error = error.get("error", error)
        code = str(error.get("type") or result["type"])
        return Result(one, None, code in REFUSALS, str(error.get("message") or code))
    message = result["message"]
    text = "".join(str(part.get("text") or "") for part in message.get("content", []) if part.get("type") == "text")
    usage = message.get("usage") or {}
    cached = int(usage.get("cache_read_input_tokens") or 0)
    fresh = int(usage.get("input_tokens") or 0) + int(usage.get("cache_creation_input_tokens") or 0)
    ended = {"end_turn": "stop", "stop_sequence": "stop", "max_tokens": "length"}
    reason = str(message.get("stop_reason") or "unknown")
    tokens = Tokens(fresh + cached, cached, int(usage.get("output_tokens") or 0))
    return Result(one, Reply(text, ended.get(reason, reason), tokens))


PROVIDERS: dict[str, Provider] = {
    "openai": Provider(50_000, 200 * 10**6, _openai_line, _openai_result),
    "anthropic": Provider(100_000, 256 * 10**6, _anthropic_line, _anthropic_result, wrapped=True),
    "siliconflow": Provider(5_000, 10**9, _openai_line, _openai_result),
}
