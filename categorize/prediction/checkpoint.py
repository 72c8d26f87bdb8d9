"""A checkpoint in the folder of its run, which is read as that run at that step."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from categorize.errors import UserError
from categorize.labels import LabelSet
from categorize.runs.folder import CHECKPOINTS, DECISION_RULE, FINGERPRINTS, LABEL_SET, MANIFEST, MARK, SPLITS, Run

_STATE = "trainer_state.json"
_PROGRESS = "progress.json"


@dataclass(frozen=True)
class Checkpoint:
    """A run at a step of its training.

    Attributes:
        run: with the weights of the checkpoint.
        method: name of the method that is training the run.
        step, steps: where it was saved, and how many the training has.
        finished: whether the run is; else it has no decision rule yet.
    """

    run: Run
    method: str
    step: int
    steps: int
    finished: bool

    @property
    def name(self) -> str:
        """What reports call it."""
        run = self.run.manifest["name"] if self.finished else self.run.path.name.removesuffix(".incomplete")
        return f"{run} at step {self.step}"

    @property
    def notes(self) -> list[str]:
        """What a reader must know."""
        if self.finished:
            rule = "decided by the rule of the finished run"
            return [*self.run.manifest.get("notes", []), f"checkpoint at step {self.step} of {self.steps}, {rule}"]
        return [
            f"checkpoint at step {self.step} of {self.steps}; the run is not finished, no decision rule is fitted yet"
        ]

    def facts(self) -> dict[str, Any]:
        """The run's manifest, as far as it is written, with the training time until here."""
        label_set = LabelSet.load(self.run.path / LABEL_SET)
        known = {"method": self.method, "task": label_set.task, "labels": label_set.names}
        facts: dict[str, Any] = dict(self.run.manifest) if self.finished else known
        progress = self.run.weights / _PROGRESS
        seconds = json.loads(progress.read_text(encoding="utf-8"))["seconds"] if progress.is_file() else None
        return {**facts, "training": {**facts.get("training", {}), "seconds": seconds}}

    def fingerprints(self) -> dict[str, str]:
        """Of the splits that the run is trained with."""
        if self.finished:
            return dict(self.run.manifest.get("split_fingerprints", {}))
        stored = (pq.read_schema(self.run.path / SPLITS).metadata or {}).get(FINGERPRINTS)
        return {} if stored is None else dict(json.loads(stored))


def checkpoint_of(folder: Path, method_of: Callable[[Run], str | None]) -> Checkpoint | None:
    """The checkpoint that a folder is, with its run; None where it is not a checkpoint of a run.

    Args:
        method_of: tells the name of the method that is training a run by its files.

    Raises:
        UserError: it was taken out of its run, without which its text preparation, prompt, length and label set are
            lost; it was not written to the end, or its weights are in shards.
    """
    folder = folder.resolve()
    run = Run(folder.parent.parent, folder)
    inside = folder.parent.name == CHECKPOINTS and run.has(LABEL_SET)
    if not inside:
        if (folder / MARK).is_file():
            raise UserError(
                f"{folder}: a checkpoint without its run, which holds how text is prepared, asked and decided; name it "
                f"in its run folder (RUN/{CHECKPOINTS}/{folder.name})"
            )
        return None
    if not (folder / MARK).is_file():
        raise UserError(f"{folder}: the checkpoint was not written to the end; name another, or the finished run")
    if not any(folder.glob("*model*.safetensors")):
        raise UserError(f"{folder}: the checkpoint holds shards that only its training reads; name the finished run")
    finished = run.has(MANIFEST) and run.has(DECISION_RULE)
    if (method := method_of(run)) is None:
        raise UserError(
            f"{run.path}: the run is not finished; continue it with --resume, or start anew with --overwrite"
        )
    state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
    return Checkpoint(run, method, int(state["global_step"]), int(state["max_steps"]), finished)
