"""A finished run becomes a repository of the Hugging Face Hub, pushed as one commit: of a trained run a model, of a
labelling run a dataset.

The repository then holds the whole run or what it held before, with the members and encoders that it reads
(`runs.contents`). `categorize.hub` is the command that pushes; `runs.before_push` is what is checked before the work.
"""

from __future__ import annotations

import re
import shlex
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from categorize.connection import reason, status
from categorize.errors import UserError
from categorize.processes import print0
from categorize.recipe.hub_sections import HubSection, PushSection
from categorize.runs.contents import (
    ADAPTER,
    ADAPTER_CONFIG,
    ENCODERS,
    LABEL_SETS,
    LABELS,
    MEMBERS,
    PREDICTIONS,
    README,
    adapter_files,
    checkpoint_files,
    files_of,
    labelled_files,
    merged_folder,
)
from categorize.runs.folder import CHECKPOINTS, METRICS, PROMPT, Run
from categorize.runs.hub import LOGIN, quiet
from categorize.runs.personal import Finding, findings, shown, texts_lines, told

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import DatasetInfo, ModelInfo

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
STALE_LABELS = (f"{LABELS}/*.parquet", f"{LABEL_SETS}/*.json", "label_set.json", "examples.json", METRICS, PROMPT)
INSIDE = tuple(f"{folder}/" for folder in (MEMBERS, ENCODERS, ADAPTER, CHECKPOINTS))  # of a run alone
TRIES, WAIT, LONGEST_WAIT = 3, 10.0, 300.0  # of a push that the Hub asks to wait with, and seconds
ALLOW = "take it out, or let it be pushed with hub.personal_data: allow (--allow-personal-data)"


# ---------------------------------------------------------------- push
@dataclass(frozen=True)
class Push:
    """What goes to the Hub: a run, or the run that it was merged into.

    Attributes:
        run: whose manifest and card it has.
        files: of the repository, each by its name there.
        repo_type: as the Hub calls it.
    """

    run: Run
    files: dict[str, Path]
    repo_type: Literal["model", "dataset"] = "model"

    @classmethod
    def of(cls, run: Run, section: PushSection) -> Push:
        """What the section asks for of a run.

        Raises:
            UserError: there is no merged run, or nothing that could be merged.
        """
        if not isinstance(section, HubSection):
            return cls(run, labelled_files(run.path), "dataset")
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


def push(run: Run, section: PushSection, method_files: Collection[str]) -> None:
    """Say what will be pushed, push it as `push_run`, and say where it is."""
    for line in describe_push(run, section):
        print0(line)
    print0(f"pushed: {push_run(run, section, method_files)}")


def push_run(run: Run, section: PushSection, method_files: Collection[str]) -> str:
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


def _commit(going: Push, method: str, section: PushSection, method_files: Collection[str]) -> str:
    """Repository, branch and commit, of which what is there already is not sent again."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    from categorize import __version__

    api: HfApi = HfApi(library_name="categorize", library_version=__version__)
    url, there = made(api, section, going.repo_type)
    replaced = (*STALE, *method_files) if going.repo_type == "model" else STALE_LABELS
    inside = INSIDE if going.repo_type == "model" else ()
    operations: list[Any] = [CommitOperationDelete(name) for name in _stale(there, going.files, replaced, inside)]
    for name, path in going.files.items():
        source: Any = _readme(going.run, section.repo_id) if name == README else path
        operations.append(CommitOperationAdd(name, source))
    title = f"{going.run.manifest['name']}: {method}"
    if "task" in going.run.manifest:
        title += f", {going.run.manifest['task'].replace('_', '-')}"
    # Somebody else's commit in between is refused by the Hub, not pushed over.
    told_of: dict[str, Any] = {"revision": section.revision, "parent_commit": there.sha, "repo_type": going.repo_type}
    api.create_commit(section.repo_id, operations, commit_message=title, **told_of)
    return url


def made(api: HfApi, section: PushSection, repo_type: str) -> tuple[str, ModelInfo | DatasetInfo]:
    """The repository and the branch of a section, made where there are none: its address, and what is there.

    Raises:
        PermissionError: it is public where the section says private.
    """
    url = api.create_repo(section.repo_id, private=section.private, exist_ok=True, repo_type=repo_type)
    if section.revision is not None:
        api.create_branch(section.repo_id, branch=section.revision, exist_ok=True, repo_type=repo_type)
    there: Any = api.repo_info(section.repo_id, revision=section.revision, repo_type=repo_type)
    if section.private and there.private is False:
        raise PermissionError("it is public and the recipe says private; make it private, or say private: false")
    return str(url), there


def _asked_to_wait(error: Exception) -> float | None:
    """For how long a Hub that was asked too often (429) wants to be left alone, in seconds; None: another error."""
    if status(error) != 429:
        return None
    asked = error.response.headers.get("Retry-After", "")  # type: ignore[attr-defined]
    return min(float(asked), LONGEST_WAIT) if asked.isdecimal() else WAIT


def describe_push(run: Run, section: PushSection) -> list[str]:
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


def _stale(
    there: ModelInfo | DatasetInfo, names: Collection[str], patterns: Collection[str], inside: tuple[str, ...]
) -> list[str]:
    """Files of an earlier push that this one does not have: those of a pattern, and all in folders of a run alone."""
    found = [sibling.rfilename for sibling in there.siblings or ()]
    return [
        name
        for name in found
        if name not in names
        # A pattern's `*` would match a slash too, and the weights in a folder of somebody's own are not ours.
        and (
            name.startswith(inside)
            or any(fnmatchcase(name, one) and name.count("/") == one.count("/") for one in patterns)
        )
    ]


def _readme(run: Run, repo_id: str) -> bytes:
    """The run's card, in which the Hub id stands where the path of this machine stood; a command that wants a file
    fetches it."""
    text = (run.path / README).read_text(encoding="utf-8")
    if (place := re.search(r'load_(?:predictor|dataset)\("([^"\n]*)"', text)) is not None:
        text = text.replace(f'"{place[1]}"', f'"{repo_id}"')
        text = re.sub(rf'"{re.escape(place[1])}/([\w.]+)"', rf'"$(hf download --quiet {repo_id} \1)"', text)
    return text.encode()


@contextmanager
def _failures(run: Run, section: PushSection) -> Iterator[None]:
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


def _flags(section: PushSection) -> str:
    """The section as flags of the command that pushes."""
    flags = {"--public": not section.private, f"--revision {section.revision}": section.revision is not None}
    if isinstance(section, HubSection):
        flags |= {
            "--merged": section.weights == "merged",
            "--checkpoints": section.checkpoints,
            "--predictions": section.predictions,
        }
    flags["--allow-personal-data"] = section.personal_data == "allow"
    return "".join(f" {flag}" for flag, given in flags.items() if given)
