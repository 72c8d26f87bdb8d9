"""A finished run becomes a repository of the Hugging Face Hub: checked before training, pushed as one commit.

The repository then holds the whole run or what it held before, with the members and encoders that it reads
(`runs.contents`). `categorize.hub` is the command that pushes.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from categorize.connection import one_line, reason, status
from categorize.errors import UserError
from categorize.processes import print0
from categorize.recipe.sections import HubSection, TrainedRecipe
from categorize.runs.contents import (
    ADAPTER,
    ADAPTER_CONFIG,
    ENCODERS,
    MEMBERS,
    PREDICTIONS,
    README,
    adapter_files,
    checkpoint_files,
    files_of,
    merged_folder,
)
from categorize.runs.folder import CHECKPOINTS, Run
from categorize.runs.hub import LOGIN, is_hub_model, quiet
from categorize.runs.personal import Finding, findings, shown, texts_lines, told

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
INSIDE = tuple(f"{folder}/" for folder in (MEMBERS, ENCODERS, ADAPTER, CHECKPOINTS))  # of a run alone
SECONDS_TO_ANSWER = 20.0
TRIES, WAIT, LONGEST_WAIT = 3, 10.0, 300.0  # of a push that the Hub asks to wait with, and seconds
ALLOW = "take it out, or let it be pushed with hub.personal_data: allow (--allow-personal-data)"


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
    way_out = "or remove the hub section and push the finished run later with python -m categorize.hub push"
    if constants.is_offline_mode():
        raise UserError(
            f"hub.repo_id: {section.repo_id}: nothing can be pushed with HF_HUB_OFFLINE; unset it, {way_out}"
        )
    if get_token() is None:
        raise UserError(f"hub.repo_id: {section.repo_id}: no Hugging Face token is set; {LOGIN}, {way_out}")
    _refuse_personal_shots(recipe, section)
    found, trouble = _ask(section)
    private = section.private if found is None else found.private
    state = ("new, " if found is None and trouble is None else "") + ("private" if private else "public")
    branch = f", branch {section.revision}" if section.revision is not None else ""
    lines = [
        f"hub: when it is done, the run goes to {constants.ENDPOINT}/{section.repo_id} ({state}{branch}): model or "
        f"adapter, tokenizer, label set, prompt, input spec, decision rule, measures, recipe, members and encoders "
        f"that it reads"
        + (", checkpoints" if section.checkpoints else "")
        + (", predictions with their texts" if section.predictions else "; no predictions")
        + ("" if section.checkpoints else ", no checkpoints")
    ]
    base = getattr(recipe.model, "name_or_path", None)
    if recipe.adapter is not None and section.weights == "run" and base is not None and not is_hub_model(base):
        lines.append(
            f"hub: the adapter's base {base} is a folder of this machine; elsewhere the run loads only with "
            f'load_predictor("{section.repo_id}", base=...)'
        )
    if trouble is not None:
        lines.append(f"hub: cannot ask the Hub now ({trouble}); the run is pushed when it is done all the same")
    return lines


def _ask(section: HubSection) -> tuple[ModelInfo | None, str | None]:
    """What the Hub knows of the repository (None: nothing yet), and why it could not be asked."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import RepositoryNotFoundError

    found: ModelInfo | None = None
    api = HfApi()
    with quiet():
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


def _refuse_personal_shots(recipe: TrainedRecipe, section: HubSection) -> None:
    """Before hours of training: what the recipe itself puts into the prompt is pushed with it."""
    prompt = getattr(recipe, "prompt", None)
    if prompt is None or section.personal_data == "allow":
        return
    texts = {f"prompt.shots[{i}]": " ".join(shot.values()) for i, shot in enumerate(prompt.shots)}
    if found := findings({"prompt.system": prompt.system or "", **texts}):
        raise UserError(f"{told(found)}; it would go to {section.repo_id}: {ALLOW}")


# ---------------------------------------------------------------- push
@dataclass(frozen=True)
class Push:
    """What goes to the Hub: a run, or the run that it was merged into.

    Attributes:
        run: whose manifest and card it has.
        files: of the repository, each by its name there.
    """

    run: Run
    files: dict[str, Path]

    @classmethod
    def of(cls, run: Run, section: HubSection) -> Push:
        """What the section asks for of a run.

        Raises:
            UserError: there is no merged run, or nothing that could be merged.
        """
        whole = run
        if section.weights == "merged":
            if not run.has(ADAPTER_CONFIG):
                raise UserError(f"{run.path} has no adapter, so that there is nothing merged; leave hub.weights out")
            if not merged_folder(run.path).is_dir():
                raise UserError(
                    f"there is no merged run at {merged_folder(run.path)}; make it with python -m categorize.export "
                    f"{run.path} --to merged"
                )
            whole = Run.open(merged_folder(run.path))
        files = files_of(whole.path, section.predictions)
        if whole is not run:
            files |= adapter_files(run.path)
        if section.checkpoints:
            files |= checkpoint_files(run.path)
        return cls(whole, dict(sorted(files.items())))

    def personal(self) -> list[Finding]:
        """Secrets and personal data in texts of the data that would go with it."""
        return findings(shown(self.files))


