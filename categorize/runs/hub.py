"""Runs on the Hugging Face Hub: checked before training, pushed when finished, fetched by their id.

python -m categorize.runs.hub outputs/mine owner/name [--public] [--predictions]

A push is one commit, so that the repository holds the whole run or what it held before, with the members and encoders
that it reads (`runs.contents`).
"""

from __future__ import annotations

import argparse
import re
import shlex
import sys
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.connection import from_cache_where_unreachable, one_line, reason, status, ways_out
from categorize.errors import UserError
from categorize.recipe.sections import HubSection, TrainedRecipe
from categorize.recipe.terminal import CommandParser, exit_status, run_command
from categorize.runs.contents import ENCODERS, ENDINGS, MEMBERS, PREDICTIONS, README, files_of
from categorize.runs.folder import Run

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

# Of an earlier push to the same repository: files that would be read beside the new run, or instead of its own; those
# of the methods come to them.
STALE = (
    "*.safetensors",
    "*.safetensors.index.json",
    "adapter_config.json",
    "config.json",
    "generation_config.json",
    "scope*.json",
    f"{PREDICTIONS}/*.parquet",
)
# What loading reads; a popular base model has its weights in four more formats beside.
FETCHED = (*(f"*{ending}" for ending in ENDINGS), "*.txt", "*.yaml", README)
NOT_FETCHED = ("*/checkpoint*", "checkpoints/*", "onnx/*", "openvino/*", "original/*", "consolidated*")
PICKLED_WEIGHTS = ("pytorch_model*.bin", "adapter_model.bin")
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"
SECONDS_TO_ANSWER = 20.0


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


# ---------------------------------------------------------------- before training
def check_push(recipe: TrainedRecipe) -> list[str]:
    """Refuse before training what would fail after it, and say what will be pushed, and where.

    Returns:
        Lines for the user; one of them says so where the Hub cannot be reached now.

    Raises:
        UserError: the Hub cannot have such a name, there is no token, the Hub refuses it or it may only read, or the
            repository is public where the recipe says private.
    """
    from huggingface_hub import constants, get_token
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    section = recipe.hub
    assert section is not None
    try:
        validate_repo_id(section.repo_id)
    except HFValidationError as error:
        raise UserError(f"hub.repo_id: {section.repo_id}: {one_line(error)}") from None
    way_out = "or remove the hub section and push the finished run later with python -m categorize.runs.hub"
    if constants.is_offline_mode():
        raise UserError(
            f"hub.repo_id: {section.repo_id}: nothing can be pushed with HF_HUB_OFFLINE; unset it, {way_out}"
        )
    if get_token() is None:
        raise UserError(f"hub.repo_id: {section.repo_id}: no Hugging Face token is set; {LOGIN}, {way_out}")
    found, trouble = _ask(section)
    private = section.private if found is None else found.private
    state = ("new, " if found is None and trouble is None else "") + ("private" if private else "public")
    lines = [
        f"hub: when it is done, the run goes to {constants.ENDPOINT}/{section.repo_id} ({state}): model or adapter, "
        f"tokenizer, label set, prompt, input spec, decision rule, measures, recipe, members and encoders that it reads"
        + (", predictions with their texts" if section.predictions else "; no predictions")
        + ", no checkpoints"
    ]
    base = getattr(recipe.model, "name_or_path", None)
    if recipe.adapter is not None and base is not None and not is_hub_model(base):
        lines.append(
            f"hub: the adapter's base {base} is a folder of this machine; elsewhere the run loads only with "
            f'load_predictor("{section.repo_id}", base=...)'
        )
    if trouble is not None:
        lines.append(f"hub: cannot ask the Hub now ({trouble}); the run is pushed when it is done all the same")
    return lines


def is_hub_model(name_or_path: str) -> bool:
    """Whether a model's name is one of the Hub, not of a folder here."""
    return HubId.parse(name_or_path) is not None and not Path(name_or_path).exists()


