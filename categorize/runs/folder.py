"""The run folder: what a finished run leaves behind, how it is written so that it is whole or not there, and how it
is read.

Everything is written to `<output>.incomplete`, beside the final place. `commit()` writes `run.json` last, as the mark
of completeness, and renames the folder into place; an older run there stays whole until that moment. The next reader or
writer finishes what a crash between the two renames of a replacement left.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from categorize.errors import UserError
from categorize.processes import is_main_process
from categorize.recipe.resuming import changes
from categorize.runs.environment import environment
from categorize.runs.holding import hold
from categorize.writing import (
    check_writable,
    disk_errors,
    finish_replacement,
    follow_umask,
    json_text,
    put_in_place,
    remove_leftovers,
    write_whole,
)

MANIFEST = "run.json"
RECIPE = "recipe.yaml"
LABEL_SET = "label_set.json"
INPUT = "input.json"
PROMPT = "prompt.json"
DECISION_RULE = "decision_rule.json"
METRICS = "metrics.json"
LOG = "training_log.json"
SPLITS = "splits.parquet"
CHECKPOINTS = "checkpoints"
MARK = "complete.json"  # in a checkpoint, written last: the size of every file
FINGERPRINTS = b"split_fingerprints"  # in the metadata of the splits, JSON


@dataclass(frozen=True)
class Run:
    """A finished run folder; or a run as it was at one of its checkpoints, which may still lack its manifest.

    Attributes:
        path: the folder.
        checkpoint: where weights and tokenizer are read from, if not from the folder.

    Raises:
        UserError: (`open`) the folder is not a finished run.
    """

    path: Path
    checkpoint: Path | None = None

    @property
    def weights(self) -> Path:
        """Folder of weights and tokenizer."""
        return self.checkpoint or self.path

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """The run at `path`, checked for its mark of completeness."""
        folder = Path(path)
        if is_main_process():
            finish_replacement(folder)
        if is_run(folder):
            _check_readable(folder)
            return cls(folder)
        if incomplete_path(folder).is_dir():
            raise UserError(
                f"{folder}: the run is not finished; continue it with --resume, or start anew with --overwrite"
            )
        if not folder.exists():
            raise UserError(f"{folder}: no such run folder; train it first, or name a Hub id as owner/name")
        raise UserError(f"{folder}: not a run folder ({MANIFEST} is missing)")

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What `run.json` holds."""
        return dict(self.read_json(MANIFEST))

    @property
    def method(self) -> str:
        """Name of the method that made the run."""
        return str(self.manifest["method"])

    def read_json(self, name: str) -> Any:
        """One of the run's JSON files. Raises UserError where it is missing or broken."""
        try:
            return json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{self.path / name}: missing; the run folder is damaged, train it again") from None
        except json.JSONDecodeError as error:
            raise UserError(
                f"{self.path / name}:{error.lineno}: not JSON ({error.msg}); the run folder is damaged"
            ) from None

    def has(self, name: str) -> bool:
        """Whether the run left this file."""
        return (self.path / name).exists()


def _check_readable(folder: Path) -> None:
    """Say what is the matter with weights of another user: upstream says that there is no such file."""
    for weights in folder.glob("*.safetensors"):
        try:
            weights.open("rb").close()
        except PermissionError:
            raise UserError(
                f"{weights}: you may not read it; its owner can share the run with: chmod -R go+rX {folder}"
            ) from None


def is_run(path: Path) -> bool:
    """Whether `path` is a finished run folder."""
    return (path / MANIFEST).is_file()


def incomplete_path(path: Path) -> Path:
    """Where a run that will be `path` is written until it is finished."""
    return path.parent / f"{path.name}.incomplete"


def staged_files(folder: Path) -> bool:
    """Whether an interrupted run left anything beside its recipe."""
    return any(path.name != RECIPE for path in folder.iterdir())


