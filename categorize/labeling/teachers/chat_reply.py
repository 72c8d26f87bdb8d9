"""What a chat server's answer holds: text, why it ended, what it counted, the probabilities of the codes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from categorize.labeling.exchange import NotAnswered, Reply, Tokens

WHOLE = {"eos", "eos_token", "stop_sequence", "end_turn"}  # other servers' words for `stop`


def read_reply(answer: Any, url: str, seconds: float = 0.0) -> Reply:
    """The reply in a chat completion; what the model thought before it answered is left out.

    Raises:
        NotAnswered: there is no answer in it; it may have been paid for.
    """
    if not isinstance(answer, Mapping):
        raise NotAnswered(f"{url}: answered with something else than a chat completion", paid=True)
    tokens = read_usage(answer.get("usage"))
    choice = _first(answer.get("choices"))
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        known = tokens if tokens != Tokens() else None
        raise NotAnswered(f"{url}: answered with no choices", paid=True, tokens=known)
    content = message.get("content")
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping) and part.get("type") in ("text", "output_text")]
        content = "".join(str(part.get("text") or "") for part in parts)
    ended = str(choice.get("finish_reason") or "unknown")
    if message.get("refusal") and not content:
        content, ended = str(message["refusal"]), "refusal"
    return Reply(str(content or ""), "stop" if ended in WHOLE else ended, tokens, seconds=seconds)


def read_usage(usage: Any) -> Tokens:
    """What a server counted; zeros where it does not say.

    Cached input stands in `prompt_tokens_details.cached_tokens` (OpenAI, vLLM, SGLang) or `prompt_cache_hit_tokens`
    (DeepSeek). Where the total is more than the parts, thoughts were left out of the output, and are counted there.

    Example:
        >>> read_usage({"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 5}})
        Tokens(input=9, cached_input=5, output=2)
        >>> read_usage({"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 20, "prompt_cache_hit_tokens": 4})
        Tokens(input=9, cached_input=4, output=11)
    """
    if not isinstance(usage, Mapping):
        return Tokens()
    given, details = _count(usage.get("prompt_tokens")), usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else 0
    cached = cached or _count(usage.get("prompt_cache_hit_tokens"))
    written = max(_count(usage.get("completion_tokens")), _count(usage.get("total_tokens")) - given)
    return Tokens(given, min(cached, given), written)


def read_probabilities(
    answer: Mapping[str, Any], codes: Sequence[str], ids: Sequence[int] | None = None
) -> tuple[float, ...] | None:
    """Probabilities of the codes, where the answer's log-probabilities cover them all.

    They are taken at the first written token that tells codes apart: after `[` for `[1]`, `[2]`, .... A token that
    begins several codes (`1` for `1` and `12`) says nothing certain, and neither do codes that are absent from the top.

    Args:
        answer: a chat completion whose first choice has `logprobs.content`.
        codes: in label-set order.
        ids: of the tokens that tell the codes apart, where the server was asked for them (`token_id:17`).

    Returns:
        Of each code, summing to 1; None where they are not all known.

    Example:
        >>> top = [{"token": "A", "logprob": -0.1}, {"token": "B", "logprob": -2.4}]
        >>> answer = {"choices": [{"logprobs": {"content": [{"token": "A", "logprob": -0.1, "top_logprobs": top}]}}]}
        >>> [round(one, 3) for one in read_probabilities(answer, ["A", "B"])]
        [0.909, 0.091]
        >>> read_probabilities(answer, ["A", "B", "C"]) is None
        True
    """
    choice = _first(answer.get("choices"))
    logprobs = choice.get("logprobs") if isinstance(choice, Mapping) else None
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    wanted, written = [code.strip().encode() for code in codes], b""
    for position in content if isinstance(content, list) else []:
        if not isinstance(position, Mapping):
            return None
        tops = [one for one in [position, *(position.get("top_logprobs") or ())] if isinstance(one, Mapping)]
        if ids is not None:
            found = _by_id(tops, ids)
            if found is not None and position.get("token") in {f"token_id:{one}" for one in ids}:
                return found
            continue
        rest = [code[len(written) :] if code.startswith(written) else b"" for code in wanted]
        if not all(rest):
            return None  # what was written tells codes apart already, and not all were seen
        found = _by_text(tops, rest, first=not written)
        if found is not None:
            return found
        written = (written + _bytes(position)).lstrip()
    return None


def _by_id(tops: Sequence[Mapping[str, Any]], ids: Sequence[int]) -> tuple[float, ...] | None:
    seen = {str(one.get("token")): one.get("logprob") for one in tops}
    found = [seen.get(f"token_id:{number}") for number in ids]
    return _shares([math.exp(one) if isinstance(one, int | float) else None for one in found])


def _by_text(tops: Sequence[Mapping[str, Any]], rest: Sequence[bytes], first: bool) -> tuple[float, ...] | None:
    masses: list[float | None] = [None] * len(rest)
    seen: set[bytes] = set()
    for one in tops:
        token, logprob = _bytes(one), one.get("logprob")
        if token in seen or not isinstance(logprob, int | float):
            continue
        seen.add(token)
        token = token.strip() if first else token.rstrip()
        begun = [i for i, code in enumerate(rest) if token and code.startswith(token)]
        if len(begun) > 1:
            return None
        for i in begun:
            masses[i] = (masses[i] or 0.0) + math.exp(logprob)
    return _shares(masses)


def _shares(masses: Sequence[float | None]) -> tuple[float, ...] | None:
    known = [mass for mass in masses if mass is not None and math.isfinite(mass)]
    if len(known) < len(masses) or not sum(known) > 0:
        return None
    return tuple(mass / sum(known) for mass in known)


def _bytes(token: Mapping[str, Any]) -> bytes:
    """A token's bytes; a part of a Chinese character is no text."""
    given = token.get("bytes")
    if isinstance(given, list) and all(isinstance(one, int) and 0 <= one < 256 for one in given):
        return bytes(given)
    return str(token.get("token") or "").encode()


def _first(choices: Any) -> Any:
    return choices[0] if isinstance(choices, list) and choices else None


def _count(number: Any) -> int:
    return max(0, int(number)) if isinstance(number, int | float) and math.isfinite(number) else 0
