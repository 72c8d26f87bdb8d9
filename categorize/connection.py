"""The Hugging Face Hub from here: whether it answers, and in a few words why a request to it failed.

huggingface_hub tries each file of a model six times, with pauses that add up to 23 s; transformers asks for several
files. So the Hub is asked once before, and where it does not answer, what is loaded must come from the local cache.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from categorize.errors import UserError

OFFLINE = "HF_HUB_OFFLINE is set"
REMEMBERED = 60.0  # seconds, in which the answer to `unreachable` stays the same
_LONGEST = 200  # characters of other people's messages

_asked: dict[str, tuple[float, str | None]] = {}
_done_without: list[str] = []  # why nothing is asked just now, where `from_cache_where_unreachable` saw to it


def unreachable() -> str | None:
    """Why the Hub cannot be asked: HF_HUB_OFFLINE, or no connection; None where it answers, whatever it says."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if _done_without:
        return _done_without[-1]
    if constants.is_offline_mode():
        return OFFLINE
    when, trouble = _asked.get(constants.ENDPOINT, (-REMEMBERED, None))
    if time.monotonic() - when > REMEMBERED:
        try:
            get_session().head(constants.ENDPOINT, timeout=constants.HF_HUB_ETAG_TIMEOUT)
            trouble = None
        except Exception as error:  # of the HTTP client, of a proxy, of a certificate
            trouble = reason(error)
        _asked[constants.ENDPOINT] = (time.monotonic(), trouble)
    return trouble


@contextmanager
def from_cache_where_unreachable() -> Iterator[str | None]:
    """Within it, nothing waits for a Hub that does not answer: files come from the local cache or not at all.

    Gives the reason, None where the Hub answers.
    """
    from huggingface_hub import constants

    trouble = unreachable()
    before = constants.HF_HUB_OFFLINE
    datasets = getattr(sys.modules.get("datasets"), "config", None)
    datasets_before = getattr(datasets, "HF_HUB_OFFLINE", None)
    if trouble is None:
        yield None
        return
    _done_without.append(trouble)
    constants.HF_HUB_OFFLINE = True
    if datasets is not None:
        datasets.HF_HUB_OFFLINE = True
    try:
        yield trouble
    finally:
        _done_without.pop()
        constants.HF_HUB_OFFLINE = before
        if datasets is not None:
            datasets.HF_HUB_OFFLINE = datasets_before


def check_model(name: str, revision: str | None = None) -> None:
    """Refuse at once a model of the Hub that is not in the local cache while the Hub cannot be reached.

    Raises:
        UserError: says why, and the ways out.
    """
    from huggingface_hub import try_to_load_from_cache

    files = ("config.json", "adapter_config.json")
    if not any(isinstance(try_to_load_from_cache(name, file, revision=revision), str) for file in files):
        trouble = unreachable()
        if trouble is not None:
            raise missing_model(name, trouble)


def missing_model(name: str, trouble: str) -> UserError:
    """The error that a model is neither in the cache nor to be had."""
    return UserError(
        f"{name}: not in the local cache of the Hub, and {trouble}; give a local folder (model.name_or_path in a "
        f"recipe), {ways_out(trouble)}"
    )


def ways_out(trouble: str) -> str:
    """What helps where the Hub cannot be asked, beside a local copy."""
    if trouble == OFFLINE:
        return "or unset it"
    return (
        "set HF_ENDPOINT to a mirror or HTTPS_PROXY to a proxy, or download it where there is a network and set "
        "HF_HUB_OFFLINE=1"
    )


def answer_of_hub(error: BaseException) -> str | None:
    """What the Hub said, where that is what led to the error; other libraries put pages of advice around it."""
    cause: BaseException | None = error
    while cause is not None:
        if status(cause) is not None:
            return reason(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def reason(error: BaseException) -> str:
    """Why a request failed, in a few words."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        GatedRepoError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        return reason(error.__cause__)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, OfflineModeIsEnabled):
        return OFFLINE
    if isinstance(error, GatedRepoError):
        return "its owner has to grant access first; ask for it on its page"
    if isinstance(error, RevisionNotFoundError):
        return "it has no such revision"
    code = status(error)
    if code == 401 and not isinstance(error, RepositoryNotFoundError):
        return "the Hugging Face token is not valid (401)"
    if isinstance(error, RepositoryNotFoundError):
        return f"no such repository, or the token may not see it ({code})"
    if code == 403:
        return "the token may not write there (403)"
    if code is not None:
        said = one_line(getattr(error, "server_message", None) or "")
        return f"the Hub answered {code}" + (f": {said}" if said else "")
    if type(error).__module__.split(".")[0].startswith("httpx") or isinstance(error, ConnectionError | TimeoutError):
        return f"no connection to {constants.ENDPOINT} ({one_line(error) or type(error).__name__})"
    return one_line(error) or type(error).__name__


def status(error: BaseException) -> int | None:
    """Status of the HTTP response that an error is about, None for other errors."""
    return getattr(getattr(error, "response", None), "status_code", None)


def one_line(message: object) -> str:
    """A message without line breaks and its last point, cut where it is long."""
    text = " ".join(str(message).split()).rstrip(".")
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
