"""Training runs that a command starts one after the other, each a run of the recipe's entry script in a process of its
own: folds, seeds, trials of a search, rungs of a comparison.

A run that is finished with the same recipe is kept, an interrupted one goes on.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from categorize.errors import StoppedEarly, UserError
from categorize.metrics.progress import flat
from categorize.recipe.load import LoadedRecipe, load_recipe
from categorize.recipe.resuming import changes
from categorize.recipe.sections import SCRIPT_OF_KIND
from categorize.recipe.terminal import CLOSED_PIPE, INTERRUPTED, STOPPED
from categorize.recipe.written import Methods
from categorize.runs.folder import METRICS, RECIPE, Run, incomplete_path, is_run
from categorize.training.stopping import stop_on_signals

State = Literal["new", "interrupted", "finished"]
_ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class ChildRun:
    """A run to be: what it is called, its recipe file, what is laid over it, and what both come to."""

    title: str
    path: Path
    overrides: tuple[str, ...]
    recipe: LoadedRecipe

    @property
    def output(self) -> Path:
        """Its folder."""
        return Path(self.recipe.recipe.output_path)

    def state(self, overwrite: bool = False) -> State:
        """Whether it is finished, interrupted or new; new too where it is to be overwritten.

        Raises:
            UserError: a run of another recipe is there, and is not to be replaced.
        """
        places: tuple[tuple[Path, State], ...] = (
            (self.output, "finished"),
            (incomplete_path(self.output), "interrupted"),
        )
        for folder, state in () if overwrite else places:
            if not (is_run(folder) if state == "finished" else folder.is_dir()):
                continue
            recipe = folder / RECIPE
            text = recipe.read_text(encoding="utf-8") if recipe.is_file() else ""
            if _uncommented(text) == _uncommented(self.recipe.text):
                return state
            if state == "interrupted" and text and not changes(text, self.recipe.text):
                return state
            raise UserError(
                f"{folder}: was made with another recipe; run again with --overwrite to replace what is there, or name "
                "another output_dir"
            )
        return "new"

    def start(self, state: State, starter: Sequence[str] = (), *flags: str, seconds: float | None = None) -> int:
        """Run it and wait for its end; the exit status, 75 where it was stopped.

        Args:
            state: what `state` gave.
            starter: what starts the script; Python itself by default.
            flags: of the script.
            seconds: after which it is told to stop.

        Raises:
            UserError: the script is not there.
            KeyboardInterrupt, BrokenPipeError, StoppedEarly: the run ended so, and so does this command.
        """
        script = _ROOT / SCRIPT_OF_KIND[self.recipe.recipe.kind]
        if not script.is_file():
            raise UserError(f"{script}: no such script; run from a checkout of the project, where {script.name} is")
        flag = "--resume" if state == "interrupted" else "--overwrite"
        command = [*(starter or [sys.executable]), str(script), str(self.path), *self.overrides, flag, *flags]
        status, told_here = run_and_wait(command, seconds)
        if status == INTERRUPTED:
            raise KeyboardInterrupt
        if status == CLOSED_PIPE:
            raise BrokenPipeError  # of the output that the run shares with this command
        if status == STOPPED and not told_here:
            raise StoppedEarly(f"{self.title} was stopped; the same command goes on from there")
        return status


def variant(
    title: str,
    path: Path,
    overrides: Sequence[str],
    output: Path,
    split_file: Path,
    methods: Methods,
    kind: str | None = None,
) -> ChildRun:
    """A run of a recipe with some values changed, in a folder of its own, on the split that all of them share.

    Args:
        output: its folder; the run is named after the recipe's and this one.
        split_file: where the assignment of rows to splits is stored.

    Raises:
        UserError: the recipe is at fault.
    """
    base = load_recipe(path, overrides, kind, methods=methods).recipe
    own = (
        *overrides,
        f"name={json.dumps(f'{base.name}_{output.name}', ensure_ascii=False)}",
        f"output_dir={json.dumps(str(output), ensure_ascii=False)}",
        f"data.splits.file={json.dumps(str(split_file), ensure_ascii=False)}",
        "hub=null",  # they would push over each other
        "seeds=null",
    )
    return ChildRun(title, Path(path), own, load_recipe(path, own, kind, methods=methods))


def measured(run: Path, split: str = "test") -> dict[str, Any]:
    """What a finished run's measures of a split are, as flat numbers beside `run` and `rows`.

    Raises:
        UserError: it has none.
    """
    found = Run.open(run).read_json(METRICS).get(split)
    if found is None:
        raise UserError(f"{run}: holds no measures of the {split} split; train it again with --overwrite")
    return {"run": str(run), "rows": found["rows"], "measures": flat(found)}


def run_and_wait(command: Sequence[str], seconds: float | None = None) -> tuple[int, bool]:
    """Start a command and wait for its end: its exit status, and whether it was told to stop because its time was up. A
    signal to stop this process is passed on to it."""
    with stop_on_signals(), subprocess.Popen(command) as process:
        try:
            try:
                return process.wait(seconds), False
            except subprocess.TimeoutExpired:
                process.terminate()
                process.wait()
                return STOPPED, True
        except StoppedEarly:
            process.terminate()  # the scheduler may have told this process alone
            process.wait()
            return STOPPED, False


def _uncommented(text: str) -> str:
    """A resolved recipe without its comments, which tell where it was read."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))