class RunWriter:
    """Writes a run under a temporary name and puts it in place whole.

    An interrupted run that is resumed keeps every file that was staged; whoever writes it knows what is still missing.

    Args:
        path: where the finished run goes.
        recipe_text: the resolved recipe; an interrupted run is continued only where training reads the same in both.
        resume: continue an interrupted run where there is one that holds work.
        overwrite: replace a finished run; an interrupted one too, unless it is to be resumed.
        probe: only find out whether the place can be written, for a dry run; it is left as it is.
        holds_work: whether an interrupted run's folder holds what must not be lost unasked, and can be continued; the
            folder of any other is written anew.

    Raises:
        UserError: the place holds another run, an interrupted run or something that is not a run, cannot be written, or
            another process writes there.
    """

    def __init__(
        self,
        path: str | Path,
        recipe_text: str,
        *,
        resume: bool = False,
        overwrite: bool = False,
        probe: bool = False,
        holds_work: Callable[[Path], bool] = staged_files,
    ) -> None:
        self.final = Path(path)
        self.path = incomplete_path(self.final)
        self.started = datetime.now(UTC)
        self.resumed = False
        with disk_errors(self.path):
            self.path.exists()  # raises where the name is too long
            if self.final.exists() and not self.final.is_dir():
                raise UserError(f"{self.final}: output_dir is a file; name a folder")
        if is_main_process() and not probe:
            finish_replacement(self.final)
        interrupted = self.path.is_dir() and holds_work(self.path)
        if self.final.is_dir() and any(self.final.iterdir()):
            if not is_run(self.final):
                raise UserError(
                    f"{self.final}: output_dir holds files that do not belong to a run; name another output_dir"
                )
            if not overwrite:
                again = " --resume" if resume and interrupted else ""
                raise UserError(
                    f"{self.final}: output_dir holds a finished run; name another output_dir or replace it with "
                    f"--overwrite{again}"
                )
        if is_main_process() and self.path.is_dir():
            hold(self.path)
        if interrupted and (resume or not overwrite):
            self._continue(recipe_text, resume, probe)
        elif is_main_process():
            self._begin(recipe_text, probe)

    def _continue(self, recipe_text: str, resume: bool, probe: bool) -> None:
        stored = self.path / RECIPE
        if not resume:
            raise UserError(
                f"{self.path}: an interrupted run is here; continue it with --resume or start anew with --overwrite"
            )
        if stored.exists() and (changed := changes(stored.read_text(encoding="utf-8"), recipe_text)):
            more = f"; and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise UserError(
                f"{stored}: the interrupted run had another recipe ({'; '.join(changed[:3])}{more}); undo the "
                f"change, or start anew with --overwrite alone"
            )
        self.resumed = True
        if is_main_process() and not probe:
            with disk_errors(self.path):
                remove_leftovers(self.path)
                write_whole(stored, recipe_text)  # the run predicts and decides by this one

    def _begin(self, recipe_text: str, probe: bool) -> None:
        check_writable(self.path)
        if probe:
            return
        with disk_errors(self.path):
            if self.path.exists():
                shutil.rmtree(self.path)
            self.path.mkdir(parents=True)
            hold(self.path)
            write_whole(self.path / RECIPE, recipe_text)

    @property
    def checkpoints(self) -> Path:
        """Folder of the training checkpoints."""
        return self.path / CHECKPOINTS

    def stage(self, name: str) -> Path:
        """A path inside the folder being written; its parent exists."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_text(self, name: str, text: str) -> None:
        """Write one text file of the run: a kill leaves the file whole, or as it was."""
        with disk_errors(self.path):
            write_whole(self.path / name, text)

    def write_json(self, name: str, data: Any) -> None:
        """The same for JSON. What a training logs may be NaN."""
        self.write_text(name, json_text(data, allow_nan=True))

    def commit(self, manifest: dict[str, Any]) -> Run:
        """Write `run.json`, put the folder in place and return the finished run.

        Raises:
            UserError: the disk is full or the place is not writable; an older run stays whole.
        """
        follow_umask(self.path)
        times = {"started": self.started, "finished": datetime.now(UTC)}
        manifest = {
            **{name: time.isoformat(timespec="seconds") for name, time in times.items()},
            **manifest,
            "members": manifest.get("members", []),
            # A run that is only decided anew says where it was trained.
            **{name: manifest.get(name, value) for name, value in environment().items()},
        }
        self.write_json(MANIFEST, manifest)
        with disk_errors(self.path):
            put_in_place(self.path, self.final)
        return Run(self.final)
