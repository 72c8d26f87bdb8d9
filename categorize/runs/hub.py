"""Runs and models of the Hugging Face Hub: their names, and the files that loading reads."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from categorize.connection import from_cache_where_unreachable, reason, ways_out
from categorize.errors import UserError
from categorize.runs.contents import ADAPTER, ENDINGS, README
from categorize.runs.folder import CHECKPOINTS

# What loading reads; a popular base model has its weights in four more formats beside.
FETCHED = (*(f"*{ending}" for ending in ENDINGS), "*.txt", "*.yaml", README)
NOT_FETCHED = (
    f"{ADAPTER}/*", "*/checkpoint*", f"{CHECKPOINTS}/*", "onnx/*", "openvino/*", "original/*", "consolidated*",
)  # fmt: skip
PICKLED_WEIGHTS = ("pytorch_model*.bin", "adapter_model.bin")
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


# ---------------------------------------------------------------- names
@dataclass(frozen=True)
class HubId:
    """A repository of the Hub: `owner/name`, or `name` for the few without an owner; `@revision` may follow."""

    repo_id: str
    revision: str | None = None

    @classmethod
    def parse(cls, text: str) -> HubId | None:
        """The id that the text spells; None where it can only be a path."""
        repo_id, _, revision = text.partition("@")
        if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", repo_id, re.ASCII) or ("@" in text and not revision):
            return None
        return cls(repo_id, revision or None)


def is_hub_model(name_or_path: str) -> bool:
    """Whether a model's name is one of the Hub, not of a folder here."""
    return HubId.parse(name_or_path) is not None and not Path(name_or_path).exists()


# ---------------------------------------------------------------- fetch
def fetch(hub_id: HubId) -> Path:
    """The local folder of a repository's files, those that loading reads; from the cache where they are there.

    Raises:
        UserError: no such repository or revision, no permission, or no network and nothing in the cache.
    """
    from huggingface_hub import snapshot_download

    with quiet(), from_cache_where_unreachable() as trouble:
        try:
            download = {"revision": hub_id.revision, "ignore_patterns": list(NOT_FETCHED)}
            folder = Path(snapshot_download(hub_id.repo_id, allow_patterns=list(FETCHED), **download))
            if not any(folder.glob("*.safetensors")):
                patterns = [*FETCHED, *PICKLED_WEIGHTS]
                folder = Path(snapshot_download(hub_id.repo_id, allow_patterns=patterns, **download))
        except Exception as error:  # of any HTTP client or file system; raised on with its reason
            name = hub_id.repo_id + (f"@{hub_id.revision}" if hub_id.revision else "")
            if trouble is not None:
                raise UserError(
                    f"{name}: no folder here, and cannot be fetched from the Hub: {trouble}; give a folder, "
                    f"{ways_out(trouble)}"
                ) from error
            raise UserError(
                f"{name}: no folder here, and cannot be fetched from the Hub: {reason(error)} (check the spelling; "
                f"{LOGIN} for a private one; or give a folder)"
            ) from error
    return folder


@contextmanager
def quiet() -> Iterator[None]:
    """Bars on a terminal only; retries and warnings of the client are not shown, since failures are told in one
    line."""
    from huggingface_hub.utils import disable_progress_bars, logging

    before = logging.get_verbosity()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(before)
