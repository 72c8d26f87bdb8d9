"""Several seeds of a recipe: one training run each, and the mean and spread of their measures.

A training recipe with `seeds` starts it. The runs go to `<output_dir>_seeds/seed_<n>`; one that is finished with the
same recipe is kept, an interrupted one goes on. `seeds.json` beside them holds the measures, their mean and their
deviation; an evaluation that names the recipe's folder, or this one, compares all of them.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from categorize.child_runs import ChildRun, measured, variant
from categorize.data.splitting.split_file import default_split_file
from categorize.errors import UserError
from categorize.metrics.progress import spread
from categorize.processes import world_size
from categorize.recipe.command import Command
from categorize.recipe.sections import SCRIPT_OF_KIND, TrainedRecipe
from categorize.recipe.written import Methods
from categorize.reports.columns import measures
from categorize.reports.seed_groups import SEEDS, seeds_folder
from categorize.runs.folder import RECIPE
from categorize.text_tables import text_table
from categorize.writing import disk_errors, json_text, write_whole


def train_seeds(command: Command, methods: Methods) -> None:
    """Train a run for each seed that is not finished, print the table and write `seeds.json`.

    Raises:
        UserError: a run failed, or one is there that was made with another recipe; the command is one of several
            processes, or is to merge.
    """
    recipe = command.recipe.recipe
    assert isinstance(recipe, TrainedRecipe) and recipe.seeds is not None
    folder = seeds_folder(recipe.output_path)
    _refuse(command, recipe, folder)
    file = folder / RECIPE
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, command.recipe.text)  # as it is now: seeds to come read no later edit
    stored = default_split_file(recipe.data, Path(recipe.output_path).parent)  # that of a single run
    children = [
        variant(f"seed {seed}", file, (f"seed={seed}", "search=null"), folder / f"seed_{seed}", stored, methods)
        for seed in recipe.seeds
    ]
    for child in children:
        _train(child, command, len(children))
    split = "validation" if command.validation_only else "test"
    summary = summarize(recipe, [child.output for child in children], split)
    path = folder / SEEDS
    with disk_errors(path):
        write_whole(path, json_text(summary))
    print("\n".join(["", *summary_lines(summary), f"written: {path}"]), flush=True)


def _refuse(command: Command, recipe: TrainedRecipe, folder: Path) -> None:
    if world_size() > 1:
        raise UserError(
            "seeds: starts its runs itself; run it without accelerate launch, and say what starts a run by --launcher, "
            "such as --launcher 'python -m categorize.launch'"
        )
    if command.merge:
        script = SCRIPT_OF_KIND[recipe.kind]
        raise UserError(
            f"--merge: with seeds, merge one of the finished runs: python {script} {folder}/seed_N/{RECIPE} --merge"
        )


def _train(child: ChildRun, command: Command, count: int) -> None:
    state = child.state(command.overwrite)
    if state == "finished":
        print(f"{child.title}: finished before, {child.output}", flush=True)
        return
    print(f"{child.title}, of {count}: {child.output}", flush=True)
    named = {"--validation-only": command.validation_only, "--trust-remote-code": command.trust_remote_code}
    flags = [flag for flag, given in named.items() if given]
    if status := child.start(state, shlex.split(command.launcher or ""), *flags):
        raise UserError(
            f"{child.title} failed (exit status {status}); correct what it says above, then run the same command: "
            "finished seeds are kept"
        )


def summarize(recipe: TrainedRecipe, runs: Sequence[Path], split: str) -> dict[str, Any]:
    """Measures of the run of each seed, their mean and their standard deviation over seeds (n - 1)."""
    found = [{"seed": seed, **measured(run, split)} for seed, run in zip(recipe.seeds or (), runs, strict=True)]
    told = {"name": recipe.name, "task": recipe.labels.task, "split": split, "seeds": recipe.seeds}
    return {**told, **spread([one["measures"] for one in found]), "runs": found}


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """The table for the terminal: every seed, mean and deviation."""
    shown = [one for one in measures(summary["task"]) if one.terminal and one.name in summary["mean"]]
    rows = [[str(one["seed"]), *(f"{one['measures'][m.name]:.4f}" for m in shown)] for one in summary["runs"]]
    rows.append(["mean ± sd", *(f"{summary['mean'][m.name]:.4f} ± {summary['sd'][m.name]:.4f}" for m in shown)])
    return [
        f"{summary['name']}, {len(rows) - 1} seeds, {summary['split']} split; sd over seeds",
        text_table(["seed", *(one.title for one in shown)], rows, "l" + "r" * len(shown), width=120),
    ]
