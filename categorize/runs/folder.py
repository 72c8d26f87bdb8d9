"""The run folder: what a finished run leaves behind, how it is written so that it is whole or not there, and how it
is read.

Everything is written to `<output>.incomplete`, beside the final place. `commit()` writes `run.json` last, as the mark
of completeness, and renames the folder into place; an older run there stays whole until that moment. The next reader or
writer finishes what a crash between the two renames of a replacement left.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import Any

from categorize.errors import UserError
from categorize.processes import is_main_process, world_size
from categorize.recipe.resuming import changes

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
REPORTED_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "datasets",
    "scikit-learn",
    "bitsandbytes",
    "deepspeed",
)


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
        _finish_replacement(folder)
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


def _replaced_path(path: Path) -> Path:
    return path.parent / f"{path.name}.replaced"


def _finish_replacement(path: Path) -> None:
    """Finish what a crash between the two renames of `commit` left: the old run comes back where the new one is not
    in place."""
    replaced = _replaced_path(path)
    if replaced.is_dir() and is_main_process():
        if path.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(path)


_CLAIMED: dict[Path, int] = {}  # descriptors of the folders that this process writes, by their place


def _claim(path: Path) -> None:
    """Make this process the one that writes a folder, as long as it lives.

    Raises:
        UserError: another process writes it: a run that was started twice would mix the files of both.
    """
    try:
        import fcntl
    except ImportError:  # Windows, where a folder cannot be locked
        return
    if (before := _CLAIMED.pop(path.resolve(), None)) is not None:
        os.close(before)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise UserError(
            f"{path}: another process is writing this run; wait for it or end it, or name another output_dir"
        ) from None
    except OSError:  # a file system without locks
        os.close(descriptor)
        return
    _CLAIMED[path.resolve()] = descriptor


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
        if not probe:
            _finish_replacement(self.final)
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
            _claim(self.path)
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
                for cut in self.path.rglob("*.tmp"):  # a kill while they were written
                    cut.unlink()
                _write_whole(stored, recipe_text)  # the run predicts and decides by this one

    def _begin(self, recipe_text: str, probe: bool) -> None:
        check_writable(self.path)
        if probe:
            return
        with disk_errors(self.path):
            if self.path.exists():
                shutil.rmtree(self.path)
            self.path.mkdir(parents=True)
            _claim(self.path)
            _write_whole(self.path / RECIPE, recipe_text)

    @property
    def checkpoints(self) -> Path:
        """Folder of the training checkpoints."""
        return self.path / CHECKPOINTS

    def stage(self, name: str) -> Path:
        """A path inside the folder being written; its parent exists."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write_json(self, name: str, data: Any) -> None:
        """Write one JSON file of the run: a kill leaves the file whole, or as it was."""
        with disk_errors(self.path):
            _write_whole(self.stage(name), json.dumps(data, ensure_ascii=False, indent=2) + "\n")

    def commit(self, manifest: dict[str, Any]) -> Run:
        """Write `run.json`, put the folder in place and return the finished run.

        Raises:
            UserError: the disk is full or the place is not writable; an older run stays whole.
        """
        finished = datetime.now(UTC)
        follow_umask(self.path)
        manifest = {
            "started": self.started.isoformat(timespec="seconds"),
            "finished": finished.isoformat(timespec="seconds"),
            **manifest,
            "members": manifest.get("members", []),
            "versions": package_versions(),
            "git_commit": git_commit(),
            "hardware": hardware(),
        }
        with disk_errors(self.path):
            _write_whole(self.path / MANIFEST, json.dumps(manifest, ensure_ascii=False, indent=2) + "\n")
            replaced = _replaced_path(self.final)
            if self.final.exists():
                self.final.rename(replaced)
            self.path.rename(self.final)
            shutil.rmtree(replaced, ignore_errors=True)
        return Run(self.final)


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def follow_umask(folder: Path) -> None:
    """Give the files that were written for their owner alone the rights that new files have here.

    safetensors makes every file so, whatever the umask says, and a colleague could not load a shared run.
    """
    umask = os.umask(0o077)  # there is no way to ask without setting
    os.umask(umask)
    for path in folder.rglob("*"):
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) == 0o600:
            with suppress(OSError):  # a file system without such rights
                path.chmod(0o666 & ~umask)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """A full disk or a place that cannot be written becomes a one-line error."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # nothing is swallowed: what is not a failed write goes on as it came
        reason = _write_failure(error)
        if reason is None:
            raise
        raise UserError(f"{path}: cannot write: {reason}; what was there before is untouched") from error


_CANNOT_WRITE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENOTDIR,
    errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG,
}  # fmt: skip


def check_writable(path: Path) -> None:
    """Make the folder for a moment, in another that goes at once.

    Raises:
        UserError: the file system is read-only, the name too long, a part of the path a file, or the disk full.
    """
    try:
        above = next(one for one in path.absolute().parents if one.exists())
        with tempfile.TemporaryDirectory(prefix=".probe-", dir=above) as probe:
            (Path(probe) / path.absolute().relative_to(above)).mkdir(parents=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}; name another output_dir") from error


def _write_failure(error: Exception) -> str | None:
    """Why writing failed; None for another error. safetensors and torch have their own exceptions for a full disk."""
    if isinstance(error, OSError):
        return error.strerror if error.errno in _CANNOT_WRITE else None
    text = " ".join(str(error).split())
    if type(error).__name__ == "SafetensorError" and "I/O" in text:
        return text
    if isinstance(error, RuntimeError) and "PytorchStreamWriter" in text:
        return "the disk is full or the file too large (torch could not write a checkpoint)"
    return None


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape results."""
    versions = {"python": platform.python_version(), "categorize": metadata_version("categorize")}
    return versions | {name: version for name in REPORTED_PACKAGES if (version := metadata_version(name)) != "none"}


def metadata_version(name: str) -> str:
    """Installed version of a distribution, or "none"."""
    if name == "categorize":
        from categorize import __version__

        return __version__
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "none"


def git_commit() -> str | None:
    """Commit of the checkout that holds the package, marked `+changes` where the tree differs; None outside git."""
    folder = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, timeout=10)
        status = subprocess.run(
            ["git", "status", "--porcelain", "-uno"], cwd=folder, capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if commit.returncode != 0:
        return None
    return commit.stdout.strip() + ("+changes" if status.stdout.strip() else "")


def processor_name() -> str:
    """The processor's name as the system gives it."""
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux
        info = ""
    named = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return named.group(1).strip() if named else platform.processor() or platform.machine()


def hardware() -> dict[str, Any]:
    """Processor, cores, threads and accelerators of this machine, and the number of processes of this launch."""
    facts: dict[str, Any] = {
        "machine": platform.machine(),
        "processor": processor_name(),
        "cpus": os.cpu_count(),
        "processes": world_size(),
    }
    try:
        import torch
    except ImportError:
        return facts
    facts["threads"] = torch.get_num_threads()
    if torch.cuda.is_available():
        facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return facts