def push(run: Run, section: HubSection, method_files: Collection[str]) -> None:
    """Say what will be pushed, push it as `push_run`, and say where it is."""
    for line in describe_push(run, section):
        print0(line)
    print0(f"pushed: {push_run(run, section, method_files)}")


def push_run(run: Run, section: HubSection, method_files: Collection[str]) -> str:
    """Push a finished run as one commit and return the address of its repository.

    The repository, and the branch that the section names, are made where there are none. What an earlier push left
    there and this run does not have (weights of another method, an adapter's config, predictions) is removed by the
    same commit; all other files stay.

    Args:
        method_files: names of the files that methods leave in a run beside weights.

    Raises:
        UserError: no token, no network, no permission, a public repository where a private one was asked for, or
            personal data. The message says why and how to push again; the run folder is never changed.
    """
    from huggingface_hub import get_token

    with _failures(run, section), quiet():
        going = Push.of(run, section)
        if section.personal_data == "refuse" and (found := going.personal()):
            raise UserError(f"{told(found)}; {ALLOW}")
        if get_token() is None:
            raise PermissionError(f"no Hugging Face token is set; {LOGIN}")
        for _ in range(TRIES - 1):
            try:
                return _commit(going, run.method, section, method_files)
            except Exception as error:  # of any HTTP client
                if (seconds := _asked_to_wait(error)) is None:
                    raise
                print0(f"the Hub asks to wait: pushing again in {seconds:.0f} s")
                time.sleep(seconds)
        return _commit(going, run.method, section, method_files)


def _commit(going: Push, method: str, section: HubSection, method_files: Collection[str]) -> str:
    """Repository, branch and commit, of which what is there already is not sent again."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    from categorize import __version__

    api: HfApi = HfApi(library_name="categorize", library_version=__version__)
    url = api.create_repo(section.repo_id, private=section.private, exist_ok=True)
    if section.revision is not None:
        api.create_branch(section.repo_id, branch=section.revision, exist_ok=True)
    there = api.model_info(section.repo_id, revision=section.revision)
    if section.private and there.private is False:
        raise PermissionError("it is public and the recipe says private; make it private, or say private: false")
    operations: list[Any] = [CommitOperationDelete(name) for name in _stale(there, going.files, method_files)]
    for name, path in going.files.items():
        source: Any = _readme(going.run, section.repo_id) if name == README else path
        operations.append(CommitOperationAdd(name, source))
    title = f"{going.run.manifest['name']}: {method}, {going.run.manifest['task'].replace('_', '-')}"
    # Somebody else's commit in between is refused by the Hub, not pushed over.
    told_of = {"revision": section.revision, "parent_commit": there.sha}
    api.create_commit(section.repo_id, operations, commit_message=title, **told_of)
    return str(url)


def _asked_to_wait(error: Exception) -> float | None:
    """For how long a Hub that was asked too often (429) wants to be left alone, in seconds; None: another error."""
    if status(error) != 429:
        return None
    asked = error.response.headers.get("Retry-After", "")  # type: ignore[attr-defined]
    return min(float(asked), LONGEST_WAIT) if asked.isdecimal() else WAIT


def describe_push(run: Run, section: HubSection) -> list[str]:
    """Lines: how much will be pushed, what stays here, and the texts of the data that go with it."""
    with _failures(run, section):
        push = Push.of(run, section)
    size = sum(path.stat().st_size for path in push.files.values())
    top = {name.split("/")[0] for name in push.files}
    left = sorted(entry.name for entry in push.run.path.iterdir() if entry.name not in top)
    lines = [
        f"pushing {len(push.files)} files ({size / 1e6:,.1f} MB) to {section.repo_id}"
        + (f"; not pushed: {', '.join(left)}" if left else "")
    ]
    return lines + texts_lines(push.files)


def _stale(there: ModelInfo, names: Collection[str], method_files: Collection[str]) -> list[str]:
    found = [sibling.rfilename for sibling in there.siblings or ()]
    return [
        name
        for name in found
        if name not in names
        # A pattern's `*` would match a slash too, and the weights in a folder of somebody's own are not ours.
        and (
            name.startswith(INSIDE)
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
    again = f"python -m categorize.hub push {shlex.quote(str(run.path))} {section.repo_id}{_flags(section)}"
    try:
        yield
    # Not a few types by name: http client, xet and system all raise their own.
    except (Exception, KeyboardInterrupt) as error:
        raise UserError(
            f"{section.repo_id}: not pushed: {reason(error)}; the run itself is finished at {run.path}; push it again "
            f"with: {again}"
        ) from error


def _flags(section: HubSection) -> str:
    """The section as flags of the command that pushes."""
    flags = {
        "--public": not section.private,
        "--merged": section.weights == "merged",
        "--checkpoints": section.checkpoints,
        "--predictions": section.predictions,
        f"--revision {section.revision}": section.revision is not None,
        "--allow-personal-data": section.personal_data == "allow",
    }
    return "".join(f" {flag}" for flag, given in flags.items() if given)
