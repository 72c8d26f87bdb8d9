"""What a chat server's error means: stop the job, ask smaller, or ask again."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from categorize.labeling.exchange import JobStops, NotAnswered, Refused

_SHOWN = 300  # characters of a server's own words
_BALANCE = re.compile(
    r"insufficient_quota|insufficient[ _-]{0,3}(account )?(balance|credit|fund)|"
    r"(balance|credits?)\b.{0,30}(insufficient|not enough|too low|exhausted)|not enough (balance|credit)|"
    r"billing_hard_limit|arrearage|余额不足|欠费",
    re.IGNORECASE,
)
_MODEL = re.compile(
    r"model[_ ]not[_ ](found|exist)|model\b.{0,120}(does not exist|not exist|not found|is not available)|"
    r"(unknown|invalid|no such) model|invalid_model|pinned to '.{0,120}requested",
    re.IGNORECASE | re.DOTALL,
)
_TOO_LONG = re.compile(
    r"context_length|context length|context size|context window|maximum context|max_model_len|string_above_max|"
    r"reduce the length|(prompt|input|request|message)s? .{0,40}too (long|large)|request too large|"
    r"longer than the model|tokens? .{0,60}(exceed|must be <=)|exceeds? .{0,60}token|"
    r"max(_completion)?_tokens.{0,80}too large",
    re.IGNORECASE | re.DOTALL,
)
_FILTERED = re.compile(
    r"content[_ ]?(filter|policy|management)|moderation|\bflagged\b|data_?inspection|responsible_?ai|"
    r"inappropriate content|sensitive (content|word)|敏感|审核",
    re.IGNORECASE,
)
WORKED_ON = (408, 499, 504, 524)  # the server, or one before it, gave up waiting: the answer may be billed
OVERLOADED = (429, 503, 529)


class Filtered(Refused):
    """A content filter took offence at what was sent."""


class Unsupported(Refused):
    """There may be a key in the request that this server does not take."""


@dataclass(frozen=True)
class Place:
    """Where an answer came from, for messages.

    Attributes:
        url: base URL.
        model: as the recipe names it.
        variable: environment variable of the key.
    """

    url: str
    model: str
    variable: str | None


def words(body: str) -> str:
    """What an error body says: its message, code and type, without what it repeats of the request.

    Example:
        >>> words('{"error": {"message": "No such thing", "type": "invalid", "code": 17}}')
        'No such thing (17, invalid)'
        >>> words('{"detail": [{"loc": ["body", "seed"], "msg": "not permitted", "input": "the whole request"}]}')
        'body.seed: not permitted'
        >>> words("<html>Bad Gateway</html>")
        '<html>Bad Gateway</html>'
    """
    try:
        found = "; ".join(_said(json.loads(body)))
    except ValueError:
        found = body
    return " ".join(found.split())[:_SHOWN]


def _said(error: Any) -> Iterator[str]:
    if isinstance(error, list):
        for one in error:
            yield from _said(one)
    elif not isinstance(error, Mapping):
        yield str(error)
    elif error.get("error"):
        yield from _said(error["error"])
    elif error.get("detail"):
        yield from _said(error["detail"])
    elif "msg" in error:
        place = ".".join(str(part) for part in error.get("loc") or ())
        yield f"{place}: {error['msg']}" if place else str(error["msg"])
    else:
        marks = [str(error[name]) for name in ("code", "type") if error.get(name)]
        yield str(error.get("message") or "no message") + (f" ({', '.join(marks)})" if marks else "")


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a server asks to wait: Retry-After as seconds or as an HTTP date, or retry-after-ms.

    Args:
        headers: of the answer, with lower-case names. An HTTP date is read by their Date, where there is one, for
            clocks differ.
        now: otherwise; the present by default.

    Example:
        >>> retry_after({"retry-after": "1.5"}), retry_after({"retry-after-ms": "250"})
        (1.5, 0.25)
        >>> date = "Wed, 21 Oct 2015 07:28:00 GMT"
        >>> retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": date})
        30.0
        >>> retry_after({"retry-after": "soon"}) is None
        True
    """
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        try:
            seconds = float(headers[name]) / unit
        except (KeyError, ValueError):
            continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    until, here = _date(headers.get("retry-after")), _date(headers.get("date")) or now or datetime.now(UTC)
    return None if until is None else max(0.0, (until - here).total_seconds())


def _date(text: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(text or "")
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def failure(status: int, said: str, place: Place, after: float | None = None) -> Exception:
    """The exception that an error answer is.

    Args:
        status: of HTTP; 200 where an error came as an answer.
        said: its `words`, without the key.
        place: who said it.
        after: seconds that it asks to wait.
    """
    where = f"{place.url} (model {place.model})"
    what = f"{status}: {said}" if said else str(status)
    if status == 402 or _BALANCE.search(said):
        key = f" of the key in {place.variable}" if place.variable else ""
        return JobStops(f"{where}: the balance{key} is used up ({what}): top it up and start again")
    if _FILTERED.search(said) and status in (200, 400, 403, 422, 451):
        return Filtered(f"{place.url}: filtered ({what})")
    if status in (401, 403):
        if place.variable:
            return JobStops(f"{where}: the key in {place.variable} is refused ({what}): put a valid one there")
        return JobStops(
            f"{where}: a key is wanted ({what}): name the environment variable that holds it in "
            "labeling.teacher.api_key_env"
        )
    if status != 429 and status < 500 and _MODEL.search(said):
        return no_model(place, what)
    if status in (404, 405) or 300 <= status < 400:
        return JobStops(
            f"{where}: nothing answers chat requests at {place.url}/chat/completions ({what}): correct "
            "labeling.teacher.url, which often ends in /v1"
        )
    if status == 413 or _TOO_LONG.search(said):
        return Refused(f"{place.url}: too long ({what})")
    if status in OVERLOADED:
        return NotAnswered(f"{place.url}: {what}", after, rate_limited=True)
    if status in (200, 408, 409, 425, 499) or status >= 500:
        paid = status == 200 or status in WORKED_ON
        return NotAnswered(f"{place.url}: {what}", after, paid=paid, down=status == 502)
    return Unsupported(f"{place.url}: refused ({what})")


def no_model(place: Place, what: str) -> JobStops:
    """That a server does not have the model, by its own words."""
    return JobStops(
        f"{place.url} (model {place.model}): the server does not have this model ({what}): labeling.teacher.model must "
        f"be a name that {place.url}/models lists"
    )
