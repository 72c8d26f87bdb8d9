"""Checkpoints with a mark of completeness: only a whole one is resumed from.

The upstream trainer writes a checkpoint file by file and resumes from the highest number, so that a kill in the
middle of
saving leaves a run that can no longer be resumed.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from categorize.processes import is_main_process, print0
from categorize.recipe.wording import counted
from categorize.runs.folder import CHECKPOINTS, MARK, RunWriter
from categorize.writing import follow_umask, json_text, write_whole

PROGRESS = "progress.json"


@dataclass(frozen=True)
class Progress:
    """What a training took until a checkpoint, over all of its starts. Steps that were lost and made again count once.

    Attributes:
        seconds: wall clock.
        loss: sum of the training losses of all steps.
        starts: 1, and 1 more for every time that it was resumed.
        base: fingerprint of the base model's weights, under an adapter.
    """

    seconds: float = 0.0
    loss: float = 0.0
    starts: int = 0
    base: str | None = None

    @classmethod
    def read(cls, checkpoint: Path) -> Progress:
        """That of a checkpoint; nothing where an older version wrote it."""
        try:
            return cls(**json.loads((checkpoint / PROGRESS).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()

    def write(self, checkpoint: Path) -> None:
        """Put it beside the weights, before the mark."""
        (checkpoint / PROGRESS).write_text(json.dumps(asdict(self)) + "\n", encoding="utf-8")


def mark_complete(checkpoint: Path) -> None:
    """Write the mark: the size of every file. It comes last, after everything else is on the disk."""
    follow_umask(checkpoint)
    sizes = {
        str(path.relative_to(checkpoint)): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file()
    }
    write_whole(checkpoint / MARK, json_text(sizes))


def is_complete(checkpoint: Path) -> bool:
    """Whether the mark is there and every file has the size that it says."""
    try:
        sizes = json.loads((checkpoint / MARK).read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        return False
    return all(
        (checkpoint / name).is_file() and (checkpoint / name).stat().st_size == size for name, size in sizes.items()
    )


def checkpoint_step(checkpoint: Path) -> int:
    """Optimizer steps before this checkpoint, from its name; -1 for a folder that is none."""
    prefix, _, step = checkpoint.name.rpartition("-")
    return int(step) if prefix == "checkpoint" and step.isdigit() else -1


def last_complete(folder: Path) -> Path | None:
    """The latest whole checkpoint in `folder`, or None."""
    candidates = [path for path in folder.glob("checkpoint-*") if checkpoint_step(path) >= 0 and is_complete(path)]
    return max(candidates, key=checkpoint_step, default=None)


def has_checkpoints(run_folder: Path) -> bool:
    """Whether an interrupted training left checkpoints, whole or not; without one it begins anew."""
    folder = run_folder / CHECKPOINTS
    return folder.is_dir() and any(folder.iterdir())


def remove_incomplete(folder: Path) -> int:
    """Delete checkpoints that a kill left half-written; returns how many."""
    broken = [path for path in folder.glob("checkpoint-*") if path.is_dir() and not is_complete(path)]
    for path in broken:
        shutil.rmtree(path)
    return len(broken)


def remove_all(folder: Path) -> str | None:
    """Delete the checkpoints of a finished run; gives a line that says so, None where there are none."""
    found = [path for path in folder.glob("checkpoint-*") if path.is_dir()]
    size = sum(path.stat().st_size for one in found for path in one.rglob("*") if path.is_file())
    for path in found:
        shutil.rmtree(path, ignore_errors=True)
    with suppress(OSError):  # something else is in there
        folder.rmdir()
    if not found:
        return None
    return (
        f"deleted {counted(len(found), 'checkpoint')} ({size / 1e6:,.1f} MB), of use for resuming alone; "
        f"training.keep_checkpoints: true keeps them"
    )


def checkpoint_to_resume(writer: RunWriter, resume: bool) -> Path | None:
    """The last whole checkpoint where the run is to be continued; half-written ones are removed and counted."""
    if not resume or not writer.checkpoints.is_dir():
        return None
    checkpoint = last_complete(writer.checkpoints)
    if is_main_process() and (broken := remove_incomplete(writer.checkpoints)):
        print0(f"  removed {broken} checkpoint(s) that were not written to the end")
    print0(f"  resuming from {checkpoint.name}" if checkpoint else "  no whole checkpoint: starting anew")
    return checkpoint