def _ask(section: HubSection) -> tuple[ModelInfo | None, str | None]:
    """What the Hub knows of the repository (None: nothing yet), and why it could not be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    found: ModelInfo | None = None
    api = HfApi()
    with _quiet():
        try:
            with suppress(RepositoryNotFoundError):
                found = api.model_info(section.repo_id, timeout=SECONDS_TO_ANSWER)
            token = (api.whoami().get("auth") or {}).get("accessToken") or {}
        except Exception as error:  # of any HTTP client; the reason is returned, and said before training starts
            if status(error) == 401:
                raise UserError(f"hub.repo_id: {section.repo_id}: {reason(error)}; {LOGIN}") from None
            return None, reason(error)
    if token.get("role") == "read":
        raise UserError(
            f"hub.repo_id: {section.repo_id}: the Hugging Face token may only read; {LOGIN} with one that writes"
        )
    if found is not None and section.private and found.private is False:
        raise UserError(
            f"hub.private: {section.repo_id} is public; say private: false, name another repo_id, or make it "
            f"private on "
            f"the Hub"
        )
    return found, None


# ---------------------------------------------------------------- push
def push_run(run: Run, section: HubSection, method_files: Collection[str]) -> str:
    """Push a finished run as one commit and return the address of its repository.

    The repository is made where there is none. What an earlier push left there and this run does not have (weights of
    another method, an adapter's config, predictions) is removed by the same commit; all other files stay.

    Args:
        method_files: names of the files that methods leave in a run beside weights.

    Raises:
        UserError: no token, no network, no permission, or a public repository where a private one was asked for. The
            message says why and how to push again; the run folder is never changed.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token

    from categorize import __version__

    with _failures(run, section), _quiet():
        files = files_of(run.path, section.predictions)
        if get_token() is None:
            raise PermissionError(f"no Hugging Face token is set; {LOGIN}")
        api: HfApi = HfApi(library_name="categorize", library_version=__version__)
        url = api.create_repo(section.repo_id, private=section.private, exist_ok=True)
        there = api.model_info(section.repo_id)
        if section.private and there.private is False:
            raise PermissionError("it is public and the recipe says private; make it private, or say private: false")
        operations: list[Any] = [CommitOperationDelete(name) for name in _stale(there, files, method_files)]
        for name, path in files.items():
            source: Any = _readme(run, section.repo_id) if name == README else path
            operations.append(CommitOperationAdd(name, source))
        title = f"{run.manifest['name']}: {run.method}, {run.manifest['task'].replace('_', '-')}"
        api.create_commit(section.repo_id, operations, commit_message=title)
    return str(url)


def describe_push(run: Run, section: HubSection) -> str:
    """One line: how much will be pushed, and what stays here."""
    with _failures(run, section):
        files = files_of(run.path, section.predictions)
    size = sum(path.stat().st_size for path in files.values())
    top = {name.split("/")[0] for name in files}
    left = sorted(entry.name for entry in run.path.iterdir() if entry.name not in top)
    return f"pushing {len(files)} files ({size / 1e6:,.1f} MB) to {section.repo_id}" + (
        f"; not pushed: {', '.join(left)}" if left else ""
    )


def _stale(there: ModelInfo, names: Collection[str], method_files: Collection[str]) -> list[str]:
    found = [sibling.rfilename for sibling in there.siblings or ()]
    return [
        name
        for name in found
        if name not in names
        # A pattern's `*` would match a slash too, and the weights in a folder of somebody's own are not ours.
        and (
            name.startswith((f"{MEMBERS}/", f"{ENCODERS}/"))
            or any(
                fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")
                for pattern in (*STALE, *method_files)
            )
        )
    ]


def _readme(run: Run, repo_id: str) -> bytes:
    """The run's card, in which the Hub id stands where the path of this machine stood."""
    text = (run.path / README).read_text(encoding="utf-8")
    return re.sub(r'(load_predictor\()"[^"\n]*"', rf'\1"{repo_id}"', text).encode()


@contextmanager
def _failures(run: Run, section: HubSection) -> Iterator[None]:
    """Whatever ends a push becomes one line that says that the run is whole, and how to push it again."""
    again = f"python -m categorize.runs.hub {shlex.quote(str(run.path))} {section.repo_id}"
    again += ("" if section.private else " --public") + (" --predictions" if section.predictions else "")
    try:
        yield
    # Not a few types by name: http client, xet and system all raise their own.
    except (Exception, KeyboardInterrupt) as error:
        raise UserError(
            f"{section.repo_id}: not pushed: {reason(error)}; the run itself is finished at {run.path}; push it again "
            f"with: {again}"
        ) from error


# ---------------------------------------------------------------- fetch
def fetch(hub_id: HubId) -> Path:
    """The local folder of a repository's files, those that loading reads; from the cache where they are there.

    Raises:
        UserError: no such repository or revision, no permission, or no network and nothing in the cache.
    """
    from huggingface_hub import snapshot_download

    with _quiet(), from_cache_where_unreachable() as trouble:
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
def _quiet() -> Iterator[None]:
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


# ---------------------------------------------------------------- command line
def main(method_files: Collection[str], argv: Sequence[str] | None = None) -> int:
    """Push a finished run; returns the exit status."""
    parser = CommandParser("python -m categorize.runs.hub", "Push a finished run to the Hugging Face Hub.")
    parser.add_argument("run", metavar="RUN_FOLDER", help="a finished run, such as outputs/mine")
    parser.add_argument("repo_id", metavar="OWNER/NAME", help="where to push; made where it does not exist")
    parser.add_argument("--public", action="store_true", help="everybody may see it; private otherwise")
    parser.add_argument("--predictions", action="store_true", help="push the predictions too, with their texts")
    return exit_status(lambda: _push(parser.parse_args(argv), method_files))


def _push(options: argparse.Namespace, method_files: Collection[str]) -> None:
    hub_id = HubId.parse(options.repo_id)
    if hub_id is None or hub_id.revision is not None or "/" not in hub_id.repo_id:
        raise UserError(f"{options.repo_id}: not a place to push to; write owner/name")
    section = HubSection(repo_id=options.repo_id, private=not options.public, predictions=options.predictions)
    run = Run.open(options.run)
    print(describe_push(run, section), flush=True)
    print(f"pushed: {push_run(run, section, method_files)}")


if __name__ == "__main__":
    from categorize.methods.registry import METHODS

    sys.exit(run_command(lambda: main(METHODS.files)))
